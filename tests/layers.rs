//! Imports run downward only, files are small, and nothing is unsafe.

#![expect(clippy::expect_used, reason = "a test may panic")]

#[path = "layers/source.rs"]
mod source;

use std::fs;
use std::path::{Path, PathBuf};

use source::{Token, tokens};

/// From the lowest to the highest. Each names only those before it.
const LAYERS: [&str; 6] = ["medium", "log", "store", "fs", "fuse", "cli"];

/// The most lines of a file.
const LINES: usize = 600;

/// Files that may say `unsafe`.
const UNSAFE: [&str; 3] = ["cli/descriptors.rs", "fuse/received_fd.rs", "store/heap.rs"];

/// All files below `src`, as paths from there.
fn files() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut pending, mut files) = (vec![root.clone()], Vec::new());
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(&directory).expect("src is readable") {
            let path = entry.expect("src is readable").path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path.strip_prefix(&root).expect("it is below src").to_owned());
            }
        }
    }
    files.sort();
    assert!(files.len() > 40, "these are not all files: {files:?}");
    files
}

fn text(file: &Path) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(file)).expect("src is readable")
}

/// The modules from the crate's root to this file.
fn modules(file: &Path) -> Vec<String> {
    let names = file.with_extension("");
    let names = names.components().map(|name| name.as_os_str().to_string_lossy().into_owned());
    names.filter(|name| name != "mod" && name != "lib" && name != "main").collect()
}

fn layer(name: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| *layer == name)
}

/// What the crate's root says again of a layer's: `pub use store::{Error, Store}`.
fn reexports(root: &str) -> Vec<(String, usize)> {
    let tokens = tokens(root);
    let mut found = Vec::new();
    for (at, token) in tokens.iter().enumerate().filter(|(_, token)| token.text == "use") {
        let Some(layer) = tokens.get(at + 1).and_then(|token| layer(&token.text)) else { continue };
        let rest = tokens.iter().skip(at + 2).take_while(|next| next.text != ";");
        let names = rest.filter(|next| next.is_name() && next.line >= token.line);
        found.extend(names.map(|name| (name.text.clone(), layer)));
    }
    found
}

/// The names right below the crate's root that a file in these modules mentions, with their lines.
fn root_names(modules: &[String], text: &str) -> Vec<Token> {
    let tokens = tokens(text);
    let is = |at: usize, text: &str| tokens.get(at).is_some_and(|token| token.text == text);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let within = at > 1 && is(at - 1, "::") && tokens.get(at - 2).is_some_and(Token::is_name);
        let mut next = at;
        match tokens.get(at).map(|token| token.text.as_str()) {
            Some("crate" | "caskfs") if !within => next += 1,
            Some("super") if !within => {
                // Only as many of them as there are modules lead to the root.
                let mut climbs = 0;
                while is(next, "super") {
                    climbs += 1;
                    next += if is(next + 1, "::") && is(next + 2, "super") { 2 } else { 1 };
                }
                if climbs < modules.len() {
                    at = next;
                    continue;
                }
            }
            _ => {
                at += 1;
                continue;
            }
        }
        if is(next, "::") {
            found.extend(source::first_names(&tokens, next + 1));
        }
        at = next;
    }
    found
}

/// Lines of a file that name a higher layer.
fn upward(file: &Path, text: &str, reexports: &[(String, usize)]) -> Vec<String> {
    let modules = modules(file);
    let Some(own) = modules.first().and_then(|name| layer(name)) else { return Vec::new() };
    let names = root_names(&modules, text).into_iter();
    let higher = names.filter(|name| {
        let again = reexports.iter().find(|(again, _)| *again == name.text).map(|(_, layer)| *layer);
        layer(&name.text).or(again).is_some_and(|named| named > own)
    });
    higher.map(|name| format!("src/{}:{}: {} names {}", file.display(), name.line, LAYERS[own], name.text)).collect()
}

#[test]
fn imports_run_downward_only() {
    let reexports = reexports(&text(Path::new("lib.rs")));
    assert!(reexports.contains(&("Store".to_owned(), 2)), "{reexports:?}");
    let found: Vec<String> = files().iter().flat_map(|file| upward(file, &text(file), &reexports)).collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn every_file_is_in_a_layer() {
    let stray = files().into_iter().filter(|file| modules(file).first().is_some_and(|name| layer(name).is_none()));
    assert_eq!(stray.collect::<Vec<_>>(), Vec::<PathBuf>::new());
}

#[test]
fn every_file_is_small() {
    let long = files().into_iter().map(|file| (text(&file).lines().count(), file)).filter(|(lines, _)| *lines > LINES);
    assert_eq!(long.collect::<Vec<_>>(), []);
}

#[test]
fn nothing_is_unsafe() {
    let mut found = Vec::new();
    for file in files().iter().filter(|file| !UNSAFE.iter().any(|allowed| Path::new(allowed) == file.as_path())) {
        let unsafe_tokens = tokens(&text(file)).into_iter().filter(|token| token.text == "unsafe");
        found.extend(unsafe_tokens.map(|token| format!("src/{}:{}", file.display(), token.line)));
    }
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn a_planted_violation_is_found() {
    let reexports = reexports("pub use store::{Error, Store};\npub use log::{Extra as Again};");
    let found = |file: &str, text: &str| upward(Path::new(file), text, &reexports);
    let store = |text| found("store/keydir.rs", text).len();
    // What runs downward, or is no import.
    let right = [
        "use crate::log::Log;",
        "use crate::{medium::Disk, log::{Log, Error}};",
        "log::error!(\"crate::fs::X\"); // crate::fs\n/* crate::fuse /* crate::cli */ */",
        "use super::fs; use super::super::log; let fs = 'a'; let c = '\"'; let crate_fs = r#\"crate::fs \"#;",
        "fn f<'a>(x: &'a str) { self::fs::g(); std::fs::read(x); }",
    ];
    assert_eq!(right.map(store), [0; 5]);
    // What does not.
    let wrong = [
        "use crate::fs::Filesystem;",
        "use caskfs::fuse;",
        "use crate::{\n  log::{Log, fuse},\n  cli,\n};",
        "fn f() -> crate::fs::Error {}",
        "fn f() { let x = b'\\''; super::super::fs::g(); }",
        "use super::super::{log, cli::main};",
        "pub(in crate::fuse) fn f() {}",
        "type X<'a> = &'a ::caskfs::fs::Y;",
    ];
    assert_eq!(wrong.map(store), [1; 8]);
    assert_eq!(found("log/mod.rs", "\n\nuse super::store::X;"), ["src/log/mod.rs:3: log names store"]);
    assert_eq!(found("log/mod.rs", "use crate::Error;"), ["src/log/mod.rs:1: log names Error"]);
    assert_eq!(found("fs/io.rs", "use crate::Error;").len() + found("log/mod.rs", "use crate::Again;").len(), 0);
    assert_eq!(found("medium/mod.rs", "use crate::Again;").len(), 1);
}
