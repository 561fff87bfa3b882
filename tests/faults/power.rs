//! A power cut for real: a filesystem that loses whatever was not synced.

use std::fs;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use caskfs::{Error, Options, Store};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::base::{Base, Kind, PowerSwitch};
use crate::sandbox::Sandbox;
use crate::variable;
use crate::writers::{Writers, get, value};

/// Cuts the power after a moment by chance, beside a file that nobody has synced.
fn cut_power(base: &Base, switch: PowerSwitch, random: &mut StdRng, end: &dyn Fn()) {
    thread::sleep(Duration::from_millis(random.random_range(100..900)));
    fs::write(base.path().join("unsynced"), "text that no sync was asked for").unwrap();
    end();
    switch.cut();
}

/// And it is back. That file proves that the cut was one.
fn power_is_back(base: &Base) {
    base.unmount();
    base.mount();
    let survived = fs::read(base.path().join("unsynced")).unwrap_or_default();
    assert!(survived.is_empty(), "no power was cut: what was not synced is there");
}

#[test]
fn what_was_acknowledged_survives_a_power_cut() {
    let Some(base) = Base::new(Kind::Ext4, 1024) else { return };
    let rounds = variable("CASKFS_CUT_ROUNDS", 4);
    let sandbox = Sandbox::with_store(Some(base.path().join("store")));
    let mount = sandbox.mountpoint();
    let writers = Writers::default();
    let mut random = StdRng::seed_from_u64(variable("CASKFS_FAULTS_SEED", 5));
    for round in 0..rounds {
        // Either the change of a name waits by itself, or its writer syncs the directory.
        let always = round % 2 == 1;
        sandbox.mount_with(if always { &["--sync", "always"] } else { &[] });
        writers.check(&format!("round {round}"), |key| get(&mount, key));
        let switch = base.power_switch();
        writers.write_to(&mount, !always, |end| cut_power(&base, switch, &mut random, end));
        sandbox.kill();
        power_is_back(&base);
    }
    sandbox.mount();
    writers.check("the last round", |key| get(&mount, key));
    let total = writers.total();
    assert!(u64::from(total) > rounds * 8, "only {total} values were written at all");
    println!("{rounds} rounds, {total} values acknowledged, all of them there");
}

/// The same without a mount, in small segments, so that rotations and merges are cut too.
#[test]
fn rotations_and_merges_survive_a_power_cut() {
    let Some(base) = Base::new(Kind::Ext4, 512) else { return };
    let rounds = variable("CASKFS_CUT_ROUNDS", 4);
    let open = || {
        let options = Options { create: true, segment_size: 64 << 10, ..Options::default() };
        Store::open(base.path().join("store"), options).unwrap()
    };
    let writers = Writers::default();
    let mut random = StdRng::seed_from_u64(variable("CASKFS_FAULTS_SEED", 6));
    let (mut merges, mut segments) = (0, 0);
    for round in 0..rounds {
        let store = Arc::new(open());
        writers.check(&format!("round {round}"), |key| store.get(key).unwrap());
        let merger = Arc::clone(&store);
        let merging = thread::spawn(move || while merger.compact().is_ok() {});
        let set = |key: &str, version| put(&store, key, version).map_err(std::io::Error::other);
        let switch = base.power_switch();
        writers.write(set, |end| cut_power(&base, switch, &mut random, end));
        merging.join().unwrap();
        let info = store.info();
        let info = info.unwrap_or_else(|error| panic!("a store that has failed tells no more: {error}"));
        assert!(info.failure.is_some(), "the store has not noticed");
        merges += info.merges;
        segments = info.segments;
        drop(store);
        power_is_back(&base);
    }
    let store = open();
    writers.check("the last round", |key| store.get(key).unwrap());
    let total = writers.total();
    assert!(merges >= rounds && segments > 2, "{merges} merges, {segments} segments");
    println!("{rounds} rounds, {total} values acknowledged, {merges} merges, nothing lost");
}

fn put(store: &Store, key: &str, version: u32) -> Result<(), Error> {
    match version % 7 {
        6 => store.remove(key).map(drop),
        _ => store.put(key, value(key, version)),
    }
}
