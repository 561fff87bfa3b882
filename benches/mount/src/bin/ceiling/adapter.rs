//! The tree, as fuser asks for it.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use caskfs_bench_mount::RecordFile;
use fuser::{
    BsdFileFlags, Errno, FileHandle, Filesystem, FopenFlags, Generation, INodeNo, InitFlags, KernelConfig, LockOwner,
    OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty,
    ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use parking_lot::Mutex;

use super::tree::{Content, Directory, Inode, Tree};

/// How long the kernel may keep what it was told: nobody else changes it.
const FOREVER: Duration = Duration::from_secs(365 * 86400);
/// What is asked of the kernel.
const WANTED: [InitFlags; 5] = [
    InitFlags::FUSE_ATOMIC_O_TRUNC,
    InitFlags::FUSE_PARALLEL_DIROPS,
    InitFlags::FUSE_DO_READDIRPLUS,
    InitFlags::FUSE_READDIRPLUS_AUTO,
    InitFlags::FUSE_CACHE_SYMLINKS,
];

/// A filesystem in memory.
pub(super) struct Ceiling {
    tree: Mutex<Tree>,
    /// What an fsync waits for.
    disk: Option<Mutex<RecordFile>>,
}

impl Ceiling {
    pub(super) fn new(disk: Option<RecordFile>) -> Ceiling {
        Ceiling { tree: Mutex::default(), disk: disk.map(Mutex::new) }
    }

    fn make(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        content: Content,
        mode: u32,
    ) -> Option<fuser::FileAttr> {
        self.tree.lock().make((parent, name), content, mode as u16, (request.uid(), request.gid()))
    }

    fn enter(attributes: Option<fuser::FileAttr>, reply: ReplyEntry) {
        match attributes {
            Some(attributes) => reply.entry(&FOREVER, &attributes, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn done(result: Option<()>, reply: ReplyEmpty) {
        match result {
            Some(()) => reply.ok(),
            None => reply.error(Errno::ENOENT),
        }
    }
}

fn time(given: TimeOrNow) -> SystemTime {
    match given {
        TimeOrNow::SpecificTime(time) => time,
        TimeOrNow::Now => SystemTime::now(),
    }
}

impl Filesystem for Ceiling {
    fn init(&mut self, _request: &Request, config: &mut KernelConfig) -> std::io::Result<()> {
        for capability in WANTED {
            // What an older kernel does not offer is done without.
            let _ = config.add_capabilities(capability);
        }
        let _ = config.set_max_write(1 << 20);
        Ok(())
    }

    fn lookup(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let tree = self.tree.lock();
        let found =
            tree.directory(parent).and_then(|directory| directory.get(name)).and_then(|inode| tree.get(INodeNo(inode)));
        match found {
            Some(inode) => reply.entry(&FOREVER, &inode.attributes, Generation(0)),
            None => match tree.get(parent) {
                Some(parent) => {
                    let mut absent = parent.attributes;
                    absent.ino = INodeNo(0);
                    reply.entry(&FOREVER, &absent, Generation(0));
                }
                None => reply.error(Errno::ENOENT),
            },
        }
    }

    fn getattr(&self, _request: &Request, inode: INodeNo, _handle: Option<FileHandle>, reply: ReplyAttr) {
        match self.tree.lock().get(inode) {
            Some(inode) => reply.attr(&FOREVER, &inode.attributes),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn setattr(
        &self,
        _request: &Request,
        inode: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _handle: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut tree = self.tree.lock();
        let Some(inode) = tree.get_mut(inode) else { return reply.error(Errno::ENOENT) };
        let attributes = &mut inode.attributes;
        if let (Some(size), Content::File(bytes)) = (size, &mut inode.content) {
            bytes.resize(size as usize, 0);
            attributes.size = size;
        }
        attributes.perm = mode.map_or(attributes.perm, |mode| mode as u16 & 0o7777);
        attributes.uid = uid.unwrap_or(attributes.uid);
        attributes.gid = gid.unwrap_or(attributes.gid);
        attributes.atime = atime.map_or(attributes.atime, time);
        attributes.mtime = mtime.map_or(attributes.mtime, time);
        reply.attr(&FOREVER, attributes);
    }

    fn readlink(&self, _request: &Request, inode: INodeNo, reply: ReplyData) {
        match self.tree.lock().get(inode).map(|inode| &inode.content) {
            Some(Content::Link(target)) => reply.data(target),
            _ => reply.error(Errno::EINVAL),
        }
    }

    fn mkdir(&self, request: &Request, parent: INodeNo, name: &OsStr, mode: u32, _umask: u32, reply: ReplyEntry) {
        Ceiling::enter(self.make(request, parent, name, Content::Directory(Directory::default()), mode), reply);
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        let target = Content::Link(target.as_os_str().as_bytes().to_vec());
        Ceiling::enter(self.make(request, parent, name, target, 0o777), reply);
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        match self.make(request, parent, name, Content::File(Vec::new()), mode) {
            Some(made) => {
                reply.created(&FOREVER, &made, Generation(0), FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE);
            }
            None => reply.error(Errno::ENOENT),
        }
    }

    fn unlink(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        Ceiling::done(self.tree.lock().remove(parent, name), reply);
    }

    fn rmdir(&self, _request: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        Ceiling::done(self.tree.lock().remove(parent, name), reply);
    }

    fn rename(
        &self,
        _request: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        _flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        Ceiling::done(self.tree.lock().rename((parent, name), (new_parent, new_name)), reply);
    }

    fn open(&self, _request: &Request, inode: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        let mut answer = FopenFlags::FOPEN_KEEP_CACHE;
        if flags.0 & libc::O_ACCMODE == libc::O_RDONLY {
            answer |= FopenFlags::FOPEN_NOFLUSH;
        }
        if flags.0 & libc::O_TRUNC != 0 {
            if let Some(inode) = self.tree.lock().get_mut(inode) {
                inode.content = Content::File(Vec::new());
                inode.attributes.size = 0;
            }
        }
        reply.opened(FileHandle(0), answer);
    }

    fn read(
        &self,
        _request: &Request,
        inode: INodeNo,
        _handle: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.tree.lock().get(inode).map(|inode| &inode.content) {
            Some(Content::File(bytes)) => {
                let from = (offset as usize).min(bytes.len());
                let to = from.saturating_add(size as usize).min(bytes.len());
                reply.data(&bytes[from..to]);
            }
            _ => reply.error(Errno::EIO),
        }
    }

    fn write(
        &self,
        _request: &Request,
        inode: INodeNo,
        _handle: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let mut tree = self.tree.lock();
        // What was unlinked while it was open takes anything.
        if let Some(Inode { content: Content::File(bytes), attributes }) = tree.get_mut(inode) {
            let (from, to) = (offset as usize, offset as usize + data.len());
            if bytes.len() < to {
                bytes.resize(to, 0);
                attributes.size = to as u64;
            }
            bytes[from..to].copy_from_slice(data);
        }
        reply.written(data.len() as u32);
    }

    fn flush(&self, _request: &Request, _inode: INodeNo, _handle: FileHandle, _owner: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _request: &Request, _inode: INodeNo, _handle: FileHandle, _data: bool, reply: ReplyEmpty) {
        match self.disk.as_ref().map(|disk| disk.lock().append()) {
            Some(Err(error)) => reply.error(error.into()),
            Some(Ok(())) | None => reply.ok(),
        }
    }

    fn fsyncdir(&self, _request: &Request, _inode: INodeNo, _handle: FileHandle, _data: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn opendir(&self, _request: &Request, _inode: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_CACHE_DIR);
    }

    fn readdir(&self, _request: &Request, inode: INodeNo, _handle: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let tree = self.tree.lock();
        let Some(directory) = tree.directory(inode) else { return reply.error(Errno::ENOTDIR) };
        for (cookie, name, inode) in directory.after(offset) {
            let Some(found) = tree.get(INodeNo(inode)) else { continue };
            if reply.add(INodeNo(inode), cookie, found.attributes.kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn readdirplus(
        &self,
        _request: &Request,
        inode: INodeNo,
        _handle: FileHandle,
        offset: u64,
        mut reply: ReplyDirectoryPlus,
    ) {
        let tree = self.tree.lock();
        let Some(directory) = tree.directory(inode) else { return reply.error(Errno::ENOTDIR) };
        for (cookie, name, inode) in directory.after(offset) {
            let Some(found) = tree.get(INodeNo(inode)) else { continue };
            if reply.add(INodeNo(inode), cookie, name, &FOREVER, &found.attributes, Generation(0)) {
                break;
            }
        }
        reply.ok();
    }

    fn getxattr(&self, _request: &Request, _inode: INodeNo, _name: &OsStr, _size: u32, reply: ReplyXattr) {
        // The kernel does not ask again.
        reply.error(Errno::ENOSYS);
    }

    fn statfs(&self, _request: &Request, _inode: INodeNo, reply: ReplyStatfs) {
        reply.statfs(1 << 30, 1 << 29, 1 << 29, 1 << 30, 1 << 29, 4096, 255, 4096);
    }
}
