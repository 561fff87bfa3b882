//! The `caskfs` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    caskfs::cli::main()
}
