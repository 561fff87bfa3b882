//! Work that is done ahead, by several threads, for one who takes the results in order.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::thread;

use parking_lot::{Condvar, Mutex};

/// More threads than this gain nothing: who takes the results has work with each.
const MOST_THREADS: usize = 4;

/// How far the work has come.
struct State<R> {
    /// The item that is begun next, and the one that is taken next.
    next: usize,
    taken: usize,
    /// What all that was begun, and not taken, weighs.
    weight: u64,
    done: BTreeMap<usize, R>,
    /// Nothing more is begun.
    stopped: bool,
}

/// Lets `work` go over items on several threads and hands the results to `take`, in the order of the items. What was begun
/// and not taken weighs at most `budget`, or is a single item.
pub(super) fn in_order<T: Sync, R: Send, E>(
    items: &[T],
    budget: u64,
    weigh: impl Fn(&T) -> u64 + Sync,
    work: impl Fn(&T) -> R + Sync,
    mut take: impl FnMut(&T, R) -> Result<(), E>,
) -> Result<(), E> {
    let threads = thread::available_parallelism().map_or(1, NonZeroUsize::get).min(MOST_THREADS).min(items.len());
    if threads < 2 {
        return items.iter().try_for_each(|item| take(item, work(item)));
    }
    let state = Mutex::new(State { next: 0, taken: 0, weight: 0, done: BTreeMap::new(), stopped: false });
    let changed = Condvar::new();
    let worker = || {
        // A result that never comes is not waited for.
        let _ended = Ended { state: &state, changed: &changed, in_any_case: false };
        loop {
            let mut now = state.lock();
            let (index, item) = loop {
                let Some(item) = items.get(now.next).filter(|_| !now.stopped) else { return };
                if now.next == now.taken || now.weight + weigh(item) <= budget {
                    break (now.next, item);
                }
                changed.wait(&mut now);
            };
            now.next += 1;
            now.weight += weigh(item);
            drop(now);
            let result = work(item);
            state.lock().done.insert(index, result);
            changed.notify_all();
        }
    };
    thread::scope(|scope| {
        let workers =
            (0..threads).map(|_| thread::Builder::new().name("caskfs-load".into()).spawn_scoped(scope, worker));
        let begun = workers.filter(Result::is_ok).count();
        // Also if `take` panics, or gives up.
        let _stop = Ended { state: &state, changed: &changed, in_any_case: true };
        for (index, item) in items.iter().enumerate() {
            let mut now = state.lock();
            let result = loop {
                match now.done.remove(&index) {
                    Some(result) => break Some(result),
                    None if begun == 0 || now.stopped => break None,
                    None => changed.wait(&mut now),
                }
            };
            drop(now);
            let result = result.unwrap_or_else(|| work(item));
            let mut now = state.lock();
            now.taken = index + 1;
            now.weight = now.weight.saturating_sub(weigh(item));
            drop(now);
            changed.notify_all();
            take(item, result)?;
        }
        Ok(())
    })
}

/// Stops the work when it goes: in a panic, or in any case.
struct Ended<'a, R> {
    state: &'a Mutex<State<R>>,
    changed: &'a Condvar,
    in_any_case: bool,
}

impl<R> Drop for Ended<'_, R> {
    fn drop(&mut self) {
        if self.in_any_case || thread::panicking() {
            self.state.lock().stopped = true;
            self.changed.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_come_in_order_and_little_is_held() {
        let items: Vec<u64> = (0..500).map(|number| 1 + number % 7).collect();
        let held = Mutex::new((0_u64, 0_u64));
        let work = |item: &u64| {
            let mut held = held.lock();
            held.0 += item;
            held.1 = held.1.max(held.0);
            item * 10
        };
        let mut taken = Vec::new();
        let result = in_order(
            &items,
            20,
            |item| *item,
            work,
            |item, result| {
                held.lock().0 -= item;
                taken.push(result);
                Ok::<(), ()>(())
            },
        );
        assert_eq!(result, Ok(()));
        assert_eq!(taken, items.iter().map(|item| item * 10).collect::<Vec<_>>());
        // The one that is being taken is not counted any more.
        assert!(held.lock().1 <= 27, "{}", held.lock().1);
    }

    #[test]
    fn an_item_that_weighs_too_much_comes_alone_and_who_takes_may_stop() {
        let mut taken = 0;
        let stopped = in_order(
            &[100, 100, 100],
            1,
            |item| *item,
            |item| *item,
            |_, _| {
                taken += 1;
                if taken == 2 { Err("enough") } else { Ok(()) }
            },
        );
        assert_eq!((stopped, taken), (Err("enough"), 2));
    }
}
