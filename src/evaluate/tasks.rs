//! Independent tasks on a given number of threads, their results in the order of the tasks.

use crate::kernels::for_each_task;

/// `f(0)`, `f(1)`, ... `f(count - 1)` on at most `threads` threads. Who computes what does not change what is computed.
pub(super) fn map<T: Send>(threads: usize, count: usize, f: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let mut workers: Vec<Vec<(usize, T)>> = (0..threads.clamp(1, count.max(1))).map(|_| Vec::new()).collect();
    for_each_task(count, &mut workers, |done, task| done.push((task, f(task))));
    let mut all: Vec<(usize, T)> = workers.into_iter().flatten().collect();
    all.sort_unstable_by_key(|(task, _)| *task);
    all.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::map;

    #[test]
    fn results_keep_their_order() {
        for threads in [0, 1, 3, 50] {
            assert_eq!(map(threads, 17, |task| task * task), (0..17).map(|task| task * task).collect::<Vec<_>>());
            assert!(map(threads, 0, |task| task).is_empty());
        }
    }
}
