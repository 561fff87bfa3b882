//! Open files: unlinked, shared, appended to, locked, large.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{FileExt, MetadataExt};

use nix::fcntl::{Flock, FlockArg};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::sandbox::Sandbox;

#[test]
fn an_unlinked_file_lives_while_it_is_open() {
    let sandbox = Sandbox::mounted();
    let mut file = OpenOptions::new().create_new(true).read(true).write(true).open(sandbox.at("key")).unwrap();
    file.write_all(b"before ").unwrap();
    fs::remove_file(sandbox.at("key")).unwrap();
    assert_eq!(file.metadata().unwrap().nlink(), 0);
    file.write_all(b"after").unwrap();
    file.sync_all().unwrap();
    fs::write(sandbox.at("key"), "another").unwrap();
    file.seek(SeekFrom::Start(0)).unwrap();
    let mut value = String::new();
    file.read_to_string(&mut value).unwrap();
    assert_eq!(value, "before after");
    drop(file);
    assert_eq!(fs::read(sandbox.at("key")).unwrap(), b"another");
    sandbox.crash();
    assert_eq!(fs::read(sandbox.at("key")).unwrap(), b"another");
    assert_eq!(fs::read_dir(sandbox.mountpoint()).unwrap().count(), 1);
}

#[test]
fn a_file_that_was_replaced_lives_while_it_is_open() {
    let sandbox = Sandbox::mounted();
    fs::write(sandbox.at("key"), vec![1; 300_000]).unwrap();
    let old = File::open(sandbox.at("key")).unwrap();
    fs::write(sandbox.at("new"), vec![2; 200_000]).unwrap();
    fs::rename(sandbox.at("new"), sandbox.at("key")).unwrap();
    let mut value = vec![0; 300_000];
    old.read_exact_at(&mut value, 0).unwrap();
    assert!(value.iter().all(|&byte| byte == 1));
    assert_eq!(fs::read(sandbox.at("key")).unwrap(), vec![2; 200_000]);
}

#[test]
fn two_processes_append_to_one_file() {
    let sandbox = Sandbox::mounted();
    sandbox.sh(r#"
        writer() { exec 3>> log; for i in $(seq 300); do echo "$1 line number $i" >&3; done; }
        opener() { for i in $(seq 100); do echo "$1 line number $i" >> log; done; }
        writer a & one=$!
        writer b & two=$!
        opener c & three=$!
        opener d & four=$!
        wait $one; wait $two; wait $three; wait $four
        [ "$(wc -l < log)" = 800 ]
        [ "$(sort log | uniq | wc -l)" = 800 ]
        [ "$(grep -vcE '^[abcd] line number [0-9]+$' log)" = 0 ] || exit 3
        for name in a b c d; do
            grep "^$name" log | cut -d' ' -f4 | sort -nC || exit 4
        done
        "#);
}

#[test]
fn locks_are_seen_by_other_processes() {
    let sandbox = Sandbox::mounted();
    let file = File::create(sandbox.at("lock")).unwrap();
    let lock = Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno).unwrap();
    assert!(!sandbox.try_sh("flock -n lock true").status.success());
    assert!(!sandbox.try_sh("flock -sn lock true").status.success());
    drop(lock);
    sandbox.sh("flock -n lock true");

    // Whoever dies lets go.
    let mut holder =
        sandbox.shell("flock lock -c 'echo held; exec sleep 60'").stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut held = [0; 5];
    holder.stdout.take().unwrap().read_exact(&mut held).unwrap();
    assert!(!sandbox.try_sh("flock -n lock true").status.success());
    sandbox.sh("pkill -P $PPID -x nothing || true");
    holder.kill().unwrap();
    holder.wait().unwrap();
}

/// 64 MiB, overwritten at random places and lengths: the same as a plain vector of bytes, now and after the mount.
#[test]
fn a_large_file_is_overwritten_in_pieces() {
    const SIZE: usize = 64 << 20;
    let sandbox = Sandbox::mounted();
    let mut random = StdRng::seed_from_u64(64);
    let mut wanted: Vec<u8> = (0..SIZE).map(|place| (place >> 12) as u8 ^ place as u8).collect();
    fs::write(sandbox.at("big"), &wanted).unwrap();
    let file = OpenOptions::new().read(true).write(true).open(sandbox.at("big")).unwrap();
    for number in 1..=500 {
        let len = if number % 5 == 0 { random.random_range(1..100_000) } else { 4096 };
        let place = random.random_range(0..SIZE - len);
        let place = if number % 3 == 0 { place } else { place & !4095 };
        let byte = random.random();
        wanted[place..place + len].fill(byte);
        file.write_all_at(&vec![byte; len], place as u64).unwrap();
        if number % 100 == 0 {
            file.sync_all().unwrap();
        }
    }
    drop(file);
    let same = || fs::read(sandbox.at("big")).unwrap() == wanted;
    assert!(same());
    sandbox.remount();
    assert!(same());
    sandbox.crash();
    assert!(same());
}

#[test]
fn a_sparse_file_reads_as_zeros_where_nothing_was_written() {
    let sandbox = Sandbox::mounted();
    let file = File::create(sandbox.at("sparse")).unwrap();
    file.write_all_at(b"end", 5 << 30).unwrap();
    file.write_all_at(b"middle", (2 << 30) + 77).unwrap();
    drop(file);
    sandbox.remount();
    let file = File::open(sandbox.at("sparse")).unwrap();
    let metadata = file.metadata().unwrap();
    assert_eq!(metadata.len(), (5 << 30) + 3);
    assert!(metadata.blocks() * 512 < 1 << 20, "{} blocks", metadata.blocks());
    let mut around = [1; 100];
    file.read_exact_at(&mut around, (2 << 30) + 70).unwrap();
    let mut wanted = [0; 100];
    wanted[7..13].copy_from_slice(b"middle");
    assert_eq!(around, wanted);
}

#[test]
fn df_shows_the_disk() {
    let sandbox = Sandbox::mounted();
    let free = |path: &str| -> u64 {
        sandbox.sh(&format!("df -B1 --output=avail {path} | tail -n 1")).trim().parse().unwrap()
    };
    let (mount, disk) = (free("\"$MNT\""), free("\"$STORE\""));
    assert!(mount > 0 && mount <= disk, "{mount} of {disk}");
}

/// Nor can it be written to, whichever way it is opened.
#[test]
fn a_program_that_runs_cannot_be_emptied() {
    use std::process::{Command, Stdio};

    use nix::errno::Errno;
    use nix::fcntl::{OFlag, open};
    use nix::sys::stat::Mode;

    let sandbox = Sandbox::mounted();
    // Not by this process, whose other threads fork: a copy of the descriptor would make the start fail.
    sandbox.sh("cp /bin/cat program");
    let bytes = fs::read("/bin/cat").unwrap();
    let mut running = Command::new(sandbox.at("program")).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    for access in [OFlag::O_RDONLY, OFlag::O_WRONLY, OFlag::O_RDWR] {
        for _ in 0..10 {
            let refused = open(&sandbox.at("program"), access | OFlag::O_TRUNC, Mode::empty()).map(drop);
            assert_eq!(refused, Err(Errno::ETXTBSY), "{access:?}");
            assert_eq!(fs::metadata(sandbox.at("program")).unwrap().len(), bytes.len() as u64);
        }
    }
    assert!(fs::read(sandbox.at("program")).unwrap() == bytes);
    running.stdin.take().unwrap().write_all(b"alive").unwrap();
    assert_eq!(running.wait_with_output().unwrap().stdout, b"alive");
    // What has ended can be.
    open(&sandbox.at("program"), OFlag::O_RDONLY | OFlag::O_TRUNC, Mode::empty()).unwrap();
    assert_eq!(fs::metadata(sandbox.at("program")).unwrap().len(), 0);
    sandbox.crash();
    assert_eq!(fs::metadata(sandbox.at("program")).unwrap().len(), 0);
}

/// The standard library copies between files by copy_file_range(2). Were the bytes to go through the kernel, the holes would
/// be filled.
#[test]
fn a_copy_is_made_by_the_daemon() {
    let sandbox = Sandbox::mounted();
    let mut bytes = vec![0; 40 << 20];
    let mut random = StdRng::seed_from_u64(5);
    let mut source = OpenOptions::new().create_new(true).read(true).write(true).open(sandbox.at("source")).unwrap();
    source.set_len(bytes.len() as u64).unwrap();
    for place in [3 << 20..(3 << 20) + 100_000, 12_345_678..12_400_000, 39 << 20..(39 << 20) + 10] {
        random.fill(&mut bytes[place.clone()]);
        source.write_all_at(&bytes[place.clone()], place.start as u64).unwrap();
    }
    // What is staged is copied too, and what was there before is replaced.
    fs::write(sandbox.at("target"), vec![7; 50 << 20]).unwrap();
    let mut target = OpenOptions::new().write(true).open(sandbox.at("target")).unwrap();
    target.seek(SeekFrom::Start(1 << 20)).unwrap();
    assert_eq!(std::io::copy(&mut source, &mut target).unwrap(), 40 << 20);
    drop(target);
    let mut expected = vec![7; 50 << 20];
    expected[1 << 20..41 << 20].copy_from_slice(&bytes);
    assert!(fs::read(sandbox.at("target")).unwrap() == expected);
    sandbox.crash();
    assert!(fs::read(sandbox.at("target")).unwrap() == expected);
    let allocated = fs::metadata(sandbox.at("target")).unwrap().blocks() * 512;
    assert!(allocated < 12 << 20, "the holes are filled: {allocated} bytes");
}

/// What the wire cannot carry is refused, and leaves nothing.
#[test]
fn a_file_without_a_name_is_refused() {
    use nix::errno::Errno;
    use nix::fcntl::{OFlag, open};
    use nix::sys::stat::Mode;

    let sandbox = Sandbox::mounted();
    let refused = open(&sandbox.mountpoint(), OFlag::O_TMPFILE | OFlag::O_RDWR, Mode::S_IRUSR).map(drop);
    assert_eq!(refused, Err(Errno::EOPNOTSUPP));
    assert_eq!(fs::read_dir(sandbox.mountpoint()).unwrap().count(), 0);
}
