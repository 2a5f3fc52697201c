//! Tiles of the kernel matrix: 64 samples i by 64 samples j, from unit vectors to finished entries in place.
//!
//! ```text
//! per line of samples j (16 in f32, 8 in f64), 32 samples i at a time:
//!     C[j][lanes i] = sum_k u_j[k] u_i[k][lanes]                  cosines, R rows by V vectors in accumulators, into a buffer
//! then per block of a line of samples j by a line of samples i:
//!     where |C| >= 0.95:  1 - |C| <- |u_j -+ u_i|^2 / 2            rare
//!     K[j][lanes i] = (C + |C| - sqrt(1 - |C|) |C| P(|C|)) (|z_j| / 2) (|z_i| / 2)            below 18 dimensions
//!                   = (C + C^2 Q(C^2)) (|z_j| / 2) (|z_i| / 2)                                from there on, if |C| < T
//!                   = (C + |C| - 2 |C| s Q(s^2)) (|z_j| / 2) (|z_i| / 2),  s^2 = (1 - |C|) / 2   and if not
//!     and K leaves in whole cache lines: as it is, transposed, or both
//! ```
//! The buffer lies in the first-level cache. Cosines could stay in registers; but then each tile of accumulators has its own end,
//! at which the units of multiplication wait for the last sums, and the shape with the fewest loads (with 32 registers, 8 rows by
//! 2 vectors) leaves no registers for what follows.
//!
//! The cosine carries a rounding error of about one unit, which the angle magnifies by up to 1/sqrt(1 - c^2): nothing to speak
//! of below 0.95, half the digits at 1. There the squared distance of the unit vectors takes its place, whose subtractions are
//! exact. Every operation is symmetric in i and j, and which formula an entry takes depends on its own cosine and the dimension
//! alone; so entry (i, j) has the same bits as entry (j, i), wherever it is computed, and since no sum runs over lanes, the same
//! bits at AVX2 as at AVX-512.

use std::mem::MaybeUninit;

use super::arccos::{ArcCosine, weighted_angles, weighted_mixed_angles, weighted_wide_angles};
use super::samples::Block;
use super::store::{Destination, LINE, LineBlock, line};
use crate::kernels::outer::{Broadcast, accumulate};
use crate::kernels::{Lane64, PANEL};
use crate::simd::{Kernel, Lanes, Level};

/// Cosines from here on are near-duplicates or nearly opposite. At the threshold an error of the cosine, which may be several
/// roundings in a long sum, moves K by 0.9 times itself, times the norms.
const NEAR: f64 = 0.95;

/// Most products that a cosine adds up in one go. Longer sums are made of parts as equal as can be, so that the roundings, should
/// all of them go one way, do not grow with the dimension.
const PART: usize = 16;

/// Dimensions from which on most cosines are small, so that a block is likely to hold wide angles alone: of normal samples seven
/// blocks of eight do in 18 dimensions. Any other block would be faster without this distinction: normal samples in 16 dimensions
/// took 3 to 6 % longer with it.
const MANY: usize = 18;

/// Samples i of a buffer whose cosines are computed before any of them is finished. Stores come in a burst after each: for 64
/// samples it is longer than the queue that hides it (f32 7 % slower, f64 3 %), and the fewer there are, the more often the units
/// of multiplication wait.
const WIDTH: usize = 32;

/// How a cosine's sum is taken.
#[derive(Clone, Copy)]
struct SumParts {
    count: usize,
    /// Products in a part; the first `longer` have one more.
    steps: usize,
    longer: usize,
}

impl SumParts {
    fn new(dimension: usize) -> Self {
        let count = dimension.div_ceil(PART).max(1);
        Self { count, steps: dimension / count, longer: dimension % count }
    }
}

/// Cosines of a line of samples j with samples i, in blocks of a line by a line, one after the other. Entry (i, j) of a block lies
/// at `j * line + i`. There is room for 64 samples i, though [`WIDTH`] are in use at a time: if they took each other's places, they
/// would wait for stores that wait for memory (f32 12 % slower).
#[repr(C)]
struct CosineBuffer<T>([MaybeUninit<Lane64<T>>; LINE]);

impl<T: ArcCosine> CosineBuffer<T> {
    fn new() -> Self {
        Self([const { MaybeUninit::uninit() }; LINE])
    }

    /// The block of sample `i`.
    #[inline(always)]
    fn block(&mut self, i: usize) -> *mut T {
        assert!(i < PANEL);
        let line = line::<T>();
        // SAFETY: `line` rows of 64 are as much as all blocks.
        unsafe { self.0.as_mut_ptr().cast::<T>().add(i / line * line * line) }
    }
}

/// Cosines of `R` samples j with `V` vectors of samples i, from `i` on, into rows of the buffer from `row` on.
///
/// # Safety
/// - `uj` is readable for R values, and `ui` for V vectors, at all places 64 apart that the parts count.
#[inline(always)]
unsafe fn cosines<T: ArcCosine, S: Lanes, const R: usize, const V: usize>(
    s: S,
    parts: SumParts,
    ui: *const T,
    uj: *const T,
    buffer: &mut CosineBuffer<T>,
    i: usize,
    row: usize,
) {
    let (line, lanes) = (line::<T>(), T::lanes::<S>());
    assert!(i.is_multiple_of(lanes) && line.is_multiple_of(lanes) && row + R <= line);
    let mut k = 0;
    for part in 0..parts.count {
        let steps = parts.steps + usize::from(part < parts.longer);
        let mut c = [[T::vsplat(s, T::ZERO); V]; R];
        // SAFETY: the caller's contract, and rows and vectors lie within their blocks of the buffer.
        unsafe {
            let b = Broadcast { start: uj.add(k * PANEL), row: 1, step: PANEL };
            accumulate(s, steps, b, ui.add(k * PANEL), &mut c);
            k += steps;
            for v in 0..V {
                let i = i + v * lanes;
                let to = buffer.block(i).add(row * line + i % line);
                for r in 0..R {
                    let at = to.add(r * line);
                    if part > 0 {
                        c[r][v] = T::vadd(s, T::vload(s, at), c[r][v]);
                    }
                    T::vstore(s, at, c[r][v]);
                }
            }
        }
    }
}

/// Where the numbers behind a block are, which is a line of samples j by a line of samples i.
#[derive(Clone, Copy)]
struct Source<T> {
    /// Cosines.
    cosines: *const T,
    dimension: usize,
    /// Unit vectors of the first samples j and i, their numbers 64 apart.
    uj: *const T,
    ui: *const T,
    /// Half the norms of the first samples j and i.
    nj: *const T,
    ni: *const T,
    /// Whether some product of norms may be beyond the type.
    extreme: bool,
}

/// Entries of the kernel from the cosines of `F` rows of a block from `row` on, `W` vectors to a line: wide angles, or with `FEW`
/// dimensions any that are not [`NEAR`] 0 or pi.
///
/// # Safety
/// - The block's cosines and norms are readable, and it has F rows from `row` on.
#[inline(always)]
unsafe fn finish<T: ArcCosine, S: Lanes, const F: usize, const W: usize, const FEW: bool>(
    s: S,
    of: Source<T>,
    row: usize,
) -> [[T::Vector<S>; W]; F] {
    let lanes = T::lanes::<S>();
    let mut k = [[T::vsplat(s, T::ZERO); W]; F];
    // SAFETY: the caller's contract.
    unsafe {
        let cosines = of.cosines.add(row * line::<T>());
        for r in 0..F {
            for v in 0..W {
                k[r][v] = T::vload(s, cosines.add((r * W + v) * lanes));
            }
        }
        if FEW {
            weighted_angles::<T, S, F, W>(s, &mut k, None);
        } else {
            weighted_wide_angles::<T, S, F, W>(s, &mut k);
        }
        for r in 0..F {
            let a = T::vsplat(s, *of.nj.add(row + r));
            for v in 0..W {
                k[r][v] = T::vmul(s, k[r][v], T::vmul(s, a, T::vload(s, of.ni.add(v * lanes))));
            }
        }
    }
    k
}

/// Entries of the kernel from the cosines of a block, of any angles and norms.
///
/// # Safety
/// - The block's cosines, norms and unit vectors are readable, and `entries` has room for the block.
#[inline(never)]
unsafe fn finish_any<T: ArcCosine, S: Lanes, const FEW: bool>(s: S, of: Source<T>, entries: *mut T) {
    // Through `vectorize`, because a function on its own is not compiled for the level.
    s.vectorize(FinishAny::<T, S, FEW> { s, of, entries });
}

/// [`finish_any`] as a function of a level, whose maker keeps its contract.
struct FinishAny<T, S, const FEW: bool> {
    s: S,
    of: Source<T>,
    entries: *mut T,
}

impl<T: ArcCosine, S: Lanes, const FEW: bool> pulp::NullaryFnOnce for FinishAny<T, S, FEW> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        // A few vectors at a time, so that their chains of operations hide each other's latency.
        const GROUP: usize = 4;
        let Self { s, of, entries } = self;
        let (line, lanes) = (line::<T>(), T::lanes::<S>());
        let across = line / lanes;
        assert!((line * across).is_multiple_of(GROUP));
        let limit = T::vsplat(s, T::from_f64(0.25) * T::LARGEST);
        for first in (0..line * across).step_by(GROUP) {
            let mut k = [[T::vsplat(s, T::ZERO)]; GROUP];
            let mut versine = k;
            // SAFETY: the caller's contract.
            unsafe {
                for g in 0..GROUP {
                    let (j, i) = ((first + g) / across, (first + g) % across * lanes);
                    let c = T::vload(s, of.cosines.add(j * line + i));
                    let (uj, ui) = (of.uj.wrapping_add(j), of.ui.wrapping_add(i));
                    (k[g][0], versine[g][0]) = refine(s, c, of.dimension, uj, ui);
                }
                if FEW {
                    weighted_angles::<T, S, GROUP, 1>(s, &mut k, Some(&versine));
                } else {
                    weighted_mixed_angles::<T, S, GROUP, 1>(s, &mut k, &versine);
                }
                for g in 0..GROUP {
                    let (j, i) = ((first + g) / across, (first + g) % across * lanes);
                    let (a, b) = (T::vsplat(s, *of.nj.add(j)), T::vload(s, of.ni.add(i)));
                    let norms = T::vmul(s, a, b);
                    let mut entry = T::vmul(s, k[g][0], norms);
                    if of.extreme {
                        // The product of norms may be beyond the type, though the entry is not: the smaller comes last then.
                        let in_turn = T::vmul(s, T::vmul(s, k[g][0], T::vmax(s, a, b)), T::vmin(s, a, b));
                        entry = T::vselect(s, T::vge(s, limit, norms), entry, in_turn);
                    }
                    T::vstore(s, entries.add(j * line + i), entry);
                }
            }
        }
    }
}

/// c and 1 - |c|, with the lanes near 1 recomputed from the distance of the unit vectors.
///
/// # Safety
/// - `uj` is readable and `ui` readable for one vector, at `dimension` places 64 apart.
#[inline(always)]
unsafe fn refine<T: ArcCosine, S: Lanes>(
    s: S,
    c: T::Vector<S>,
    dimension: usize,
    uj: *const T,
    ui: *const T,
) -> (T::Vector<S>, T::Vector<S>) {
    let one = T::vsplat(s, T::ONE);
    let a = T::vabs(s, c);
    let t = T::vsub(s, one, a);
    let near = T::vge(s, a, T::vsplat(s, T::from_f64(NEAR)));
    if T::vbits(s, near) == 0 {
        return (c, t);
    }
    let zero = T::vsplat(s, T::ZERO);
    let sign = T::vselect(s, T::vlt(s, c, zero), T::vsplat(s, -T::ONE), one);
    let mut squares = zero;
    for k in 0..dimension {
        // SAFETY: the caller's contract.
        let (x, y) = unsafe { (T::vsplat(s, *uj.add(k * PANEL)), T::vload(s, ui.add(k * PANEL))) };
        let difference = T::vneg_mul_add(s, sign, x, y);
        squares = T::vmul_add(s, difference, difference, squares);
    }
    let exact = T::vmul(s, T::vsplat(s, T::from_f64(0.5)), squares);
    let t = T::vselect(s, near, exact, t);
    let a = T::vselect(s, near, T::vsub(s, one, exact), a);
    (T::vselect(s, near, T::vmul(s, sign, a), c), t)
}

/// The tile of the samples of one block i with those of one block j, and where its entries go.
#[derive(Clone, Copy)]
pub(super) struct GramTile<'a, T> {
    /// Samples i.
    pub left: Block<'a, T>,
    /// Samples j.
    pub right: Block<'a, T>,
    /// Whether both are the same block of one set, so that i = j is on the diagonal.
    pub diagonal: bool,
    /// Whether only entries with i >= j are wanted; matters on the diagonal.
    pub lower: bool,
    /// Where entry (i, j) goes.
    pub direct: Destination<T>,
    /// Where entry (i, j) goes as well.
    pub mirror: Option<Destination<T>>,
}

impl<T: ArcCosine> GramTile<'_, T> {
    /// Computes the tile and writes it.
    ///
    /// # Safety
    /// - Every entry of the tile lies within its places, and nobody else accesses them.
    /// - Places that stream are aligned.
    pub unsafe fn write(self, level: Level) {
        level.run(Write(self));
    }
}

/// [`GramTile::write`] as a kernel, whose maker keeps its contract.
struct Write<'a, T>(GramTile<'a, T>);

impl<T: ArcCosine> Kernel for Write<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(self, s: S) {
        if self.0.left.units.len() < MANY { self.0.shape::<S, true>(s) } else { self.0.shape::<S, false>(s) }
    }
}

impl<T: ArcCosine> GramTile<'_, T> {
    /// Shapes of what is held in registers: cosines of R rows by V vectors, and entries of F rows by the W vectors of a line.
    #[inline(always)]
    fn shape<S: Lanes, const FEW: bool>(&self, s: S) {
        if const { size_of::<T::Vector<S>>() == 64 } {
            self.lines::<S, 8, 2, 8, 1, FEW>(s);
        } else if const { size_of::<T::Vector<S>>() == 32 && S::FUSED } {
            self.lines::<S, 4, 2, 2, 2, FEW>(s);
        } else if const { size_of::<T::Vector<S>>() == 32 } {
            self.lines::<S, 2, 2, 2, 2, FEW>(s);
        } else {
            self.lines::<S, 4, 4, 2, 4, FEW>(s);
        }
    }

    #[inline(always)]
    fn lines<S: Lanes, const R: usize, const V: usize, const F: usize, const W: usize, const FEW: bool>(&self, s: S) {
        let (line, vectors) = (line::<T>(), V * T::lanes::<S>());
        let (left, right) = (self.left, self.right);
        let dimension = left.units.len();
        assert!(line.is_multiple_of(R) && line.is_multiple_of(F) && line == W * T::lanes::<S>());
        assert!(vectors.is_multiple_of(line) && WIDTH.is_multiple_of(vectors));
        assert!(right.units.len() == dimension && left.count <= PANEL && right.count <= PANEL);
        let parts = SumParts::new(dimension);
        let extreme = left.largest * right.largest > T::from_f64(0.25) * T::LARGEST;
        // In no dimensions these point nowhere.
        let (ui, uj) = (left.units.as_ptr().cast::<T>(), right.units.as_ptr().cast::<T>());
        let (ni, nj) = (left.half_norms.0.as_ptr(), right.half_norms.0.as_ptr());
        let (mut buffer, mut entries): (_, LineBlock<T>) = (CosineBuffer::new(), [const { MaybeUninit::uninit() }; _]);
        let entries = entries.as_mut_ptr().cast::<T>();
        for j in (0..right.count).step_by(line) {
            // Blocks above the diagonal are not wanted.
            let first = if self.diagonal && self.lower { j } else { 0 };
            for start in (first / WIDTH * WIDTH..left.count).step_by(WIDTH) {
                let end = left.count.min(start + WIDTH);
                for i in (start..end).step_by(vectors) {
                    for r in (0..line).step_by(R) {
                        let (ui, uj) = (ui.wrapping_add(i), uj.wrapping_add(j + r));
                        // SAFETY: all samples lie within their blocks of 64.
                        unsafe { cosines::<T, S, R, V>(s, parts, ui, uj, &mut buffer, i, r) };
                    }
                }
                for i in (start.max(first)..end).step_by(line) {
                    let (ui, uj) = (ui.wrapping_add(i), uj.wrapping_add(j));
                    // SAFETY: the cosines are in the buffer, samples within their blocks of 64, entries within the tile.
                    unsafe {
                        let (nj, ni) = (nj.add(j), ni.add(i));
                        let of = Source { cosines: buffer.block(i), dimension, uj, ui, nj, ni, extreme };
                        self.block::<S, F, W, FEW>(s, of, entries, (i, j));
                    }
                }
            }
        }
    }

    /// Finishes the block of the samples from i and from j on and writes it; `entries` is room for one.
    ///
    /// # Safety
    /// - The block's cosines, norms and unit vectors are readable, and `entries` has room for it.
    /// - As for [`GramTile::write`].
    #[inline(always)]
    unsafe fn block<S: Lanes, const F: usize, const W: usize, const FEW: bool>(
        &self,
        s: S,
        of: Source<T>,
        entries: *mut T,
        (i, j): (usize, usize),
    ) {
        let (line, lanes) = (line::<T>(), T::lanes::<S>());
        let whole = i + line <= self.left.count && j + line <= self.right.count && !(self.diagonal && i == j);
        let in_lines = whole && self.direct.has_lines() && self.mirror.is_none_or(Destination::has_lines);
        // From registers to where they go.
        let straight = lanes == line && in_lines;
        let mut k = [T::vsplat(s, T::ZERO); LINE];
        // SAFETY: the caller's contract.
        unsafe {
            if of.extreme || any_above::<T, S>(s, of.cosines, if FEW { T::from_f64(NEAR) } else { T::ARC_SINE.wide }) {
                finish_any::<T, S, FEW>(s, of, entries);
                if straight {
                    for r in 0..line {
                        k[r] = T::vload(s, entries.add(r * line));
                    }
                }
            } else {
                for row in (0..line).step_by(F) {
                    let rows = finish::<T, S, F, W, FEW>(s, of, row);
                    for r in 0..F {
                        if straight {
                            k[row + r] = rows[r][0];
                            continue;
                        }
                        for v in 0..W {
                            T::vstore(s, entries.add((row + r) * line + v * lanes), rows[r][v]);
                        }
                    }
                }
            }
            if straight {
                self.direct.put_rows(s, &k[..lanes], (i, j));
                if let Some(mirror) = self.mirror {
                    mirror.put_rows(s, &k[..lanes], (i, j));
                }
            } else if in_lines {
                self.direct.put_block(s, entries, (i, j));
                if let Some(mirror) = self.mirror {
                    mirror.put_block(s, entries, (i, j));
                }
            } else {
                self.put_part(entries, (i, j));
            }
        }
    }

    /// Writes a block that meets the edge or the diagonal, or does not come in cache lines.
    ///
    /// # Safety
    /// - The block is readable.
    /// - As for [`GramTile::write`].
    unsafe fn put_part(&self, block: *const T, (i, j): (usize, usize)) {
        let line = line::<T>();
        for c in j..(j + line).min(self.right.count) {
            for r in i..(i + line).min(self.left.count) {
                // SAFETY: the entry lies within the tile and within the block.
                unsafe {
                    let on_diagonal = self.diagonal && r == c;
                    let k = if on_diagonal { self.right.diagonal.0[r] } else { *block.add((c - j) * line + r - i) };
                    if !(self.diagonal && self.lower && r < c) {
                        *self.direct.at(r, c) = k;
                    }
                    if let Some(mirror) = self.mirror {
                        *mirror.at(r, c) = k;
                    }
                }
            }
        }
    }
}

/// Whether any value of a block is in absolute value at least `bound`.
///
/// # Safety
/// - The block is readable.
#[inline(always)]
unsafe fn any_above<T: ArcCosine, S: Lanes>(s: S, block: *const T, bound: T) -> bool {
    let (line, lanes) = (line::<T>(), T::lanes::<S>());
    let mut largest = [T::vsplat(s, T::ZERO); 2];
    for at in (0..line * line).step_by(2 * lanes) {
        for v in 0..2 {
            // SAFETY: a block is an even number of vectors.
            let x = unsafe { T::vload(s, block.add(at + v * lanes)) };
            largest[v] = T::vmax(s, largest[v], T::vabs(s, x));
        }
    }
    let largest = T::vmax(s, largest[0], largest[1]);
    T::vbits(s, T::vge(s, largest, T::vsplat(s, bound))) != 0
}
