//! Which contrasts a network reads is found in the data: by matching pursuit on what the base denoiser leaves of noisy rows, each
//! choice confirmed on rows that it has not seen. A table without such relations gets no contrasts.
//!
//! `fit --iterations 1000` on Credit Default says of the numbers of the rows held out: .5041 by the base, .4934 with a network that reads
//! no contrasts, .4833 with the 18 that are found; 25 chosen by hand gave .4824, four units instead of three .4858 for .4864, and
//! differences of logarithms as further candidates .4834 for .4829.

use super::contrasts::{Contrast, Contrasts, KNOTS, MOST, OwnUnits, UNITS, value_at};
use super::layout::DataSource;
use super::noise_level::{GOLDEN, GRID};
use super::preconditioner::Preconditioner;
use super::row_block::RowBlock;
use crate::diffusion::process::ForwardProcess;
use crate::kernels::share::for_each_item;
use crate::kernels::{Lane64, PANEL};
use crate::random::{Purpose, chunk_streams};

/// Places of a contrast's units among the sizes of the sum in the data.
const QUANTILES: [f64; UNITS] = [0.25, 0.5, 0.75];
// None of the following was tuned except `ROWS`.

/// Part of the variance of what the base leaves, summed over all numbers, that a contrast must explain on the rows that confirm.
const LEAST_GAIN: f64 = 0.002;
/// Choices that are not confirmed before the search ends.
const PATIENCE: usize = 6;
/// Noisy rows that choose, and as many that confirm; fewer of small tables, whose rows say nothing new when drawn ever again. With a
/// quarter of them half of the useful contrasts went unconfirmed: three coefficients for each of 14 numbers fit that much noise.
const ROWS: usize = 16_384;
const DRAWS: usize = 16;
/// Rows of a table below which no search is made.
const FEWEST: usize = 200;
/// Pairs to which a third number is added, and candidates that stay after the first round.
const PAIRS: usize = 24;
const CANDIDATES: usize = 120;
/// Columns whose spreads differ by more than this factor are not added to each other.
const ALIKE: f64 = 100.0;
/// Columns of numbers beyond which no search is made: its time grows with their square.
const MOST_COLUMNS: usize = 64;

/// Finds the contrasts that tell something of what the base leaves of `source`'s rows.
pub(crate) fn find(
    preconditioner: &Preconditioner,
    source: &dyn DataSource,
    process: &ForwardProcess,
    workers: usize,
    seed: u64,
) -> Contrasts {
    let p = source.layout().numerical;
    let quantiles = source.quantiles();
    if !(2..=MOST_COLUMNS).contains(&p) || source.rows() < FEWEST || quantiles.len() != p * KNOTS {
        return Contrasts::default();
    }
    let draw = |half| NoisyRows::draw(preconditioner, source, &quantiles, process, workers, (seed, half));
    let [mut choosing, mut confirming] = [0, 1].map(draw);
    // The middle two thirds of a column's values.
    let spread = |i: usize| {
        let table = &quantiles[i * KNOTS..][..KNOTS];
        value_at(table, 1.0) - value_at(table, -1.0)
    };
    let alike = |i: usize, j: usize| (ALIKE.recip()..=ALIKE).contains(&(spread(i) / spread(j)));
    let pairs = (0..p).flat_map(|i| (i + 1..p).map(move |j| (i, j))).filter(|&(i, j)| alike(i, j));
    let mut candidates: Vec<Candidate> =
        pairs.filter_map(|(i, j)| Candidate::new(vec![(i, 1.0), (j, -1.0)], &choosing)).collect();
    rank(&mut candidates, &choosing, workers);
    let mut triples: Vec<Vec<(usize, f64)>> = Vec::new();
    for pair in candidates.iter().take(PAIRS).map(|candidate| &candidate.contrast.terms) {
        for third in (0..p).filter(|&k| pair.iter().all(|(i, _)| *i != k) && alike(pair[0].0, k)) {
            for sign in [1.0, -1.0] {
                let mut terms = pair.clone();
                terms.push((third, sign));
                terms.sort_unstable_by_key(|term| term.0);
                // A sum and its negative say the same.
                let first = terms[0].1;
                terms.iter_mut().for_each(|term| term.1 *= first);
                if !triples.contains(&terms) {
                    triples.push(terms);
                }
            }
        }
    }
    candidates.extend(triples.into_iter().filter_map(|terms| Candidate::new(terms, &choosing)));
    rank(&mut candidates, &choosing, workers);
    candidates.truncate(CANDIDATES);
    let (mut sums, mut missed) = (Vec::new(), 0);
    while sums.len() < MOST && missed < PATIENCE && !candidates.is_empty() {
        let best = candidates.remove(0).contrast;
        // What one that is not confirmed explains is taken out as well, so that its like do not come next.
        if explain(&best, &mut choosing, &mut confirming) < LEAST_GAIN {
            missed += 1;
        } else {
            sums.push(best);
        }
        rank(&mut candidates, &choosing, workers);
    }
    if sums.is_empty() { Contrasts::default() } else { Contrasts { quantiles, sums } }
}

/// A contrast and what it would explain.
struct Candidate {
    contrast: Contrast,
    gain: f64,
}

impl Candidate {
    /// None if the sum is zero in all rows but a few.
    fn new(terms: Vec<(usize, f64)>, rows: &NoisyRows) -> Option<Self> {
        let sizes = rows.parts.iter().flat_map(|part| {
            (0..PANEL).map(|l| terms.iter().map(|&(i, sign)| sign * part.truth[i].value[l]).sum::<f64>().abs())
        });
        let mut sizes: Vec<f64> = sizes.filter(|size| *size > 0.0).collect();
        if sizes.len() < FEWEST {
            return None;
        }
        sizes.sort_unstable_by(f64::total_cmp);
        let units = QUANTILES.map(|share| sizes[(share * sizes.len() as f64) as usize]);
        units.iter().all(|u| u.is_finite()).then_some(Self { contrast: Contrast { terms, units }, gain: 0.0 })
    }
}

/// Finds what each candidate would explain, and puts the best first.
fn rank(candidates: &mut [Candidate], rows: &NoisyRows, workers: usize) {
    for_each_item(candidates, &mut vec![(); workers.max(1)], &|(), _, candidate| {
        let mut features = rows.features(&candidate.contrast);
        let gain = |feature: &mut Feature| {
            feature.standardise();
            rows.left.iter().map(|left| feature.mean_product(&left.0).powi(2)).sum::<f64>()
        };
        candidate.gain = features.iter_mut().map(gain).fold(0.0, f64::max);
    });
    candidates.sort_by(|a, b| b.gain.total_cmp(&a.gain));
}

/// Takes what the inputs of a contrast explain, by the rows that choose, out of the residuals of all rows. Returns how much of their
/// variance that is on the rows that confirm, summed over the numbers.
fn explain(contrast: &Contrast, choosing: &mut NoisyRows, confirming: &mut NoisyRows) -> f64 {
    let (mut chosen, mut others) = (choosing.features(contrast), confirming.features(contrast));
    for k in 0..UNITS {
        // Gram-Schmidt: each input less what those before it say.
        for j in 0..k {
            let share = chosen[k].mean_product(&chosen[j].0);
            for features in [&mut chosen, &mut others] {
                let (before, rest) = features.split_at_mut(k);
                rest[0].subtract(share, &before[j].0);
            }
        }
        let (mean, unit) = chosen[k].standardise();
        others[k].shift_and_scale(mean, unit);
    }
    let mut gain = 0.0;
    for (left, held) in choosing.left.iter_mut().zip(&mut confirming.left) {
        let before = held.mean_product(&held.0);
        for (feature, other) in chosen.iter().zip(&others) {
            let share = feature.mean_product(&left.0);
            left.subtract(share, &feature.0);
            held.subtract(share, &other.0);
        }
        gain += before - held.mean_product(&held.0);
    }
    gain
}

/// Noisy rows, for the search.
struct NoisyRows {
    parts: Vec<Part>,
    /// What the base leaves of each number, in units of its scale.
    left: Vec<Feature>,
}

/// 64 noisy rows: their numbers by the base, in truth, and what lies between.
struct Part {
    own: Vec<OwnUnits>,
    truth: Vec<OwnUnits>,
    left: Vec<Lane64<f32>>,
}

impl NoisyRows {
    /// Draws the rows at even or odd places, with as much noise as signal or less.
    fn draw(
        preconditioner: &Preconditioner,
        source: &dyn DataSource,
        quantiles: &[f64],
        process: &ForwardProcess,
        workers: usize,
        (seed, half): (u64, usize),
    ) -> Self {
        let (p, n) = (source.layout().numerical, source.rows());
        let zero = Lane64([0.0; PANEL]);
        let part = || Part { own: vec![OwnUnits::new(); p], truth: vec![OwnUnits::new(); p], left: vec![zero; p] };
        let count = (n + 1 - half) / 2;
        let blocks = (ROWS / PANEL).min((DRAWS * count).div_ceil(PANEL));
        let mut parts: Vec<Part> = (0..blocks).map(|_| part()).collect();
        let worker = || (preconditioner.row_block(), preconditioner.scratch(), preconditioner.clean_block(source));
        let mut workspaces: Vec<_> = (0..workers.max(1)).map(|_| worker()).collect();
        let clean_end = process.log_snr(process.start());
        for_each_item(&mut parts, &mut workspaces, &|(rows, scratch, clean), block, part| {
            let streams = chunk_streams(seed, Purpose::Estimate, GRID + 1 + half * (ROWS / PANEL) + block, 1);
            let [mut rng] = streams.try_into().expect("one stream was asked for");
            for lane in 0..PANEL {
                let at = block * PANEL + lane;
                // The golden ratio spreads the times of neighbouring rows.
                let log_snr = clean_end * (at as f64 * GOLDEN).fract();
                rows.levels.set(lane, process, process.time_of_log_snr(log_snr));
                let row = 2 * (at * count.max(blocks * PANEL) / (blocks * PANEL) % count) + half;
                preconditioner.draw_into(source, row, lane, &mut rng, clean, rows);
            }
            preconditioner.evaluate_base(rows, scratch);
            let RowBlock { base, scale, .. } = rows;
            for (i, table) in quantiles.chunks_exact(KNOTS).enumerate() {
                part.own[i].set(table, &base[i], &scale[i]);
                part.truth[i].set(table, &clean.values[i], &zero);
                for l in 0..PANEL {
                    // Few rows must not decide.
                    part.left[i].0[l] = ((clean.values[i].0[l] - base[i].0[l]) / scale[i].0[l]).clamp(-3.0, 3.0);
                }
            }
        });
        let left = (0..p).map(|i| {
            let mut left = Feature(parts.iter().map(|part| part.left[i]).collect());
            left.standardise();
            left
        });
        let left = left.collect();
        Self { parts, left }
    }

    /// The inputs of a contrast in all rows.
    fn features(&self, contrast: &Contrast) -> [Feature; UNITS] {
        let mut features = [(); UNITS].map(|()| Feature(Vec::with_capacity(self.parts.len())));
        let mut inputs = [Lane64([0.0; PANEL]); UNITS];
        for part in &self.parts {
            contrast.inputs_into(&part.own, &mut inputs);
            features.iter_mut().zip(&inputs).for_each(|(feature, input)| feature.0.push(*input));
        }
        features
    }
}

/// A variable in all rows of a set.
struct Feature(Vec<Lane64<f32>>);

impl Feature {
    fn mean_product(&self, other: &[Lane64<f32>]) -> f64 {
        let product = |(a, b): (&Lane64<f32>, &Lane64<f32>)| a.0.iter().zip(&b.0).map(|(a, b)| a * b).sum::<f32>();
        self.0.iter().zip(other).map(|pair| f64::from(product(pair))).sum::<f64>() / (self.0.len() * PANEL) as f64
    }

    fn subtract(&mut self, share: f64, other: &[Lane64<f32>]) {
        for (to, from) in self.0.iter_mut().zip(other) {
            to.0.iter_mut().zip(&from.0).for_each(|(to, from)| *to -= share as f32 * from);
        }
    }

    fn shift_and_scale(&mut self, mean: f64, unit: f64) {
        for lane in &mut self.0 {
            lane.0.iter_mut().for_each(|x| *x = (*x - mean as f32) * unit as f32);
        }
    }

    /// Brings the values to mean zero and unit variance, or to zero if they do not vary. Returns what was taken off, and the
    /// factor after it.
    fn standardise(&mut self) -> (f64, f64) {
        let count = (self.0.len() * PANEL) as f64;
        let total: f64 = self.0.iter().map(|lane| f64::from(lane.0.iter().sum::<f32>())).sum();
        let mean = total / count;
        let variance = self.mean_product(&self.0) - mean * mean;
        let unit = if variance > 1e-6 { variance.sqrt().recip() } else { 0.0 };
        self.shift_and_scale(mean, unit);
        (mean, unit)
    }
}

#[cfg(test)]
mod tests {
    use rand_xoshiro::Xoshiro256PlusPlus;

    use super::super::contrasts::knot;
    use super::*;
    use crate::diffusion::process::Schedule;
    use crate::model::layout::Layout;
    use crate::model::preconditioner::Base;
    use crate::random::{normal, stream};

    /// Own units of the made-up columns: `z + z^3`.
    fn own(z: f64) -> f64 {
        z + z.powi(3)
    }

    /// Three columns, the last of them `share` (first - second) and something of its own.
    struct Sums {
        layout: Layout,
        scores: Vec<[f32; 3]>,
    }

    impl Sums {
        fn new(share: f64) -> Self {
            let mut rng = stream(5, Purpose::Data);
            let scores = (0..3000).map(|_| {
                let [a, b, c]: [f64; 3] = std::array::from_fn(|_| normal(&mut rng));
                let wanted = share * (own(a) - own(b)) + (1.0 - share) * own(c) + 0.1 * normal::<f64>(&mut rng);
                // Newton's method on z + z^3, which is convex on either side of zero.
                let mut z = wanted.signum() * wanted.abs().cbrt().min(wanted.abs());
                for _ in 0..60 {
                    z -= (own(z) - wanted) / (1.0 + 3.0 * z * z);
                }
                [a, b, z].map(|x| x as f32)
            });
            Self { layout: Layout { numerical: 3, blocks: Vec::new() }, scores: scores.collect() }
        }

        fn contrasts(&self, workers: usize) -> Contrasts {
            let process = ForwardProcess::new(Schedule::LOG_SNR, 0.0, 1.0).unwrap();
            let fitted = Preconditioner::fit(Base::Mixture, self, None, &process, workers, 1, None).unwrap();
            find(&fitted, self, &process, workers, 1)
        }
    }

    impl DataSource for Sums {
        fn rows(&self) -> usize {
            self.scores.len()
        }

        fn layout(&self) -> &Layout {
            &self.layout
        }

        fn draw(&self, row: usize, _: &mut Xoshiro256PlusPlus, numbers: &mut [f32], _: &mut [u32]) {
            numbers.copy_from_slice(&self.scores[row]);
        }

        fn quantiles(&self) -> Vec<f64> {
            (0..3 * KNOTS).map(|k| own(knot(k % KNOTS))).collect()
        }
    }

    #[test]
    fn a_sum_is_found_whatever_the_number_of_workers() {
        let source = Sums::new(1.0);
        let found = source.contrasts(1);
        let wanted = vec![(0, 1.0), (1, -1.0), (2, -1.0)];
        assert_eq!(found.sums[0].terms, wanted, "{:?}", found.sums);
        assert!(found.is_sound(3));
        assert_eq!(found, source.contrasts(3));
    }

    #[test]
    fn columns_that_have_nothing_to_do_with_each_other_get_none() {
        assert_eq!(Sums::new(0.0).contrasts(2), Contrasts::default());
    }
}
