//! Keeping the CPUs awake, and letting them sleep again.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::sandbox::{Sandbox, needs_root};

const DEVICE: &str = "/dev/cpu_dma_latency";

fn holds(daemon: i32) -> bool {
    let open = fs::read_dir(format!("/proc/{daemon}/fd")).unwrap();
    open.flatten().any(|entry| fs::read_link(entry.path()).is_ok_and(|target| target == Path::new(DEVICE)))
}

#[track_caller]
fn wait_until(daemon: i32, held: bool, between: impl Fn()) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while holds(daemon) != held {
        assert!(Instant::now() < deadline, "held: {}", !held);
        between();
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn the_cpus_are_kept_awake_while_requests_come() {
    if !needs_root() || !Path::new(DEVICE).exists() {
        return;
    }
    let sandbox = Sandbox::mounted_with(&["--low-latency"]);
    let daemon = sandbox.daemons()[0].as_raw();
    for round in 0..3 {
        wait_until(daemon, true, || fs::write(sandbox.at("key"), round.to_string()).unwrap());
        wait_until(daemon, false, || {});
    }
    sandbox.unmount();
    let sandbox = Sandbox::mounted();
    fs::write(sandbox.at("key"), "v").unwrap();
    assert!(!holds(sandbox.daemons()[0].as_raw()), "nobody asked for it");
}
