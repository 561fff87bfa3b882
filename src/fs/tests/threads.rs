//! Many threads at once: nobody waits for ever, and nothing is lost or torn.

use std::thread;

use super::*;

const THREADS: usize = 4;
const ROUNDS: usize = 150;

/// One value from end to end, or it was torn.
fn is_whole(value: &[u8]) -> bool {
    value.iter().all(|byte| Some(byte) == value.first())
}

/// Overwrites its own key and a shared one by writing a temporary and renaming it, as editors do.
fn work(filesystem: &Filesystem, worker: usize) {
    let own = format!("own{worker}");
    for round in 0..ROUNDS {
        let temporary = format!("temporary{worker}");
        let (stat, handle) = filesystem.create(&USER, ROOT, temporary.as_bytes(), 0o644, WRITE).unwrap();
        let value = vec![round as u8; 1 + round * 37 % 5000];
        filesystem.write(stat.id, handle, 0, &value, Writing::default()).unwrap();
        if let Some(sequence) = filesystem.flush(stat.id, handle).unwrap() {
            filesystem.when_durable(sequence, Box::new(|result| result.unwrap()));
        }
        filesystem.release(stat.id, handle).unwrap();
        let target = if round % 3 == 0 { "shared" } else { own.as_str() };
        filesystem.rename(ROOT, temporary.as_bytes(), ROOT, target.as_bytes(), Default::default()).unwrap();
        let _ = filesystem.setattr(&USER, stat.id, None, SetAttributes { mode: Some(0o600), ..Default::default() });
        filesystem.forget(stat.id, 1);
    }
}

/// Looks at everything meanwhile.
fn watch(filesystem: &Filesystem) {
    for round in 0..ROUNDS {
        if round % 8 == 0 {
            // What is read below may just be moving.
            filesystem.store().compact().unwrap();
        }
        let mut names = Vec::new();
        let mut list = |entry: &crate::fs::DirectoryEntry, _: &Stat| {
            names.push(entry.name.clone());
            true
        };
        filesystem.readdir(ROOT, 2, &mut list).unwrap();
        for name in names {
            let Some(stat) = filesystem.lookup(ROOT, &name).unwrap() else { continue };
            let value = filesystem.read(stat.id, 0, 10_000).unwrap();
            assert!(name.starts_with(b"temporary") || (is_whole(&value) && !value.is_empty()), "{name:?} is torn");
            filesystem.forget(stat.id, 1);
        }
        filesystem.statfs().unwrap();
        let _ = filesystem.fsyncdir(ROOT).unwrap();
    }
}

#[test]
fn threads_do_not_tear_each_other_s_values() {
    let disk = SimDisk::new();
    let options = Options { create: true, segment_size: 1 << 16, ..Options::default() };
    let store = Arc::new(Store::open_on(Arc::new(disk.clone()), options).unwrap());
    let filesystem = Filesystem::new(Arc::clone(&store), FilesystemOptions { dirty_limit: 8192, ..Default::default() });
    thread::scope(|scope| {
        for worker in 0..THREADS {
            let filesystem = &filesystem;
            scope.spawn(move || work(filesystem, worker));
        }
        scope.spawn(|| watch(&filesystem));
    });
    assert!(filesystem.state.lock().inodes.is_empty());
    assert_eq!(filesystem.state.lock().dirty, 0);
    drop((filesystem, store));
    let mount = Mount::on(disk, FilesystemOptions::default());
    let names = mount.store().list("").unwrap().into_iter();
    let names: Vec<_> = names.map(|listed| String::from_utf8(listed.key).unwrap()).collect();
    assert_eq!(names, ["own0", "own1", "own2", "own3", "shared"]);
    assert!(names.iter().all(|name| is_whole(&mount.value(name).unwrap())));
}
