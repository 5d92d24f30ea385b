use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::parallel::{map, run, try_map};

#[test]
fn results_are_in_the_order_of_the_items() {
    for threads in [0, 1, 3, 100] {
        let doubled = map(threads, 0..1000_usize, |number| number * 2);
        assert!(doubled.into_iter().eq((0..2000).step_by(2)), "{threads}");
    }
    assert!(map(4, [0; 0], |number| number).is_empty());
}

#[test]
fn no_more_threads_work_than_asked_for() {
    let (at_work, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    map(3, 0..20_usize, |_| {
        most.fetch_max(1 + at_work.fetch_add(1, Ordering::SeqCst), Ordering::SeqCst);
        std::thread::sleep(Duration::from_millis(1));
        at_work.fetch_sub(1, Ordering::SeqCst);
    });
    assert!((1..=3).contains(&most.into_inner()));
    assert_eq!(run(1, || std::thread::current().id()), [std::thread::current().id()]);
}

#[test]
fn after_an_error_nothing_is_begun() {
    let begun = AtomicUsize::new(0);
    let result = try_map(1, 0..1000_usize, |number| {
        begun.fetch_add(1, Ordering::Relaxed);
        if number == 7 { Err("the eighth fails") } else { Ok(()) }
    });
    assert_eq!(result, Err("the eighth fails"));
    assert_eq!(begun.into_inner(), 8);
}

#[test]
fn a_panic_reaches_the_caller() {
    let panicking = |number: usize| assert_ne!(number, 5, "a bug");
    for threads in [1, 4] {
        let ended = std::panic::catch_unwind(|| map(threads, 0..10_usize, panicking)).unwrap_err();
        let message = ended.downcast_ref::<String>().unwrap();
        assert!(message.contains("a bug"), "{message}");
    }
}
