//! Inodes in memory. Each directory numbers its entries, so that a listing goes on where it stopped.

use std::collections::{BTreeMap, HashMap};
use std::ffi::{OsStr, OsString};
use std::time::SystemTime;

use fuser::{FileAttr, FileType, INodeNo};

/// What an inode holds.
#[derive(Debug)]
pub(super) enum Content {
    File(Vec<u8>),
    Directory(Directory),
    Link(Vec<u8>),
}

#[derive(Debug)]
pub(super) struct Inode {
    pub(super) attributes: FileAttr,
    pub(super) content: Content,
}

/// Entries by name, and in the order in which they were made.
#[derive(Debug, Default)]
pub(super) struct Directory {
    names: HashMap<OsString, (u64, u64)>,
    order: BTreeMap<u64, (OsString, u64)>,
    last: u64,
}

impl Directory {
    pub(super) fn get(&self, name: &OsStr) -> Option<u64> {
        self.names.get(name).map(|(_, inode)| *inode)
    }

    /// Returns the inode that had the name.
    fn insert(&mut self, name: &OsStr, inode: u64) -> Option<u64> {
        let old = self.remove(name);
        self.last += 1;
        self.names.insert(name.into(), (self.last, inode));
        self.order.insert(self.last, (name.into(), inode));
        old
    }

    fn remove(&mut self, name: &OsStr) -> Option<u64> {
        let (cookie, inode) = self.names.remove(name)?;
        self.order.remove(&cookie);
        Some(inode)
    }

    /// Entries behind this cookie: theirs, name, inode.
    pub(super) fn after(&self, cookie: u64) -> impl Iterator<Item = (u64, &OsStr, u64)> {
        self.order.range(cookie + 1..).map(|(cookie, (name, inode))| (*cookie, name.as_os_str(), *inode))
    }
}

/// All inodes.
#[derive(Debug)]
pub(super) struct Tree {
    inodes: HashMap<u64, Inode>,
    last: u64,
}

impl Default for Tree {
    fn default() -> Tree {
        let mut tree = Tree { inodes: HashMap::new(), last: 0 };
        tree.add(Content::Directory(Directory::default()), 0o755, 0, 0);
        tree
    }
}

impl Tree {
    pub(super) fn get(&self, inode: INodeNo) -> Option<&Inode> {
        self.inodes.get(&inode.0)
    }

    pub(super) fn get_mut(&mut self, inode: INodeNo) -> Option<&mut Inode> {
        self.inodes.get_mut(&inode.0)
    }

    pub(super) fn directory(&self, inode: INodeNo) -> Option<&Directory> {
        match &self.get(inode)?.content {
            Content::Directory(directory) => Some(directory),
            _ => None,
        }
    }

    fn directory_mut(&mut self, inode: INodeNo) -> Option<&mut Directory> {
        match &mut self.get_mut(inode)?.content {
            Content::Directory(directory) => Some(directory),
            _ => None,
        }
    }

    fn add(&mut self, content: Content, mode: u16, uid: u32, gid: u32) -> u64 {
        self.last += 1;
        let now = SystemTime::now();
        let (kind, size, nlink) = match &content {
            Content::File(bytes) => (FileType::RegularFile, bytes.len(), 1),
            Content::Directory(_) => (FileType::Directory, 0, 2),
            Content::Link(target) => (FileType::Symlink, target.len(), 1),
        };
        let attributes = FileAttr {
            ino: INodeNo(self.last),
            size: size as u64,
            blocks: 0,
            atime: now,
            mtime: now,
            ctime: now,
            crtime: now,
            kind,
            perm: mode & 0o7777,
            nlink,
            uid,
            gid,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        };
        self.inodes.insert(self.last, Inode { attributes, content });
        self.last
    }

    /// Makes an inode and names it.
    pub(super) fn make(
        &mut self,
        (parent, name): (INodeNo, &OsStr),
        content: Content,
        mode: u16,
        (uid, gid): (u32, u32),
    ) -> Option<FileAttr> {
        self.directory(parent)?;
        let inode = self.add(content, mode, uid, gid);
        let old = self.directory_mut(parent)?.insert(name, inode);
        self.forget(old);
        Some(self.inodes.get(&inode)?.attributes)
    }

    /// Takes a name and its inode away. What is open is lost too.
    pub(super) fn remove(&mut self, parent: INodeNo, name: &OsStr) -> Option<()> {
        let inode = self.directory_mut(parent)?.remove(name)?;
        self.forget(Some(inode));
        Some(())
    }

    pub(super) fn rename(&mut self, from: (INodeNo, &OsStr), to: (INodeNo, &OsStr)) -> Option<()> {
        self.directory(to.0)?;
        let inode = self.directory_mut(from.0)?.remove(from.1)?;
        let old = self.directory_mut(to.0)?.insert(to.1, inode);
        self.forget(old.filter(|old| *old != inode));
        Some(())
    }

    fn forget(&mut self, inode: Option<u64>) {
        if let Some(inode) = inode {
            self.inodes.remove(&inode);
        }
    }
}
