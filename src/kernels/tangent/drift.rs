//! How far the finite-width tangent kernel is from where it started, and from its limit.

use faer::Par;

use super::bits::{all_by_neuron, sign_words};
use super::group::{Group, LINES, lane_block};
use super::{Features, check_outputs, check_sides, reference};
use crate::Result;
use crate::kernels::patterns::ActivationPatterns;
use crate::kernels::{Disjoint, PANEL, Panels, for_each_task, workers};
use crate::simd::{Popcount, Real};

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

/// [`drift_with`] at the current level.
///
/// # Errors
/// As for [`drift_with`].
pub fn drift<T: Real>(
    now: &ActivationPatterns,
    start: &ActivationPatterns,
    a: &Panels<T>,
    z: &Panels<T>,
    par: Par,
) -> Result<Drift> {
    drift_with(Popcount::current(), now, start, a, z, par)
}

/// Drift of the kernel on the samples `z` (N x D) with output signs `a` (m x d), from the patterns `start` at the initial weights
/// to the patterns `now`; accumulated tile by tile in f64, no dN x dN matrix is ever stored.
///
/// The limit is `I_d (x) K` with `K(z, z') = <z, z'> (pi - angle) / (2 pi)` (HRX section 4).
///
/// # Errors
/// [`crate::Error::Shape`] if the shapes do not fit together, [`crate::Error::Setting`] if a sign is not +-1,
/// [`crate::Error::Empty`] without neurons.
pub fn drift_with<T: Real>(
    count: Popcount,
    now: &ActivationPatterns,
    start: &ActivationPatterns,
    a: &Panels<T>,
    z: &Panels<T>,
    par: Par,
) -> Result<Drift> {
    check_sides(a, Features { patterns: now, z }, Features { patterns: start, z })?;
    check_outputs(a, 0..a.columns())?;
    if a.columns() == 0 {
        return Ok(Drift { change: 0.0, start: 0.0, gap: 0.0, limit: 0.0 });
    }
    let workers = workers(par);
    let rows: Vec<f64> = (0..z.rows()).flat_map(|j| (0..z.columns()).map(move |c| z.get(j, c).to_f64())).collect();
    let (mut signs, mut by_neuron) = (Vec::new(), [Vec::new(), Vec::new()]);
    sign_words(&mut signs, a);
    // Unmoved patterns need no second count.
    let sets = if now == start { &[start][..] } else { &[start, now][..] };
    for (out, patterns) in by_neuron.iter_mut().zip(sets) {
        all_by_neuron(count, out, patterns, workers);
    }
    let groups = z.rows().div_ceil(LINES);
    let mut sums = vec![[0.0; 4]; groups];
    let out = Disjoint::new(&mut sums);
    let pass =
        Pass { sets, by_neuron: &by_neuron, signs: &signs, rows: &rows, inputs: z.columns(), outputs: a.columns() };
    for_each_task(groups, &mut vec![Buffers::new(); workers], |buffers, task| {
        let group = groups - 1 - task;
        // SAFETY: each task takes its own sums.
        let sums = unsafe { &mut out.piece(group, 1)[0] };
        pass.group(count, buffers, group * LINES, sums);
    });
    let mut total = [0.0; 4];
    for sums in &sums {
        for (total, sum) in total.iter_mut().zip(sums) {
            *total += sum;
        }
    }
    let [change, start, gap, limit] = total.map(f64::sqrt);
    Ok(Drift { change, start, gap, limit })
}

/// What every group reads.
struct Pass<'a> {
    /// The patterns at the start, then those now unless they are the same.
    sets: &'a [&'a ActivationPatterns],
    by_neuron: &'a [Vec<u64>; 2],
    signs: &'a [u64],
    rows: &'a [f64],
    inputs: usize,
    outputs: usize,
}

impl Pass<'_> {
    fn row(&self, sample: usize) -> &[f64] {
        &self.rows[sample * self.inputs..(sample + 1) * self.inputs]
    }
}

/// Buffers of one worker.
#[derive(Clone)]
struct Buffers {
    groups: [Group; 2],
    /// For each line, sums over pairs of outputs of the squared signed counts, and of the squares of their change.
    squares: Vec<[[f64; PANEL]; 2]>,
}

impl Buffers {
    fn new() -> Self {
        Self { groups: Default::default(), squares: vec![[[0.0; PANEL]; 2]; LINES] }
    }
}

impl Pass<'_> {
    /// Sums of the lines from `first` on against the lanes up to the diagonal.
    fn group(&self, count: Popcount, buffers: &mut Buffers, first: usize, sums: &mut [f64; 4]) {
        let Buffers { groups: sets, squares } = buffers;
        let sets = &mut sets[..self.sets.len()];
        let (samples, neurons) = (self.sets[0].samples(), self.sets[0].neurons());
        let rows = (samples - first).min(LINES);
        for (group, patterns) in sets.iter_mut().zip(self.sets) {
            group.set_lines(count, patterns, (first, rows), self.signs, self.outputs);
        }
        for block in 0..=first / PANEL {
            let width = (samples - block * PANEL).min(PANEL).min(first + LINES - block * PANEL);
            let groups = width.div_ceil(16);
            for (group, by_neuron) in sets.iter_mut().zip(self.by_neuron) {
                group.set_lanes(count, lane_block(by_neuron, neurons, block), groups);
            }
            squares.fill([[0.0; PANEL]; 2]);
            for line in 0..rows {
                add_squares(&mut squares[line], sets, self.outputs as f64, |group| &group.totals[line]);
            }
            for i in 0..self.outputs {
                sets.iter_mut().for_each(|group| group.output(count, i, groups));
                for k in i + 1..self.outputs {
                    for line in 0..rows {
                        // Twice, for the blocks (i, k) and (k, i).
                        add_squares(&mut squares[line], sets, 2.0, |group| &group.signed[k * rows + line]);
                    }
                }
            }
            for line in 0..rows {
                for lane in 0..width {
                    let (j, l) = (first + line, block * PANEL + lane);
                    // Within the group both orders of a pair occur; before it only one does.
                    let times = if l < first { 2.0 } else { 1.0 };
                    let (x, y) = (self.row(j), self.row(l));
                    let gram = x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>() / neurons as f64;
                    let limit = reference::limit(x, y);
                    let total = f64::from(sets[0].totals[line][lane]);
                    let [start, change] = squares[line].map(|squares| squares[lane]);
                    let outputs = self.outputs as f64;
                    let gap = gram * total - limit;
                    sums[0] += times * gram * gram * change;
                    sums[1] += times * gram * gram * start;
                    sums[2] += times * (outputs * gap * gap + gram * gram * (start - outputs * total * total));
                    sums[3] += times * outputs * limit * limit;
                }
            }
        }
    }
}

/// Adds `times` the squares of the counts at the start, and of their change.
#[inline(always)]
fn add_squares(squares: &mut [[f64; PANEL]; 2], sets: &[Group], times: f64, counts: impl Fn(&Group) -> &[i32; PANEL]) {
    let start = counts(&sets[0]);
    for lane in 0..PANEL {
        squares[0][lane] += times * f64::from(start[lane]) * f64::from(start[lane]);
    }
    if let Some(now) = sets.get(1) {
        let now = counts(now);
        for lane in 0..PANEL {
            let change = f64::from(now[lane] - start[lane]);
            squares[1][lane] += times * change * change;
        }
    }
}
