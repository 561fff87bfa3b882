//! Measures a directory as a durable key-value store: a file is a key. Whatever filesystem it is in.

mod clients;
mod existing;
mod listing;
mod operation;
mod prepared;
mod random;
mod stream;

use std::error::Error;
use std::path::PathBuf;

use clap::Parser;

use operation::{Kind, Write};

/// Measures one operation after the other in a directory, and prints a line of JSON for each.
#[derive(Parser)]
struct Arguments {
    /// Something that is empty, and stays used.
    directory: PathBuf,
    /// What is measured, in this order.
    #[arg(long, value_delimiter = ',', required = true)]
    operations: Vec<Kind>,
    /// How many do it at the same time; each number is measured.
    #[arg(long, value_delimiter = ',', default_value = "1")]
    clients: Vec<usize>,
    /// Keys that are there for get, stat, replace and so on, and that delete deletes.
    #[arg(long, default_value_t = 10_000)]
    keys: u64,
    /// Bytes of a value.
    #[arg(long, default_value_t = 1024)]
    size: usize,
    /// How long each is measured (delete and what is sequential end when they are through).
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Do all these operations at the same time instead of one after the other.
    #[arg(long)]
    together: bool,
    /// fsync before each close; without it close is all.
    #[arg(long)]
    fsync: bool,
    /// Keys that were in the store before it was mounted, for cold-stat and cold-get.
    #[arg(long, default_value_t = 10_000)]
    existing: u64,
    /// Names that are listed.
    #[arg(long, default_value_t = 100_000)]
    names: u64,
    /// Mebibytes of the file that is written and read in a stream.
    #[arg(long, default_value_t = 1024)]
    stream: u64,
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments = Arguments::parse();
    let write = Write { fsync: arguments.fsync, size: arguments.size };
    let prepared = prepared::Prepared::new(&arguments.directory, arguments.keys)?;
    if arguments.together {
        for clients in &arguments.clients {
            for measurement in clients::measure(&arguments.operations, &prepared, write, *clients, arguments.seconds)? {
                measurement.print()?;
            }
        }
        return Ok(());
    }
    for kind in &arguments.operations {
        match kind {
            Kind::ColdStat | Kind::ColdGet => {
                existing::measure(*kind, &prepared, write, arguments.existing)?.print()?
            }
            Kind::List => listing::measure(&prepared, arguments.names)?.print()?,
            Kind::StreamWrite => stream::write(&prepared, arguments.stream << 20)?.print()?,
            Kind::StreamRead => stream::read(&prepared, stream::Cache::Dropped)?.print()?,
            Kind::StreamReadWarm => stream::read(&prepared, stream::Cache::Warm)?.print()?,
            kind => {
                for clients in &arguments.clients {
                    for measurement in clients::measure(&[*kind], &prepared, write, *clients, arguments.seconds)? {
                        measurement.print()?;
                    }
                }
            }
        }
    }
    Ok(())
}
