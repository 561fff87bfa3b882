//! What must be there: the filesystem as plain data, and every state of the published tree that it went through.
//!
//! A node has three layers, as the contract has them: what is *recorded* (a crash leaves that), what is *now* (the
//! tree shows it; it differs from the record only for files without one, and for their directories' times), and what
//! is *staged* through open files. `rules.rs` says which call moves what from one to the next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use caskfs::fs::SyncMode;
use caskfs::store::Kind;

use crate::call::{join, split};
use crate::snapshots::Snapshots;
use crate::tree::{Entry, Tree};

/// The number of a node in the model: greater than that of every node made before.
pub(crate) type Id = usize;

/// The root's number.
pub(crate) const TOP: Id = 0;

/// A name of a node.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Link {
    pub(crate) parent: Id,
    pub(crate) name: String,
}

/// All that a record says.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) kind: Kind,
    pub(crate) mode: u16,
    /// Last access, last change of the value, last change of anything.
    pub(crate) times: [i64; 3],
    pub(crate) xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
    pub(crate) target: Vec<u8>,
    pub(crate) value: Arc<Vec<u8>>,
    pub(crate) links: Vec<Link>,
}

impl State {
    pub(crate) fn new(kind: Kind, mode: u16, now: i64) -> State {
        let (xattrs, target, value, links) = Default::default();
        State { kind, mode, times: [now; 3], xattrs, target, value, links }
    }
}

/// What was written and not committed.
#[derive(Clone, Debug)]
pub(crate) struct Staged {
    /// The whole value, as a reader sees it.
    pub(crate) bytes: Vec<u8>,
    /// Nothing of the published value shows through.
    pub(crate) emptied: bool,
    /// More has happened than that the file was emptied.
    pub(crate) written: bool,
    pub(crate) mtime: i64,
    pub(crate) ctime: i64,
}

#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) now: State,
    pub(crate) recorded: Option<State>,
    pub(crate) staged: Option<Staged>,
    /// The place in the history of the tree in which what was staged last was published.
    pub(crate) published: usize,
    /// How often what is staged began anew.
    pub(crate) stage: u32,
    pub(crate) handles: u32,
    pub(crate) writers: u32,
}

/// An open file.
#[derive(Clone, Debug)]
pub(crate) struct Handle {
    pub(crate) id: Id,
    pub(crate) write: bool,
    /// Something was written through it that its FLUSH must see durable.
    pub(crate) wrote: bool,
    /// The stage that it wrote to last.
    pub(crate) wrote_to: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) nodes: Vec<Node>,
    pub(crate) slots: Vec<Option<Handle>>,
    pub(crate) sync: SyncMode,
    pub(crate) snapshots: Snapshots,
    /// The published trees, oldest first.
    history: Vec<Arc<Tree>>,
    /// The place in the history that a call which published nothing itself has waited for.
    pub(crate) kept: usize,
}

impl Model {
    /// The model of a store that went through these trees and has just been opened with the last of them.
    pub(crate) fn new(history: Vec<Arc<Tree>>, sync: SyncMode, slots: usize) -> Model {
        let last = history.last().cloned().unwrap_or_default();
        let (nodes, snapshots) = Default::default();
        let mut model = Model { nodes, slots: vec![None; slots], sync, snapshots, history, kept: 0 };
        // In order of the store's ids, so that what is in order of those there is in order of numbers here.
        let mut paths: Vec<&String> = last.entries.keys().collect();
        paths.sort_by_key(|path| last.ids.get(*path));
        let mut ids = BTreeMap::new();
        for path in paths {
            let Some(entry) = last.entries.get(path) else { continue };
            if entry.first == *path {
                ids.insert(path.clone(), model.nodes.len());
                let mut state = State::new(entry.kind, entry.mode, 0);
                state.times = entry.times;
                (state.xattrs, state.target) = (entry.xattrs.clone(), entry.target.clone());
                state.value = Arc::clone(&entry.value);
                model.add(state);
            }
        }
        for (directory, entry) in &last.entries {
            for name in &entry.children {
                let found = last.entries.get(&join(directory, name)).and_then(|child| ids.get(&child.first));
                if let (Some(&parent), Some(&id)) = (ids.get(directory), found) {
                    model.attach(id, parent, name);
                }
            }
        }
        for node in &mut model.nodes {
            node.recorded = Some(node.now.clone());
        }
        model
    }

    /// The tree of a new store.
    pub(crate) fn empty_tree() -> Tree {
        let root = Entry {
            kind: Kind::Directory,
            mode: 0o755,
            times: [0; 3],
            links: 2,
            xattrs: BTreeMap::new(),
            target: Vec::new(),
            value: Arc::default(),
            first: String::new(),
            children: Vec::new(),
        };
        Tree { entries: BTreeMap::from([(String::new(), root)]), ids: BTreeMap::from([(String::new(), 1)]) }
    }

    pub(crate) fn history(&self) -> &[Arc<Tree>] {
        &self.history
    }

    /// The place in the history of the present.
    pub(crate) fn present(&self) -> usize {
        self.history.len() - 1
    }

    pub(crate) fn add(&mut self, state: State) -> Id {
        self.nodes.push(Node {
            now: state,
            recorded: None,
            staged: None,
            published: 0,
            stage: 0,
            handles: 0,
            writers: 0,
        });
        self.nodes.len() - 1
    }

    /// Gives a node a name, without touching any time.
    pub(crate) fn attach(&mut self, id: Id, parent: Id, name: &str) {
        let link = Link { parent, name: name.into() };
        self.nodes[id].now.links.push(link);
    }

    /// What a path leads to.
    pub(crate) fn find(&self, path: &str) -> Option<Id> {
        if path.is_empty() {
            return Some(TOP);
        }
        let (directory, name) = split(path);
        let parent = self.find(directory)?;
        self.child(parent, name)
    }

    pub(crate) fn child(&self, parent: Id, name: &str) -> Option<Id> {
        let named = |node: &Node| node.now.links.iter().any(|link| link.parent == parent && link.name == name);
        self.nodes.iter().position(named)
    }

    pub(crate) fn is_empty(&self, directory: Id) -> bool {
        !self.nodes.iter().any(|node| node.now.links.iter().any(|link| link.parent == directory))
    }

    pub(crate) fn is_directory(&self, id: Id) -> bool {
        self.nodes[id].now.kind == Kind::Directory
    }

    /// Created, and in no record yet.
    pub(crate) fn is_provisional(&self, id: Id) -> bool {
        self.nodes[id].recorded.is_none() && !self.nodes[id].now.links.is_empty()
    }

    /// Whether anything is open of it or staged for it.
    pub(crate) fn is_busy(&self, id: Id) -> bool {
        self.nodes[id].handles > 0 || self.nodes[id].staged.is_some()
    }

    /// Every path that there is now, with its node.
    pub(crate) fn paths(&self) -> Vec<(String, Id)> {
        let mut found = vec![(String::new(), TOP)];
        let mut next = 0;
        while let Some((path, directory)) = found.get(next).cloned() {
            next += 1;
            for (id, node) in self.nodes.iter().enumerate() {
                let names = node.now.links.iter().filter(|link| link.parent == directory);
                found.extend(names.map(|link| (join(&path, &link.name), id)));
            }
        }
        found
    }

    /// A transaction: all of these nodes are recorded as they are now, and the directories of those that were in no
    /// record. One state of the history.
    pub(crate) fn record(&mut self, touched: impl IntoIterator<Item = Id>) {
        let mut all = BTreeSet::new();
        for id in touched {
            all.insert(id);
            if self.is_provisional(id) {
                all.extend(self.nodes[id].now.links.iter().map(|link| link.parent));
            }
        }
        for id in all {
            let node = &mut self.nodes[id];
            let gone = node.now.links.is_empty() && id != TOP;
            node.recorded = (!gone).then(|| node.now.clone());
        }
        let tree = self.recorded_tree();
        self.history.push(Arc::new(tree));
    }

    /// What a crash leaves.
    fn recorded_tree(&self) -> Tree {
        let mut children: BTreeMap<Id, BTreeMap<&str, (Id, &State)>> = BTreeMap::new();
        for (id, node) in self.nodes.iter().enumerate() {
            let Some(state) = &node.recorded else { continue };
            for link in &state.links {
                children.entry(link.parent).or_default().insert(&link.name, (id, state));
            }
        }
        let mut tree = Tree::default();
        let Some(root) = &self.nodes[TOP].recorded else { return tree };
        let mut pending = vec![(String::new(), TOP, root)];
        let mut paths: BTreeMap<String, Id> = BTreeMap::new();
        while let Some((path, id, state)) = pending.pop() {
            let below: Vec<_> = children.get(&id).into_iter().flatten().collect();
            let directories = below.iter().filter(|(_, (_, state))| state.kind == Kind::Directory).count();
            let links = if state.kind == Kind::Directory { 2 + directories } else { state.links.len() };
            let entry = Entry {
                kind: state.kind,
                mode: state.mode,
                times: state.times,
                links: links as u32,
                xattrs: state.xattrs.clone(),
                target: state.target.clone(),
                value: Arc::clone(&state.value),
                first: String::new(),
                children: below.iter().map(|(name, _)| (**name).to_owned()).collect(),
            };
            pending.extend(below.iter().map(|(name, (id, state))| (join(&path, name), *id, *state)));
            paths.insert(path.clone(), id);
            tree.entries.insert(path, entry);
        }
        let mut first: BTreeMap<Id, String> = BTreeMap::new();
        for (path, entry) in &mut tree.entries {
            entry.first = first.entry(paths[path]).or_insert_with(|| path.clone()).clone();
        }
        tree
    }
}
