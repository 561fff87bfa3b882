//! caskfs's library beside other embedded stores, each as its manual says that a durable write is had.

mod engines;
mod measure;

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

use engines::{Failure, Name, Purpose};

/// Measures one engine, and prints a line of JSON for each operation.
#[derive(Parser)]
struct Arguments {
    engine: Name,
    /// Where its store is, or is made.
    directory: PathBuf,
    /// What is measured, in this order.
    #[arg(long, value_delimiter = ',', required = true)]
    operations: Vec<Operation>,
    /// How many do it at the same time; each number is measured.
    #[arg(long, value_delimiter = ',', default_value = "1")]
    threads: Vec<usize>,
    /// Keys that are loaded, and that get reads.
    #[arg(long, default_value_t = 100_000)]
    keys: u64,
    /// Bytes of a value.
    #[arg(long, default_value_t = 1024)]
    size: usize,
    /// How long put and get are measured.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
}

#[derive(Clone, Copy, ValueEnum)]
enum Operation {
    /// Put keys, each durable before the next.
    Put,
    /// Get any of the keys that were loaded.
    Get,
    /// Put all keys in batches of a thousand, and sync at the end.
    Load,
    /// Open the store and get one key; it has to be there. Alone: what comes before would warm it.
    Open,
}

fn main() -> Result<(), Failure> {
    let arguments = Arguments::parse();
    if matches!(arguments.operations.as_slice(), [Operation::Open]) {
        measure::open(arguments.engine, &arguments.directory, arguments.keys)?.print()?;
        return Ok(());
    }
    for operation in arguments.operations {
        match operation {
            Operation::Load => {
                let engine = engines::open(arguments.engine, &arguments.directory, Purpose::Load)?;
                measure::load(&*engine, arguments.keys, arguments.size)?.print()?;
                engine.close()?;
            }
            Operation::Put | Operation::Get => {
                let engine = engines::open(arguments.engine, &arguments.directory, Purpose::Use)?;
                let limit = std::time::Duration::from_secs_f64(arguments.seconds);
                for threads in &arguments.threads {
                    let measurement = match operation {
                        Operation::Get => measure::get(&*engine, arguments.keys, *threads, limit)?,
                        _ => measure::put(&*engine, arguments.size, *threads, limit)?,
                    };
                    measurement.print()?;
                }
                engine.close()?;
            }
            Operation::Open => return Err("open is measured alone".into()),
        }
    }
    Ok(())
}
