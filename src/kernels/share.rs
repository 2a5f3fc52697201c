//! Work on the items of a slice shared among workers that own a workspace each, without unsafe code.

/// Runs `body(workspace, index, item)` once for every item, on as many threads as there are workspaces: each takes a contiguous
/// part of the items. Who computes an item must not change what it becomes.
///
/// # Panics
/// If there is an item but no workspace.
pub(crate) fn for_each_item<T: Send, W: Send>(
    items: &mut [T],
    workspaces: &mut [W],
    body: &(impl Fn(&mut W, usize, &mut T) + Sync),
) {
    part(0, items, workspaces, body);
}

fn part<T: Send, W: Send>(
    first: usize,
    items: &mut [T],
    workspaces: &mut [W],
    body: &(impl Fn(&mut W, usize, &mut T) + Sync),
) {
    if items.is_empty() {
        return;
    }
    assert!(!workspaces.is_empty(), "items need a workspace");
    if workspaces.len() == 1 || items.len() == 1 {
        for (i, item) in items.iter_mut().enumerate() {
            body(&mut workspaces[0], first + i, item);
        }
        return;
    }
    let half = workspaces.len() / 2;
    let cut = items.len() * half / workspaces.len();
    let ((left, right), (mine, theirs)) = (items.split_at_mut(cut), workspaces.split_at_mut(half));
    rayon::join(|| part(first, left, mine, body), || part(first + cut, right, theirs, body));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_visited_once_with_its_index_by_as_many_workers_as_there_are() {
        for (items, workers) in [(0, 2), (1, 3), (7, 1), (7, 2), (7, 3), (3, 8)] {
            let mut seen = vec![usize::MAX; items];
            let mut counts = vec![0; workers];
            for_each_item(&mut seen, &mut counts, &|count, index, item| {
                assert_eq!(*item, usize::MAX);
                *item = index;
                *count += 1;
            });
            assert!(seen.iter().copied().eq(0..items));
            assert_eq!(counts.iter().sum::<usize>(), items);
        }
    }
}
