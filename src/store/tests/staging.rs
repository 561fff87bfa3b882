//! Values that are written before they are published.

use super::*;

#[test]
fn what_is_staged_is_seen_by_nobody() {
    let (disk, store) = fresh();
    store.put("k", "old").unwrap();
    let entry = id(&store, "k");
    let run = store.stage(entry, 0, 0, &[1; 300_000]).unwrap();
    assert_eq!(run.extents.iter().map(|(_, len, _)| len).sum::<u64>(), 300_000);
    store.stage(entry, run.stage, 300_000, &[2; 100]).unwrap();
    store.sync().unwrap();
    assert_eq!(store.get("k").unwrap().unwrap(), b"old");
    // Nor is it after a crash: the next process has never heard of the stage.
    let next = reopen(&disk.restart());
    assert_eq!(next.get("k").unwrap().unwrap(), b"old");
    next.put("other", "1").unwrap();
    publish(&store, entry, Update { replace: true, stage: run.stage, size: 300_100, ..Update::default() });
    let check = |store: &Store| {
        let value = store.get("k").unwrap().unwrap();
        assert_eq!(value.len(), 300_100);
        assert!(value[..300_000].iter().all(|byte| *byte == 1) && value[300_000..] == [2; 100]);
    };
    check(&store);
    drop(store);
    check(&reopen(&disk));
}

#[test]
fn an_abandoned_stage_is_never_published() {
    let (disk, store) = fresh();
    store.put("k", "old").unwrap();
    let entry = id(&store, "k");
    let run = store.stage(entry, 0, 0, b"staged").unwrap();
    store.abandon(run.stage);
    publish(&store, entry, Update { stage: run.stage, size: 6, ..Update::default() });
    assert_eq!(store.get("k").unwrap().unwrap(), b"old\0\0\0");
    drop(store);
    let store = reopen(&disk);
    // What the log still holds of it is dead at the next start too.
    assert_eq!(store.stat("k").unwrap().unwrap().size, 6);
}

/// A stage was begun, then a put of the same key came between: the stage is newer nevertheless, for it is published
/// last, and its records must stand behind those of the put.
#[test]
fn a_put_between_staging_and_publishing_is_overtaken() {
    for (between, replace) in [(10, true), (300_000, true), (10, false), (300_000, false)] {
        let (disk, store) = fresh();
        store.put("k", vec![b'o'; 1000]).unwrap();
        let entry = id(&store, "k");
        let run = store.stage(entry, 0, 100, &[b's'; 200]).unwrap();
        store.put("k", vec![b'p'; between]).unwrap();
        assert_eq!(id(&store, "k"), entry);
        assert_eq!(store.get("k").unwrap().unwrap(), vec![b'p'; between]);
        publish(&store, entry, Update { replace, stage: run.stage, size: 400, ..Update::default() });
        let mut expected = vec![0; 400];
        if !replace {
            let shown = between.min(400);
            expected[..shown].fill(b'p');
        }
        expected[100..300].fill(b's');
        assert_eq!(store.get("k").unwrap().unwrap(), expected, "{between} {replace}");
        store.abandon(run.stage);
        drop(store);
        let store = reopen(&disk);
        assert_eq!(store.get("k").unwrap().unwrap(), expected, "{between} {replace}");
        // Nothing is left behind the end of the value.
        publish(&store, entry, Update { size: 2000, ..Update::default() });
        expected.resize(2000, 0);
        assert_eq!(store.get("k").unwrap().unwrap(), expected, "{between} {replace}");
        drop(store);
        assert_eq!(reopen(&disk).get("k").unwrap().unwrap(), expected, "{between} {replace}");
    }
}

#[test]
fn a_value_is_patched_in_place() {
    let (disk, store) = fresh();
    let mut expected: Vec<u8> = (0..500_000).map(|place| (place / 1000) as u8).collect();
    store.put("k", &expected).unwrap();
    let entry = id(&store, "k");
    let before = store.info().unwrap().log_bytes;
    let patches = [(0, 10, 1), (131_000, 200, 2), (131_072, 4096, 3), (499_990, 10, 4), (499_999, 30, 5)];
    for (offset, len, byte) in patches {
        expected.resize(expected.len().max(offset + len), 0);
        expected[offset..offset + len].fill(byte);
        let bytes = vec![(offset as u64, vec![byte; len].into())];
        publish(&store, entry, Update { bytes, size: expected.len() as u64, ..Update::default() });
        assert!(store.get("k").unwrap().unwrap() == expected, "{offset}");
    }
    assert!(store.info().unwrap().log_bytes - before < 8000, "only what was changed is written");
    expected[1000..200_000].fill(0);
    let holes = vec![(1000, 199_000)];
    publish(&store, entry, Update { holes, size: expected.len() as u64, ..Update::default() });
    assert!(store.get("k").unwrap().unwrap() == expected);
    let stat = store.stat("k").unwrap().unwrap();
    assert_eq!(stat.allocated, stat.size - 199_000);
    drop(store);
    let store = reopen(&disk);
    assert!(store.get("k").unwrap().unwrap() == expected);
    assert_eq!(store.stat("k").unwrap().unwrap(), stat);
    let mut middle = [9; 3000];
    assert_eq!(store.read(entry, 199_000, &mut middle).unwrap(), 3000);
    assert_eq!(middle, expected[199_000..202_000]);
    assert_eq!(store.read(entry, 500_020, &mut middle).unwrap(), 9, "up to the end");
    assert_eq!(store.read(entry, 1 << 40, &mut middle).unwrap(), 0);
}
