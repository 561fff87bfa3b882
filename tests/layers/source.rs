//! As much of Rust's syntax as it takes to see which names a file mentions.

/// A name, a path separator, or one character of anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) text: String,
    pub(crate) line: usize,
}

impl Token {
    pub(crate) fn is_name(&self) -> bool {
        self.text.starts_with(|first: char| first.is_alphabetic() || first == '_')
    }
}

/// The tokens of a text, without comments, strings, characters and lifetimes.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let (mut found, mut rest, mut line) = (Vec::new(), text, 1);
    while let Some(first) = rest.chars().next() {
        let skipped = skipped(rest);
        let len = match skipped {
            0 if first.is_alphanumeric() || first == '_' => name_len(rest),
            0 if rest.starts_with("::") => 2,
            0 => first.len_utf8(),
            skipped => skipped,
        };
        let (text, behind) = rest.split_at(len);
        if skipped == 0 && !first.is_whitespace() {
            found.push(Token { text: text.to_owned(), line });
        }
        line += text.matches('\n').count();
        rest = behind;
    }
    found
}

fn name_len(text: &str) -> usize {
    text.find(|next: char| !next.is_alphanumeric() && next != '_').unwrap_or(text.len())
}

/// The length of the comment, string, character or lifetime that the text begins with.
fn skipped(text: &str) -> usize {
    if text.starts_with("//") {
        return text.find('\n').unwrap_or(text.len());
    }
    if text.starts_with("/*") {
        return comment_len(text);
    }
    let prefix = ["br", "cr", "b", "c", "r"].into_iter().find(|prefix| {
        let after = text.strip_prefix(prefix).unwrap_or_default();
        let raw = prefix.ends_with('r') && after.starts_with('#') && after.trim_start_matches('#').starts_with('"');
        after.starts_with('"') || raw || (*prefix == "b" && after.starts_with('\''))
    });
    let prefix = prefix.unwrap_or_default();
    let body = &text[prefix.len()..];
    let hashes = body.len() - body.trim_start_matches('#').len();
    if prefix.ends_with('r') {
        let end = format!("\"{}", "#".repeat(hashes));
        let inner = &body[hashes + 1..];
        return prefix.len() + hashes + 1 + inner.find(&end).map_or(inner.len(), |at| at + end.len());
    }
    match body.chars().next() {
        Some('"') => prefix.len() + quoted_len(body, '"'),
        Some('\'') if body[1..].starts_with('\\') => prefix.len() + quoted_len(body, '\''),
        Some('\'') => {
            let inner = body[1..].chars().next().map_or(0, char::len_utf8);
            let is_character = body[1 + inner..].starts_with('\'');
            prefix.len() + if is_character { 2 + inner } else { 1 + name_len(&body[1..]) }
        }
        _ => 0,
    }
}

/// The length of a comment, which may hold others.
fn comment_len(text: &str) -> usize {
    let (mut depth, mut at) = (0, 0);
    while at < text.len() {
        match &text.as_bytes()[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            break;
        }
    }
    at
}

/// The length of a literal with its quotes.
fn quoted_len(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, next) in text.char_indices().skip(1) {
        match next {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            next if next == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The first name of the path at this token, or those of all paths in the group that is there.
pub(crate) fn first_names(tokens: &[Token], at: usize) -> Vec<Token> {
    let Some(first) = tokens.get(at) else { return Vec::new() };
    if first.text != "{" {
        return vec![first.clone()];
    }
    let (mut names, mut depth, mut begins) = (Vec::new(), 0, true);
    for token in tokens.iter().skip(at) {
        match token.text.as_str() {
            "{" => depth += 1,
            "}" => depth -= 1,
            "," => begins |= depth == 1,
            _ if begins && token.is_name() => {
                names.push(token.clone());
                begins = false;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    names
}
