//! Threads for requests that may have to wait for a disk, so that no event loop does.
//!
//! Invariants:
//! - A task that was taken is run, whatever becomes of the mount meanwhile: each holds a reply that must be given.
//! - There are never more threads than the bound. More tasks wait in order; the kernel bounds how many there can be, for a
//!   process waits for each.
//! - A thread that has had nothing to do for a while ends.

use std::collections::VecDeque;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// How long a thread without work waits for more.
const IDLE: Duration = Duration::from_secs(5);

type Task = Box<dyn FnOnce() + Send>;

/// A bounded number of threads, begun when they are needed.
#[derive(Clone)]
pub(super) struct Pool(Arc<Shared>);

struct Shared {
    name: &'static str,
    most: usize,
    queue: Mutex<Queue>,
    wake: Condvar,
}

#[derive(Default)]
struct Queue {
    tasks: VecDeque<Task>,
    threads: usize,
    /// Threads that wait for a task.
    idle: usize,
}

impl Pool {
    /// A pool of `most` threads at the most. It begins none yet.
    pub(super) fn new(name: &'static str, most: usize) -> Pool {
        Pool(Arc::new(Shared { name, most, queue: Mutex::default(), wake: Condvar::new() }))
    }

    /// Runs a task on a thread of the pool; on this one if there is none and none can be begun.
    pub(super) fn run(&self, task: impl FnOnce() + Send + 'static) {
        let shared = &self.0;
        let mut queue = shared.queue.lock();
        queue.tasks.push_back(Box::new(task));
        if queue.idle >= queue.tasks.len() {
            shared.wake.notify_one();
            return;
        }
        if queue.threads >= shared.most {
            return;
        }
        queue.threads += 1;
        drop(queue);
        let own = Arc::clone(shared);
        let begun = thread::Builder::new().name(shared.name.into()).spawn(move || own.work());
        if let Err(error) = begun {
            let mut queue = shared.queue.lock();
            queue.threads -= 1;
            if queue.threads == 0 {
                log::warn!("no thread can be begun for {}: {error}", shared.name);
                while let Some(task) = queue.tasks.pop_front() {
                    drop(queue);
                    task();
                    queue = shared.queue.lock();
                }
            }
        }
    }
}

impl Shared {
    fn work(&self) {
        let mut queue = self.queue.lock();
        loop {
            while let Some(task) = queue.tasks.pop_front() {
                drop(queue);
                task();
                queue = self.queue.lock();
            }
            queue.idle += 1;
            let timed_out = self.wake.wait_for(&mut queue, IDLE).timed_out();
            queue.idle -= 1;
            if timed_out && queue.tasks.is_empty() {
                queue.threads -= 1;
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn as_many_tasks_run_at_a_time_as_there_may_be_threads_and_the_others_follow() {
        let pool = Pool::new("test", 3);
        let (begun, beginnings) = mpsc::channel();
        let gate = Arc::new((Mutex::new(false), Condvar::new()));
        for number in 0..10 {
            let (begun, gate) = (begun.clone(), Arc::clone(&gate));
            pool.run(move || {
                begun.send(number).unwrap();
                let mut open = gate.0.lock();
                gate.1.wait_while(&mut open, |open| !*open);
            });
        }
        let mut seen: Vec<i32> = (0..3).map(|_| beginnings.recv().unwrap()).collect();
        assert!(beginnings.recv_timeout(Duration::from_millis(50)).is_err(), "a fourth has begun");
        assert_eq!(pool.0.queue.lock().threads, 3);
        *gate.0.lock() = true;
        gate.1.notify_all();
        seen.extend((3..10).map(|_| beginnings.recv().unwrap()));
        seen.sort_unstable();
        assert_eq!(seen, (0..10).collect::<Vec<_>>());
    }

    #[test]
    fn a_thread_that_waits_takes_the_next_task() {
        let pool = Pool::new("test", 8);
        let (done, ends) = mpsc::channel();
        for _ in 0..20 {
            let done = done.clone();
            pool.run(move || done.send(()).unwrap());
            ends.recv().unwrap();
            while pool.0.queue.lock().idle == 0 {
                thread::yield_now();
            }
        }
        assert_eq!(pool.0.queue.lock().threads, 1);
    }
}
