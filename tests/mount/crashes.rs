//! kill -9 of the daemon, again and again, while others write.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::sandbox::Sandbox;

const WRITERS: u32 = 4;
const KEYS: u32 = 12;
const ROUNDS: u32 = 10;

/// What was tried last and what was acknowledged last of each key. Outside of the mount, as a client's memory is.
#[derive(Clone, Copy, Debug, Default)]
struct History {
    tried: u32,
    acknowledged: u32,
}

/// A key's value in its n-th version: told from every other, whole or not, at a glance.
fn value(key: &str, version: u32) -> Vec<u8> {
    let line = format!("{key} {version}\n").into_bytes();
    let lines = match version % 8 {
        0 => 20_000,
        1..4 => 300,
        _ => 1,
    };
    line.repeat(lines)
}

/// Overwrites a key in one of the ways in which programs do, and returns when it is acknowledged.
fn set(mount: &Path, key: &str, version: u32) -> io::Result<()> {
    let path = mount.join(key);
    let bytes = value(key, version);
    match version % 3 {
        // close() tells of errors, and std's does not.
        0 => {
            let mut file = File::create(&path)?;
            file.write_all(&bytes)?;
            Ok(nix::unistd::close(file)?)
        }
        1 => {
            let mut file = File::create(&path)?;
            bytes.chunks(10_000).try_for_each(|chunk| file.write_all(chunk))?;
            file.sync_data()
        }
        _ => {
            let temporary = mount.join(format!("{key}.tmp"));
            let mut file = File::create(&temporary)?;
            file.write_all(&bytes)?;
            nix::unistd::close(file)?;
            fs::rename(temporary, path)
        }
    }
}

#[test]
fn what_was_acknowledged_survives_kill_nine() {
    let sandbox = Sandbox::mounted();
    let mount = sandbox.mountpoint();
    let histories: Mutex<HashMap<String, History>> = Mutex::default();
    let mut random = StdRng::seed_from_u64(9);
    for round in 0..ROUNDS {
        thread::scope(|scope| {
            for writer in 0..WRITERS {
                let (mount, histories) = (&mount, &histories);
                scope.spawn(move || {
                    for number in 0.. {
                        let key = format!("w{writer}-{}", number % KEYS);
                        let version = histories.lock().unwrap().get(&key).copied().unwrap_or_default().tried + 1;
                        histories.lock().unwrap().entry(key.clone()).or_default().tried = version;
                        if set(mount, &key, version).is_err() {
                            break;
                        }
                        histories.lock().unwrap().entry(key).or_default().acknowledged = version;
                    }
                });
            }
            thread::sleep(Duration::from_millis(random.random_range(100..700)));
            sandbox.kill();
        });
        sandbox.mount();
        for (key, history) in histories.lock().unwrap().iter_mut() {
            let found = match fs::read(mount.join(key)) {
                Err(error) if error.kind() == io::ErrorKind::NotFound && history.acknowledged == 0 => 0,
                Ok(found) => {
                    let text = String::from_utf8_lossy(&found);
                    let first = text.lines().next().unwrap_or_default().to_owned();
                    let version = first.rsplit(' ').next().and_then(|version| version.parse().ok());
                    let version = version.unwrap_or_else(|| panic!("round {round}: {key} is {text:.40?}, {history:?}"));
                    assert!(found == value(key, version), "round {round}: {key} is mixed, {history:?}");
                    version
                }
                Err(error) => panic!("round {round}: {key}: {error}, {history:?}"),
            };
            let allowed = history.acknowledged..=history.tried;
            assert!(allowed.contains(&found), "round {round}: {key} has version {found}, {history:?}");
            // What a crash left is what counts from now on.
            history.acknowledged = found;
        }
    }
    let total: u32 = histories.lock().unwrap().values().map(|history| history.acknowledged).sum();
    assert!(total > ROUNDS * WRITERS, "only {total} values were written at all");
}

#[test]
fn changes_of_names_survive_kill_nine() {
    let sandbox = Sandbox::mounted();
    let script = r#"
        mkdir -p a/b/c; echo 1 > a/one; echo 2 > a/two; ln a/one a/b/hard; ln -s one a/soft
        mv a/two a/b/c/; mv a/b A; rm a/one; chmod 751 A; touch -h -d @1234567.000000089 a/soft
        setfattr -n user.k -v v A/hard; truncate -s 1 A/hard; mkdir gone; rmdir gone
    "#;
    sandbox.sh(script);
    sandbox.crash();
    sandbox.sh(r#"
        [ "$(find . | sort)" = $'.\n./A\n./A/c\n./A/c/two\n./A/hard\n./a\n./a/soft' ]
        [ "$(cat A/hard A/c/two)" = 12 ] && [ "$(stat -c '%a %h' A/hard)" = '644 1' ] && [ "$(stat -c %a A)" = 751 ]
        [ "$(find a/soft -printf '%T@')" = 1234567.0000000890 ]
        [ "$(getfattr --only-values -n user.k A/hard)" = v ]
        "#);
}
