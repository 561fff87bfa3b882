//! kill -9 of the daemon, again and again, while eight write.

use std::thread;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::sandbox::Sandbox;
use crate::variable;
use crate::writers::{Writers, get};

#[test]
fn what_was_acknowledged_survives_kill_nine() {
    let rounds = variable("CASKFS_KILL_ROUNDS", 8);
    let sandbox = Sandbox::mounted();
    let mount = sandbox.mountpoint();
    let writers = Writers::default();
    let mut random = StdRng::seed_from_u64(variable("CASKFS_FAULTS_SEED", 9));
    for round in 0..rounds {
        writers.write_to(&mount, false, |_| {
            thread::sleep(Duration::from_millis(random.random_range(100..800)));
            sandbox.kill();
        });
        sandbox.mount();
        writers.check(&format!("round {round}"), |key| get(&mount, key));
    }
    let total = writers.total();
    assert!(u64::from(total) > rounds * 8, "only {total} values were written at all");
    println!("{rounds} rounds, {total} values acknowledged, all of them there");
}
