//! A training step allocates nothing: counted by the allocator itself, on one thread and on two.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use ntk_score::kernels::Panels;
use ntk_score::kernels::descent::{
    BackwardInputs, Layers, Optimizer, Rule, Step, Workspace, forward_into, gradient_into, update,
};
use ntk_score::kernels::patterns::ActivationPatterns;

/// The system's allocator, counting.
struct Counting;

static ALLOCATIONS: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call goes to the system's allocator unchanged; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: `at` came from `alloc` above, thus from the system's allocator, with this layout.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn panels(rows: usize, columns: usize, seed: u64) -> Panels<f32> {
    let mut state = seed;
    let mut panels = Panels::zeros(rows, columns);
    for row in 0..rows {
        for column in 0..columns {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            panels.set(row, column, (state >> 40) as f32 / (1 << 23) as f32 - 1.0);
        }
    }
    panels
}

/// Allocations of ten training steps: the fewest of several rounds, because a thread allocates once when it first takes work from
/// another. Anything a step itself allocated would be counted in every round.
fn allocations_of_steps(threads: usize, rule: Rule) -> usize {
    let (n, inputs, m, d) = (300, 9, 700, 4);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    pool.install(|| {
        let (z, mut w, a, e) = (panels(n, inputs, 1), panels(m, inputs, 2), panels(m, d, 3), panels(n, d, 4));
        let mut optimizer = Optimizer::new(rule, &w, true).unwrap();
        let mut workspaces = Workspace::for_workers(threads, inputs, d);
        let (mut outputs, mut gradient) = (Panels::zeros(n, d), Panels::zeros(m, inputs));
        let mut patterns = ActivationPatterns::zeros(n, m);
        let mut step = || {
            let layers = Layers { w: &w, a: &a };
            forward_into(&mut outputs, Some(&mut patterns), layers, &z, &mut workspaces).unwrap();
            gradient_into(&mut gradient, BackwardInputs { e: &e, patterns: &patterns, a: &a, z: &z }, &mut workspaces)
                .unwrap();
            forward_into(&mut outputs, None, Layers { w: &w, a: &a }, &z, &mut workspaces).unwrap();
            update(
                &mut w,
                &mut optimizer,
                Step { rate: 1e-3, decay: 0.9 },
                BackwardInputs { e: &e, patterns: &patterns, a: &a, z: &z },
                &mut workspaces,
            )
            .unwrap();
        };
        let mut round = || {
            let before = ALLOCATIONS.load(Ordering::Relaxed);
            (0..10).for_each(|_| step());
            ALLOCATIONS.load(Ordering::Relaxed) - before
        };
        (0..5).map(|_| round()).min().unwrap_or(usize::MAX)
    })
}

/// One test, so that no other test allocates meanwhile.
#[test]
fn steps_allocate_nothing() {
    for rule in [Rule::Descent, Rule::Nesterov { momentum: 0.9 }, Rule::ADAM] {
        for threads in [1, 2] {
            assert_eq!(allocations_of_steps(threads, rule), 0, "{rule:?} on {threads} threads");
        }
    }
    // The counter counts.
    let before = ALLOCATIONS.load(Ordering::Relaxed);
    drop(std::hint::black_box(vec![1u8; 100]));
    assert_eq!(ALLOCATIONS.load(Ordering::Relaxed) - before, 1);
}
