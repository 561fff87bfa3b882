//! What all fuzz targets share: the measure of what a run allocates, and the store that seeds are taken from.

use std::ops::Range;
use std::sync::Arc;

use caskfs::medium::{Medium, SimDisk};
use caskfs::store::{Batch, Lender, Loan, Options, ROOT, RepairMode, Store, Unlink, Update};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Runs `decode` on so many bytes of input, and panics if it has more memory at a time than 64 times that, and
/// `fixed` bytes.
pub fn measured<T>(input: usize, fixed: usize, decode: impl FnOnce() -> T) -> T {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let decoded = decode();
    let taken = MEMORY.peak_usage().saturating_sub(before);
    let allowed = 64 * input + fixed;
    assert!(taken <= allowed, "{input} bytes of input took {taken} bytes of memory, and {allowed} are allowed");
    decoded
}

/// How the store of the seeds is opened.
pub fn options() -> Options {
    Options { create: true, segment_size: 2000, background: false, ..Options::default() }
}

/// A store with something of everything in a few small segments.
pub fn sample() -> SimDisk {
    let disk = SimDisk::new();
    let store = Store::open_on(Arc::new(disk.clone()), options()).expect("a new store");
    let put = |key: &str, value: &[u8]| store.put(key, value).expect("a put");
    put("short", b"v");
    put("directory/below/key", &[b'x'; 300]);
    put("long", &vec![b'l'; 140_000]);
    (0..12).for_each(|round| put(&format!("many/{}", round % 4), &[round; 90]));
    let linked = store.stat("short").expect("a key").expect("it is there").id;
    let name = |number: u8| format!("name{number}").into_bytes();
    let mut transaction = store.begin().expect("a transaction");
    (0..8).for_each(|number| transaction.link(linked, ROOT, &name(number)).expect("a link"));
    transaction.commit().expect("room");
    let mut transaction = store.begin().expect("a transaction");
    transaction.unlink(ROOT, &name(6), Unlink::File).expect("an unlink");
    transaction.commit().expect("room");
    let mut batch = Batch::new();
    batch.put("batch/one", "1").put("batch/two", "2");
    store.write(batch).expect("a batch");
    store.rename("directory", "renamed").expect("a rename");
    store.remove("many/2").expect("a removal");
    store.compact().expect("a merge");
    put("short", b"the last one");
    share(&store, "long", "shared");
    put("lost", b"an older value, by which its name is known");
    put("lost", &[b'!'; 200]);
    store.close().expect("the end");
    lose(&disk);
    disk
}

/// Sets a key to the value of another one, which it shares.
fn share(store: &Store, from: &str, to: &str) {
    store.put(to, "").expect("a put");
    let stat = |key: &str| store.stat(key).expect("a key").expect("it is there");
    let value = store.open_value(from).expect("a value").expect("it is there");
    let places = std::iter::successors(value.next_data(0), |last| value.next_data(last.end));
    let (from, to) = (stat(from), stat(to));
    let loan = |place: Range<u64>| Loan {
        offset: place.start,
        len: place.end - place.start,
        from: Lender::Value(from.id, place.start),
    };
    let loans: Vec<Loan> = places.map(loan).collect();
    let stage = store.stage_shares(to.id, 0, &loans).expect("room").stage;
    let mut transaction = store.begin().expect("a transaction");
    let update = Update { replace: true, stage, size: from.size, ..Update::default() };
    transaction.set_value(to.id, update).expect("a value");
    transaction.commit().expect("room");
}

/// Damages the value of the key `lost`, and repairs the store.
fn lose(disk: &SimDisk) {
    for path in disk.paths() {
        let bytes = disk.file(&path).expect("a file of the store");
        if let Some(place) = bytes.windows(200).position(|window| window == [b'!'; 200]) {
            assert!(disk.corrupt(&path, place as u64, 1));
        }
    }
    let report = Store::repair_on(Arc::new(disk.clone()), options(), RepairMode::default(), &mut |_| {}).expect("a repair");
    assert_eq!(report.lost_keys, ["lost"]);
    for path in disk.paths().iter().filter(|path| path.starts_with("quarantine/")) {
        disk.remove(path).expect("a file of the quarantine");
    }
}
