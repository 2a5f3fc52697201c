//! A training step allocates nothing: counted by the allocator itself, on one thread and on two.

use ntk_score::kernels::Panels;
use ntk_score::kernels::descent::{
    BackwardInputs, Layers, Optimizer, Rule, Step, Workspace, forward_into, gradient_into, update,
};
use ntk_score::kernels::patterns::ActivationPatterns;

use super::watch::watched;

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
    watched(threads, |watch| {
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
            let before = watch.allocations();
            (0..10).for_each(|_| step());
            watch.allocations() - before
        };
        (0..5).map(|_| round()).min().unwrap_or(usize::MAX)
    })
}

#[test]
fn steps_allocate_nothing() {
    for rule in [Rule::Descent, Rule::Nesterov { momentum: 0.9 }, Rule::ADAM] {
        for threads in [1, 2] {
            assert_eq!(allocations_of_steps(threads, rule), 0, "{rule:?} on {threads} threads");
        }
    }
}
