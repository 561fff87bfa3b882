//! What is chosen: by hand-made segments.

use super::plan::{Candidate, Limits, choose};
use super::{DeadSpace, MergePolicy, MergeWindow};
use crate::log::SealedSegment;
use crate::store::Time;

const SIZE: u64 = 1000;

/// Segments with so many bytes in all and so many live, oldest first.
fn candidates(segments: &[(u64, u64)]) -> Vec<Candidate> {
    let candidate = |(id, &(end, live)): (u32, &(u64, u64))| {
        let sequence = u64::from(id) * 10;
        let segment = SealedSegment { id, end, first_sequence: sequence, last_sequence: sequence + 9 };
        Candidate { segment, live, borrowed: 0, held: 0, stuck: 0, allowed: true }
    };
    (1..).zip(segments).map(candidate).collect()
}

fn limits() -> Limits {
    Limits::of(&MergePolicy::default(), SIZE as u32)
}

#[test]
fn the_segment_with_most_dead_bytes_is_taken_with_those_beside_it() {
    assert_eq!(choose(&candidates(&[(SIZE, 900), (SIZE, 500), (SIZE, 300), (SIZE, 700)]), &limits()), Some(1..3));
    assert_eq!(choose(&candidates(&[(SIZE, 900), (SIZE, 350), (SIZE, 300), (SIZE, 700)]), &limits()), Some(1..3));
    // Of equals the oldest.
    assert_eq!(choose(&candidates(&[(SIZE, 0), (SIZE, 900), (SIZE, 0)]), &limits()), Some(0..1));
}

#[test]
fn below_the_trigger_nothing_is_merged() {
    assert_eq!(choose(&candidates(&[(SIZE, 410), (SIZE, 900), (SIZE, 900)]), &limits()), None);
    assert_eq!(choose(&candidates(&[(SIZE, SIZE); 3]), &limits()), None);
    assert_eq!(choose(&[], &limits()), None);
}

/// The bound of the log: what is merged last is so because half of all is dead.
#[test]
fn when_half_of_all_is_dead_the_worst_is_merged() {
    assert_eq!(choose(&candidates(&[(SIZE, 500), (SIZE, 480), (SIZE, 500)]), &limits()), Some(1..2));
    assert_eq!(choose(&candidates(&[(SIZE, 500), (SIZE, 480), (SIZE, 530)]), &limits()), None);
}

#[test]
fn so_many_dead_bytes_are_enough_whatever_the_fraction() {
    let dead = DeadSpace { fraction: 1.0, bytes: 100 };
    let policy = MergePolicy { trigger: dead, threshold: dead, ..MergePolicy::default() };
    let limits = Limits::of(&policy, SIZE as u32);
    assert_eq!(choose(&candidates(&[(SIZE, 901), (SIZE, 900)]), &limits), Some(1..2));
    assert_eq!(choose(&candidates(&[(SIZE, 901), (SIZE, 901)]), &limits), None);
}

#[test]
fn a_run_fills_one_segment_and_fits_into_the_room() {
    let segments = candidates(&[(SIZE, 300); 8]);
    assert_eq!(choose(&segments, &limits()), Some(0..3));
    assert_eq!(choose(&segments, &limits().with_room(650)), Some(0..2));
    assert_eq!(choose(&segments, &limits().with_room(300)), Some(0..1));
    assert_eq!(choose(&segments, &limits().with_room(299)), None);
    // What is all dead needs none.
    let segments = candidates(&[(SIZE, 300); 40]);
    assert_eq!(choose(&segments, &limits()), Some(0..5), "an eighth of all that is live");
    let segments = candidates(&[(SIZE, 300), (SIZE, 0), (SIZE, 300)]);
    assert_eq!(choose(&segments, &limits().with_room(0)), Some(1..2));
}

#[test]
fn four_small_ones_in_a_row_become_one() {
    assert_eq!(choose(&candidates(&[(240, 240); 3]), &limits()), None);
    assert_eq!(
        choose(&candidates(&[(SIZE, SIZE), (200, 200), (200, 200), (200, 200), (200, 200)]), &limits()),
        Some(1..5)
    );
    // One that is not small ends the row.
    assert_eq!(choose(&candidates(&[(200, 200), (200, 200), (SIZE, SIZE), (200, 200), (200, 200)]), &limits()), None);
}

#[test]
fn what_may_not_be_merged_parts_a_run() {
    let mut segments = candidates(&[(SIZE, 0), (SIZE, 0), (SIZE, 100), (SIZE, 0)]);
    segments[2].allowed = false;
    assert_eq!(choose(&segments, &limits()), Some(0..2));
}

/// What is borrowed is copied for each borrower.
#[test]
fn what_is_lent_costs_as_often_as_it_is_borrowed() {
    let mut segments = candidates(&[(SIZE, SIZE), (SIZE, 300), (SIZE, SIZE)]);
    assert_eq!(choose(&segments, &limits()), Some(1..2));
    (segments[1].live, segments[1].borrowed) = (3 * SIZE, 3 * SIZE - 300);
    assert_eq!(choose(&segments, &limits()), None);
    assert_eq!(choose(&segments, &limits().compact()), None);
    // Small ones are worth less than the copies.
    let mut small = candidates(&[(200, 200); 4]);
    assert_eq!(choose(&small, &limits()), Some(0..4));
    (small[1].live, small[1].borrowed) = (2200, 2000);
    assert_eq!(choose(&small, &limits()), None);
    // Not even as neighbours.
    let mut segments = candidates(&[(200, 200), (SIZE, 300)]);
    assert_eq!(choose(&segments, &limits()), Some(0..2));
    (segments[0].live, segments[0].borrowed) = (2200, 2000);
    assert_eq!(choose(&segments, &limits()), Some(1..2));
}

/// Tombstones and what a merge has found to stay are not dead, but where nothing older is left.
#[test]
fn what_would_stay_does_not_start_a_merge() {
    let mut segments = candidates(&[(SIZE, SIZE), (SIZE, SIZE), (SIZE, 0), (SIZE, SIZE)]);
    segments[2].held = SIZE;
    assert_eq!(choose(&segments, &limits()), None);
    segments[2].held = 300;
    assert_eq!(choose(&segments, &limits()), Some(2..3));
    segments[2].stuck = 300;
    assert_eq!(choose(&segments, &limits()), None);
    let mut oldest = candidates(&[(SIZE, 0), (SIZE, SIZE)]);
    oldest[0].held = SIZE;
    assert_eq!(choose(&oldest, &limits()), Some(0..1));
}

#[test]
fn tombstones_are_merged_with_all_that_is_older_once_that_is_worth_it() {
    let mut segments = candidates(&[(SIZE, SIZE), (SIZE, 0), (SIZE, 0), (SIZE, SIZE)]);
    segments[1].held = SIZE;
    segments[2].held = SIZE;
    assert_eq!(choose(&segments, &limits()), Some(0..3));
    assert_eq!(choose(&segments, &limits().with_room(SIZE - 1)), None);
    (segments[1].held, segments[1].live) = (900, 100);
    (segments[2].held, segments[2].live) = (100, 900);
    assert_eq!(choose(&segments, &limits()), None);
}

#[test]
fn a_window_is_read_as_it_is_shown() {
    for text in ["always", "never", "01:00-05:00", "23:30-00:15"] {
        assert_eq!(text.parse::<MergeWindow>().unwrap().to_string(), text);
    }
    for text in ["", "1:00-5:00", "01:00", "01:00-01:00", "24:00-01:00", "01:60-02:00", "+1:00-02:00", "sometimes"] {
        assert!(text.parse::<MergeWindow>().is_err(), "{text}");
    }
}

#[test]
fn a_window_is_open_once_a_day() {
    let minutes = |window: &str| {
        let window: MergeWindow = window.parse().unwrap();
        // Also before 1970.
        let open = |minute: &i64| window.contains(Time((minute - 7 * 1440) * 60_000_000_000));
        (0..1440).filter(open).collect::<Vec<i64>>()
    };
    assert_eq!(minutes("01:00-05:00"), (60..300).collect::<Vec<_>>());
    assert_eq!(minutes("23:30-00:15"), (0..15).chain(1410..1440).collect::<Vec<_>>());
    assert_eq!((minutes("always").len(), minutes("never").len()), (1440, 0));
}
