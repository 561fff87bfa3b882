//! The directories and files of a simulated disk.
//!
//! Invariants: a file or directory keeps its number for ever, so an open file survives its name; a directory has at
//! most one name. What a name stands for and what a file holds are independent of each other until each was synced.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use super::bytes::Bytes;
use super::journal::{Journal, Survival};
use super::names::{NameChange, Names, Node};
use super::random::Random;
use crate::medium::Status;
use crate::medium::disk::check;

/// The number of the root directory.
const ROOT: u64 = 0;

fn errno(code: i32) -> io::Error {
    io::Error::from_raw_os_error(code)
}

/// Directories and files by number.
#[derive(Clone)]
pub(super) struct Tree {
    dirs: BTreeMap<u64, Journal<Names>>,
    files: BTreeMap<u64, Journal<Bytes>>,
    /// The next number to give.
    next: u64,
}

impl Tree {
    pub(super) fn new() -> Tree {
        Tree {
            dirs: BTreeMap::from([(ROOT, Journal::durable(Names::default()))]),
            files: BTreeMap::new(),
            next: ROOT + 1,
        }
    }

    pub(super) fn file(&self, file: u64) -> io::Result<&Journal<Bytes>> {
        self.files.get(&file).ok_or_else(|| errno(libc::ESTALE))
    }

    pub(super) fn file_mut(&mut self, file: u64) -> io::Result<&mut Journal<Bytes>> {
        self.files.get_mut(&file).ok_or_else(|| errno(libc::ESTALE))
    }

    fn dir(&self, dir: u64) -> io::Result<&Journal<Names>> {
        self.dirs.get(&dir).ok_or_else(|| errno(libc::ESTALE))
    }

    fn dir_mut(&mut self, dir: u64) -> io::Result<&mut Journal<Names>> {
        self.dirs.get_mut(&dir).ok_or_else(|| errno(libc::ESTALE))
    }

    /// What a path stands for now.
    fn node(&self, path: &str) -> io::Result<Node> {
        check(path)?;
        let mut node = Node::Dir(ROOT);
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let Node::Dir(dir) = node else {
                return Err(errno(libc::ENOTDIR));
            };
            let found = self.dir(dir)?.now().get(name);
            node = found.ok_or_else(|| errno(libc::ENOENT))?;
        }
        Ok(node)
    }

    /// The number of the file at a path.
    pub(super) fn file_at(&self, path: &str) -> io::Result<u64> {
        match self.node(path)? {
            Node::File(file) => Ok(file),
            Node::Dir(_) => Err(errno(libc::EISDIR)),
        }
    }

    /// The names of the directory at a path.
    pub(super) fn dir_at(&mut self, path: &str) -> io::Result<&mut Journal<Names>> {
        match self.node(path)? {
            Node::Dir(dir) => self.dir_mut(dir),
            Node::File(_) => Err(errno(libc::ENOTDIR)),
        }
    }

    /// The directory that holds a path, and the last name of the path.
    fn parent<'p>(&self, path: &'p str) -> io::Result<(u64, &'p str)> {
        check(path)?;
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        match self.node(parent)? {
            _ if name.is_empty() => Err(errno(libc::EISDIR)),
            Node::Dir(dir) => Ok((dir, name)),
            Node::File(_) => Err(errno(libc::ENOTDIR)),
        }
    }

    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    fn new_file(&mut self, bytes: Bytes) -> u64 {
        let file = self.number();
        self.files.insert(file, Journal::durable(bytes));
        file
    }

    fn new_dir(&mut self) -> u64 {
        let dir = self.number();
        self.dirs.insert(dir, Journal::durable(Names::default()));
        dir
    }

    /// The directory and name for something new.
    fn vacant<'p>(&self, path: &'p str) -> io::Result<(u64, &'p str)> {
        let (dir, name) = self.parent(path)?;
        match self.dir(dir)?.now().get(name) {
            Some(_) => Err(errno(libc::EEXIST)),
            None => Ok((dir, name)),
        }
    }

    pub(super) fn create(&mut self, path: &str) -> io::Result<u64> {
        let (dir, name) = self.vacant(path)?;
        let file = self.new_file(Bytes::default());
        let (name, node) = (name.to_owned(), Node::File(file));
        self.dir_mut(dir)?.change(NameChange::Create { name, node });
        Ok(file)
    }

    pub(super) fn create_dir(&mut self, path: &str) -> io::Result<()> {
        let (dir, name) = self.vacant(path)?;
        let (name, node) = (name.to_owned(), Node::Dir(self.new_dir()));
        self.dir_mut(dir)?.change(NameChange::Create { name, node });
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &str) -> io::Result<()> {
        let node = Node::File(self.file_at(path)?);
        let (dir, name) = self.parent(path)?;
        let name = name.to_owned();
        self.dir_mut(dir)?.change(NameChange::Remove { name, node });
        Ok(())
    }

    pub(super) fn remove_dir(&mut self, path: &str) -> io::Result<()> {
        let node = self.node(path)?;
        let (dir, name) = self.parent(path)?;
        let name = name.to_owned();
        match node {
            Node::File(_) => return Err(errno(libc::ENOTDIR)),
            Node::Dir(dir) if self.dir(dir)?.now().iter().next().is_some() => return Err(errno(libc::ENOTEMPTY)),
            Node::Dir(_) => {}
        }
        self.dir_mut(dir)?.change(NameChange::Remove { name, node });
        Ok(())
    }

    /// A name is a change to its directory like any other: a power cut may leave either name, both or none, whatever
    /// becomes of the bytes.
    pub(super) fn hard_link(&mut self, from: &str, to: &str) -> io::Result<()> {
        let node = Node::File(self.file_at(from)?);
        let (dir, name) = self.vacant(to)?;
        let name = name.to_owned();
        self.dir_mut(dir)?.change(NameChange::Create { name, node });
        Ok(())
    }

    pub(super) fn status(&self, path: &str) -> io::Result<Status> {
        let Node::File(file) = self.node(path)? else { return Ok(Status::Directory) };
        let names = self.dirs.values().flat_map(|names| names.now().iter());
        let links = names.filter(|(_, node)| *node == Node::File(file)).count() as u64;
        Ok(Status::File { len: self.file(file)?.now().len() as u64, links })
    }

    /// Within a directory one change, so a power cut leaves it done or not done; across two directories one change in
    /// each, so a power cut may leave both names or none. Directories stay where they are.
    pub(super) fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let (from_dir, from_name) = self.parent(from)?;
        let (to_dir, to_name) = self.parent(to)?;
        let node = self.node(from)?;
        let target = self.dir(to_dir)?.now().get(to_name);
        if matches!(node, Node::Dir(_)) && (target.is_some() || from_dir != to_dir) {
            return Err(errno(if target.is_some() { libc::EEXIST } else { libc::EINVAL }));
        }
        match target {
            Some(Node::Dir(_)) => return Err(errno(libc::EISDIR)),
            // rename(2): two names of one file stay as they are.
            Some(target) if target == node => return Ok(()),
            _ => {}
        }
        let (from, to) = (from_name.to_owned(), to_name.to_owned());
        if from_dir == to_dir {
            let rename = NameChange::Rename { from, to, node };
            self.dir_mut(to_dir)?.change(rename);
        } else {
            let (arrive, leave) = (NameChange::Replace { name: to, node }, NameChange::Remove { name: from, node });
            self.dir_mut(to_dir)?.change(arrive);
            self.dir_mut(from_dir)?.change(leave);
        }
        Ok(())
    }

    /// Puts a file on the medium, its bytes, its name and the directories above it all durable.
    pub(super) fn put_file(&mut self, path: &str, bytes: Vec<u8>) -> io::Result<()> {
        check(path)?;
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        if name.is_empty() {
            return Err(errno(libc::EISDIR));
        }
        let mut dir = ROOT;
        for step in parent.split('/').filter(|step| !step.is_empty()) {
            let below = match self.dir(dir)?.now().get(step) {
                Some(Node::Dir(below)) => below,
                Some(Node::File(_)) => return Err(errno(libc::ENOTDIR)),
                None => self.new_dir(),
            };
            self.settle_name(dir, step, Node::Dir(below))?;
            dir = below;
        }
        if let Some(Node::Dir(_)) = self.dir(dir)?.now().get(name) {
            return Err(errno(libc::EISDIR));
        }
        let file = self.new_file(Bytes::new(bytes));
        self.settle_name(dir, name, Node::File(file))
    }

    fn settle_name(&mut self, dir: u64, name: &str, node: Node) -> io::Result<()> {
        let name = name.to_owned();
        let replace = NameChange::Replace { name, node };
        self.dir_mut(dir)?.settle(replace);
        Ok(())
    }

    /// Paths and numbers of all files that have a name now, sorted by path.
    pub(super) fn files(&self) -> Vec<(String, u64)> {
        let mut files = Vec::new();
        let mut dirs = vec![(String::new(), ROOT)];
        while let Some((prefix, dir)) = dirs.pop() {
            let names = self.dirs.get(&dir).map(Journal::now);
            for (name, node) in names.into_iter().flat_map(Names::iter) {
                match node {
                    Node::File(file) => files.push((format!("{prefix}{name}"), file)),
                    Node::Dir(dir) => dirs.push((format!("{prefix}{name}/"), dir)),
                }
            }
        }
        files.sort_unstable();
        files
    }

    /// Bytes in all files that have a name now, each file once.
    pub(super) fn used(&self) -> u64 {
        let names = self.dirs.values().flat_map(|names| names.now().iter());
        let files: BTreeSet<u64> =
            names.filter_map(|(_, node)| if let Node::File(file) = node { Some(file) } else { None }).collect();
        let len = |file: &u64| self.files.get(file).map_or(0, |file| file.now().len());
        files.iter().map(|file| len(file) as u64).sum()
    }

    /// What the medium holds after a power cut now; everything in it is durable.
    pub(super) fn after_power_cut(&self, survival: Survival, random: &mut Random) -> Tree {
        let mut image = Tree::new();
        image.next = self.next;
        let mut reached = vec![ROOT];
        while let Some(dir) = reached.pop() {
            let Some(names) = self.dirs.get(&dir) else {
                continue;
            };
            let names = names.after_power_cut(survival, random);
            for (_, node) in names.iter() {
                match node {
                    Node::Dir(dir) => reached.push(dir),
                    // A rename across directories may have left two names; the file is still one.
                    Node::File(file) if image.files.contains_key(&file) => {}
                    Node::File(file) => {
                        if let Some(bytes) = self.files.get(&file) {
                            let bytes = bytes.after_power_cut(survival, random);
                            image.files.insert(file, Journal::durable(bytes));
                        }
                    }
                }
            }
            image.dirs.insert(dir, Journal::durable(names));
        }
        image
    }
}
