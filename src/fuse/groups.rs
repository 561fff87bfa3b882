//! The groups of a process that sent a request: the wire names one of them only.

use fuser::Request;

/// Whether the sender may leave the set-group-ID bit on a file of this group: a member may, and root (CAP_FSETID is not
/// on the wire). Who cannot be looked up, in another PID namespace say, is taken for no member.
pub(super) fn keeps_setgid(request: &Request, group: u32) -> bool {
    if request.uid() == 0 || request.gid() == group {
        return true;
    }
    // It waits for this request, so that its number is still its own.
    let status = std::fs::read_to_string(format!("/proc/{}/status", request.pid())).unwrap_or_default();
    supplementary(&status).any(|id| id == group)
}

/// The supplementary groups in a process' status file: proc(5).
pub(super) fn supplementary(status: &str) -> impl Iterator<Item = u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("Groups:")).unwrap_or_default();
    line.split_ascii_whitespace().filter_map(|id| id.parse().ok())
}
