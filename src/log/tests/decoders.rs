//! Whatever a disk hands in: no panic, and no record that nobody wrote.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::log::format;
use crate::log::manifest::Manifest;
use crate::log::record::Header;
use crate::log::scan::Scanner;
use crate::log::segment::Segment;

/// A change that a bad disk, or a bad operator, may make to a file.
#[derive(Clone, Debug)]
enum Mischief {
    Flip { place: prop::sample::Index, xor: u8 },
    Overwrite { place: prop::sample::Index, bytes: Vec<u8> },
    Cut { len: prop::sample::Index },
    Append { bytes: Vec<u8> },
    Copy { from: prop::sample::Index, to: prop::sample::Index, len: usize },
}

fn mischief() -> impl Strategy<Value = Mischief> {
    let place = any::<prop::sample::Index>;
    prop_oneof![
        (place(), 1..=u8::MAX).prop_map(|(place, xor)| Mischief::Flip { place, xor }),
        (place(), vec(any::<u8>(), 1..200)).prop_map(|(place, bytes)| Mischief::Overwrite { place, bytes }),
        place().prop_map(|len| Mischief::Cut { len }),
        vec(any::<u8>(), 1..200).prop_map(|bytes| Mischief::Append { bytes }),
        (place(), place(), 1..400usize).prop_map(|(from, to, len)| Mischief::Copy { from, to, len }),
    ]
}

fn spoil(bytes: &mut Vec<u8>, mischief: &Mischief) {
    let put = |bytes: &mut Vec<u8>, at: usize, patch: &[u8]| {
        for (place, byte) in bytes.iter_mut().skip(at).zip(patch) {
            *place = *byte;
        }
    };
    if bytes.is_empty() {
        return;
    }
    match mischief {
        Mischief::Flip { place, xor } => *place.get_mut(bytes) ^= xor,
        Mischief::Overwrite { place, bytes: patch } => {
            let at = place.index(bytes.len());
            put(bytes, at, patch);
        }
        Mischief::Cut { len } => bytes.truncate(len.index(bytes.len())),
        Mischief::Append { bytes: more } => bytes.extend_from_slice(more),
        Mischief::Copy { from, to, len } => {
            let from = from.index(bytes.len());
            let piece: Vec<u8> = bytes.iter().skip(from).take(*len).copied().collect();
            let to = to.index(bytes.len());
            put(bytes, to, &piece);
        }
    }
}

proptest! {
    #[test]
    fn random_bytes_are_no_header(bytes in vec(any::<u8>(), 0..100), seed: u32, offset: u32) {
        prop_assert_eq!(Header::decode(&bytes, seed, offset), None);
    }

    #[test]
    fn random_bytes_are_no_manifest_and_no_format(bytes in vec(any::<u8>(), 0..300)) {
        let disk = SimDisk::new();
        disk.put_file("manifest", bytes.clone());
        prop_assert!(Manifest::read(&disk, ID).is_err());
        disk.put_file("format", bytes.clone());
        prop_assert!(format::read(&disk).is_err());
        disk.put_file("format", [b"caskfs store\n", &bytes[..]].concat());
        prop_assert!(format::read(&disk).is_err());
        disk.put_file(FIRST, bytes);
        prop_assert!(Segment::open(&disk, 1, 3, ID, false).map_or(true, |segment| segment.illegible));
    }

    #[test]
    fn random_bytes_are_no_records(bytes in vec(any::<u8>(), 0..3000)) {
        let disk = SimDisk::new();
        drop(open(&disk, 600));
        let mut segment = disk.file(FIRST).unwrap();
        segment.extend_from_slice(&bytes);
        disk.put_file(FIRST, segment);
        let (log, _, seen) = open(&disk, 600);
        prop_assert_eq!(seen, vec![]);
        fill(&log, 3);
        prop_assert_eq!(recovered(&disk).1, filled(1..=3));
    }

    /// Damage anywhere in the segments: what is shown was written, in order, and nothing twice. What was appended
    /// then is there at the next start.
    #[test]
    fn no_damage_makes_a_record(count in 1..40u64, spoilt in vec((any::<prop::sample::Index>(), mischief()), 1..6)) {
        let disk = SimDisk::new();
        fill(&open(&disk, 500).0, count);
        let paths: Vec<_> = disk.paths().into_iter().filter(|path| path.ends_with(".log")).collect();
        for (path, mischief) in &spoilt {
            let path = path.get(&paths);
            let mut bytes = disk.file(path).unwrap();
            spoil(&mut bytes, mischief);
            disk.put_file(path, bytes);
        }
        // A segment that has lost its header and its first records is refused.
        let Ok((log, _, seen)) = open_with(&disk, options(500)) else { return Ok(()) };
        prop_assert!(seen.windows(2).all(|pair| pair[0].0 < pair[1].0), "{:?}", seen);
        for (sequence, entry, found) in &seen {
            prop_assert_eq!(sequence, entry);
            prop_assert!(found.as_ref().is_none_or(|found| *found == body(*entry)));
        }
        append(&log, &[(1000, b"new")]).unwrap();
        log.sync(log.written()).unwrap();
        let (_, mut again) = recovered(&disk);
        let last = again.pop().unwrap();
        prop_assert_eq!((last.1, last.2), (1000, Some(b"new".to_vec())));
        prop_assert_eq!(again, seen);
    }

    /// The same for the manifest: it is refused, or nothing is missing.
    #[test]
    fn no_damage_to_the_manifest_hides_a_record(spoilt in vec(mischief(), 1..3)) {
        let disk = SimDisk::new();
        fill(&open(&disk, 400).0, 20);
        let mut bytes = disk.file("manifest").unwrap();
        spoilt.iter().for_each(|mischief| spoil(&mut bytes, mischief));
        disk.put_file("manifest", bytes);
        if let Ok((_, report, seen)) = open_with(&disk, options(400)) {
            prop_assert_eq!(seen, filled(1..=20), "{:?}", report);
        }
    }
}

#[test]
fn a_scanner_stays_within_its_limit() {
    let disk = SimDisk::new();
    let log = open(&disk, 1 << 20).0;
    let locations = fill(&log, 10);
    let segment = Segment::open(&disk, 1, 1, ID, false).unwrap();
    for end in 0..log.size().1 + 100 {
        let mut scanner = Scanner::new(&segment, Some(end)).unwrap();
        let mut found = 0;
        let mut offset = scanner.start();
        while let Some(next) = scanner.search(offset).unwrap() {
            let record = scanner.record_at(next).unwrap().unwrap();
            offset = next + record.header.record_len();
            assert!(offset <= end);
            found += 1;
        }
        let whole = locations.iter().skip(1).filter(|location| u64::from(location.offset) <= end).count();
        assert!(found == whole || found == whole + 1, "{end}: {found} of {whole}");
        assert!(scanner.is_blank(end).unwrap());
    }
}
