//! Headers, the codec, and reading single records.

use proptest::prelude::*;

use super::*;
use crate::log::codec::{Decoder, Encoder, Truncated};
use crate::log::record::{ALIGNMENT, HEADER_LEN, Header, MAX_BODY, MAX_ENTRY, MAX_SEQUENCE, record_len};

fn any_header() -> impl Strategy<Value = Header> {
    let numbers = (1..=MAX_SEQUENCE, 0..=MAX_ENTRY, 0..u32::MAX);
    (1..=u8::MAX, any::<bool>(), 0..=MAX_BODY as u32, any::<[u32; 2]>(), numbers).prop_map(
        |(kind, last, body_len, [body_crc, front], (sequence, entry, distance))| Header {
            kind,
            last,
            body_len,
            front_len: front % (body_len + 1),
            body_crc,
            sequence,
            entry,
            durable: sequence.saturating_sub(distance.into()),
        },
    )
}

fn encoded(header: &Header, seed: u32, offset: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    header.encode(seed, offset, &mut bytes);
    bytes
}

proptest! {
    #[test]
    fn a_header_is_read_as_written(header in any_header(), seed: u32, offset: u32) {
        let bytes = encoded(&header, seed, offset);
        prop_assert_eq!(bytes.len(), HEADER_LEN);
        prop_assert_eq!(Header::decode(&bytes, seed, offset), Some(header));
    }

    #[test]
    fn numbers_beyond_their_limits_are_damage(header in any_header(), beyond: u64) {
        for header in [
            Header { sequence: beyond.max(MAX_SEQUENCE + 1), ..header },
            Header { entry: beyond.max(MAX_ENTRY + 1), ..header },
            Header { sequence: 0, ..header },
            Header { front_len: header.body_len + 1, ..header },
        ] {
            prop_assert_eq!(Header::decode(&encoded(&header, 5, 64), 5, 64), None);
        }
    }

    #[test]
    fn a_header_is_right_in_its_own_place_only(header in any_header(), seed: u32, offset: u32, other: u32) {
        let bytes = encoded(&header, seed, offset);
        prop_assert_eq!(Header::decode(&bytes, seed ^ 1, offset), None);
        prop_assume!(other != offset);
        prop_assert_eq!(Header::decode(&bytes, seed, other), None);
    }

    #[test]
    fn no_byte_of_a_header_can_be_another(header in any_header(), place in 0..HEADER_LEN, xor in 1..=u8::MAX) {
        let mut bytes = encoded(&header, 5, 64);
        bytes[place] ^= xor;
        prop_assert_eq!(Header::decode(&bytes, 5, 64), None);
    }

    #[test]
    fn numbers_are_read_as_written(a: u8, b: u16, c: u32, d: u64, e: i64, tail: Vec<u8>) {
        let mut bytes = Vec::new();
        bytes.put_u8(a);
        bytes.put_u16(b);
        bytes.put_u32(c);
        bytes.put_u64(d);
        bytes.put_i64(e);
        bytes.put_varint(d);
        bytes.put_signed_varint(e);
        bytes.extend_from_slice(&tail);
        let mut decoder = Decoder::new(&bytes);
        prop_assert_eq!(decoder.u8(), Ok(a));
        prop_assert_eq!(decoder.u16(), Ok(b));
        prop_assert_eq!(decoder.u32(), Ok(c));
        prop_assert_eq!(decoder.u64(), Ok(d));
        prop_assert_eq!(decoder.i64(), Ok(e));
        prop_assert_eq!(decoder.varint(), Ok(d));
        prop_assert_eq!(decoder.signed_varint(), Ok(e));
        prop_assert_eq!(decoder.rest(), &tail[..]);
        prop_assert_eq!(decoder.bytes(tail.len() + 1), Err(Truncated));
        prop_assert_eq!(decoder.bytes(tail.len()), Ok(&tail[..]));
        prop_assert_eq!(decoder.u8(), Err(Truncated));
    }
}

#[test]
fn what_no_writer_writes_is_no_header() {
    let header =
        Header { kind: 1, last: true, body_len: 0, front_len: 0, body_crc: 0, sequence: 1, entry: 0, durable: 0 };
    assert!(Header::decode(&encoded(&header, 1, 64), 1, 64).is_some());
    for wrong in [
        Header { kind: 0, ..header },
        Header { sequence: 0, ..header },
        Header { body_len: MAX_BODY as u32 + 1, ..header },
        Header { front_len: 1, ..header },
    ] {
        assert_eq!(Header::decode(&encoded(&wrong, 1, 64), 1, 64), None, "{wrong:?}");
    }
    assert_eq!(Header::decode(&[0; HEADER_LEN], 0, 0), None, "all-zero is invalid");
    assert_eq!(Header::decode(&encoded(&header, 1, 64)[..HEADER_LEN - 1], 1, 64), None);
    for len in 0..64 {
        let taken = record_len(len);
        assert!(taken % ALIGNMENT as u64 == 0 && taken >= (HEADER_LEN + len) as u64);
    }
}

#[test]
fn a_record_is_read_back_by_its_location() {
    let log = open(&SimDisk::new(), 600).0;
    let locations = fill(&log, 40);
    for (sequence, location) in (1..).zip(locations) {
        let expected = body(sequence);
        let len = expected.len() as u32;
        assert_eq!(*log.read(location, len, sequence).unwrap(), *expected);
        let refused = |location, len, sequence| match log.read(location, len, sequence) {
            Err(Error::Damaged { location: at, .. }) => assert_eq!(at, location),
            other => panic!("{other:?}"),
        };
        refused(location, len, sequence + 1);
        refused(location, len - 1, sequence);
        refused(location, len + 200, sequence);
        refused(Location { offset: location.offset + 8, ..location }, len, sequence);
        refused(Location { segment: 99, ..location }, len, sequence);
    }
}

#[test]
fn recovery_shows_the_records_of_a_transaction_in_order_and_the_fronts_of_their_bodies() {
    let disk = SimDisk::new();
    let log = open(&disk, 1 << 20).0;
    let drafts = [
        Draft { kind: 3, entry: 1, front: b"a", bulk: b"bc" },
        Draft { kind: 4, entry: 2, front: &[], bulk: &[] },
        Draft { kind: 5, entry: 3, front: &[], bulk: b"d" },
    ];
    let locations = log.begin().unwrap().append(&drafts).unwrap();
    assert_eq!(locations.len(), 3);
    assert!(log.begin().unwrap().append(&[]).unwrap().is_empty());
    assert_eq!(*log.read(locations[0], 3, 1).unwrap(), *b"abc");
    assert_eq!(log.written(), 3);
    let expected = vec![(1, 1, Some(b"a".to_vec())), (2, 2, Some(vec![])), (3, 3, Some(vec![]))];
    assert_eq!(recovered(&disk).1, expected);
}

#[test]
fn what_is_too_large_is_refused_and_changes_nothing() {
    let disk = SimDisk::new();
    let log = open(&disk, 600).0;
    fill(&log, 3);
    let body = vec![0; MAX_BODY];
    let drafts = vec![Draft { kind: 1, entry: 1, front: &[], bulk: &body }; 256];
    let result = log.begin().unwrap().append(&drafts);
    assert!(matches!(result, Err(Error::TooLarge(_))), "{result:?}");
    let result = log.begin().unwrap().append(&[Draft { kind: 1, entry: 1, front: b"x", bulk: &body }]);
    assert!(matches!(result, Err(Error::TooLarge(_))), "{result:?}");
    fill(&log, 3);
    assert_eq!(recovered(&disk).1, filled(1..=6));
}
