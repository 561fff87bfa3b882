//! `docs/EXIT_CODES.md` lists the codes that there are, and no others.

use std::collections::BTreeMap;

const SOURCE: &str = include_str!("../../src/cli/exit.rs");
const PAGE: &str = include_str!("../../docs/EXIT_CODES.md");

#[test]
fn the_page_lists_every_code() {
    let constant = |line: &str| {
        let (name, code) = line.strip_prefix("pub(super) const ")?.split_once(": u8 = ")?;
        Some((code.trim_end_matches(';').parse::<u8>().ok()?, name.to_owned()))
    };
    let row = |line: &str| {
        let mut cells = line.strip_prefix('|')?.split('|').map(str::trim);
        Some((cells.next()?.parse::<u8>().ok()?, cells.next()?.trim_matches('`').to_owned()))
    };
    let mut wanted: BTreeMap<u8, String> = SOURCE.lines().filter_map(constant).collect();
    assert!(wanted.len() > 10);
    wanted.insert(0, "SUCCESS".into());
    wanted.insert(2, "USAGE".into());
    let listed: BTreeMap<u8, String> = PAGE.lines().filter_map(row).collect();
    assert_eq!(listed, wanted);
}
