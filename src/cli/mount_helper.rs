//! What mount(8) and umount(8) run: `caskfs SOURCE MOUNTPOINT [-sfnv] -o WORDS` for the type `fuse.caskfs`, the same as
//! `/sbin/mount.fuse.caskfs`, and `/sbin/umount.fuse.caskfs MOUNTPOINT [-flnrv]`. It is put into the words of `caskfs mount` and
//! `caskfs umount`, so that mount(8), /etc/fstab and systemd's mount units do what these do. See mount(8) and umount(8),
//! "External helpers".

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::mount::MsFlags;

use super::exit::{Failure, NOT_MOUNTED, OTHER, USAGE};
use super::mount_words::Words;
use crate::fuse::mounted_at;

/// What is asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// The arguments of `caskfs` that do it.
    Run(Vec<OsString>),
    /// The same, which are to be understood and not done (`-f`).
    Fake(Vec<OsString>),
    /// Change the flags of a mount that is there.
    Remount { mountpoint: PathBuf, words: Words },
}

/// Understands a call by mount(8) or umount(8); `None` if the arguments are those of a person.
pub(super) fn parse(arguments: &[OsString]) -> Option<Result<Call, Failure>> {
    let (program, rest) = arguments.split_first()?;
    let name = Path::new(program).file_name()?.as_bytes();
    if name.starts_with(b"umount.") {
        return Some(unmount(rest));
    }
    let helper = name.starts_with(b"mount.");
    let (first, _) = rest.split_first()?;
    // A person begins with a subcommand; a source is the absolute path of a store.
    (helper || first.as_bytes().starts_with(b"/")).then(|| mount(rest))
}

/// Arguments as getopt(3) takes them apart: letters, which may stand together, some with a value, and all else.
struct Given {
    letters: Vec<(u8, OsString)>,
    places: Vec<OsString>,
}

impl Given {
    fn new(arguments: &[OsString], plain: &[u8], with_value: &[u8]) -> Result<Given, Failure> {
        let mut given = Given { letters: Vec::new(), places: Vec::new() };
        let mut arguments = arguments.iter();
        while let Some(argument) = arguments.next() {
            match argument.as_bytes() {
                b"--" => given.places.extend(arguments.by_ref().cloned()),
                [b'-', letters @ ..] if !letters.is_empty() => {
                    let mut letters = letters;
                    while let Some((&letter, rest)) = letters.split_first() {
                        letters = rest;
                        if plain.contains(&letter) {
                            given.letters.push((letter, OsString::new()));
                        } else if with_value.contains(&letter) {
                            let value = match std::mem::take(&mut letters) {
                                [] => arguments.next().cloned(),
                                rest => Some(OsStr::from_bytes(rest).to_owned()),
                            };
                            let missing = || usage(&format!("-{} wants a value behind it", char::from(letter)));
                            given.letters.push((letter, value.ok_or_else(missing)?));
                        } else {
                            return Err(usage(&format!("-{} is not known", char::from(letter))));
                        }
                    }
                }
                _ => given.places.push(argument.clone()),
            }
        }
        Ok(given)
    }

    fn has(&self, letter: u8) -> bool {
        self.letters.iter().any(|(other, _)| *other == letter)
    }
}

fn mount(arguments: &[OsString]) -> Result<Call, Failure> {
    // No mtab (n) there is to write, and nothing more to tell (v); the type (t) is this one.
    let given = Given::new(arguments, b"sfnvrw", b"otN")?;
    let [source, mountpoint] = given.places.as_slice() else {
        return Err(usage("a source and a mountpoint are wanted"));
    };
    if given.has(b'N') {
        return Err(usage("-N is not done here: enter the namespace first (nsenter)"));
    }
    let mut list = Vec::new();
    for (letter, value) in &given.letters {
        list.push(b',');
        match letter {
            b'o' => list.extend_from_slice(value.as_bytes()),
            b'r' => list.extend_from_slice(b"ro"),
            b'w' => list.extend_from_slice(b"rw"),
            _ => {}
        }
    }
    let words = Words::read(&list, given.has(b's')).map_err(|message| usage(&message))?;
    if words.remount {
        return Ok(Call::Remount { mountpoint: mountpoint.into(), words });
    }
    let mut translated: Vec<OsString> = vec!["caskfs".into(), "mount".into()];
    translated.extend(words.into_arguments());
    translated.extend(["--".into(), source.clone(), mountpoint.clone()]);
    Ok(if given.has(b'f') { Call::Fake(translated) } else { Call::Run(translated) })
}

fn unmount(arguments: &[OsString]) -> Result<Call, Failure> {
    // A mount that is in use is not made read-only instead (r), and nothing is forced (f) that --lazy would not do.
    let given = Given::new(arguments, b"flnrvi", b"tN")?;
    let [place] = given.places.as_slice() else { return Err(usage("a mountpoint is wanted")) };
    if given.has(b'N') {
        return Err(usage("-N is not done here: enter the namespace first (nsenter)"));
    }
    let mut translated: Vec<OsString> = vec!["caskfs".into(), "umount".into()];
    translated.extend(given.has(b'l').then(|| "--lazy".into()));
    translated.extend(["--".into(), place.clone()]);
    Ok(Call::Run(translated))
}

/// Changes the flags of a mount that is there: `mount -o remount`. What the daemon was told stays; a word that the mount table
/// shows not to be so is refused.
pub(super) fn remount(mountpoint: &Path, words: &Words) -> Result<(), Failure> {
    let not_mounted =
        || Failure::new(NOT_MOUNTED, format!("{}: no caskfs store is mounted there", mountpoint.display()));
    let mounted = mounted_at(mountpoint)?.ok_or_else(not_mounted)?;
    let flags = remount_flags(words, &mounted.options).map_err(|message| usage(&message))?;
    let none: Option<&str> = None;
    nix::mount::mount(none, &mounted.path, none, flags, none)
        .map_err(|error| Failure::new(OTHER, format!("remounting {}: {error}", mountpoint.display())))
}

/// What may be changed, and the flag for it.
const CHANGEABLE: [(&str, MsFlags); 2] =
    [("noexec", MsFlags::MS_NOEXEC), ("nosymfollow", MsFlags::from_bits_retain(256))];

/// What stays as it is.
const FIXED: [(&str, MsFlags); 7] = [
    ("sync", MsFlags::MS_SYNCHRONOUS),
    ("dirsync", MsFlags::MS_DIRSYNC),
    ("lazytime", MsFlags::from_bits_retain(1 << 25)),
    ("default_permissions", MsFlags::empty()),
    ("relatime", MsFlags::MS_RELATIME),
    ("noatime", MsFlags::MS_NOATIME),
    ("nodiratime", MsFlags::MS_NODIRATIME),
];

fn remount_flags(words: &Words, now: &[String]) -> Result<MsFlags, String> {
    let is = |word: &str| now.iter().any(|option| option == word);
    let asked = |word: &str| words.flags.iter().find(|(flag, _)| *flag == word).map(|(_, on)| *on);
    let mut flags = MsFlags::MS_REMOUNT | MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    flags.set(MsFlags::MS_RDONLY, words.read_only.unwrap_or_else(|| is("ro")));
    for (word, flag) in CHANGEABLE {
        flags.set(flag, asked(word).unwrap_or_else(|| is(word)));
    }
    let unlike = |word: &str, on: bool| {
        Err(format!("{}{word} cannot be changed while it is mounted", if on { "" } else { "no " }))
    };
    for (word, flag) in FIXED {
        flags.set(flag, is(word));
        if let Some(on) = asked(word).filter(|on| *on != is(word)) {
            return unlike(word, on);
        }
    }
    let atime = if is("noatime") {
        "noatime"
    } else if is("relatime") {
        "relatime"
    } else {
        "strictatime"
    };
    if atime == "strictatime" {
        flags |= MsFlags::MS_STRICTATIME;
    }
    match (words.atime, words.nodiratime) {
        (Some(asked), _) if asked != atime => unlike(asked, true),
        (_, Some(on)) if on != is("nodiratime") => unlike("nodiratime", on),
        _ => Ok(flags),
    }
}

fn usage(message: &str) -> Failure {
    Failure::new(USAGE, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').map(OsStr::new).map(OsStr::to_owned).collect()
    }

    fn translated(line: &str) -> Vec<OsString> {
        match parse(&words(line)).unwrap().unwrap() {
            Call::Run(arguments) => arguments,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_mount_hands_over_is_understood() {
        let line = "caskfs /srv/store /mnt -o rw,noatime,nosuid,nodev,allow_other,sync_mode=always,umask=077,dev,suid";
        let expected = "caskfs mount --allow-other --sync=always --umask=077 --atime=noatime -- /srv/store /mnt";
        assert_eq!(translated(line), words(expected));
        let line = "/sbin/mount.caskfs store /mnt -s -o ro,strict,nofail,_netdev,x-systemd.automount";
        assert_eq!(translated(line), words("caskfs mount --strict --read-only -- store /mnt"));
        let line = "caskfs /srv/store /mnt -o merge_window=23:00-05:30,merge_rate=20M,merge_trigger_bytes=1G";
        let merge = "--merge-window=23:00-05:30 --merge-rate=20M --merge-trigger-bytes=1G";
        assert_eq!(translated(line), words(&format!("caskfs mount {merge} -- /srv/store /mnt")));
    }

    /// As getopt(3) has it: `-oro` is `-o ro`.
    #[test]
    fn letters_may_stand_together() {
        let read_only = words("caskfs mount --read-only -- /srv/store /mnt");
        for line in ["-oro", "-o ro", "-r", "-nvo ro", "-snvoro", "-w -r", "-v -t fuse.caskfs -oro"] {
            assert_eq!(translated(&format!("caskfs /srv/store /mnt {line}")), read_only, "{line}");
            assert_eq!(translated(&format!("mount.fuse.caskfs {line} -- /srv/store /mnt")), read_only, "{line}");
        }
        let fake = parse(&words("caskfs /srv/store /mnt -fnv -oro")).unwrap().unwrap();
        assert_eq!(fake, Call::Fake(read_only));
        for wrong in ["-o", "-x", "-N 5 -o ro", "elsewhere", "-fq"] {
            assert!(parse(&words(&format!("caskfs /srv/store /mnt {wrong}"))).unwrap().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_umount_hands_over_is_understood() {
        assert_eq!(translated("/sbin/umount.fuse.caskfs /mnt -nv"), words("caskfs umount -- /mnt"));
        assert_eq!(translated("umount.caskfs -fl /mnt -t fuse.caskfs"), words("caskfs umount --lazy -- /mnt"));
        assert!(parse(&words("umount.fuse.caskfs -v")).unwrap().is_err());
    }

    #[test]
    fn a_remount_changes_flags() {
        let flags = |list: &str, now: &str| {
            let now: Vec<String> = now.split(',').map(str::to_owned).collect();
            remount_flags(&Words::read(list.as_bytes(), false).unwrap(), &now)
        };
        let now = "rw,nosuid,nodev,relatime,user_id=0,group_id=0,default_permissions";
        let ro = flags("remount,ro,relatime,user_id=0", now).unwrap();
        assert!(ro.contains(MsFlags::MS_RDONLY | MsFlags::MS_RELATIME | MsFlags::MS_NOSUID | MsFlags::MS_NODEV));
        assert!(flags("remount,noexec", now).unwrap().contains(MsFlags::MS_NOEXEC));
        // What is not spoken of stays.
        assert!(
            flags("remount,rw", "ro,noexec,noatime,sync")
                .unwrap()
                .contains(MsFlags::MS_NOEXEC | MsFlags::MS_SYNCHRONOUS)
        );
        assert!(!flags("remount,exec", "ro,noexec").unwrap().contains(MsFlags::MS_NOEXEC));
        for refused in ["noatime", "sync", "dirsync", "lazytime", "nodiratime", "strictatime"] {
            assert!(flags(&format!("remount,{refused}"), now).is_err(), "{refused}");
        }
        assert!(flags("remount,async", "rw,sync").is_err());
    }

    #[test]
    fn an_unknown_option_is_refused_and_a_person_is_left_alone() {
        assert!(parse(&words("caskfs /srv/store /mnt -o wishful")).unwrap().is_err());
        assert!(parse(&words("caskfs mount store mnt")).is_none());
        assert!(parse(&words("caskfs --help")).is_none());
    }
}
