//! Quintets: groups of up to five outputs that together hold every pair of outputs.
//!
//! One pass over the neurons gives the signed counts of all ten pairs of a quintet, so as few quintets as possible should hold all
//! pairs; with d outputs it takes at least `ceil(d/5 ceil((d-1)/4))` (Schonheim's bound). Two ways of choosing them, of which the
//! better one is taken: 8 outputs are covered by 4 quintets (bound 4), 24 by 30 (29), 93 by 485 (428).

/// Most outputs of a quintet.
pub(super) const MOST: usize = 5;

/// Most outputs for which groups are also chosen greedily, which takes time of the third power of their number: 13 ms for 128,
/// 3 s for 1000. For 200 and more that were tried, the lines of a plane were fewer.
const MOST_GREEDY: usize = 150;

/// Signed counts of a quintet: the pairs of its outputs, after the count without signs, which an output has with itself.
pub(super) const PAIRS: usize = 1 + MOST * (MOST - 1) / 2;

/// A group of outputs, and the blocks of the kernel whose counts it gives.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Quintet {
    /// One to five outputs.
    pub outputs: Vec<usize>,
    /// Blocks (i, k), each with the number of its signed counts, below [`PAIRS`].
    pub blocks: Vec<(usize, (usize, usize))>,
}

/// Quintets among which every block (i, k) of the kernel of `outputs` outputs occurs exactly once.
pub(super) fn quintets(outputs: usize) -> Vec<Quintet> {
    let all: Vec<usize> = (0..outputs).collect();
    let groups = if outputs == 1 { vec![all] } else { cover(&all) };
    let mut seen = vec![false; outputs * outputs];
    let mut first = |i: usize, k: usize| !std::mem::replace(&mut seen[i * outputs + k], true);
    let quintets = groups.into_iter().map(|outputs| {
        let mut blocks: Vec<_> = outputs.iter().filter(|&&i| first(i, i)).map(|&i| (0, (i, i))).collect();
        let mut pair = 0;
        for t in 1..outputs.len() {
            for s in 0..t {
                pair += 1;
                let (i, k) = (outputs[s], outputs[t]);
                if first(i, k) && first(k, i) {
                    blocks.extend([(pair, (i, k)), (pair, (k, i))]);
                }
            }
        }
        Quintet { outputs, blocks }
    });
    quintets.collect()
}

/// Groups of two to five of the given outputs that hold every pair of them.
fn cover(outputs: &[usize]) -> Vec<Vec<usize>> {
    match outputs.len() {
        0 | 1 => Vec::new(),
        2..=MOST => vec![outputs.to_vec()],
        d if d > MOST_GREEDY => lines_of_a_plane(outputs),
        _ => {
            let (lines, greedy) = (lines_of_a_plane(outputs), greedy(outputs));
            if lines.len() < greedy.len() { lines } else { greedy }
        }
    }
}

/// The outputs are dealt into five columns of a prime height p; a group takes entry `x + c y` modulo p of each column c, for x and
/// y below p. Two entries of different columns determine x and y, so they meet in exactly one group; what is left are the pairs
/// within each column. For 25 outputs the groups and the columns are the lines of the affine plane of order five.
fn lines_of_a_plane(outputs: &[usize]) -> Vec<Vec<usize>> {
    let is_prime = |n: usize| (2..n).take_while(|p| p * p <= n).all(|p| !n.is_multiple_of(p));
    let mut height = outputs.len().div_ceil(MOST).max(MOST);
    while !is_prime(height) {
        height += 1;
    }
    let columns: Vec<&[usize]> = outputs.chunks(height).collect();
    let mut groups = Vec::new();
    for x in 0..height {
        for y in 0..height {
            let entry = |(c, column): (usize, &&[usize])| column.get((x + c * y) % height).copied();
            let group: Vec<usize> = columns.iter().enumerate().filter_map(entry).collect();
            if group.len() > 1 {
                groups.push(group);
            }
        }
    }
    groups.extend(columns.into_iter().flat_map(cover));
    groups
}

/// Each group begins with the output that misses most pairs and takes those that bring most missing pairs with them.
fn greedy(outputs: &[usize]) -> Vec<Vec<usize>> {
    let d = outputs.len();
    let mut missing = vec![true; d * d];
    let mut misses = vec![d - 1; d];
    let mut groups = Vec::new();
    // The first of those that are equal, hence the order from behind.
    while let Some(start) = (0..d).rev().max_by_key(|&v| misses[v]).filter(|&v| misses[v] > 0) {
        let mut group = vec![start];
        while group.len() < MOST {
            let gain = |v: usize| group.iter().filter(|&&w| missing[v * d + w]).count();
            let others = (0..d).rev().filter(|v| !group.contains(v));
            match others.max_by_key(|&v| (gain(v), misses[v])) {
                Some(v) if gain(v) > 0 => group.push(v),
                _ => break,
            }
        }
        for &v in &group {
            for &w in &group {
                if v != w && std::mem::take(&mut missing[v * d + w]) {
                    misses[v] -= 1;
                }
            }
        }
        groups.push(group.into_iter().map(|v| outputs[v]).collect());
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_block_occurs_once() {
        for d in (0..40).chain([93, 100, 131, 151, 200]) {
            let quintets = quintets(d);
            let mut seen = vec![0; d * d];
            for Quintet { outputs, blocks } in &quintets {
                assert!((1..=MOST).contains(&outputs.len()));
                for &(pair, (i, k)) in blocks {
                    seen[i * d + k] += 1;
                    let (s, t) = (i.min(k), i.max(k));
                    let place = |i| outputs.iter().position(|&o| o == i).unwrap();
                    let (s, t) = (place(s).min(place(t)), place(s).max(place(t)));
                    let expected = if s == t { 0 } else { 1 + t * (t - 1) / 2 + s };
                    assert_eq!(pair, expected, "{i} {k} of {outputs:?}");
                }
            }
            assert!(seen.iter().all(|&times| times == 1), "{d}");
        }
    }

    #[test]
    fn few_quintets_hold_all_pairs() {
        let count = |d| quintets(d).len();
        assert_eq!([0, 1, 2, 5, 8, 24, 25, 93].map(count), [0, 1, 1, 1, 4, 30, 30, 485]);
    }
}
