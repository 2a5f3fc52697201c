//! The whole finite-width tangent kernel, all blocks at once.
//!
//! ```text
//! per group of 32 lines j, per block of 64 lanes l (up to the diagonal only, if symmetric):
//!     gram[j][lanes] = <z_j, z_lanes> / m
//!     the diagonal blocks, which are all the same: gram * total
//!     per output i, per later output k: gram * signed counts of (i, k)
//!         goes to blocks (i, k) and (k, i), and its transpose too if it stands for both triangles
//! ```
//!
//! A few outputs are done block by block instead: compressing the bits for each line would cost more than it saves.

use faer::{MatMut, Par};

use super::bits::{all_by_neuron, sign_words};
use super::block::{block_with, symmetric_block_with};
use super::gram::{inner_products, times};
use super::group::{LINES, lane_block};
use super::target::{Target, transpose};
use super::{Features, Worker, Workspace, check_outputs, check_sides};
use crate::Result;
use crate::kernels::panels::check_shape;
use crate::kernels::{Lane64, PANEL, Panels, for_each_task};
use crate::simd::{Kernel, Lanes, Popcount, Real};

/// Outputs from which on all blocks are computed together: the d(d-1)/2 pairs then gain more from counting half the neurons than
/// the compression takes, which is as much as about 25 of them.
const TOGETHER_FROM: usize = 8;

/// [`full_with`] at the current level.
///
/// # Errors
/// As for [`full_with`].
pub fn full_into<T: Real>(
    out: MatMut<'_, T>,
    a: &Panels<T>,
    rows: Features<'_, T>,
    columns: Features<'_, T>,
    workspace: &mut Workspace<T>,
    par: Par,
) -> Result<()> {
    full_with(Popcount::current(), out, a, rows, columns, workspace, par)
}

/// The whole kernel H (dN1 x dN2) between two sets of samples: row `i*N1 + j`, column `k*N2 + l`; `a` (m x d) holds the output
/// signs.
///
/// # Errors
/// [`crate::Error::Shape`] if the shapes do not fit together, [`crate::Error::Setting`] if a sign is not +-1,
/// [`crate::Error::Empty`] without neurons.
pub fn full_with<T: Real>(
    count: Popcount,
    mut out: MatMut<'_, T>,
    a: &Panels<T>,
    rows: Features<'_, T>,
    columns: Features<'_, T>,
    workspace: &mut Workspace<T>,
    par: Par,
) -> Result<()> {
    check_sides(a, rows, columns)?;
    check_outputs(a, 0..a.columns())?;
    let (n1, n2) = (rows.samples(), columns.samples());
    check_shape("the output", out.nrows(), out.ncols(), a.columns() * n1, a.columns() * n2)?;
    if a.columns() < TOGETHER_FROM {
        return one_by_one(out.as_mut(), a.columns(), (n1, n2), |out, outputs| {
            block_with(count, out, outputs, a, rows, columns, workspace, par)
        });
    }
    let (target, by_columns) = Target::new(out);
    let (lines, lanes) = if by_columns { (columns, rows) } else { (rows, columns) };
    together(count, &target, a, (lines, lanes), false, workspace, par);
    Ok(())
}

/// [`symmetric_full_with`] at the current level.
///
/// # Errors
/// As for [`symmetric_full_with`].
pub fn symmetric_full_into<T: Real>(
    out: MatMut<'_, T>,
    a: &Panels<T>,
    samples: Features<'_, T>,
    workspace: &mut Workspace<T>,
    par: Par,
) -> Result<()> {
    symmetric_full_with(Popcount::current(), out, a, samples, workspace, par)
}

/// The whole kernel H (dN x dN) of a set of samples against itself: row `i*N + j`, column `k*N + l`.
///
/// # Errors
/// As for [`full_with`].
pub fn symmetric_full_with<T: Real>(
    count: Popcount,
    mut out: MatMut<'_, T>,
    a: &Panels<T>,
    samples: Features<'_, T>,
    workspace: &mut Workspace<T>,
    par: Par,
) -> Result<()> {
    check_sides(a, samples, samples)?;
    check_outputs(a, 0..a.columns())?;
    let n = samples.samples();
    check_shape("the output", out.nrows(), out.ncols(), a.columns() * n, a.columns() * n)?;
    if a.columns() < TOGETHER_FROM {
        return one_by_one(out.as_mut(), a.columns(), (n, n), |out, outputs| {
            symmetric_block_with(count, out, outputs, a, samples, workspace, par)
        });
    }
    let (target, _) = Target::new(out);
    together(count, &target, a, (samples, samples), true, workspace, par);
    Ok(())
}

/// Computes the different blocks one after the other and copies them to where they occur again.
fn one_by_one<T: Real>(
    mut out: MatMut<'_, T>,
    outputs: usize,
    (n1, n2): (usize, usize),
    mut block: impl FnMut(MatMut<'_, T>, (usize, usize)) -> Result<()>,
) -> Result<()> {
    for k in 0..outputs {
        for i in 0..k {
            block(out.as_mut().submatrix_mut(i * n1, k * n2, n1, n2), (i, k))?;
            let (left, right) = out.as_mut().split_at_col_mut(k * n2);
            left.submatrix_mut(k * n1, i * n2, n1, n2).copy_from(right.submatrix(i * n1, 0, n1, n2));
        }
        if k == 0 {
            block(out.as_mut().submatrix_mut(0, 0, n1, n2), (0, 0))?;
        } else {
            let (left, right) = out.as_mut().split_at_col_mut(k * n2);
            right.submatrix_mut(k * n1, 0, n1, n2).copy_from(left.submatrix(0, 0, n1, n2));
        }
    }
    Ok(())
}

/// Computes all blocks together.
fn together<T: Real>(
    count: Popcount,
    target: &Target<'_, T>,
    a: &Panels<T>,
    (lines, lanes): (Features<'_, T>, Features<'_, T>),
    symmetric: bool,
    workspace: &mut Workspace<T>,
    par: Par,
) {
    workspace.reserve(par);
    let Workspace { workers, by_neuron, signs, .. } = workspace;
    all_by_neuron(count, by_neuron, lanes.patterns, workers.len());
    sign_words(signs, a);
    let pass = Pass {
        target,
        lines,
        lanes,
        by_neuron,
        signs,
        outputs: a.columns(),
        scale: T::from_f64(1.0 / a.rows() as f64),
        symmetric,
    };
    let groups = lines.samples().div_ceil(LINES);
    for_each_task(groups, workers, |worker, task| {
        // The last groups have the most lanes, so they come first and the short ones fill the gaps at the end.
        pass.group(count, worker, (groups - 1 - task) * LINES);
    });
}

/// What every group reads.
struct Pass<'a, T> {
    target: &'a Target<'a, T>,
    lines: Features<'a, T>,
    lanes: Features<'a, T>,
    by_neuron: &'a [u64],
    signs: &'a [u64],
    outputs: usize,
    scale: T,
    symmetric: bool,
}

impl<T: Real> Pass<'_, T> {
    /// The lines from `first` on against all lanes.
    fn group(&self, count: Popcount, worker: &mut Worker<T>, first: usize) {
        let Self { target, lines, lanes, outputs, symmetric, .. } = *self;
        let Worker { tiles, group, .. } = worker;
        let (n1, n2) = (lines.samples(), lanes.samples());
        let rows = (n1 - first).min(LINES);
        let (own, within) = (first / PANEL, first % PANEL);
        group.set_lines(count, lines.patterns, (first, rows), self.signs, outputs);
        for block in 0..if symmetric { own + 1 } else { lanes.z.blocks() } {
            let mut width = lanes.z.rows_in(block);
            let mut mirrored = if symmetric { width } else { 0 };
            if symmetric && block == own {
                // Lanes beyond these lines are the lanes of later groups, which mirror them to here.
                width = width.min(within + LINES);
                mirrored = within;
            }
            let groups = width.div_ceil(16);
            group.set_lanes(count, lane_block(self.by_neuron, lanes.patterns.neurons(), block), groups);
            let place = Place { target, first, lane: block * PANEL, rows, width, mirrored, sides: (n1, n2) };
            let level = count.level();
            level.run(Gram { pass: self, tiles, own: (own, within), block, width });
            level.run(Store { place, tiles, counts: &group.totals, blocks: (0..outputs).map(|i| (i, i)) });
            for i in 0..outputs {
                group.output(count, i, groups);
                for k in i + 1..outputs {
                    let counts = &group.signed[k * rows..(k + 1) * rows];
                    level.run(Store { place, tiles, counts, blocks: [(i, k), (k, i)].into_iter() });
                }
            }
        }
        count.level().run(Fence);
    }
}

/// The inner products of a group with a block of lanes.
struct Gram<'a, T> {
    pass: &'a Pass<'a, T>,
    tiles: &'a mut [Lane64<T>],
    own: (usize, usize),
    block: usize,
    width: usize,
}

impl<T: Real> Kernel for Gram<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(self, s: S) {
        let Self { pass, tiles, own: (own, within), block, width } = self;
        for (quarter, gram) in tiles[..LINES].chunks_exact_mut(4).enumerate() {
            let (b, x) = (pass.lines.z.block(own), pass.lanes.z.block(block));
            inner_products(s, b, within + 4 * quarter, x, width, pass.scale, gram);
        }
    }
}

/// Multiplies counts by the inner products, and writes them to some blocks of the kernel.
struct Store<'a, T, I> {
    place: Place<'a, T>,
    tiles: &'a mut [Lane64<T>],
    counts: &'a [[i32; PANEL]],
    blocks: I,
}

impl<T: Real, I: Iterator<Item = (usize, usize)>> Kernel for Store<'_, T, I> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(self, s: S) {
        let Self { place, tiles, counts, blocks } = self;
        let (gram, rest) = tiles.split_at_mut(LINES);
        let (values, rest) = rest.split_at_mut(LINES);
        for ((values, gram), counts) in values.iter_mut().zip(gram).zip(counts) {
            times(gram, counts, values);
        }
        let transposed = &mut rest[..PANEL];
        transpose(s, values, place.rows, place.mirrored, transposed);
        let values = &values[..place.rows];
        for block in blocks {
            // SAFETY: no two groups write the same places, see `Place`, and each ends with a fence.
            unsafe { place.write(s, block, values, transposed) };
        }
    }
}

/// Orders the streaming stores of a group before what comes later.
struct Fence;

impl Kernel for Fence {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(self, s: S) {
        s.fence();
    }
}

/// Where within every block the values of a group and a block of lanes go: lines from `first` and lanes from `lane` on,
/// `rows` and `width` of them, and mirrored across the diagonal for the first `mirrored` lanes, which belong to earlier groups.
struct Place<'a, T> {
    target: &'a Target<'a, T>,
    first: usize,
    lane: usize,
    rows: usize,
    width: usize,
    mirrored: usize,
    sides: (usize, usize),
}

impl<T> Clone for Place<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Place<'_, T> {}

impl<T: Real> Place<'_, T> {
    /// Writes the values of one block of the kernel.
    ///
    /// # Safety
    /// - As for [`Target::write`].
    #[inline(always)]
    unsafe fn write<S: Lanes>(&self, s: S, (i, k): (usize, usize), values: &[Lane64<T>], transposed: &[Lane64<T>]) {
        let (n1, n2) = self.sides;
        // SAFETY: the caller's word.
        unsafe {
            self.target.write(s, values, i * n1 + self.first, k * n2 + self.lane, self.width);
            // A rectangle has nothing to mirror, and its lanes need not be lines.
            if self.mirrored > 0 {
                let transposed = &transposed[..self.mirrored];
                self.target.write(s, transposed, i * n1 + self.lane, k * n2 + self.first, values.len());
            }
        }
    }
}
