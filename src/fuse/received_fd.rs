//! Receiving a file descriptor over a Unix socket (unix(7), SCM_RIGHTS): how fusermount3 hands over the FUSE connection.
//!
//! `unsafe`, since neither std (stable) nor nix gives a received descriptor out as an owned one.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::sys::socket::{ControlMessageOwned, MsgFlags, recvmsg};

/// Waits for the descriptor that the other side sends; `None` if it hangs up without sending one. The descriptor is
/// closed on exec.
pub(super) fn receive(socket: &UnixStream) -> io::Result<Option<OwnedFd>> {
    let mut byte = [0];
    let mut data = [IoSliceMut::new(&mut byte)];
    let mut space = nix::cmsg_space!([RawFd; 1]);
    let message = loop {
        match recvmsg::<()>(socket.as_raw_fd(), &mut data, Some(&mut space), MsgFlags::MSG_CMSG_CLOEXEC) {
            Err(Errno::EINTR) => {}
            outcome => break outcome?,
        }
    };
    for control in message.cmsgs()? {
        if let ControlMessageOwned::ScmRights(descriptors) = control {
            return Ok(descriptors.first().map(|&descriptor| own(descriptor)));
        }
    }
    Ok(None)
}

#[expect(unsafe_code, reason = "a received descriptor has no other way to become an owned one")]
fn own(descriptor: RawFd) -> OwnedFd {
    // SAFETY: recvmsg(2) has just made this descriptor in this process for this message, so that it is open and nobody
    // else's; there was room for one, so that none is lost.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}
