//! Tests of the mount's parts, and of real mounts where they can be made.

mod mounted;
mod parts;
