//! `caskfs ls`: list keys.
//!
//! The names come in an order that is the store's own, each directory before what is in it. Here they are put in order,
//! in this process's memory: of a path only the last name is kept, and what stat shows only if it is to be printed.

use std::io::{self, Write};

use super::arguments::LsArguments;
use super::control::{Entry, Name, Request};
use super::exit::Failure;
use super::listing::{long, object};
use super::output::Output;
use super::spool::Spool;
use super::store_access::{key, list};
use crate::store::KeyPath;

pub(super) fn run(arguments: &LsArguments, output: &mut Output) -> Result<(), Failure> {
    let prefix = arguments.prefix.as_deref().map(key).unwrap_or_default();
    let request = Request::List { prefix, recursive: arguments.recursive };
    if !arguments.unsorted {
        let mut tree = Tree::default();
        let with_entries = arguments.long || arguments.json;
        list(&arguments.store, &request, &mut |name| {
            tree.push(name, with_entries);
            Ok(())
        })?;
        return tree.print(&mut Printer { arguments, output, path: KeyPath::default() });
    }
    let print = |output: &mut dyn Write| {
        let mut printer = Printer { arguments, output, path: KeyPath::default() };
        list(&arguments.store, &request, &mut |Name { depth, entry }| {
            printer.path.descend(depth, &entry.key);
            printer.print(entry.kind == DIRECTORY, Some(entry))
        })
    };
    if !output.may_wait() {
        return print(output);
    }
    // The reader may be a program that waits for this store.
    let mut spool = Spool::default();
    print(&mut spool)?;
    io::copy(&mut spool.into_value()?.bytes, output)?;
    Ok(())
}

const DIRECTORY: &str = "directory";

struct Printer<'a> {
    arguments: &'a LsArguments,
    output: &'a mut dyn Write,
    path: KeyPath,
}

impl Printer<'_> {
    /// Prints the entry that the path leads to; `entry` is there if more than the key is wanted.
    fn print(&mut self, directory: bool, entry: Option<Entry>) -> Result<(), Failure> {
        let Printer { arguments, output, path } = self;
        if let Some(mut entry) = entry.filter(|_| arguments.json || arguments.long) {
            if arguments.json {
                path.key().clone_into(&mut entry.key);
                writeln!(output, "{}", object(&entry))?;
                return Ok(());
            }
            write!(output, "{} ", long(&entry))?;
            write_name(output, path.key(), directory)?;
            if let Some(target) = &entry.target {
                output.write_all(b" -> ")?;
                output.write_all(target)?;
            }
        } else {
            write_name(output, path.key(), directory)?;
        }
        output.write_all(b"\n")?;
        Ok(())
    }
}

/// Raw: a name may be any bytes, and the next program in the pipe wants those.
fn write_name(output: &mut dyn Write, key: &[u8], directory: bool) -> Result<(), Failure> {
    output.write_all(key)?;
    if directory {
        output.write_all(b"/")?;
    }
    Ok(())
}

/// The names of a listing.
#[derive(Default)]
struct Tree {
    nodes: Vec<Node>,
    /// The node that came last, and those above it.
    last: Vec<usize>,
}

struct Node {
    /// The node that it is in; of those that come first, one more than there ever are.
    above: usize,
    name: Box<[u8]>,
    directory: bool,
    entry: Option<Box<Entry>>,
}

/// What the first names are in.
const TOP: usize = usize::MAX;

impl Tree {
    fn push(&mut self, Name { depth, entry }: Name, with_entries: bool) {
        self.last.truncate(depth);
        let above = self.last.last().copied().unwrap_or(TOP);
        self.last.push(self.nodes.len());
        let (name, directory) = (entry.key.as_slice().into(), entry.kind == DIRECTORY);
        self.nodes.push(Node { above, name, directory, entry: with_entries.then(|| Box::new(entry)) });
    }

    /// Prints everything: names in order, each directory before what is in it.
    fn print(mut self, printer: &mut Printer<'_>) -> Result<(), Failure> {
        let nodes = &mut self.nodes;
        // By the directory that they are in, and there by name, the last first.
        let mut order: Vec<usize> = (0..nodes.len()).collect();
        order.sort_unstable_by(|one, other| {
            let key = |node: usize| nodes.get(node).map(|node| (node.above, &node.name));
            key(*other).cmp(&key(*one))
        });
        // Where in that order those in a directory begin and end.
        let within = |nodes: &[Node], above: usize| {
            let is_in = |node: &usize| nodes.get(*node).is_some_and(|node| node.above > above);
            let start = order.partition_point(is_in);
            let is_there = |node: &usize| nodes.get(*node).is_some_and(|node| node.above >= above);
            start..order.partition_point(is_there)
        };
        let mut pending: Vec<(usize, usize)> = Vec::new();
        let push = |pending: &mut Vec<(usize, usize)>, nodes: &[Node], depth: usize, above: usize| {
            let children = order.get(within(nodes, above)).unwrap_or_default();
            pending.extend(children.iter().map(|child| (depth, *child)));
        };
        push(&mut pending, nodes, 0, TOP);
        while let Some((depth, place)) = pending.pop() {
            let Some(node) = nodes.get_mut(place) else { continue };
            printer.path.descend(depth, &node.name);
            let (directory, entry) = (node.directory, node.entry.take());
            printer.print(directory, entry.map(|entry| *entry))?;
            if directory {
                push(&mut pending, nodes, depth + 1, place);
            }
        }
        Ok(())
    }
}
