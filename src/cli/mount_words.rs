//! The words of fstab and of mount(8)'s `-o`: which are honoured and how, which are mount(8)'s own, and which are refused
//! because they would promise what is not kept. None is dropped.
//!
//! `docs/SEMANTICS.md` has the table for users; a test holds the two against each other.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

/// What becomes of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// The mount may not be written to, or may.
    ReadOnly(bool),
    /// When reading changes times of access: the value of `--atime`.
    Atime(&'static str),
    /// Whether directories' times of access are left alone.
    Nodiratime(bool),
    /// A flag is set, or taken back: the value of `--mount-flag`.
    Flag(&'static str, bool),
    /// An argument without a value.
    Argument(&'static str),
    /// An argument with one.
    Value(&'static str),
    /// A label of SELinux.
    Context,
    /// Change a mount that is there.
    Remount,
    /// mount(8), fstab's generators or systemd do it; or it is always so; or nothing is there to be done.
    Nothing,
    /// The kernel's own word for a mount that is there: mount(8) repeats it at a remount.
    OfTheKernel,
    /// Why not.
    Refused(&'static str),
}

use Meaning::{Argument, Atime, Context, Flag, Nodiratime, Nothing, OfTheKernel, ReadOnly, Refused, Remount, Value};

/// Every word that is known, but those that begin with `x-`, `X-` or `merge_`.
const WORDS: [(&str, Meaning); 81] = [
    ("ro", ReadOnly(true)),
    ("rw", ReadOnly(false)),
    ("relatime", Atime("relatime")),
    ("atime", Atime("relatime")),
    ("norelatime", Nothing),
    ("nostrictatime", Atime("relatime")),
    ("strictatime", Atime("strictatime")),
    ("noatime", Atime("noatime")),
    ("nodiratime", Nodiratime(true)),
    ("diratime", Nodiratime(false)),
    ("noexec", Flag("noexec", true)),
    ("exec", Flag("noexec", false)),
    ("nosymfollow", Flag("nosymfollow", true)),
    ("symfollow", Flag("nosymfollow", false)),
    ("sync", Flag("sync", true)),
    ("async", Flag("sync", false)),
    ("dirsync", Flag("dirsync", true)),
    ("lazytime", Flag("lazytime", true)),
    ("default_permissions", Flag("default_permissions", true)),
    ("context", Context),
    ("fscontext", Context),
    ("defcontext", Context),
    ("rootcontext", Context),
    ("remount", Remount),
    ("strict", Argument("--strict")),
    ("allow_other", Argument("--allow-other")),
    ("low_latency", Argument("--low-latency")),
    ("sync_mode", Value("--sync")),
    ("uid", Value("--uid")),
    ("gid", Value("--gid")),
    ("umask", Value("--umask")),
    ("fsname", Value("--fsname")),
    ("memory_limit", Value("--memory-limit")),
    ("segment_size", Value("--segment-size")),
    ("log_file", Value("--log-file")),
    // Always so.
    ("nosuid", Nothing),
    ("nodev", Nothing),
    ("acl", Nothing),
    ("user_xattr", Nothing),
    // mount.fuse3 adds these two to every mount of root's; nosuid and nodev stay.
    ("suid", Nothing),
    ("dev", Nothing),
    // For mount(8), systemd and others who read fstab.
    ("defaults", Nothing),
    ("auto", Nothing),
    ("noauto", Nothing),
    ("user", Nothing),
    ("nouser", Nothing),
    ("users", Nothing),
    ("nousers", Nothing),
    ("owner", Nothing),
    ("noowner", Nothing),
    ("group", Nothing),
    ("nogroup", Nothing),
    ("nofail", Nothing),
    ("_netdev", Nothing),
    ("comment", Nothing),
    ("uhelper", Nothing),
    ("helper", Nothing),
    // The kernel says nothing of a FUSE mount that could be silenced.
    ("silent", Nothing),
    ("loud", Nothing),
    // The defaults, said aloud.
    ("nomand", Nothing),
    ("noiversion", Nothing),
    ("noquota", Nothing),
    ("user_id", OfTheKernel),
    ("group_id", OfTheKernel),
    ("rootmode", OfTheKernel),
    ("max_read", OfTheKernel),
    ("blksize", OfTheKernel),
    ("seclabel", OfTheKernel),
    ("subtype", OfTheKernel),
    ("mand", Refused("Linux has no mandatory locks any more")),
    ("iversion", Refused("FUSE counts no versions of inodes")),
    ("nolazytime", Refused("times of access are always written late")),
    ("noacl", Refused("access control lists are always in force")),
    ("nouser_xattr", Refused("extended attributes are always there")),
    ("quota", Refused("there are no quotas")),
    ("usrquota", Refused("there are no quotas")),
    ("grpquota", Refused("there are no quotas")),
    ("loop", Refused("a store is a directory")),
    ("allow_root", Refused("allow_other lets root in, and all others as far as permissions allow")),
    ("auto_unmount", Refused("a dead mount is taken over by the next one, and cleared away by caskfs umount")),
    ("nonempty", Refused("a mount would hide what is in the directory")),
];

/// What words ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Words {
    /// Whether the mount may not be written to, if that was said.
    pub(super) read_only: Option<bool>,
    /// When reading changes times of access, if that was said.
    pub(super) atime: Option<&'static str>,
    /// Whether it leaves those of directories alone, if that was said.
    pub(super) nodiratime: Option<bool>,
    /// Flags that were set or taken back, the last word of each counting.
    pub(super) flags: Vec<(&'static str, bool)>,
    /// Change a mount that is there.
    pub(super) remount: bool,
    /// All else, as arguments of `caskfs mount`.
    arguments: Vec<OsString>,
    of_the_kernel: Option<String>,
}

impl Words {
    /// Understands words that are separated by commas; one in quotes (SELinux) may hold some. `sloppy`: words that are not
    /// known are left out, as mount(8)'s `-s` wants it.
    pub(super) fn read(list: &[u8], sloppy: bool) -> Result<Words, String> {
        let mut words = Words::default();
        for word in split(list) {
            let (key, value) = match word.iter().position(|&byte| byte == b'=') {
                Some(equals) => (word.get(..equals).unwrap_or_default(), word.get(equals + 1..)),
                None => (word, None),
            };
            words.take(key, value, word, sloppy)?;
        }
        match words.of_the_kernel.take().filter(|_| !words.remount) {
            Some(word) => Err(format!("{word} is the kernel's to say, and not a wish")),
            None => Ok(words),
        }
    }

    fn take(&mut self, key: &[u8], value: Option<&[u8]>, word: &[u8], sloppy: bool) -> Result<(), String> {
        let shown = String::from_utf8_lossy(word).into_owned();
        let named = |name: &[u8], value: &[u8]| OsString::from_vec([name, b"=", value].concat());
        let meaning = WORDS.iter().find(|(word, _)| word.as_bytes() == key).map(|(_, meaning)| *meaning);
        let own = |key: &[u8]| key.starts_with(b"x-") || key.starts_with(b"X-");
        match (meaning, value) {
            (Some(ReadOnly(on)), None) => self.read_only = Some(on),
            (Some(Atime(when)), None) => self.atime = Some(when),
            (Some(Nodiratime(on)), None) => self.nodiratime = Some(on),
            (Some(Flag(flag, on)), None) => {
                self.flags.retain(|(other, _)| *other != flag);
                self.flags.push((flag, on));
            }
            (Some(Argument(argument)), None) => self.arguments.push(argument.into()),
            (Some(Value(argument)), Some(value)) => self.arguments.push(named(argument.as_bytes(), value)),
            (Some(Context), Some(value)) => {
                let label = value.strip_prefix(b"\"").and_then(|label| label.strip_suffix(b"\"")).unwrap_or(value);
                self.arguments.push(named(b"--security-context", &[key, b"=", label].concat()));
            }
            (Some(Remount), None) => self.remount = true,
            (Some(Nothing), _) => {}
            (Some(OfTheKernel), _) if word == b"subtype=caskfs" => {}
            (Some(OfTheKernel), _) => self.of_the_kernel = Some(shown),
            (Some(Refused(why)), _) => return Err(format!("the option {shown} is not kept: {why}")),
            (None, Some(value)) if key.starts_with(b"merge_") => {
                let key: Vec<u8> = key.iter().map(|byte| if *byte == b'_' { b'-' } else { *byte }).collect();
                self.arguments.push(named(&[b"--", key.as_slice()].concat(), value));
            }
            (None, _) if own(key) || sloppy => {}
            _ => return Err(format!("the option {shown} is not known")),
        }
        Ok(())
    }

    /// The arguments of `caskfs mount` that do it.
    pub(super) fn into_arguments(self) -> Vec<OsString> {
        let mut arguments = self.arguments;
        let mut push = |argument: String| arguments.push(argument.into());
        if self.read_only == Some(true) {
            push("--read-only".into());
        }
        if let Some(when) = self.atime {
            push(format!("--atime={when}"));
        }
        if self.nodiratime == Some(true) {
            push("--nodiratime".into());
        }
        self.flags.iter().filter(|(_, on)| *on).for_each(|(flag, _)| push(format!("--mount-flag={flag}")));
        arguments
    }
}

/// The words of a list.
fn split(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut quoted = false;
    let words = list.split(move |&byte| {
        quoted ^= byte == b'"';
        byte == b',' && !quoted
    });
    words.filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(list: &str) -> Result<String, String> {
        let arguments = Words::read(list.as_bytes(), false)?.into_arguments();
        Ok(arguments.into_iter().map(|argument| argument.into_string().unwrap()).collect::<Vec<_>>().join(" "))
    }

    /// The page for users says of each word what the table says.
    #[test]
    fn the_page_lists_every_word() {
        let page = include_str!("../../docs/SEMANTICS.md");
        let section = page.split_once("## Words of mount(8)\n").unwrap().1.split_once("\n## ").unwrap().0;
        for (word, meaning) in WORDS {
            let line =
                section.lines().find(|line| line.contains(&format!("`{word}`")) || line.contains(&format!("`{word}=")));
            let line = line.unwrap_or_else(|| panic!("{word} is not on the page"));
            let kind = line.split('|').nth(1).unwrap().trim();
            let wanted = match meaning {
                Refused(_) => "refused",
                Nothing | OfTheKernel => "ignored",
                _ => "honoured",
            };
            assert_eq!(kind, wanted, "{word}");
        }
    }

    #[test]
    fn each_word_is_honoured_ignored_or_refused() {
        for (word, meaning) in WORDS {
            let value = matches!(meaning, Value(_) | Context);
            let said = arguments(&if value { format!("{word}=1") } else { word.to_owned() });
            match meaning {
                Refused(why) => assert!(said.clone().unwrap_err().contains(why), "{said:?}"),
                OfTheKernel => assert!(said.is_err(), "{word}"),
                Nothing | Remount => assert_eq!(said.unwrap(), "", "{word}"),
                ReadOnly(false) | Nodiratime(false) | Flag(_, false) => assert_eq!(said.unwrap(), "", "{word}"),
                _ => assert!(said.unwrap().starts_with("--"), "{word}"),
            }
            // What takes no value has none, and what takes one has one.
            let wrong = if value { word.to_owned() } else { format!("{word}=1") };
            let free = matches!(meaning, Nothing | OfTheKernel | Refused(_));
            assert!(free || arguments(&wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_last_of_two_that_contradict_each_other_counts() {
        assert_eq!(
            arguments("ro,noexec,noatime,nodiratime,sync,rw,exec,strictatime,diratime,async").unwrap(),
            "--atime=strictatime"
        );
        assert_eq!(arguments("rw,exec,ro,noexec").unwrap(), "--read-only --mount-flag=noexec");
        assert_eq!(arguments("merge_rate=20M,x-systemd.automount,X-mount.mkdir=0755").unwrap(), "--merge-rate=20M");
        assert_eq!(
            arguments("context=\"system_u:object_r:t:s0:c1,c2\",noexec").unwrap(),
            "--security-context=context=system_u:object_r:t:s0:c1,c2 --mount-flag=noexec"
        );
        assert!(arguments("wishful").is_err() && arguments("ro,wishful=1").is_err());
        assert!(Words::read(b"ro,wishful", true).unwrap().read_only == Some(true));
        // What the kernel says of a mount is repeated at a remount.
        assert!(Words::read(b"rw,user_id=0,group_id=0,remount", false).unwrap().remount);
    }
}
