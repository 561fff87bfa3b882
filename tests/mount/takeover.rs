//! A dead mount is taken over, and nothing but a dead mount.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::process::{Child, Command, Stdio};

use crate::command::{assert_refused, caskfs};
use crate::sandbox::{Sandbox, needs_root};

/// What cannot be mounted leaves things as they are.
#[test]
fn a_refused_mount_leaves_a_dead_one_alone() {
    let sandbox = Sandbox::mounted();
    fs::write(sandbox.at("key"), "value").unwrap();
    let (other, files) = (Sandbox::mounted(), sandbox.outside("files"));
    fs::create_dir(&files).unwrap();
    fs::write(files.join("file"), "").unwrap();
    sandbox.kill();
    let entry = sandbox.mount_entry();
    let mount = |store: &OsStr, options: &[&str]| {
        let options = options.iter().map(OsStr::new);
        caskfs([OsStr::new("mount")].into_iter().chain(options).chain([store, sandbox.mountpoint().as_os_str()]))
    };
    assert_refused(&mount(files.as_os_str(), &[]), 10, "files");
    assert_refused(&mount(sandbox.outside("missing").as_os_str(), &["--read-only"]), 10, "missing");
    assert_refused(&mount(other.store().as_os_str(), &[]), 12, "the store is mounted at");
    let pipe = sandbox.outside("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert_refused(&mount(sandbox.store().as_os_str(), &["--log-file", pipe.to_str().unwrap()]), 3, "no plain file");
    assert_eq!(sandbox.mount_entry(), entry, "the dead mount was taken away");
    sandbox.mount();
    assert_eq!(fs::read(sandbox.at("key")).unwrap(), b"value");
}

/// Files that a dead mount hides would be hidden by the next one.
#[test]
fn files_below_a_dead_mount_are_seen_first() {
    if !needs_root() {
        return;
    }
    let sandbox = Sandbox::mounted();
    // By way of a second look at the directory that the mountpoint is in.
    sandbox.sh(r#"
        cd /
        unshare --mount --propagation private bash -euo pipefail -c '
            eval "$ALONE"
            mkdir "$OUT/above"; mount --bind "$(dirname "$MNT")" "$OUT/above"; touch "$OUT/above/mnt/hidden"
        '
        "#);
    sandbox.kill();
    assert_refused(&sandbox.try_mount(&[]), 22, "is not empty");
    assert!(sandbox.is_mounted(), "the dead mount was taken away");
}

/// Two commands at once, with a store each: one of them mounts, and stays mounted.
#[test]
fn of_two_mounts_at_once_one_is_there_and_lives() {
    let sandbox = Sandbox::new();
    let stores = ["one", "two"].map(|name| sandbox.outside(name));
    for store in &stores {
        let put = [OsStr::new("put"), store.as_os_str(), OsStr::new("key"), store.as_os_str()];
        assert!(caskfs(put).status.success());
    }
    let begin = |store: &std::path::PathBuf| -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_caskfs"));
        command.arg("mount").arg(store).arg(sandbox.mountpoint());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
    };
    let pid = |store: &std::path::PathBuf| -> String {
        let info = caskfs([OsStr::new("info"), OsStr::new("--json"), store.as_os_str()]);
        let info = String::from_utf8(info.stdout).unwrap();
        let number = info.split_once("\"daemon_pid\":").unwrap().1;
        number.chars().take_while(char::is_ascii_digit).collect()
    };
    for round in 0..40 {
        let both = stores.each_ref().map(begin);
        let both = both.map(|child| child.wait_with_output().unwrap());
        let winners: Vec<usize> = (0..2).filter(|&number| both[number].status.success()).collect();
        let said = both.each_ref().map(|output| String::from_utf8_lossy(&output.stderr).into_owned());
        assert_eq!(winners.len(), 1, "round {round}: {said:?}");
        assert_eq!(both[1 - winners[0]].status.code(), Some(24), "round {round}: {said:?}");
        let winner = &stores[winners[0]];
        assert_eq!(fs::read_to_string(sandbox.at("key")).unwrap(), winner.to_str().unwrap(), "round {round}");
        let table = fs::read_to_string("/proc/self/mounts").unwrap();
        let here = sandbox.mountpoint().display().to_string();
        assert_eq!(table.lines().filter(|line| line.split(' ').nth(1) == Some(&here)).count(), 1, "{table}");
        // Every other round finds a dead mount.
        if round % 3 == 0 {
            assert!(caskfs([OsStr::new("umount"), sandbox.mountpoint().as_os_str()]).status.success());
        } else {
            let pid = pid(winner);
            assert!(Command::new("kill").args(["-9", &pid]).status().unwrap().success());
            let ended = || {
                fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.is_empty())
                    || !fs::exists(format!("/proc/{pid}")).unwrap()
            };
            sandbox.wait("the end", ended);
        }
    }
    let _ = caskfs([OsStr::new("umount"), sandbox.mountpoint().as_os_str()]);
}

/// The mountpoint may be given by a link, and end in a dot.
#[test]
fn a_mountpoint_by_way_of_a_link() {
    let sandbox = Sandbox::new();
    let link = sandbox.outside("link");
    symlink(sandbox.mountpoint(), &link).unwrap();
    for place in [link.clone(), link.join("."), sandbox.mountpoint().join("../outside/link")] {
        let mounted = caskfs([OsStr::new("mount"), sandbox.store().as_os_str(), place.as_os_str()]);
        assert!(mounted.status.success(), "{}", String::from_utf8_lossy(&mounted.stderr));
        assert!(sandbox.is_mounted());
        sandbox.kill();
        let mounted = caskfs([OsStr::new("mount"), sandbox.store().as_os_str(), place.as_os_str()]);
        assert!(mounted.status.success(), "{}", String::from_utf8_lossy(&mounted.stderr));
        let unmounted = caskfs([OsStr::new("umount"), place.as_os_str()]);
        assert!(unmounted.status.success(), "{}", String::from_utf8_lossy(&unmounted.stderr));
        assert!(!sandbox.is_mounted());
    }
}
