//! The whole tree of both, compared through what the kernel would ask.

use std::collections::BTreeMap;

use caskfs::store::{EntryId, Kind, ROOT, Stat};

use super::harness::{Difference, World};
use super::reference::Node;

impl World {
    pub(crate) fn compare(&self) -> Result<(), Difference> {
        let reference = &self.reference.now;
        for (id, node) in &reference.nodes {
            let entry = self.compare_entry(*id, node);
            entry.map_err(|what| format!("entry {id} ({}): {what}", self.filesystem.store().path(*id)))?;
        }
        Ok(())
    }

    fn compare_entry(&self, id: EntryId, node: &Node) -> Result<(), Difference> {
        let said = |error: caskfs::Error| error.to_string();
        if self.reference.has_expired(id) && !self.reference.is_open(id) {
            return match self.filesystem.getattr(id) {
                Err(error) if error.errno() == libc::ESTALE => Ok(()),
                other => Err(format!("it has expired: {other:?}")),
            };
        }
        let stat = self.filesystem.getattr(id).map_err(said)?;
        if stat.attributes != node.attributes {
            return Err(format!("{:?}, expected {:?}", stat.attributes, node.attributes));
        }
        let links = self.reference.now.links(id);
        if stat.links != links {
            return Err(format!("{} links, expected {links}", stat.links));
        }
        let size = if node.attributes.kind == Kind::Directory { 4096 } else { node.bytes.len() as u64 };
        if stat.size != size || (stat.allocated > size) {
            return Err(format!("{} bytes, {} allocated, expected {size}", stat.size, stat.allocated));
        }
        match node.attributes.kind {
            Kind::Directory => self.compare_directory(id, &stat)?,
            Kind::Symlink if self.filesystem.readlink(id).map_err(said)? != node.bytes => {
                return Err("another target".into());
            }
            Kind::File => self.compare_value(id, &node.bytes)?,
            _ => {}
        }
        self.compare_xattrs(id, &node.xattrs)
    }

    fn compare_value(&self, id: EntryId, bytes: &[u8]) -> Result<(), Difference> {
        let read = self.filesystem.read(id, 0, bytes.len() + 100).map_err(|error| format!("read: {error}"))?;
        if read != bytes {
            let at = read.iter().zip(bytes).position(|(one, other)| one != other);
            return Err(format!("{} bytes, expected {}, different at {at:?}", read.len(), bytes.len()));
        }
        self.compare_holes(id, bytes)
    }

    /// What SEEK_DATA and SEEK_HOLE leave out is zeros.
    fn compare_holes(&self, id: EntryId, bytes: &[u8]) -> Result<(), Difference> {
        let seek = |offset, whence| self.filesystem.lseek(id, offset, whence);
        let size = bytes.len() as u64;
        let mut at = 0;
        while at < size {
            let data = match seek(at, libc::SEEK_DATA) {
                Ok(data) => data,
                Err(error) if error.errno() == libc::ENXIO => size,
                Err(error) => return Err(format!("SEEK_DATA: {error}")),
            };
            if data < at || data > size || bytes[at as usize..data as usize].iter().any(|byte| *byte != 0) {
                return Err(format!("SEEK_DATA from {at} skips data: {data}"));
            }
            if data == size {
                break;
            }
            at = seek(data, libc::SEEK_HOLE).map_err(|error| format!("SEEK_HOLE: {error}"))?;
            if at <= data || at > size {
                return Err(format!("SEEK_HOLE from {data} finds {at}"));
            }
        }
        match seek(size, libc::SEEK_DATA) {
            Err(error) if error.errno() == libc::ENXIO => Ok(()),
            other => Err(format!("SEEK_DATA at the end: {other:?}")),
        }
    }

    fn compare_directory(&self, id: EntryId, stat: &Stat) -> Result<(), Difference> {
        let mut names = BTreeMap::new();
        let (mut cookie, mut dots) = (0, Vec::new());
        let mut problem = None;
        // In portions, as the kernel's buffer makes it.
        loop {
            let mut room = 3;
            let mut seen = false;
            let read = self.filesystem.readdir(id, cookie, &mut |entry, stat| {
                seen = true;
                cookie = entry.cookie;
                match entry.name.as_slice() {
                    b"." | b".." => dots.push((entry.name.clone(), entry.id)),
                    name => {
                        if (stat.id, stat.attributes.kind) != (entry.id, entry.kind) {
                            problem = Some(format!("readdir shows another stat: {stat:?}"));
                        }
                        if names.insert(name.to_vec(), (entry.id, *stat)).is_some() {
                            problem = Some(format!("readdir repeats {name:?}"));
                        }
                    }
                }
                room -= 1;
                room > 0
            });
            read.map_err(|error| format!("readdir: {error}"))?;
            if !seen {
                break;
            }
        }
        if let Some(problem) = problem {
            return Err(problem);
        }
        let now = &self.reference.now;
        let parent = now.parents(id).first().copied().unwrap_or(ROOT);
        if dots != [(b".".to_vec(), stat.id), (b"..".to_vec(), parent)] {
            return Err(format!("readdir: {dots:?}"));
        }
        let expected: BTreeMap<&[u8], EntryId> = now.children(id).collect();
        let found: BTreeMap<&[u8], EntryId> = names.iter().map(|(name, (id, _))| (name.as_slice(), *id)).collect();
        if found != expected {
            return Err(format!("readdir: {found:?}, expected {expected:?}"));
        }
        names.iter().try_for_each(|(name, (child, shown))| self.compare_lookup(id, name, *child, shown))
    }

    fn compare_lookup(&self, parent: EntryId, name: &[u8], child: EntryId, shown: &Stat) -> Result<(), Difference> {
        let found = self.filesystem.lookup(parent, name).map_err(|error| format!("lookup: {error}"))?;
        self.filesystem.forget(child, 1);
        match found {
            Some(stat) if stat == *shown => Ok(()),
            other => Err(format!("lookup: {other:?}, readdir: {shown:?}")),
        }
    }

    fn compare_xattrs(&self, id: EntryId, expected: &BTreeMap<Vec<u8>, Vec<u8>>) -> Result<(), Difference> {
        let list = self.filesystem.listxattr(id).map_err(|error| format!("listxattr: {error}"))?;
        let mut found = BTreeMap::new();
        for name in list.split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
            let value = self.filesystem.getxattr(id, name).map_err(|error| format!("getxattr: {error}"))?;
            found.insert(name.to_vec(), value);
        }
        if found == *expected { Ok(()) } else { Err("other extended attributes".into()) }
    }
}
