//! A store on filesystems that lack this and that: it does without, says so once, and keeps the contract.

use std::sync::Arc;
use std::thread;
use std::time::Duration;

use caskfs::{Options, Store};

use crate::base::{Base, Kind};
use crate::sandbox::Sandbox;
use crate::unmount;
use crate::writers::{Writers, get, value};

/// Names of all kinds, values short and long.
const FILL: &str = r#"
    mkdir -p names/below; for i in $(seq 60); do echo "$i" > "names/$i"; done
    head -c 3000000 /dev/urandom > "$OUT/long"; cp "$OUT/long" long; cp "$OUT/long" names/long
    ln names/1 names/below/hard; ln -s 1 names/soft; mv names/below names/moved; mv names/2 names/3
    setfattr -n user.note -v text names/4; chmod 640 names/5; truncate -s 7 names/6; rm names/7; mkfifo names/fifo
    printf over | dd of=names/long bs=1 seek=100000 conv=notrunc status=none
"#;

/// All of that is there.
const CHECK: &str = r#"
    cmp long "$OUT/long"
    [ "$(ls names | wc -l)" = 62 ] && [ ! -e names/2 ] && [ "$(cat names/3)" = 2 ] && [ "$(cat names/60)" = 60 ]
    [ "$(stat -c %h names/moved/hard)" = 2 ] && [ "$(readlink names/soft)" = 1 ] && [ -p names/fifo ]
    [ "$(getfattr --only-values -n user.note names/4)" = text ] && [ "$(stat -c %a names/5)" = 640 ]
    [ "$(stat -c %s names/6)" = 7 ] && [ ! -e names/7 ]
    [ "$(tail -c +100001 names/long | head -c 4)" = over ] && [ "$(stat -c %s names/long)" = 3000000 ]
    cmp -n 100000 names/long "$OUT/long"
"#;

/// How often that starts a daemon that writes.
const STARTS: usize = 4;

const NO_FALLOCATE: &str = "cannot set room aside (fallocate)";

/// The contract on such a filesystem; returns what the daemons said.
fn holds_on(base: &Base) -> String {
    let store = base.path().join("store");
    rotates_and_merges(&base.path().join("small"));
    let sandbox = Sandbox::with_store(Some(store));
    let mut said = sandbox.mount();
    sandbox.sh(FILL);
    sandbox.sh(CHECK);
    sandbox.kill();
    said += &sandbox.mount();
    sandbox.sh(CHECK);
    let writers = Writers::default();
    let mount = sandbox.mountpoint();
    for round in ["first", "second"] {
        writers.write_to(&mount, true, |_| {
            thread::sleep(Duration::from_millis(400));
            sandbox.kill();
        });
        said += &sandbox.mount();
        writers.check(round, |key| get(&mount, key));
    }
    assert!(writers.total() > 16, "{}", writers.total());
    sandbox.sh(CHECK);
    sandbox.sh("df . > /dev/null; rm -r w*");
    unmount(&sandbox);
    let compacted = sandbox.caskfs("compact", &[]);
    assert!(compacted.status.success(), "{compacted:?}");
    sandbox.mount_with(&["--read-only"]);
    sandbox.sh(CHECK);
    said + &sandbox.log()
}

/// A store with small segments: many are made, sealed, merged and removed.
fn rotates_and_merges(path: &std::path::Path) {
    let options = Options { create: true, segment_size: 64 << 10, ..Options::default() };
    let open = || Store::open(path, options.clone()).unwrap();
    let store = Arc::new(open());
    let rounds = 30;
    for round in 1..=rounds {
        (0..20).for_each(|key| store.put(format!("k{key}"), value(&format!("k{key}"), round)).unwrap());
    }
    store.remove("k0").unwrap();
    store.compact().unwrap();
    let info = store.info().unwrap();
    assert!(info.merges > 0 && info.failure.is_none(), "{info:?}");
    drop(store);
    let store = open();
    let report = store.recovery_report();
    assert_eq!((report.torn.len(), report.damage.len()), (0, 0), "{report:?}");
    for key in (0..20).map(|key| format!("k{key}")) {
        assert_eq!(store.get(&key).unwrap(), (key != "k0").then(|| value(&key, rounds)), "{key}");
    }
}

/// What warns in this, of the filesystem.
fn warnings(said: &str) -> Vec<&str> {
    let of_kills = ["left by a crash", "died without unmounting"];
    let warns = |line: &&str| line.contains("WARN") && !of_kills.iter().any(|kill| line.contains(kill));
    said.lines().filter(warns).collect()
}

fn nothing_lacks(kind: Kind) {
    let Some(base) = Base::new(kind, 512) else { return };
    let said = holds_on(&base);
    assert_eq!(warnings(&said), Vec::<&str>::new());
}

/// Each daemon says once what is missing, and nothing else.
fn lacks(kind: Kind, what: &[&str]) {
    let Some(base) = Base::new(kind, 512) else { return };
    let said = holds_on(&base);
    let warnings = warnings(&said);
    for what in what {
        assert_eq!(warnings.iter().filter(|line| line.contains(what)).count(), STARTS, "{said}");
    }
    assert_eq!(warnings.len(), STARTS * what.len(), "{said}");
}

#[test]
fn ext4() {
    nothing_lacks(Kind::Ext4);
}

#[test]
fn xfs() {
    nothing_lacks(Kind::Xfs);
}

#[test]
fn btrfs() {
    nothing_lacks(Kind::Btrfs);
}

#[test]
fn tmpfs() {
    nothing_lacks(Kind::Tmpfs);
}

#[test]
fn overlay() {
    nothing_lacks(Kind::Overlay);
}

#[test]
fn bindfs() {
    lacks(Kind::Bindfs, &[NO_FALLOCATE]);
}

#[test]
fn caskfs_on_caskfs() {
    nothing_lacks(Kind::Caskfs);
}

/// No fallocate, no hard links, no sockets: commands cannot reach the daemon, and everything else goes well.
#[test]
fn exfat_through_fuse() {
    lacks(Kind::Exfat, &["no control socket", NO_FALLOCATE]);
}

/// A filesystem that says that it has no room, and has.
#[test]
fn a_size_of_nothing_is_not_believed() {
    lacks(Kind::Unlimited, &["tells no size"]);
}
