//! Tests of the mount's parts, and of real mounts where they can be made.

pub(super) mod hold;
mod mounted;
mod parts;
