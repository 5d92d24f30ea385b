//! The modules by which threads and processes share the work of unpacking and fetching, compiled a second time over
//! `shuttle`, which tries their interleavings: single flight, "unpacked once", the cache in memory, read-ahead.
#![allow(missing_docs, dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is the report

/// What the crate has in `src/sync.rs`, under the control of the model checker.
#[path = "../src/sync"]
mod sync {
    #[allow(dead_code)] // what only the library uses
    mod recover;

    pub use recover::{lock, wait};
    pub use shuttle::sync::atomic::{AtomicU8, Ordering};
    pub use shuttle::sync::{Condvar, Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
    pub use shuttle::thread::scope;
    use shuttle::thread::{Scope, ScopedJoinHandle};

    pub fn spawn_scoped<'scope, T: Send + 'scope>(
        scope: &'scope Scope<'scope, '_>,
        work: impl FnOnce() -> T + Send + 'scope,
    ) -> Option<ScopedJoinHandle<'scope, T>> {
        Some(scope.spawn(work))
    }
}

#[path = "../src/flight.rs"]
mod flight;
#[path = "../src/snapshot/hints.rs"]
mod hints;
#[path = "../src/snapshot/member_id.rs"]
mod member_id;
#[path = "../src/snapshot/members.rs"]
mod members;
#[path = "../src/snapshot/memory.rs"]
mod memory;
#[path = "../src/parallel.rs"]
mod parallel;

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;

use flight::Flights;
use hints::Hints;
use member_id::MemberId;
use members::{Keeping, MemberStates};
use memory::Memory;
use shuttle::thread;
use sync::{Mutex, MutexGuard};

/// Interleavings tried of each model.
const SCHEDULES: usize = 3000;

fn check(model: impl Fn() + Send + Sync + 'static) {
    let model = Arc::new(model);
    let again = Arc::clone(&model);
    shuttle::check_random(move || model(), SCHEDULES);
    shuttle::check_pct(move || again(), SCHEDULES, 3);
}

/// Runs `work` on `count` threads.
fn threads(count: usize, work: impl Fn(usize) + Send + Sync + 'static) {
    let work = Arc::new(work);
    let started = (0..count).map(|number| {
        let work = Arc::clone(&work);
        thread::spawn(move || work(number))
    });
    let started: Vec<_> = started.collect();
    started.into_iter().for_each(|thread| thread.join().unwrap());
}

#[test]
fn one_works_and_all_get_it() {
    check(|| {
        let flights = Flights::default();
        let found: Mutex<HashMap<usize, usize>> = Mutex::new(HashMap::new());
        let (flights, found) = (Arc::new(flights), Arc::new(found));
        let works = Arc::new(Mutex::new(0));
        let all = Arc::clone(&works);
        threads(4, move |number| {
            let key = number % 2;
            let got: Result<_, Infallible> = flights.run(
                key,
                || found.lock().unwrap().get(&key).copied(),
                || {
                    *works.lock().unwrap() += 1;
                    thread::yield_now();
                    found.lock().unwrap().insert(key, key * 10);
                    Ok(key * 10)
                },
            );
            assert_eq!(got, Ok(key * 10));
        });
        assert_eq!(*all.lock().unwrap(), 2, "two things, each worked for once");
    });
}

#[test]
fn after_a_failure_the_next_one_works() {
    check(|| {
        let state = Arc::new((Flights::default(), Mutex::new((0, None))));
        let after = Arc::clone(&state);
        threads(3, move |_| {
            let (flights, known) = &*state;
            let got = flights.run(
                7,
                || known.lock().unwrap().1,
                || {
                    let mut known = known.lock().unwrap();
                    known.0 += 1;
                    if known.0 == 1 {
                        return Err("the first one fails");
                    }
                    known.1 = Some("found");
                    Ok("found")
                },
            );
            assert!(got == Ok("found") || got == Err("the first one fails"));
        });
        assert_eq!(after.1.lock().unwrap().0, 2, "one failure, one success");
    });
}

#[test]
fn results_keep_the_order_of_the_items() {
    check(|| {
        let doubled = parallel::map(3, [5, 4, 3, 2, 1], |item| {
            thread::yield_now();
            item * 2
        });
        assert_eq!(doubled, [10, 8, 6, 4, 2]);
    });
}

#[test]
fn the_first_error_ends_the_work() {
    check(|| {
        let begun = Mutex::new(Vec::new());
        let result = parallel::try_map(2, 0..6, |item| {
            begun.lock().unwrap().push(item);
            thread::yield_now();
            if item == 2 { Err(item) } else { Ok(item) }
        });
        assert_eq!(result, Err(2));
        let begun = begun.lock().unwrap();
        assert_eq!(begun.iter().filter(|item| **item == 2).count(), 1);
        assert!(begun.len() >= 3, "{begun:?}");
    });
}

/// A backing store with one member, and what happens to it.
#[derive(Default)]
struct Store {
    state: Mutex<Kept1>,
    /// Held by the process that unpacks.
    turn: Mutex<()>,
    /// Locks do not work here.
    lockless: bool,
    full: bool,
}

#[derive(Default)]
struct Kept1 {
    marked: bool,
    right: bool,
    unpacked: u32,
}

/// A process's view of it.
struct Process {
    members: MemberStates,
    memory: Memory,
    store: Arc<Store>,
}

struct Member<'a>(&'a Process);

impl<'a> Keeping for Member<'a> {
    type Bytes = Arc<[u8]>;
    type Error = Infallible;
    type Claim = Option<MutexGuard<'a, ()>>;

    fn remembered(&self, id: MemberId) -> Option<Arc<[u8]>> {
        self.0.memory.get(id)
    }

    fn holds(&self, _: MemberId) -> bool {
        let marked = self.0.store.state.lock().unwrap().marked;
        marked && self.0.store.state.lock().unwrap().right
    }

    fn claim(&self, _: MemberId) -> Self::Claim {
        (!self.0.store.lockless).then(|| self.0.store.turn.lock().unwrap())
    }

    fn unpack(&self, id: MemberId) -> Result<Option<Arc<[u8]>>, Infallible> {
        self.0.store.state.lock().unwrap().unpacked += 1;
        thread::yield_now();
        if self.0.store.full {
            let bytes = Arc::from([1, 2, 3]);
            self.0.memory.put(id, &bytes);
            return Ok(Some(bytes));
        }
        // The data, then the mark.
        self.0.store.state.lock().unwrap().right = true;
        self.0.store.state.lock().unwrap().marked = true;
        Ok(None)
    }
}

/// Two processes of two threads each that all want the member; how often it was unpacked.
fn two_processes(store: Store) -> u32 {
    let store = Arc::new(store);
    let processes = [0, 1].map(|_| Process {
        members: MemberStates::new(1),
        memory: Memory::new(1000),
        store: Arc::clone(&store),
    });
    threads(4, move |number| {
        let process = &processes[number / 2];
        let bytes = process.members.ensure(MemberId(0), &Member(process)).unwrap();
        match bytes {
            Some(bytes) => assert_eq!(bytes[..], [1, 2, 3]),
            None => {
                assert!(process.members.is_ready(MemberId(0)));
                assert!(
                    process.store.state.lock().unwrap().right,
                    "it is said to be kept, and is not"
                );
            }
        }
    });
    store.state.lock().unwrap().unpacked
}

#[test]
fn a_member_is_unpacked_once_for_all_processes() {
    check(|| assert_eq!(two_processes(Store::default()), 1));
}

#[test]
fn what_a_crash_lost_is_unpacked_once_more() {
    check(|| {
        let store = Store::default();
        store.state.lock().unwrap().marked = true;
        assert_eq!(two_processes(store), 1);
    });
}

#[test]
fn what_is_there_is_not_unpacked() {
    check(|| {
        let store = Store::default();
        let mut state = store.state.lock().unwrap();
        (state.marked, state.right) = (true, true);
        drop(state);
        assert_eq!(two_processes(store), 0);
    });
}

#[test]
fn without_locks_each_process_unpacks_at_most_once() {
    check(|| {
        let unpacked = two_processes(Store {
            lockless: true,
            ..Store::default()
        });
        assert!((1..=2).contains(&unpacked), "{unpacked}");
    });
}

#[test]
fn what_cannot_be_kept_is_shared_in_memory() {
    check(|| {
        let unpacked = two_processes(Store {
            full: true,
            ..Store::default()
        });
        assert_eq!(unpacked, 2, "once for each process");
    });
}

#[test]
fn what_has_changed_is_verified_again() {
    check(|| {
        let store = Arc::new(Store::default());
        let process = Arc::new(Process {
            members: MemberStates::new(1),
            memory: Memory::new(1000),
            store: Arc::clone(&store),
        });
        process.members.ensure(MemberId(0), &Member(&process)).unwrap();
        store.state.lock().unwrap().right = false;
        // Whoever notices the damage says so, and asks again.
        threads(3, move |_| {
            process.members.forget(MemberId(0));
            process.members.ensure(MemberId(0), &Member(&process)).unwrap();
            assert!(store.state.lock().unwrap().right);
        });
    });
}

#[test]
fn the_cache_stays_within_its_bounds() {
    check(|| {
        let kept = Arc::new(Memory::new(10));
        threads(3, move |number| {
            for round in 0..3_u32 {
                let id = (number as u32 + round) % 4;
                let bytes: Arc<[u8]> = vec![id as u8; 3 + id as usize].into();
                kept.put(MemberId(id), &bytes);
                assert!(kept.bytes() <= 10);
                if let Some(found) = kept.get(MemberId((id + 1) % 4)) {
                    assert!(found.iter().all(|byte| u32::from(*byte) == (id + 1) % 4));
                }
            }
            kept.put(MemberId(9), &vec![0; 11].into());
            assert!(kept.get(MemberId(9)).is_none(), "larger than all of it");
        });
    });
}

#[test]
fn reading_ahead_never_sleeps_through_its_end() {
    check(|| {
        let hints = Arc::new(Hints::default());
        hints.open();
        let worker = {
            let hints = Arc::clone(&hints);
            thread::spawn(move || {
                let mut recorded = [40, 41].map(MemberId).into_iter();
                let mut done = Vec::new();
                while let Some(id) = hints.next(&mut recorded) {
                    done.push(id.0);
                }
                done
            })
        };
        let reader = {
            let hints = Arc::clone(&hints);
            thread::spawn(move || (0..4).for_each(|id| hints.used(MemberId(id))))
        };
        reader.join().unwrap();
        hints.close();
        let mut done = worker.join().unwrap();
        let count = done.len();
        done.sort_unstable();
        done.dedup();
        assert_eq!(done.len(), count, "nothing twice: {done:?}");
        // At most 16 ahead of the last one used.
        assert!(
            done.iter().all(|id| (1..=3 + 16).contains(id) || [40, 41].contains(id)),
            "{done:?}"
        );
    });
}
