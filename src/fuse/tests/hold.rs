//! A transport that holds an answer back: it was prepared before another door changed something, and reaches the kernel after.

use std::cell::RefCell;
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;

use super::mounted::Scratch;
use crate::fuse::Mount;

/// How long anything in here may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// The answer that is held back: it says that it is known, and waits to be let go.
type Held = (&'static str, Sender<()>, Receiver<()>);

/// The next answer to one kind of request is held back, if a test asks for that.
#[derive(Clone, Default)]
pub(in crate::fuse) struct Hold(Arc<Mutex<Option<Held>>>);

thread_local! {
    /// Of the next mount that this thread makes.
    static NEXT: RefCell<Option<Hold>> = const { RefCell::new(None) };
}

impl Hold {
    /// What the test has set aside for this mount.
    pub(in crate::fuse) fn take() -> Hold {
        NEXT.take().unwrap_or_default()
    }

    pub(in crate::fuse) fn wait(&self, name: &'static str) {
        let held = {
            let mut held = self.0.lock();
            if held.as_ref().is_none_or(|(kind, ..)| *kind != name) {
                return;
            }
            held.take()
        };
        let Some((_, known, go)) = held else { return };
        known.send(()).unwrap();
        go.recv_timeout(PATIENCE).unwrap();
    }

    /// Holds back the next answer to such a request.
    fn arm(&self, name: &'static str) -> (Receiver<()>, Sender<()>) {
        let ((known, is_known), (go, goes)) = (channel(), channel());
        *self.0.lock() = Some((name, known, goes));
        (is_known, go)
    }
}

/// What a program does, and the request whose answer is then held back.
struct Case {
    name: &'static str,
    /// Makes the kernel know, or forget, what it must for that request to come.
    before: fn(&Path),
    call: fn(&Path),
    /// The key that another door sets meanwhile.
    key: &'static str,
}

const NOTHING: fn(&Path) = |_| {};

/// All that brings names, attributes, pages or listings to the kernel.
const CASES: [Case; 9] = [
    Case { name: "lookup", before: NOTHING, call: |at| drop(fs::metadata(at.join("key"))), key: "key" },
    Case { name: "lookup", before: NOTHING, call: |at| drop(fs::metadata(at.join("none"))), key: "none" },
    Case {
        name: "getattr",
        // A change of which the kernel knows only that there was one.
        before: |at| OpenOptions::new().write(true).open(at.join("key")).unwrap().write_all(b"1").unwrap(),
        call: |at| drop(File::open(at.join("key")).unwrap().metadata()),
        key: "key",
    },
    Case {
        name: "setattr",
        before: |at| drop(fs::metadata(at.join("key"))),
        call: |at| {
            let permissions = fs::metadata(at.join("key")).unwrap().permissions();
            fs::set_permissions(at.join("key"), permissions).unwrap();
        },
        key: "key",
    },
    Case { name: "read", before: NOTHING, call: |at| drop(fs::read(at.join("key"))), key: "key" },
    Case { name: "write", before: NOTHING, call: |at| append(&at.join("key"), b"TAIL"), key: "key" },
    Case {
        name: "readdirplus",
        before: NOTHING,
        call: |at| assert!(fs::read_dir(at).unwrap().count() > 0),
        key: "none",
    },
    Case { name: "create", before: NOTHING, call: |at| drop(File::create(at.join("none"))), key: "none" },
    Case {
        name: "link",
        before: NOTHING,
        call: |at| fs::hard_link(at.join("key"), at.join("link")).unwrap(),
        key: "key",
    },
];

fn append(path: &Path, bytes: &[u8]) {
    OpenOptions::new().append(true).open(path).unwrap().write_all(bytes).unwrap();
}

/// Reads as a program does that asks nobody for the length: by sendfile, from the kernel's pages.
fn sent(path: &Path) -> Vec<u8> {
    let (mut here, mut there) = UnixStream::pair().unwrap();
    std::io::copy(&mut File::open(path).unwrap(), &mut here).unwrap();
    drop(here);
    let mut bytes = Vec::new();
    there.read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn no_answer_from_before_a_change_outlives_it() {
    for (number, case) in CASES.iter().enumerate() {
        for put in [&b"a value that is longer than the one before"[..], b"abc"] {
            let Some(scratch) = Scratch::new() else { return };
            let filesystem = scratch.filesystem();
            filesystem.store().put("key", "1234567890").unwrap();
            let hold = Hold::default();
            NEXT.set(Some(hold.clone()));
            let _mount = Mount::new(filesystem.clone(), &scratch.options()).unwrap();
            let (at, store) = (scratch.mountpoint(), filesystem.store());
            (case.before)(&at);
            let (known, go) = hold.arm(case.name);
            thread::scope(|scope| {
                let call = scope.spawn(|| (case.call)(&at));
                if known.recv_timeout(Duration::from_secs(5)).is_err() {
                    panic!("case {number}: no {} came", case.name);
                }
                let door = scope.spawn(|| store.put(case.key, put));
                while store.get(case.key).unwrap().as_deref() != Some(put) {
                    thread::yield_now();
                }
                go.send(()).unwrap();
                door.join().unwrap().unwrap();
                call.join().unwrap();
            });
            let (key, what) = (at.join(case.key), format!("case {number}: {}", case.name));
            assert_eq!(sent(&key), put, "{what}");
            assert_eq!(fs::read(&key).unwrap(), put, "{what}");
            assert_eq!(fs::metadata(&key).unwrap().len(), put.len() as u64, "{what}");
            let listed = fs::read_dir(&at).unwrap().map(|entry| entry.unwrap().file_name());
            assert!(listed.into_iter().any(|name| name == case.key), "{what}");
            append(&key, b"TAIL");
            assert_eq!(fs::read(&key).unwrap(), [put, b"TAIL"].concat(), "{what}");
        }
    }
}
