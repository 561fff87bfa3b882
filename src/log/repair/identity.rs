//! Which store the files of a directory belong to, also if the file that says so is lost.

use std::collections::BTreeMap;
use std::io;

use super::quarantine::in_segments;
use crate::log::error::{Context, Error};
use crate::log::manifest::Manifest;
use crate::log::retry::retried;
use crate::log::segment::{Claim, SEGMENT_HEADER_LEN};
use crate::log::{FORMAT_VERSION, StoreId, Unread, files, format};
use crate::medium::{Medium, Status};

/// Of each file in the directory of the segments, hints left out, what its header says, if that is whole.
pub(super) type Claims = BTreeMap<String, Option<Claim>>;

/// Which store this is.
pub(super) struct Identity {
    pub(super) id: StoreId,
    /// What is wrong with the format file, if anything is.
    pub(super) format: Result<(), String>,
    pub(super) claims: Claims,
    /// What could not be read.
    pub(super) unread: Vec<Unread>,
}

impl Identity {
    pub(super) fn of(medium: &dyn Medium) -> Result<Identity, Error> {
        let mut unread = Vec::new();
        let claims = claims(medium, &mut unread)?;
        let what = match format::read(medium) {
            Ok(id) => return Ok(Identity { id, format: Ok(()), claims, unread }),
            Err(Error::NotAStore) => "it is missing, or begins with another line",
            Err(Error::DamagedFile { what, .. }) => what,
            Err(error) if error.is_unreadable() => {
                unread.push(Unread::whole(files::FORMAT));
                "it cannot be read"
            }
            Err(error) => return Err(error),
        };
        let id = elected(medium, &claims).ok_or(Error::NotAStore)?;
        Ok(Identity { id, format: Err(what.to_owned()), claims, unread })
    }
}

fn claims(medium: &dyn Medium, unread: &mut Vec<Unread>) -> Result<Claims, Error> {
    let names = files::found(medium.list(files::SEGMENTS)).context(|| "listing the segments".into())?;
    let mut claims = BTreeMap::new();
    for name in names.unwrap_or_default().into_iter().filter(|name| files::hint_number(name).is_none()) {
        let path = in_segments(&name);
        if !matches!(medium.status(&path), Ok(Status::File { .. })) {
            continue;
        }
        let file = retried(|| medium.open(&path, false)).context(|| format!("opening {path}"))?;
        let claim = match Claim::read(&*file) {
            Err(error) if error.kind() != io::ErrorKind::UnexpectedEof => {
                unread.push(Unread { file: path, offset: 0, len: u64::from(SEGMENT_HEADER_LEN) });
                None
            }
            other => other.ok().flatten(),
        };
        if let Some(Claim { version: found, .. }) = claim.filter(|claim| claim.version > FORMAT_VERSION) {
            return Err(Error::FutureVersion { found, known: FORMAT_VERSION });
        }
        claims.insert(name, claim);
    }
    Ok(claims)
}

/// The identity that most files give, the manifest among them.
fn elected(medium: &dyn Medium, claims: &Claims) -> Option<StoreId> {
    let mut votes: Vec<(StoreId, u32)> = Vec::new();
    let manifest = Manifest::header(medium).map(|header| header.store);
    for id in claims.values().flatten().map(|claim| claim.store).chain(manifest) {
        match votes.iter_mut().find(|(voted, _)| *voted == id) {
            Some((_, count)) => *count += 1,
            None => votes.push((id, 1)),
        }
    }
    votes.into_iter().max_by_key(|(_, count)| *count).map(|(id, _)| id)
}
