//! What the engine asks of the allocator.
//!
//! UNSAFETY: stands before the system's allocator.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

use crate::storm::Host;

/// The system's allocator, with a count of what each thread asks of it.
struct Counting;

thread_local! {
    static ASKED: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    // A thread that ends has no count any more, and nobody asks for it.
    let _ = ASKED.try_with(|asked| asked.set(asked.get() + 1));
}

// SAFETY: every call is handed on to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller keeps to the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps to the contract of `dealloc`.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller keeps to the contract of `realloc`.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How often `work` asked for memory.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = ASKED.get();
    work();
    ASKED.get() - before
}

#[test]
fn an_event_takes_no_memory() {
    for vms in [1, 100] {
        let mut host = Host::with(vms);
        host.warm_up();
        for vm in 0..host.vms.len() {
            let (once, again) = (
                host.vms[vm].batch(2048, host.now),
                host.vms[vm].batch(2048, host.now),
            );
            // A vCPU's first event of a kind makes room for what is known of it.
            once.into_iter()
                .for_each(|report| host.engine.feed(report, host.now));
            let asked = allocations(|| {
                again
                    .into_iter()
                    .for_each(|report| host.engine.feed(report, host.now))
            });
            assert_eq!(asked, 0, "VM {vm} of {vms}");
        }
    }
}

#[test]
fn a_batch_takes_no_more_memory_for_more_events() {
    let mut host = Host::with(10);
    host.warm_up();
    let mut asked_for = |events| {
        let batches = (0..20).map(|_| {
            let reports = host.batch(0, events);
            allocations(|| drop(host.take_in(reports)))
        });
        batches.sum::<u64>()
    };
    let (few, many) = (asked_for(32), asked_for(4096));
    assert!(
        many <= few + few / 10,
        "20 batches of 32 events: {few}; of 4096: {many}"
    );
}

#[test]
fn a_read_that_shows_nothing_new_takes_no_memory() {
    let mut host = Host::with(10);
    host.warm_up();
    let mut read = || {
        let reading = host.vms[1].read(host.now);
        allocations(|| host.engine.feed(reading, host.now))
    };
    assert_eq!([read(), read()], [0, 0]);
}
