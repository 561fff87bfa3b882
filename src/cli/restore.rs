//! `caskfs restore`: make a store from a backup.

use super::arguments::RestoreArguments;
use super::backup::{check_apart, complain, show};
use super::exit::Failure;
use super::output::Output;
use super::progress::Bar;
use crate::store::{Error, Progress, restore};
use crate::{log, medium};

pub(super) fn run(arguments: &RestoreArguments, output: &mut Output) -> Result<(), Failure> {
    let RestoreArguments { backup, store, json } = arguments;
    // A snapshot lies within its store, and a store may be made from it anywhere else.
    check_apart(backup, store)?;
    log::is_frozen(&medium::Disk::new(backup))
        .map_err(|error| Failure::from(Error::from(error)).about(backup.display()))?;
    let mut bar = Bar::default();
    let restored = restore(backup, store, &mut |Progress { done, total }| bar.show(done, Some(total)));
    drop(bar);
    let restored = restored.map_err(|error| {
        let about = if matches!(error, Error::Log(log::Error::NotFrozen)) { backup } else { store };
        Failure::from(error).about(about.display())
    })?;
    show("restored", &restored, *json, output)?;
    complain(&restored, "the store is restored, but the backup is damaged, and so is the store")
}
