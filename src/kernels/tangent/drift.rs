//! How far the finite-width tangent kernel is from where it started, and from its limit.

use faer::{MatRef, Par};

use super::bits::{CLASSES, CountedPatterns, NeuronOrder};
use super::classes::{ClassCounts, FourLines, count_class, signed_counts};
use super::gram::inner_products;
use super::quintets::{PAIRS, Quintet, quintets};
use super::{Features, TangentKernel, reference};
use crate::Result;
use crate::kernels::patterns::ActivationPatterns;
use crate::kernels::{Disjoint, Lane64, PANEL, Panels, for_each_task, workers};
use crate::simd::{CountBits, CountKernel, Counts, Lanes, Popcount, Scalar};

/// Lines of one task.
const LINES: usize = 32;

/// Frobenius norms over the whole dN x dN kernel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Drift {
    /// `||H(tau) - H(0)||_F`.
    pub change: f64,
    /// `||H(0)||_F`.
    pub start: f64,
    /// `||H(0) - H||_F`, H the kernel of infinitely many neurons.
    pub gap: f64,
    /// `||H||_F`.
    pub limit: f64,
}

impl Drift {
    /// `||H(tau) - H(0)||_F / ||H(0)||_F`; 0 if both are zero.
    pub fn relative_change(&self) -> f64 {
        if self.change == 0.0 { 0.0 } else { self.change / self.start }
    }

    /// `||H(0) - H||_F / ||H||_F`; 0 if both are zero.
    pub fn relative_gap(&self) -> f64 {
        if self.gap == 0.0 { 0.0 } else { self.gap / self.limit }
    }
}

/// See [`super::drift_with`].
pub(in crate::kernels) fn kernel_drift<T: Scalar>(
    count: Popcount,
    now: &ActivationPatterns,
    start: &ActivationPatterns,
    a: &Panels<T>,
    z: &Panels<T>,
    par: Par,
) -> Result<Drift> {
    let (rows, columns) = (Features { patterns: now, z }, Features { patterns: start, z });
    TangentKernel { a, rows, columns }.check(0..a.columns())?;
    if a.columns() == 0 {
        return Ok(Drift { change: 0.0, start: 0.0, gap: 0.0, limit: 0.0 });
    }
    let workers = workers(par);
    let (samples, inputs) = (z.rows(), z.columns());
    let rows: Vec<f64> = (0..samples).flat_map(|j| (0..inputs).map(move |c| z.get(j, c).to_f64())).collect();
    let z = Panels::from_matrix("the samples", MatRef::from_row_major_slice(&rows, samples, inputs))?;
    // Unmoved patterns need no second count.
    let sets = if now == start { &[start][..] } else { &[start, now][..] };
    let mut sides = [CountedPatterns::default(), CountedPatterns::default()];
    for (side, patterns) in sides.iter_mut().zip(sets) {
        side.take(count, patterns, workers);
    }
    let mut order = NeuronOrder::default();
    let tasks = samples.div_ceil(LINES);
    let mut sums = vec![[0.0; 4]; tasks];
    let mut buffers = vec![Buffers::new(); workers];
    for (n, quintet) in quintets(a.columns()).iter().enumerate() {
        order.by_signs(a, &quintet.outputs);
        for (side, patterns) in sides.iter_mut().zip(sets) {
            side.arrange(count, patterns, &order, workers);
        }
        let once = (n == 0).then_some(a.columns() as f64);
        let tiles = DriftTiles {
            sides: &sides[..sets.len()],
            order: &order,
            quintet,
            once,
            z: &z,
            rows: &rows,
            neurons: a.rows(),
        };
        let out = Disjoint::new(&mut sums);
        for_each_task(tasks, &mut buffers, |buffers, task| {
            // The last tasks have the most lanes, so they come first and the short ones fill the gaps at the end.
            let task = tasks - 1 - task;
            // SAFETY: each task takes its own sums.
            let sums = unsafe { &mut out.piece(task, 1)[0] };
            tiles.lines(count, buffers, task * LINES, sums);
        });
    }
    let mut total = [0.0; 4];
    for sums in &sums {
        for (total, sum) in total.iter_mut().zip(sums) {
            *total += sum;
        }
    }
    let [change, start, gap, limit] = total.map(f64::sqrt);
    Ok(Drift { change, start, gap, limit })
}

/// What every task reads.
struct DriftTiles<'a> {
    /// The patterns at the start, then those now unless they are the same.
    sides: &'a [CountedPatterns],
    order: &'a NeuronOrder,
    quintet: &'a Quintet,
    /// The number of outputs, where the blocks on the diagonal are to be added as well: in one of the quintets.
    once: Option<f64>,
    z: &'a Panels<f64>,
    /// The same, row by row.
    rows: &'a [f64],
    neurons: usize,
}

/// Buffers of one worker, for four lines and a block of lanes; of two, one is for the start and one for now.
#[derive(Clone)]
struct Buffers {
    counts: Box<ClassCounts>,
    /// Inner products, by line.
    gram: Vec<Lane64<f64>>,
    /// Signed counts, four lines for each pair.
    signed: [Vec<[i32; PANEL]>; 2],
    /// Sums over the quintet's pairs of outputs, by line: squared counts at the start, and squares of their change.
    squares: [Vec<Lane64<f64>>; 2],
}

impl Buffers {
    fn new() -> Self {
        let four = vec![Lane64([0.0; PANEL]); 4];
        Self {
            counts: Box::new([Counts([[0; PANEL]; 4]); CLASSES]),
            gram: four.clone(),
            signed: [vec![[0; PANEL]; 4 * PAIRS], vec![[0; PANEL]; 4 * PAIRS]],
            squares: [four.clone(), four],
        }
    }
}

impl DriftTiles<'_> {
    /// Adds the lines from `first` on against the lanes up to the diagonal.
    fn lines(&self, count: Popcount, buffers: &mut Buffers, first: usize, sums: &mut [f64; 4]) {
        let samples = self.z.rows();
        for block in 0..=first / PANEL {
            let width = self.z.rows_in(block).min(first + LINES - block * PANEL);
            for line in (first..samples.min(first + LINES)).step_by(4) {
                count.run(DriftTile { tiles: self, buffers: &mut *buffers, line, block, width });
                for r in 0..4.min(samples - line) {
                    for lane in 0..width {
                        let l = block * PANEL + lane;
                        // Within the lines of a task both orders of a pair occur; before them only one does.
                        let times = if l < first { 2.0 } else { 1.0 };
                        self.add(buffers, (line + r, l), (r, lane), times, sums);
                    }
                }
            }
        }
    }

    /// Adds `times` what samples j and l contribute, which are line `r` and lane `lane` of the last tile.
    #[inline(always)]
    fn add(
        &self,
        buffers: &Buffers,
        (j, l): (usize, usize),
        (r, lane): (usize, usize),
        times: f64,
        sums: &mut [f64; 4],
    ) {
        let gram = buffers.gram[r].0[lane];
        let weight = times * gram * gram;
        // A pair of outputs has two blocks.
        let [start, change] = [&buffers.squares[0], &buffers.squares[1]].map(|squares| squares[r].0[lane]);
        sums[0] += 2.0 * weight * change;
        sums[1] += 2.0 * weight * start;
        sums[2] += 2.0 * weight * start;
        if let Some(outputs) = self.once {
            let row = |sample: usize| &self.rows[sample * self.z.columns()..][..self.z.columns()];
            let limit = reference::limit(row(j), row(l));
            // Counts without signs, which every output has with itself.
            let [total, now] = [0, self.sides.len() - 1].map(|set| f64::from(buffers.signed[set][r][lane]));
            let gap = gram * total - limit;
            sums[0] += weight * outputs * (now - total) * (now - total);
            sums[1] += weight * outputs * total * total;
            sums[2] += times * outputs * gap * gap;
            sums[3] += times * outputs * limit * limit;
        }
    }
}

/// Inner products, signed counts and their squares of four lines with a block of lanes.
struct DriftTile<'a> {
    tiles: &'a DriftTiles<'a>,
    buffers: &'a mut Buffers,
    line: usize,
    block: usize,
    width: usize,
}

impl CountKernel for DriftTile<'_> {
    type Output = ();

    #[inline(always)]
    fn run<C: CountBits>(self, counter: C) {
        let Self { tiles, buffers, line, block, width } = self;
        let (own, within, s) = (line / PANEL, line % PANEL, counter.lanes());
        let Buffers { counts, gram, signed, squares } = buffers;
        inner_products(s, tiles.z.block(own), within, tiles.z.block(block), width, 1.0 / tiles.neurons as f64, gram);
        for (side, signed) in tiles.sides.iter().zip(signed.iter_mut()) {
            let (b, x) = (side.block(own, tiles.order), side.block(block, tiles.order));
            for class in 0..CLASSES {
                count_class(
                    counter,
                    tiles.order,
                    class,
                    FourLines { words: b, first: within },
                    x,
                    width.div_ceil(16),
                    counts,
                );
            }
            write_signed(s, counts, signed, width);
        }
        squares.iter_mut().for_each(|squares| squares.fill(Lane64([0.0; PANEL])));
        let [start, now] = signed;
        // Each pair of outputs once; the blocks on the diagonal come in from outside, see `DriftTiles::once`.
        for &(pair, _) in tiles.quintet.blocks.iter().filter(|(_, (i, k))| i < k) {
            for r in 0..4 {
                let (start, now) = (&start[4 * pair + r], &now[4 * pair + r]);
                add_squares(start, &mut squares[0][r]);
                if tiles.sides.len() > 1 {
                    add_squares_of_change(start, now, &mut squares[1][r]);
                }
            }
        }
    }
}

/// Writes the signed counts of four lines and at least the first `lanes` lanes, four lines for each pair.
#[inline(always)]
fn write_signed<S: Lanes>(s: S, counts: &ClassCounts, to: &mut [[i32; PANEL]], lanes: usize) {
    assert!(to.len() >= 4 * PAIRS);
    for r in 0..4 {
        for lane in (0..lanes).step_by(S::U32_LANES) {
            let signed = signed_counts(s, counts, r, lane);
            for pair in 0..PAIRS {
                let to = to[4 * pair + r].as_mut_ptr();
                // SAFETY: `signed_counts` has made sure that the vector lies within the 64 lanes; its bits are integers.
                unsafe { to.add(lane).cast::<S::u32s>().write_unaligned(signed[pair]) };
            }
        }
    }
}

#[inline(always)]
fn add_squares(counts: &[i32; PANEL], squares: &mut Lane64<f64>) {
    for lane in 0..PANEL {
        let count = f64::from(counts[lane]);
        squares.0[lane] += count * count;
    }
}

#[inline(always)]
fn add_squares_of_change(start: &[i32; PANEL], now: &[i32; PANEL], squares: &mut Lane64<f64>) {
    for lane in 0..PANEL {
        // Wrapping, as lanes beyond the last sample may hold anything.
        let change = f64::from(now[lane].wrapping_sub(start[lane]));
        squares.0[lane] += change * change;
    }
}
