//! Doing what a request says, on an open store.

use std::io::{Read, Write};
use std::num::NonZeroU64;
use std::ops::ControlFlow;

use super::{Entry, Merge, Recovery, Reply, Request, StoreInfo, verify};
use crate::cli::exit::{Failure, NO_KEY, OTHER};
use crate::cli::progress::Bar;
use crate::cli::spool::Promised;
use crate::log::FORMAT_VERSION;
use crate::store::{Error, Kind, Listed, MAX_EXTENT, PlannedMerge, Scan, Store, Time, Value};

/// What comes of a request.
pub(in crate::cli) enum Answer<'s> {
    /// This, and nothing more.
    Reply(Reply),
    /// The names of a listing.
    Names(Scan<'s>),
    /// A value.
    Value(Value<'s>),
}

/// Does what a request says. `input` has the value of a `put`; what takes long asks now and then whether whoever wants it
/// still listens.
pub(in crate::cli) fn execute<'s>(
    store: &'s Store,
    request: &Request,
    input: &mut dyn Read,
    listens: &dyn Fn() -> bool,
) -> Result<Answer<'s>, Failure> {
    Ok(Answer::Reply(match request {
        Request::Get { key } => {
            let value = store.open_value(key).map_err(|error| failed(key, error))?;
            return Ok(Answer::Value(value.ok_or_else(|| failed(key, Error::NotFound))?));
        }
        Request::Put { key, ttl, len } => {
            let mut promised;
            let input = match len {
                Some(len) => {
                    promised = Promised::new(input, *len);
                    &mut promised as &mut dyn Read
                }
                None => input,
            };
            let mut put = || {
                let ttl = ttl.map(|ttl| i64::try_from(ttl.as_nanos()).unwrap_or(i64::MAX));
                store.put_reader_expiring(key, input, ttl.map(|ttl| Time(store.now().0.saturating_add(ttl))))
            };
            put().map_err(|error| failed(key, error))?;
            Reply::Done
        }
        Request::Remove { key, recursive } => {
            remove(store, key, *recursive, listens)?;
            Reply::Done
        }
        Request::Rename { from, to } => {
            store.rename(from, to).map_err(|error| failed(from, error))?;
            Reply::Done
        }
        Request::List { prefix, recursive } => return list(store, prefix, *recursive).map(Answer::Names),
        Request::Stat { key } => {
            let stat = store.stat(key).map_err(|error| failed(key, error))?;
            let stat = stat.ok_or_else(|| failed(key, Error::NotFound))?;
            let target = match stat.attributes.kind {
                Kind::Symlink => store.target(stat.id).unwrap_or_default().into(),
                _ => Box::default(),
            };
            Reply::Entries(vec![Entry::new(Listed { key: key.clone(), stat, target })])
        }
        Request::Compact { rate } => {
            let rate = rate.and_then(NonZeroU64::new);
            if !store.compact_while(rate, &mut || listens())? {
                return Err(Failure::new(OTHER, "merging was stopped"));
            }
            Reply::Done
        }
        Request::Snapshot { name } => Reply::Snapshots(vec![store.snapshot(name)?.into()]),
        // It is over when the connection is, and there is none.
        Request::Backup => return Err(Failure::new(OTHER, "only a daemon keeps a snapshot for a command")),
        Request::Snapshots => Reply::Snapshots(store.snapshots()?.into_iter().map(Into::into).collect()),
        Request::RemoveSnapshot { name } => {
            store.remove_snapshot(name)?;
            Reply::Done
        }
        Request::PlanCompaction => {
            let merge = |PlannedMerge { segments, bytes, copied }| Merge { segments, bytes, copied };
            Reply::Merges(store.planned_compaction().into_iter().map(merge).collect())
        }
        Request::Info => Reply::Info(Box::new(info(store)?)),
        // The daemon's end tells on its own how far it has come.
        Request::Verify => {
            let mut bar = Bar::default();
            verify(store, &mut |done, total| {
                bar.show(done, Some(total));
                Ok(())
            })
        }
    }))
}

/// Copies a value.
pub(in crate::cli) fn copy_value(value: &Value<'_>, output: &mut dyn Write) -> Result<(), Failure> {
    let mut buffer = vec![0; MAX_EXTENT];
    let mut offset = 0;
    while offset < value.len() {
        let len = value.read_at(offset, &mut buffer)?;
        output.write_all(buffer.get(..len).unwrap_or_default())?;
        offset += len as u64;
    }
    output.flush()?;
    Ok(())
}

fn failed(key: &[u8], error: Error) -> Failure {
    Failure::from(error).about(String::from_utf8_lossy(key))
}

fn remove(store: &Store, key: &[u8], recursive: bool, listens: &dyn Fn() -> bool) -> Result<(), Failure> {
    let removed = match recursive {
        false => store.remove(key).map(Some),
        true => store.remove_tree(key, &mut |_| {
            if listens() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        }),
    };
    match removed {
        Ok(Some(true)) => Ok(()),
        Ok(None) => Err(Failure::new(OTHER, "removing was stopped, and a part is left")),
        Ok(Some(false)) => Err(Failure::new(NO_KEY, Error::NotFound.to_string()).about(String::from_utf8_lossy(key))),
        Err(error) => Err(failed(key, error)),
    }
}

fn list<'s>(store: &'s Store, prefix: &[u8], recursive: bool) -> Result<Scan<'s>, Failure> {
    let directory = prefix.strip_suffix(b"/").unwrap_or(prefix);
    let stat = store.stat(directory).map_err(|error| failed(prefix, error))?;
    let is_directory = stat.is_some_and(|stat| stat.attributes.kind == Kind::Directory);
    Ok(match (is_directory, recursive) {
        (true, false) => store.list_unsorted(directory).map_err(|error| failed(prefix, error))?,
        (true, true) if directory.is_empty() => store.scan(b""),
        (true, true) => store.scan([directory, b"/"].concat()),
        (false, _) => store.scan(prefix),
    })
}

fn info(store: &Store) -> Result<StoreInfo, Failure> {
    let statistics = store.statistics()?;
    let info = statistics.info.clone();
    let report = store.recovery_report();
    let recovery = Recovery {
        records: report.records,
        torn_bytes: report.torn.iter().map(|torn| torn.len).sum(),
        damaged_bytes: report.damage.iter().map(|damage| damage.len).sum(),
        unread: {
            let unread = report.unread.iter();
            unread.map(|unread| (unread.location.file(), unread.location.offset.into(), unread.len)).collect()
        },
        damaged_keys: report.damaged_keys.clone(),
        unread_keys: report.unread_keys.clone(),
        lost_directories: report.lost_directories.clone(),
    };
    Ok(StoreInfo {
        id: info.id.to_string(),
        format_version: FORMAT_VERSION,
        epoch: info.epoch,
        keys: info.keys,
        segments: info.segments,
        log_bytes: info.log_bytes,
        live_bytes: info.live_bytes,
        keydir_bytes: info.keydir_bytes,
        merges: info.merges,
        snapshots: info.snapshots,
        snapshot_bytes: info.snapshot_bytes,
        taken: store.taken().map(|taken| taken.0),
        free_bytes: info.space.available,
        sequence: info.written,
        durable_sequence: info.durable,
        failure: info.failure,
        background_trouble: info.background_trouble,
        recovery,
        statistics: statistics.into(),
        ..StoreInfo::default()
    })
}
