//! Every way of counting against single bits.

use super::*;

/// Words without a period that fits a tile, some of them full or empty.
fn words(count: usize, seed: u64) -> Vec<[u64; 64]> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        let high = state >> 32;
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        match high % 7 {
            0 => u64::MAX,
            1 => 0,
            _ => state >> 32 | high << 32,
        }
    };
    (0..count).map(|_| std::array::from_fn(|_| next())).collect()
}

struct Tile<'a> {
    b: &'a [[u64; 64]],
    x: &'a [[u64; 64]],
    first: usize,
    groups: usize,
    plus: usize,
}

impl CountKernel for Tile<'_> {
    type Output = Counts;

    #[inline(always)]
    fn run<C: CountBits>(self, counter: C) -> Counts {
        let arrange = |words: &[[u64; 64]]| words.iter().map(|w| counter.arrange(w)).collect::<Vec<_>>();
        let (b, x) = (arrange(self.b), arrange(self.x));
        let mut counts = Counts([[-1; 64]; 4]);
        counter.count(&b, self.first, &x, self.groups, self.plus, &mut counts);
        counts
    }
}

#[test]
fn counts_are_exact_at_every_level() {
    for (length, plus) in [(0, 0), (1, 1), (1, 0), (3, 2), (5, 5), (70, 33), (1030, 1026), (2050, 0)] {
        let (b, x) = (words(length, 1), words(length, 2));
        for (first, groups) in [(0, 4), (60, 3), (17, 2), (4, 1)] {
            for way in Popcount::available() {
                let found = way.run(Tile { b: &b, x: &x, first, groups, plus });
                for r in 0..4 {
                    for lane in 0..16 * groups {
                        let mut expected = 0;
                        for word in 0..length {
                            let shared = (b[word][first + r] & x[word][lane]).count_ones() as i32;
                            expected += if word < plus { shared } else { -shared };
                        }
                        assert_eq!(found.0[r][lane], expected, "{} {length} {plus} {first} {r} {lane}", way.name());
                    }
                }
            }
        }
    }
}

#[test]
fn full_words_do_not_overflow() {
    let full = vec![[u64::MAX; 64]; 3000];
    for way in Popcount::available() {
        let found = way.run(Tile { b: &full, x: &full, first: 8, groups: 4, plus: 3000 });
        assert_eq!(found, Counts([[3000 * 64; 64]; 4]), "{}", way.name());
    }
}

#[test]
fn sums_over_slices_are_exact() {
    let (a, b) = (words(3, 1).concat(), words(3, 2).concat());
    for length in [0, 1, 7, 8, 9, 31, 32, 33, 100, 192] {
        let (a, b) = (&a[..length], &b[..length]);
        let differing: u64 = (0..length).map(|n| u64::from((a[n] ^ b[n]).count_ones())).sum();
        let ones: u64 = a.iter().map(|a| u64::from(a.count_ones())).sum();
        for way in Popcount::available() {
            assert_eq!(way.differing(a, b), differing, "{} {length}", way.name());
            assert_eq!(way.ones(a), ones, "{} {length}", way.name());
            assert!(way.bare(3) > 0);
        }
    }
}

/// Fails when the fastest way is silently not tested.
#[test]
fn the_current_way_is_among_those_tested() {
    assert!(Popcount::available().contains(&Popcount::current()));
}
