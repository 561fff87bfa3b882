//! Mounting as an ordinary user, through fusermount3: setuid root, it checks that the user may mount there, mounts, and
//! sends the FUSE connection back over the socket that `_FUSE_COMMFD` names.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use nix::errno::Errno;

use super::found::Found;
use super::kernel_mount::Made;
use super::mount_options::{FSTYPE, MountOptions};
use super::mount_table::MountEntry;
use super::mountpoint_check::already_mounted;
use super::{Error, mount_table, received_fd};

/// Where it is looked for: on the PATH, and where it is installed even if a service's PATH does not say so.
const PROGRAMS: [&str; 4] = ["fusermount3", "/usr/bin/fusermount3", "/bin/fusermount3", "/usr/local/bin/fusermount3"];

/// How its complaint ends if a mount is in use. It is never translated.
const BUSY: &str = "Device or resource busy";

/// Which descriptor of its own the helper is to answer on. It reads nothing from its standard input, so that the socket
/// can stand there, and no descriptor has to be left open across exec by hand.
const SOCKET_VARIABLE: &str = "_FUSE_COMMFD";

/// Mounts on a directory.
pub(super) fn mount(on: &Found, source: &OsStr, options: &MountOptions) -> Result<Made, Error> {
    let mountpoint = on.path.as_path();
    let (ours, theirs) = UnixStream::pair().map_err(Error::io("make a socket for", mountpoint))?;
    let arguments = [OsString::from("-o"), options.helper_options(source)?, "--".into(), mountpoint.into()];
    let theirs = OwnedFd::from(theirs);
    let child = first_installed(|program| {
        Command::new(program)
            .args(&arguments)
            .env(SOCKET_VARIABLE, "0")
            .stdin(theirs.try_clone()?)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
    })?;
    // As long as this process holds the other end too, a helper that fails would not be seen to hang up.
    drop(theirs);
    let received = received_fd::receive(&ours).map_err(Error::io("receive the connection of", mountpoint));
    let output = child.wait_with_output().map_err(Error::io("wait for fusermount3 on", mountpoint))?;
    let connection = received?.ok_or_else(|| Error::Helper { message: message(&output) })?;
    let (entry, root) = made(on).inspect_err(|_| {
        // Its connection is closed with this: what answers nothing is taken away.
        let _ = unmount(mountpoint, true);
    })?;
    Ok(Made { connection, entry, root })
}

/// The line and the root of the mount that was just made: it must lie on the directory that was looked at, and on no mount that came first.
fn made(on: &Found) -> Result<(MountEntry, Found), Error> {
    let root = Found::new(&on.path)?;
    let table = mount_table::read()?;
    let missing = || Error::NotReady { mountpoint: on.path.clone(), reason: "it is not in the mount table".into() };
    let is_ours = |entry: &&MountEntry| entry.id == root.mount && entry.fstype == FSTYPE;
    let top = table.iter().find(is_ours).ok_or_else(missing)?;
    match table.iter().find(|beneath| beneath.id == top.parent) {
        Some(beneath) if beneath.id != on.mount => Err(already_mounted(&on.path, beneath)),
        _ => Ok((top.clone(), root)),
    }
}

/// Unmounts `mountpoint`; `lazily` although it is in use.
pub(super) fn unmount(mountpoint: &Path, lazily: bool) -> Result<(), Error> {
    let output = first_installed(|program| {
        let mut command = Command::new(program);
        command.arg("-u");
        if lazily {
            command.arg("-z");
        }
        command.arg("--").arg(mountpoint).stdin(Stdio::null()).output()
    })?;
    let message = message(&output);
    if output.status.success() {
        Ok(())
    } else if message.ends_with(BUSY) {
        Err(Error::Unmount { mountpoint: mountpoint.into(), source: Errno::EBUSY.into() })
    } else {
        Err(Error::Helper { message })
    }
}

/// Starts the first of [`PROGRAMS`] that there is.
fn first_installed<T>(start: impl Fn(&str) -> io::Result<T>) -> Result<T, Error> {
    let mut problem = Error::NoHelper;
    for program in PROGRAMS {
        match start(program) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // It is there for members of a group only; or a directory on the PATH may not be searched, which says nothing.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                if program.starts_with('/') {
                    problem = Error::io("run", program)(error);
                }
            }
            outcome => return outcome.map_err(Error::io("run", program)),
        }
    }
    Err(problem)
}

/// What the helper said, in one line, without its own name.
fn message(output: &Output) -> String {
    let said = String::from_utf8_lossy(&output.stderr);
    let said: Vec<&str> = said.lines().map(|line| line.trim_start_matches("fusermount3: ").trim()).collect();
    let said = said.join("; ");
    if said.is_empty() { output.status.to_string() } else { said }
}
