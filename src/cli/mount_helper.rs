//! What mount(8) runs: `caskfs SOURCE MOUNTPOINT [-sfnv] -o OPTIONS` for the type `fuse.caskfs`, and the same as
//! `/sbin/mount.caskfs`. It is put into the words of `caskfs mount`, so that `mount -t fuse.caskfs`, /etc/fstab and
//! systemd's mount units do what that does.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use nix::mount::MsFlags;

use super::exit::{Failure, OTHER, USAGE};

/// What mount(8) asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// The arguments of `caskfs` that do it.
    Mount(Vec<OsString>),
    /// Change the flags of a mount that is there.
    Remount { mountpoint: PathBuf, flags: u64 },
}

/// Understands a call by mount(8); `None` if the arguments are those of a person.
pub(super) fn parse(arguments: &[OsString]) -> Option<Result<Call, Failure>> {
    let (program, rest) = arguments.split_first()?;
    let name = Path::new(program).file_name()?.as_bytes();
    let helper = name.starts_with(b"mount.");
    let (first, _) = rest.split_first()?;
    // A person begins with a subcommand; a source is the absolute path of a store.
    (helper || first.as_bytes().starts_with(b"/")).then(|| translate(rest))
}

fn translate(arguments: &[OsString]) -> Result<Call, Failure> {
    let mut places = Vec::new();
    let mut options: Vec<u8> = Vec::new();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        match argument.as_bytes() {
            b"-o" => {
                let value = arguments.next().ok_or_else(|| usage("-o wants options behind it"))?;
                options.push(b',');
                options.extend_from_slice(value.as_bytes());
            }
            // Sloppy, fake, no mtab, verbose: nothing of these concerns the daemon.
            [b'-', ..] => {}
            _ => places.push(argument.clone()),
        }
    }
    let [source, mountpoint] = places.as_slice() else { return Err(usage("a source and a mountpoint are wanted")) };
    let mut translated: Vec<OsString> = vec!["caskfs".into(), "mount".into()];
    let mut flags = MsFlags::empty();
    let mut remount = false;
    let mut atime = None;
    for option in options.split(|&byte| byte == b',').filter(|option| !option.is_empty()) {
        let (key, value) = match option.iter().position(|&byte| byte == b'=') {
            Some(equals) => (option.get(..equals), option.get(equals + 1..)),
            None => (Some(option), None),
        };
        let key = key.unwrap_or_default();
        match (key, value) {
            (b"ro", None) => {
                translated.push("--read-only".into());
                flags |= MsFlags::MS_RDONLY;
            }
            (b"noexec", None) => flags |= MsFlags::MS_NOEXEC,
            (b"remount", None) => remount = true,
            // The last of them counts.
            (b"relatime" | b"strictatime" | b"noatime", None) => atime = Some(flag(b"--atime=", key)),
            (b"nodiratime", None) => translated.push("--nodiratime".into()),
            (b"low_latency", None) => translated.push("--low-latency".into()),
            (b"strict", None) => translated.push("--strict".into()),
            (b"allow_other", None) => translated.push("--allow-other".into()),
            (b"sync_mode", Some(mode)) => translated.push(flag(b"--sync=", mode)),
            (b"uid" | b"gid" | b"umask" | b"fsname", Some(value)) => {
                translated.push(flag(&[b"--", key, b"="].concat(), value));
            }
            (b"memory_limit", Some(value)) => translated.push(flag(b"--memory-limit=", value)),
            (b"segment_size", Some(value)) => translated.push(flag(b"--segment-size=", value)),
            (key, Some(value)) if key.starts_with(b"merge_") => {
                let key: Vec<u8> = key.iter().map(|byte| if *byte == b'_' { b'-' } else { *byte }).collect();
                translated.push(flag(&[b"--", key.as_slice(), b"="].concat(), value));
            }
            (b"log_file", Some(value)) => translated.push(flag(b"--log-file=", value)),
            _ if is_ignored(key) => {}
            _ => return Err(usage(&format!("the option {} is not known", String::from_utf8_lossy(option)))),
        }
    }
    if remount {
        flags |= MsFlags::MS_REMOUNT | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
        return Ok(Call::Remount { mountpoint: mountpoint.into(), flags: flags.bits() });
    }
    translated.extend(atime);
    translated.extend(["--".into(), source.clone(), mountpoint.clone()]);
    Ok(Call::Mount(translated))
}

/// Options that mount(8), systemd or fstab read themselves and hand on all the same, and those that are always so.
fn is_ignored(key: &[u8]) -> bool {
    const IGNORED: &str = "rw dev nodev suid nosuid exec atime norelatime diratime \
        lazytime auto noauto user nouser users owner group defaults async nofail _netdev comment \
        default_permissions user_id group_id rootmode";
    key.starts_with(b"x-") || IGNORED.split_ascii_whitespace().any(|ignored| ignored.as_bytes() == key)
}

/// Changes the flags of a mount that is there: `mount -o remount`.
pub(super) fn remount(mountpoint: &Path, flags: u64) -> Result<(), Failure> {
    let flags = MsFlags::from_bits_truncate(flags);
    let none: Option<&str> = None;
    nix::mount::mount(none, mountpoint, none, flags, none)
        .map_err(|error| Failure::new(OTHER, format!("remounting {}: {error}", mountpoint.display())))
}

fn flag(name: &[u8], value: &[u8]) -> OsString {
    OsString::from_vec([name, value].concat())
}

fn usage(message: &str) -> Failure {
    Failure::new(USAGE, message)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;

    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsStr::new).map(OsStr::to_owned).collect()
    }

    fn translated(line: &str) -> Vec<OsString> {
        match parse(&words(line)).unwrap().unwrap() {
            Call::Mount(arguments) => arguments,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_mount_hands_over_is_understood() {
        let line = "caskfs /srv/store /mnt -o rw,noatime,nosuid,nodev,allow_other,sync_mode=always,umask=077,dev,suid";
        let expected = "caskfs mount --allow-other --sync=always --umask=077 --atime=noatime -- /srv/store /mnt";
        assert_eq!(translated(line), words(expected));
        assert_eq!(
            translated("caskfs /srv/store /mnt -o rw,segment_size=8M"),
            words("caskfs mount --segment-size=8M -- /srv/store /mnt")
        );
        let line = "caskfs /srv/store /mnt -o relatime,nodiratime,strictatime,atime,lazytime";
        assert_eq!(translated(line), words("caskfs mount --nodiratime --atime=strictatime -- /srv/store /mnt"));
        let line = "/sbin/mount.caskfs store /mnt -s -o ro,strict,nofail,_netdev,x-systemd.automount";
        assert_eq!(translated(line), words("caskfs mount --read-only --strict -- store /mnt"));
        let line = "caskfs /srv/store /mnt -o merge_window=23:00-05:30,merge_rate=20M,merge_trigger_bytes=1G";
        let merge = "--merge-window=23:00-05:30 --merge-rate=20M --merge-trigger-bytes=1G";
        assert_eq!(translated(line), words(&format!("caskfs mount {merge} -- /srv/store /mnt")));
    }

    #[test]
    fn a_remount_changes_flags() {
        let call = parse(&words("caskfs /srv/store /mnt -o ro,remount")).unwrap().unwrap();
        assert!(matches!(call, Call::Remount { flags, .. } if flags & MsFlags::MS_RDONLY.bits() != 0));
    }

    #[test]
    fn an_unknown_option_is_refused_and_a_person_is_left_alone() {
        assert!(parse(&words("caskfs /srv/store /mnt -o wishful")).unwrap().is_err());
        assert!(parse(&words("caskfs mount store mnt")).is_none());
        assert!(parse(&words("caskfs --help")).is_none());
    }
}
