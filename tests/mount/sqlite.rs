//! Databases in the mount. A transaction whose COMMIT returned survives the death of the daemon, and none is ever half
//! there.

use std::fs::{self, File};
use std::io::Write;
use std::process::Stdio;

use crate::sandbox::{Sandbox, require};

/// Transactions that each insert a row, keep a sum of all rows, and, once committed, print their number.
fn transactions(numbers: std::ops::RangeInclusive<u32>) -> String {
    let transaction = |number| {
        format!(
            "BEGIN; INSERT INTO t VALUES ({number}, randomblob(300)); UPDATE s SET total = total + {number}; COMMIT;\n\
             SELECT {number};\n"
        )
    };
    numbers.map(transaction).collect()
}

/// The number of rows, of a database that is whole.
fn rows(sandbox: &Sandbox) -> u32 {
    let printed = sandbox.sh(r#"
        sqlite3 base.db 'PRAGMA integrity_check'
        sqlite3 base.db 'SELECT (SELECT coalesce(sum(id), 0) FROM t) = total FROM s'
        sqlite3 base.db 'SELECT count(*) FROM t'
        "#);
    let lines: Vec<&str> = printed.lines().collect();
    assert_eq!(lines[..2], ["ok", "1"]);
    lines[2].parse().unwrap()
}

fn drive(journal: &str) {
    require("sqlite3");
    let sandbox = Sandbox::mounted();
    let create = "CREATE TABLE t(id INTEGER PRIMARY KEY, v BLOB); CREATE TABLE s(total); INSERT INTO s VALUES(0);";
    sandbox.sh(&format!("sqlite3 base.db 'PRAGMA journal_mode={journal}; {create}'"));

    fs::write(sandbox.outside("first.sql"), transactions(1..=200)).unwrap();
    sandbox.sh("sqlite3 -bail base.db < \"$OUT/first.sql\" > /dev/null");
    assert_eq!(rows(&sandbox), 200);
    sandbox.remount();
    assert_eq!(rows(&sandbox), 200);

    for round in 1..=2 {
        let first = rows(&sandbox) + 1;
        let acknowledged = sandbox.outside("acknowledged");
        let mut client = sandbox.shell("exec stdbuf -oL sqlite3 -bail base.db");
        client.stdin(Stdio::piped()).stdout(File::create(&acknowledged).unwrap()).stderr(Stdio::null());
        let mut client = client.spawn().unwrap();
        let mut input = client.stdin.take().unwrap();
        let feeder = std::thread::spawn(move || {
            // The client ends when it can go no further.
            let _ = input.write_all(transactions(first..=first + 20_000).as_bytes());
        });
        sandbox.wait("fifty transactions", || fs::read_to_string(&acknowledged).unwrap().lines().count() >= 50 * round);
        sandbox.kill();
        client.wait().unwrap();
        feeder.join().unwrap();
        sandbox.mount();
        let acknowledged = fs::read_to_string(&acknowledged).unwrap();
        let last: u32 = acknowledged.lines().last().unwrap().parse().unwrap();
        let rows = rows(&sandbox);
        assert!(rows == last || rows == last + 1, "{rows} rows, and {last} were acknowledged");
    }
}

#[test]
fn with_a_rollback_journal() {
    drive("DELETE");
}

#[test]
fn with_a_write_ahead_log() {
    drive("WAL");
}

#[test]
fn two_clients_share_a_database() {
    require("sqlite3");
    let sandbox = Sandbox::mounted();
    sandbox.sh(
        r#"
        sqlite3 base.db 'PRAGMA journal_mode=WAL; CREATE TABLE t(v)' > /dev/null
        client() {
            for i in $(seq 40); do echo ".timeout 20000"; echo "INSERT INTO t VALUES ('$1$i');"; done | sqlite3 -bail base.db
        }
        client a & one=$!
        client b & two=$!
        wait $one; wait $two
        [ "$(sqlite3 base.db 'PRAGMA integrity_check; SELECT count(*) FROM t')" = $'ok\n80' ]
        "#,
    );
}
