//! Sharing independent tasks among workers: who computes what never changes what is computed.
//!
//! Tasks write disjoint parts of the output and are never summed across workers, so results are the same bytes for every
//! number of threads.

use std::marker::PhantomData;
use std::sync::atomic::{AtomicUsize, Ordering};

use faer::Par;

/// How many workers `par` asks for: one, or the given number of rayon threads.
pub fn workers(par: Par) -> usize {
    par.degree().max(1)
}

/// Runs `body` once for every task `0..tasks`, on as many workers as there are workspaces (one at least), tasks handed out in
/// order as workers become free. Each worker owns one workspace.
///
/// # Panics
/// If there is a task but no workspace.
pub fn for_each_task<W: Send>(tasks: usize, workspaces: &mut [W], body: impl Fn(&mut W, usize) + Sync) {
    for_each_task_then(tasks, workspaces, body, |_| ());
}

/// [`for_each_task`], and `finish` once for every worker after its last task, for what a task leaves to the next one.
///
/// # Panics
/// If there is a task but no workspace.
pub fn for_each_task_then<W: Send>(
    tasks: usize,
    workspaces: &mut [W],
    body: impl Fn(&mut W, usize) + Sync,
    finish: impl Fn(&mut W) + Sync,
) {
    if tasks == 0 {
        return;
    }
    let count = workspaces.len().min(tasks);
    assert!(count > 0, "tasks need a workspace");
    let next = AtomicUsize::new(0);
    share(&mut workspaces[..count], &|workspace: &mut W| {
        loop {
            let task = next.fetch_add(1, Ordering::Relaxed);
            if task >= tasks {
                break;
            }
            body(workspace, task);
        }
        finish(workspace);
    });
}

/// Runs `work` once for every workspace, side by side where threads are free; by halving, because joining allocates nothing.
fn share<W: Send>(workspaces: &mut [W], work: &(impl Fn(&mut W) + Sync)) {
    match workspaces {
        [] => {}
        [workspace] => work(workspace),
        _ => {
            let (left, right) = workspaces.split_at_mut(workspaces.len() / 2);
            rayon::join(|| share(left, work), || share(right, work));
        }
    }
}

/// A mutable slice that tasks running at the same time may take disjoint pieces of.
pub struct Disjoint<'a, T> {
    start: *mut T,
    len: usize,
    owner: PhantomData<&'a mut [T]>,
}

// SAFETY: it hands out `&mut T` to other threads, as a `&mut [T]` split among them would; `T: Send` is what that needs.
unsafe impl<T: Send> Send for Disjoint<'_, T> {}
// SAFETY: as above; the pieces are disjoint by the contract of `piece`.
unsafe impl<T: Send> Sync for Disjoint<'_, T> {}

impl<'a, T> Disjoint<'a, T> {
    /// Borrows `slice` until all pieces are given back.
    pub fn new(slice: &'a mut [T]) -> Self {
        Self { start: slice.as_mut_ptr(), len: slice.len(), owner: PhantomData }
    }

    /// The entries from `from` on, `len` of them.
    ///
    /// # Safety
    /// - No two pieces alive at the same time overlap.
    ///
    /// # Panics
    /// If the piece reaches beyond the slice.
    #[allow(clippy::mut_from_ref)] // the point of the type
    pub unsafe fn piece(&self, from: usize, len: usize) -> &mut [T] {
        assert!(from <= self.len && len <= self.len - from, "piece outside the slice");
        // SAFETY: inside the slice by the assertion, disjoint from every other piece by the caller's word.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(from), len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_task_runs_once_for_every_worker_count() {
        for tasks in [0, 1, 2, 17] {
            for workers in [1, 2, 5] {
                let mut done = vec![0u32; tasks];
                let out = Disjoint::new(&mut done);
                for_each_task(tasks, &mut vec![(); workers], |(), task| {
                    // SAFETY: each task takes its own entry.
                    unsafe { out.piece(task, 1)[0] += 1 };
                });
                assert!(done.iter().all(|&n| n == 1));
            }
        }
    }

    #[test]
    fn every_worker_finishes_once_after_its_tasks() {
        for (tasks, workers) in [(0, 3), (1, 3), (17, 1), (17, 5)] {
            // Tasks done, and tasks done when the worker finished.
            let mut counts = vec![(0, None); workers];
            for_each_task_then(
                tasks,
                &mut counts,
                |counts, _| {
                    assert_eq!(counts.1, None, "a task after the end");
                    counts.0 += 1;
                },
                |counts| assert_eq!(counts.1.replace(counts.0), None, "finished twice"),
            );
            assert_eq!(counts.iter().map(|counts| counts.0).sum::<usize>(), tasks);
            assert!(counts.iter().all(|&(done, at_end)| done == at_end.unwrap_or(0)));
        }
    }
}
