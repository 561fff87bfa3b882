//! `caskfs info`: show what a store holds, and how it is.

use std::io::Write;

use super::arguments::InfoArguments;
use super::control::{Reply, Request, Statistics, StoreInfo};
use super::exit::Failure;
use super::listing::{bytes, time};
use super::output::Output;
use super::store_access::{Access, ask};
use crate::store::UNREAD_ADVICE;

pub(super) fn run(arguments: &InfoArguments, output: &mut Output) -> Result<(), Failure> {
    let Reply::Info(mut info) = ask(&arguments.store, Access::Read, &Request::Info)? else { return Ok(()) };
    if info.store.is_empty() {
        info.store = arguments.store.display().to_string();
    }
    if arguments.json {
        writeln!(output, "{}", serde_json::to_string(&info).map_err(std::io::Error::from)?)?;
    } else {
        show(&info, output)?;
    }
    Ok(())
}

fn show(info: &StoreInfo, output: &mut Output) -> std::io::Result<()> {
    writeln!(output, "store:      {}", info.store)?;
    writeln!(
        output,
        "id:         {} (format {}, opened for writing {} times)",
        info.id, info.format_version, info.epoch
    )?;
    match (&info.mountpoint, info.daemon_pid) {
        (Some(mountpoint), Some(pid)) => writeln!(output, "mounted:    at {mountpoint} by process {pid}")?,
        _ => writeln!(output, "mounted:    no")?,
    }
    writeln!(output, "keys:       {}", info.keys)?;
    writeln!(
        output,
        "log:        {} in {} segments, {} of it live, {} merges since the start",
        bytes(info.log_bytes),
        info.segments,
        bytes(info.live_bytes),
        info.merges
    )?;
    if info.snapshots > 0 {
        writeln!(output, "snapshots:  {}, which alone keep {}", info.snapshots, bytes(info.snapshot_bytes))?;
    }
    if let Some(taken) = info.taken {
        writeln!(output, "snapshot:   taken at {}, never written to", time(taken))?;
    }
    let per_key = info.keydir_bytes / info.keys.max(1);
    writeln!(output, "memory:     {} for the keys, {per_key} bytes for each with its name", bytes(info.keydir_bytes))?;
    writeln!(output, "disk:       {} free", bytes(info.free_bytes))?;
    show_statistics(&info.statistics, output)?;
    writeln!(output, "sequence:   {} written, {} durable", info.sequence, info.durable_sequence)?;
    writeln!(output, "state:      {}", info.failure.as_deref().unwrap_or("healthy"))?;
    if let Some(trouble) = &info.background_trouble {
        writeln!(output, "trouble:    {trouble}; it is tried again")?;
    }
    let recovery = &info.recovery;
    writeln!(
        output,
        "last start: {} records read, {} unacknowledged bytes of a crash cut off, {} bytes damaged",
        recovery.records, recovery.torn_bytes, recovery.damaged_bytes
    )?;
    for (file, offset, len) in &recovery.unread {
        writeln!(output, "unread:     {len} bytes of {file} from {offset}")?;
    }
    if !recovery.unread.is_empty() {
        writeln!(output, "merging:    no: {UNREAD_ADVICE}")?;
    }
    for key in &recovery.damaged_keys {
        writeln!(output, "damaged:    {key}")?;
    }
    for key in &recovery.unread_keys {
        writeln!(output, "unread:     {key}")?;
    }
    for name in &recovery.lost_directories {
        writeln!(output, "found:      {name}")?;
    }
    Ok(())
}

/// What was done since the store was opened.
fn show_statistics(statistics: &Statistics, output: &mut Output) -> std::io::Result<()> {
    let written = statistics.appended_bytes + statistics.merge_written_bytes;
    let times = statistics.write_amplification.map(|times| format!(" ({times:.2} for each)")).unwrap_or_default();
    writeln!(output, "writes:     {} of values put, {} written{times}", bytes(statistics.put_bytes), bytes(written))?;
    if let (Some(took), Some(waiters)) = (statistics.sync_microseconds.mean(), statistics.sync_waiters.mean()) {
        let (syncs, took) = (statistics.syncs, took / 1000.0);
        writeln!(output, "syncs:      {syncs}, of {took:.2} ms in the mean, {waiters:.1} waiting for each")?;
    }
    if let Some(resident) = statistics.resident_bytes {
        writeln!(output, "process:    {} of memory", bytes(resident))?;
    }
    Ok(())
}
