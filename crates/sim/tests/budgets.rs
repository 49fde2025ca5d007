//! What a viewer may cost: bytes of memory, messages, and calls of the allocator, counted in a small flash crowd. Time is not
//! measured: the same tree gives the same counts on any machine.

use shoal_sim::Options;
use shoal_sim::policy;
use shoal_sim::stage::{Stage, StageOptions};

/// Viewers, all within five seconds, and when they are counted.
const VIEWERS: u32 = 60;
const OVER_S: u64 = 5;
const UNTIL_S: u64 = 30;

#[expect(unsafe_code, reason = "an allocator cannot be written without it")]
mod counting {
    //! The system's allocator with a counter beside it.
    //!
    //! Proof of safety: every call is passed on to [`System`] with the arguments that it came with, and what `System` answers
    //! is answered; so its guarantees are those of `System`. The counters neither allocate nor panic: they are plain numbers
    //! of their thread, need no making and no dropping, and wrap.

    use std::alloc::{GlobalAlloc, Layout, System};
    use std::cell::Cell;

    thread_local! {
        /// Bytes that this thread has in use, if it gave back what it took and nothing else; and its calls so far.
        static COUNTS: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
    }

    /// Bytes in use by this thread, and its allocations and changes of size so far: other threads are those of the harness.
    pub(crate) fn counts() -> (usize, usize) {
        COUNTS.get()
    }
    fn count(taken: usize, given: usize, calls: usize) {
        // While a thread ends there may be no counter any more.
        let _ = COUNTS.try_with(|counts| {
            let (in_use, before) = counts.get();
            let in_use = in_use.wrapping_add(taken).wrapping_sub(given);
            counts.set((in_use, before.wrapping_add(calls)));
        });
    }

    struct Counting;

    // SAFETY: see the head of the module.
    unsafe impl GlobalAlloc for Counting {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            count(layout.size(), 0, 1);
            // SAFETY: the caller's promise about `layout` is passed on.
            unsafe { System.alloc(layout) }
        }
        unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
            count(0, layout.size(), 0);
            // SAFETY: `block` came from `System` with this layout, since all that we give does.
            unsafe { System.dealloc(block, layout) }
        }
        unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
            count(size, layout.size(), 1);
            // SAFETY: as for `dealloc`; the caller's promise about `size` is passed on.
            unsafe { System.realloc(block, layout, size) }
        }
    }

    #[global_allocator]
    static GLOBAL: Counting = Counting;
}

/// What one viewer of a run costs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Cost {
    /// At the end, all that the world takes included.
    bytes_per_viewer: usize,
    messages_per_viewer_and_s: u64,
    /// Per 100 messages.
    allocations: u64,
}

fn cost() -> Cost {
    let mut options = Options::named("d-1000", [1]);
    options.set = [
        format!("peers={VIEWERS}"),
        format!("viewers={VIEWERS}"),
        format!("arrival.over_s={OVER_S}"),
        format!("limit_s={UNTIL_S}"),
        "finish=limit".to_owned(),
    ]
    .into();
    let scenario = options.scenario().expect("a scenario");
    let policy = policy::find(&scenario.policy).expect("a policy");
    let (before, calls_before) = counting::counts();
    let setup =
        StageOptions { seed: 1, policy, rtt: None, strict: false, words: false, plant: None };
    let mut stage = Stage::new(&scenario, &setup).expect("a stage");
    assert!(stage.run(None, &mut |_| true));
    assert_eq!(stage.world.now() / 1_000_000_000, UNTIL_S);
    let (in_use, calls) = counting::counts();
    let (bytes, calls) = (in_use.wrapping_sub(before), (calls - calls_before) as u64);
    let messages = stage.world.messages();
    // They come evenly.
    let viewer_seconds = u64::from(VIEWERS) * (2 * UNTIL_S - OVER_S) / 2;
    Cost {
        bytes_per_viewer: bytes / VIEWERS as usize,
        messages_per_viewer_and_s: messages / viewer_seconds,
        allocations: calls * 100 / messages,
    }
}

#[test]
fn a_viewer_stays_within_its_budget_and_costs_the_same_each_time() {
    // It takes 92,195 bytes, 76 messages (nine for each block of film) and 520 calls: whoever adds to a link or a title sees it here.
    let first = cost();
    assert_eq!(first, cost());
    assert!(first.bytes_per_viewer <= 100_000, "{first:?}");
    assert!(first.messages_per_viewer_and_s <= 80, "{first:?}");
    assert!(first.allocations <= 630, "{first:?}");
}
