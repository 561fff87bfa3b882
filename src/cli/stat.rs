//! `caskfs stat`: show what is known of a key.

use super::arguments::StatArguments;
use super::control::{Reply, Request};
use super::exit::Failure;
use super::listing::{object, permissions, text, time};
use super::store_access::{Access, ask, key};

pub(super) fn run(arguments: &StatArguments) -> Result<(), Failure> {
    let request = Request::Stat { key: key(&arguments.key) };
    let Reply::Entries(entries) = ask(&arguments.store, Access::Read, &request)? else { return Ok(()) };
    for entry in &entries {
        if arguments.json {
            println!("{}", object(entry));
            continue;
        }
        println!("key:       {}", text(&entry.key));
        println!("kind:      {}", entry.kind);
        if let Some(target) = &entry.target {
            println!("target:    {}", text(target));
        }
        println!("size:      {} bytes ({} in the log)", entry.size, entry.allocated);
        println!("mode:      {} ({:04o})", permissions(entry), entry.mode);
        println!("owner:     {}:{}", entry.uid, entry.gid);
        println!("links:     {}", entry.links);
        println!("inode:     {}", entry.inode);
        println!("modified:  {}", time(entry.mtime));
        println!("changed:   {}", time(entry.ctime));
        if let Some(expires) = entry.expires {
            println!("expires:   {}", time(expires));
        }
    }
    Ok(())
}
