//! A filesystem of a test's own, for a store to stand on. It is gone when the test ends, whatever becomes of that.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::sandbox::{Sandbox, is_root, require};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing unsynced reaches its disk for ten minutes.
    Ext4,
    Xfs,
    Btrfs,
    /// In memory.
    Tmpfs,
    /// In memory, and says of its size and its room that they are 0.
    Unlimited,
    Overlay,
    /// A FUSE filesystem without hard links, sockets, permissions and fallocate.
    Exfat,
    /// A FUSE filesystem that hands everything through.
    Bindfs,
    /// A FUSE filesystem that is this one.
    Caskfs,
}

pub(crate) struct Base {
    kind: Kind,
    /// Of [`Kind::Caskfs`]. Goes before the directory does.
    lower: Option<Sandbox>,
    directory: TempDir,
}

impl Base {
    /// A filesystem of so many MiB, as far as it has a size; `None`, and a line on standard error, if it cannot be
    /// had here.
    pub(crate) fn new(kind: Kind, size: u64) -> Option<Base> {
        if let Some(reason) = missing(kind) {
            skipped(&format!("no {kind:?}: {reason}"));
            return None;
        }
        let directory = tempfile::Builder::new().prefix("caskfs-base-").tempdir().unwrap();
        let lower = (kind == Kind::Caskfs).then(Sandbox::mounted);
        let base = Base { kind, lower, directory };
        fs::create_dir(base.target()).unwrap();
        fs::create_dir(base.directory.path().join("below")).unwrap();
        base.format(size);
        base.mount();
        Some(base)
    }

    /// Where it is.
    pub(crate) fn path(&self) -> PathBuf {
        match &self.lower {
            Some(lower) => lower.mountpoint(),
            None => self.target(),
        }
    }

    fn target(&self) -> PathBuf {
        self.directory.path().join("base")
    }

    fn image(&self) -> PathBuf {
        self.directory.path().join("image")
    }

    fn format(&self, size: u64) {
        let maker: &[&str] = match self.kind {
            // Without the delay in which another process writes the inode tables.
            Kind::Ext4 => &["mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=0,lazy_journal_init=0"],
            Kind::Xfs => &["mkfs.xfs", "-q"],
            Kind::Btrfs => &["mkfs.btrfs", "-q"],
            Kind::Exfat => &["mkfs.exfat"],
            _ => return,
        };
        File::create(self.image()).unwrap().set_len(size << 20).unwrap();
        run(Command::new(maker[0]).args(&maker[1..]).arg(self.image()));
    }

    /// Mounts it, for the first time or once more.
    pub(crate) fn mount(&self) {
        let (below, target) = (self.directory.path().join("below"), self.target());
        let mut command = Command::new("mount");
        match self.kind {
            Kind::Ext4 => command.args(["-t", "ext4", "-o", "loop,commit=600,noauto_da_alloc"]).arg(self.image()),
            Kind::Xfs => command.args(["-t", "xfs", "-o", "loop"]).arg(self.image()),
            Kind::Btrfs => command.args(["-t", "btrfs", "-o", "loop"]).arg(self.image()),
            Kind::Exfat => command.args(["-t", "exfat-fuse", "-o", "loop"]).arg(self.image()),
            Kind::Tmpfs => command.args(["-t", "tmpfs", "-o", "size=400m", "none"]),
            Kind::Unlimited => command.args(["-t", "tmpfs", "-o", "size=0", "none"]),
            Kind::Overlay => {
                // Its layers cannot be on another overlay, as the directory may be in a container.
                run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=400m", "none"]).arg(&below));
                let layer = |name: &str| {
                    fs::create_dir(below.join(name)).unwrap();
                    below.join(name).display().to_string()
                };
                let layers = [layer("lower"), layer("upper"), layer("work")];
                let options = format!("lowerdir={},upperdir={},workdir={}", layers[0], layers[1], layers[2]);
                command.args(["-t", "overlay", "-o", &options, "overlay"])
            }
            Kind::Bindfs => {
                command = Command::new("bindfs");
                command.arg(&below)
            }
            Kind::Caskfs => return,
        };
        run(command.arg(target));
        assert!(self.is_mounted());
    }

    /// Unmounts it: nobody may have a file of it open any more.
    #[track_caller]
    pub(crate) fn unmount(&self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        let wait = |why: &str| {
            assert!(Instant::now() < deadline, "{why}");
            thread::sleep(Duration::from_millis(10));
        };
        // A process that was killed has lost its memory, and so its arguments in /proc, before its files are closed.
        while self.is_mounted() {
            let output = Command::new("umount").arg(self.target()).output().unwrap();
            if !output.status.success() {
                wait(&String::from_utf8_lossy(&output.stderr));
            }
        }
        // Another process's mount namespace may have kept a copy of the mount for a moment, and who mounts the image
        // meanwhile finds the same filesystem in the state in which it was.
        while is_attached(&self.image()) {
            wait("the image stays in use");
        }
    }

    /// A hand on the power switch. It is a process that was begun before, since a new one has copies of all files that
    /// this one has open for a moment, and closes them: halves of values are committed at that.
    pub(crate) fn power_switch(&self) -> PowerSwitch {
        let script = r#"read -r _ && exec xfs_io -x -c shutdown "$0""#;
        let mut command = Command::new("sh");
        command.args(["-c", script]).arg(self.target()).stdin(Stdio::piped());
        PowerSwitch(command.spawn().unwrap())
    }

    fn is_mounted(&self) -> bool {
        is_mountpoint(&self.target())
    }
}

/// Cuts a filesystem's power: what was not synced is gone. Everything fails until it was unmounted and mounted again.
pub(crate) struct PowerSwitch(Child);

impl PowerSwitch {
    pub(crate) fn cut(mut self) {
        self.0.stdin.take().unwrap().write_all(b"now\n").unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Base {
    fn drop(&mut self) {
        for place in [self.target(), self.directory.path().join("below")] {
            if is_mountpoint(&place) {
                let _ = Command::new("umount").arg("-l").arg(&place).output();
            }
        }
    }
}

fn is_mountpoint(path: &Path) -> bool {
    let table = fs::read_to_string("/proc/self/mounts").unwrap();
    table.lines().any(|line| line.split(' ').nth(1).is_some_and(|mounted| Path::new(mounted) == path))
}

/// Whether a loop device has this image.
fn is_attached(image: &Path) -> bool {
    let devices = fs::read_dir("/sys/block").unwrap().filter_map(|device| Some(device.ok()?.path()));
    let backing = |device: PathBuf| fs::read_to_string(device.join("loop/backing_file")).ok();
    devices.filter_map(backing).any(|file| Path::new(file.trim_end()) == image)
}

/// Why such a filesystem cannot be had here.
fn missing(kind: Kind) -> Option<String> {
    let (programs, module): (&[&str], _) = match kind {
        Kind::Ext4 => (&["mkfs.ext4", "xfs_io"], Some("ext4")),
        Kind::Xfs => (&["mkfs.xfs"], Some("xfs")),
        Kind::Btrfs => (&["mkfs.btrfs"], Some("btrfs")),
        Kind::Exfat => (&["mkfs.exfat", "mount.exfat-fuse"], Some("fuseblk")),
        Kind::Bindfs => (&["bindfs"], None),
        Kind::Overlay => (&[], Some("overlay")),
        Kind::Tmpfs | Kind::Unlimited | Kind::Caskfs => (&[], None),
    };
    if kind != Kind::Caskfs && !is_root() {
        return Some("only root can mount it".into());
    }
    let loops = [Kind::Ext4, Kind::Xfs, Kind::Btrfs, Kind::Exfat].contains(&kind);
    if loops && !Path::new("/dev/loop-control").exists() {
        return Some("there are no loop devices (/dev/loop-control)".into());
    }
    if let Some(module) = module {
        let knows = || {
            let known = fs::read_to_string("/proc/filesystems").unwrap_or_default();
            known.lines().any(|line| line.split_whitespace().last() == Some(module))
        };
        if !knows() {
            let _ = Command::new("modprobe").arg(module).output();
        }
        if !knows() {
            return Some(format!("the kernel does not know {module}"));
        }
    }
    programs.iter().for_each(|program| require(program));
    None
}

/// Says what is not tested, past the test harness, which would keep it to itself.
pub(crate) fn skipped(what: &str) {
    let _ = writeln!(std::io::stderr(), "NOT TESTED: {what}");
}

#[track_caller]
fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {}: {said}", output.status);
}
