//! Histories: threads do random things to few keys through several doors at once, and what each was told must fit.
//!
//! Every answer is noted with its times. Then an order is looked for in which all that was done one after the other gives
//! these answers, and which nobody's clock contradicts: the history is *linearizable* (Wing and Gong, 1993). A listing is
//! one step, and so of one moment. A value says which one it is in each of its words and by its length, so that a mix of two
//! is seen as such.
//!
//! `CASKFS_HISTORY_SEED` replays a run as far as threads can be, `CASKFS_HISTORY_ROUNDS` makes it longer. A further door is
//! another `Door`.

#![cfg(feature = "cli")]
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test may panic")]

#[path = "history/check.rs"]
mod check;
#[path = "cli/command.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod command;
#[path = "history/doors.rs"]
mod doors;
#[path = "history/driver.rs"]
mod driver;
#[path = "mount/sandbox.rs"]
#[allow(dead_code, reason = "other tests use the rest")]
mod sandbox;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use caskfs::medium::SimDisk;
use caskfs::{Options, Store};

use doors::{Commands, Door, Library, Mount, Parts};
use driver::{Run, run};
use sandbox::Sandbox;

/// Values are up to so many bytes long.
const LARGE: usize = 300_000;
/// The same where one request of the kernel must bring the whole.
const SMALL: usize = 4_000;

#[test]
fn the_library_has_one_history() {
    let options = Options { create: true, durable: false, segment_size: 1 << 20, ..Options::default() };
    let store = Store::open_on(std::sync::Arc::new(SimDisk::new()), options).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                store.merge_run(0, 2).unwrap();
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let (whole, parts) = (Library(&store), Parts(&store));
        let doors: [&dyn Door; 5] = [&whole, &whole, &whole, &parts, &parts];
        let ran = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            run(&Run { doors: &doors, longest: LARGE, renames: true, rounds: 80 });
        }));
        done.store(true, Ordering::Relaxed);
        ran.unwrap_or_else(|failed| std::panic::resume_unwind(failed));
    });
}

fn mounted(options: &[&str]) {
    let sandbox = Sandbox::mounted_with(options);
    let (mount, commands) = (Mount::new(&sandbox), Commands(&sandbox));
    let doors: [&dyn Door; 4] = [&mount, &mount, &commands, &commands];
    run(&Run { doors: &doors, longest: SMALL, renames: false, rounds: 30 });
}

#[test]
#[ignore = "finds that the kernel keeps what it looked up while a command changed it"]
fn the_mount_and_the_commands_have_one_history() {
    mounted(&[]);
}

#[test]
#[ignore = "as the one before"]
fn a_mount_for_all_users_and_the_commands_have_one_history() {
    if sandbox::needs_root() {
        mounted(&["--allow-other"]);
    }
}

/// The commands read values of any length from one moment.
#[test]
fn the_commands_have_one_history() {
    let sandbox = Sandbox::mounted();
    let commands = Commands(&sandbox);
    let doors: [&dyn Door; 4] = [&commands, &commands, &commands, &commands];
    run(&Run { doors: &doors, longest: LARGE, renames: true, rounds: 8 });
}
