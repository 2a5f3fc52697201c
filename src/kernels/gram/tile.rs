//! Blocks of the kernel matrix, from unit vectors to finished entries in place without leaving the registers.
//!
//! ```text
//! per block of one cache line of samples j by one of samples i (16 x 16 in f32, 8 x 8 in f64), R rows j at a time:
//!     C[j][lanes i] = sum_k u_j[k] u_i[k][lanes]                  cosines, in accumulators, in parts of 16
//!     where |C| > 0.95:  1 - |C| <- |u_j -+ u_i|^2 / 2            rare
//!     K[j][lanes i] = (C + |C| - sqrt(1 - |C|) |C| P(|C|)) (|z_j| / 2) (|z_i| / 2)            below 24 dimensions
//!                   = (C + C^2 Q(C^2)) (|z_j| / 2) (|z_i| / 2)                                from there on, if |C| < T
//!                   = (C + |C| - 2 |C| s Q(s^2)) (|z_j| / 2) (|z_i| / 2),  s^2 = (1 - |C|) / 2   and if not
//! then K leaves in whole cache lines: as it is, transposed, or both
//! ```
//! The cosine carries a rounding error of about one unit, which the angle magnifies by up to 1/sqrt(1 - c^2): nothing to speak
//! of below 0.95, half the digits at 1. There the squared distance of the unit vectors takes its place, whose subtractions are
//! exact. Every operation is symmetric in i and j, and which formula an entry takes depends on its own cosine and the dimension
//! alone; so entry (i, j) has the same bits as entry (j, i), wherever it is computed, and since no sum runs over lanes, the same
//! bits at AVX2 as at AVX-512.

use std::mem::MaybeUninit;

use super::samples::Block;
use super::store::{Place, Run};
use crate::kernels::outer::{Broadcast, accumulate};
use crate::kernels::{Lane64, PANEL};
use crate::simd::{Kernel, Lanes, Level, Real, weighted_angles, weighted_mixed_angles, weighted_wide_angles};

/// Cosines beyond this are near-duplicates or nearly opposite. At the threshold an error of the cosine, which may be several
/// roundings in a long sum, moves K by 0.9 times itself, times the norms.
const NEAR: f64 = 0.95;

/// Most products that a cosine adds up in one go. Longer sums are made of parts as equal as can be, so that the roundings, should
/// all of them go one way, do not grow with the dimension.
const PART: usize = 16;

/// Dimensions from which on most cosines are small, so that a block is likely to hold wide angles alone: of normal samples nine
/// blocks of ten do in 24 dimensions. A block that does not takes longer than if it had not been asked: normal samples in 16
/// dimensions took a seventh longer, in 8 a quarter.
const MANY: usize = 24;

/// Values in a cache line.
pub(super) const fn line<T>() -> usize {
    64 / size_of::<T>()
}

/// K of `R` samples j, from `j` of the block `right` on, with `V` vectors of samples i, from `i` of the block `left` on.
///
/// # Safety
/// - `j + R` and `i` plus V vectors are at most 64, and both blocks have the same dimension.
#[inline(always)]
unsafe fn entries<T: Real, S: Lanes, const R: usize, const V: usize, const FEW: bool>(
    s: S,
    (left, i): (Block<'_, T>, usize),
    (right, j): (Block<'_, T>, usize),
) -> [[T::Vector<S>; V]; R] {
    let lanes = T::lanes::<S>();
    let dimension = left.units.len();
    debug_assert!(j + R <= PANEL && i + V * lanes <= PANEL && right.units.len() == dimension);
    let mut c = [[T::vsplat(s, T::ZERO); V]; R];
    // SAFETY: samples j .. j + R and i .. i + V lanes lie within their blocks of 64.
    unsafe {
        let (ui, uj) = (left.units.as_ptr().cast::<T>().add(i), right.units.as_ptr().cast::<T>().add(j));
        // The accumulators of one part of the sum take half of all registers. What is there besides waits in memory, and what is
        // rare has a function of its own and takes them from memory: otherwise they would go there at every step of the sum.
        let mut buffer = [const { MaybeUninit::<Lane64<T>>::uninit() }; 4];
        assert!(R * V * lanes <= 4 * PANEL);
        let memory = buffer.as_mut_ptr().cast::<T>();
        let (parts, mut k) = (dimension.div_ceil(PART), 0);
        for part in 0..parts {
            let steps = (dimension - k).div_ceil(parts - part);
            let b = Broadcast { start: uj.add(k * PANEL), row: 1, step: PANEL };
            c = [[T::vsplat(s, T::ZERO); V]; R];
            accumulate(s, steps, b, ui.add(k * PANEL), &mut c);
            k += steps;
            if part > 0 {
                let before: [[T::Vector<S>; V]; R] = take(s, memory);
                for r in 0..R {
                    for v in 0..V {
                        c[r][v] = T::vadd(s, before[r][v], c[r][v]);
                    }
                }
            }
            if part + 1 < parts {
                put(s, &c, memory);
                std::hint::black_box(memory);
            }
        }
        let mut largest = [T::vsplat(s, T::ZERO); V];
        for r in 0..R {
            for v in 0..V {
                largest[v] = T::vmax(s, largest[v], T::vabs(s, c[r][v]));
            }
        }
        for v in 1..V {
            largest[0] = T::vmax(s, largest[0], largest[v]);
        }
        let bound = if FEW { T::from_f64(NEAR) } else { T::ARC_SINE.wide };
        if T::vbits(s, T::vge(s, largest[0], T::vsplat(s, bound))) != 0 {
            put(s, &c, memory);
            any_angles::<T, S, FEW>(s, Any { cosines: memory, vectors: R * V, across: V, dimension, uj, ui });
            c = take(s, memory);
        } else if FEW {
            weighted_angles::<T, S, R, V>(s, &mut c, None);
        } else {
            weighted_wide_angles::<T, S, R, V>(s, &mut c);
        }
        let (ni, nj) = (left.half_norms.0.as_ptr().add(i), right.half_norms.0.as_ptr().add(j));
        // Some product of norms may be beyond the type, though the entry is not.
        if left.largest * right.largest > T::from_f64(0.25) * T::LARGEST {
            put(s, &c, memory);
            any_norms(s, Norms { cosines: memory, vectors: R * V, across: V, nj, ni });
            c = take(s, memory);
        } else {
            for r in 0..R {
                let a = T::vsplat(s, *nj.add(r));
                for v in 0..V {
                    c[r][v] = T::vmul(s, c[r][v], T::vmul(s, a, T::vload(s, ni.add(v * lanes))));
                }
            }
        }
    }
    c
}

/// Writes the vectors one after the other.
///
/// # Safety
/// - `to` is writable for R V vectors.
#[inline(always)]
unsafe fn put<T: Real, S: Lanes, const R: usize, const V: usize>(s: S, c: &[[T::Vector<S>; V]; R], to: *mut T) {
    for r in 0..R {
        for v in 0..V {
            // SAFETY: the caller's word.
            unsafe { T::vstore(s, to.add((r * V + v) * T::lanes::<S>()), c[r][v]) };
        }
    }
}

/// Reads the vectors that [`put`] wrote.
///
/// # Safety
/// - `from` is readable for R V vectors.
#[inline(always)]
unsafe fn take<T: Real, S: Lanes, const R: usize, const V: usize>(s: S, from: *const T) -> [[T::Vector<S>; V]; R] {
    let mut c = [[T::vsplat(s, T::ZERO); V]; R];
    for r in 0..R {
        for v in 0..V {
            // SAFETY: the caller's word.
            c[r][v] = unsafe { T::vload(s, from.add((r * V + v) * T::lanes::<S>())) };
        }
    }
    c
}

/// Cosines of a block, of any angles.
struct Any<T> {
    /// So many `vectors` of them, `across` to each sample j.
    cosines: *mut T,
    vectors: usize,
    across: usize,
    dimension: usize,
    /// Unit vectors of the first samples j and i.
    uj: *const T,
    ui: *const T,
}

/// Finishes a block of any angles in place.
///
/// # Safety
/// - `any.cosines` holds the vectors, a multiple of four of them.
/// - As for [`refine`], for every vector's samples.
#[inline(never)]
unsafe fn any_angles<T: Real, S: Lanes, const FEW: bool>(s: S, any: Any<T>) {
    // Through `vectorize`, because a function on its own is not compiled for the level.
    s.vectorize(AnyAngles::<T, S, FEW> { s, any });
}

/// [`any_angles`] as a function of a level, whose maker keeps its contract.
struct AnyAngles<T, S, const FEW: bool> {
    s: S,
    any: Any<T>,
}

impl<T: Real, S: Lanes, const FEW: bool> pulp::NullaryFnOnce for AnyAngles<T, S, FEW> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        const GROUP: usize = 4;
        let Self { s, any: Any { cosines, vectors, across, dimension, uj, ui } } = self;
        let lanes = T::lanes::<S>();
        assert!(vectors.is_multiple_of(GROUP));
        for first in (0..vectors).step_by(GROUP) {
            // SAFETY: the caller's contract.
            unsafe {
                let at = cosines.add(first * lanes);
                let mut c = [[T::vsplat(s, T::ZERO)]; GROUP];
                let mut largest = c[0][0];
                for r in 0..GROUP {
                    c[r][0] = T::vload(s, at.add(r * lanes));
                    largest = T::vmax(s, largest, T::vabs(s, c[r][0]));
                }
                if T::vbits(s, T::vge(s, largest, T::vsplat(s, T::from_f64(NEAR)))) == 0 {
                    weigh::<T, S, GROUP, FEW>(s, &mut c, None);
                    for r in 0..GROUP {
                        T::vstore(s, at.add(r * lanes), c[r][0]);
                    }
                    continue;
                }
                for index in first..first + GROUP {
                    let at = cosines.add(index * lanes);
                    let (uj, ui) = (uj.add(index / across), ui.add(index % across * lanes));
                    let (x, t) = refine(s, T::vload(s, at), dimension, uj, ui);
                    let mut k = [[x]];
                    weigh::<T, S, 1, FEW>(s, &mut k, Some(&[[t]]));
                    T::vstore(s, at, k[0][0]);
                }
            }
        }
    }
}

/// Weighted cosines of a block, to be multiplied by halves of norms.
struct Norms<T> {
    /// So many `vectors` of them, `across` to each sample j.
    cosines: *mut T,
    vectors: usize,
    across: usize,
    /// Half the norms of the first samples j and i.
    nj: *const T,
    ni: *const T,
}

/// Multiplies a block in place where some pair of norms may have a product beyond the type, though the entry is not: the smaller
/// norm comes last then.
///
/// # Safety
/// - `norms.cosines` holds the vectors, and norms are readable for every vector's samples.
#[inline(never)]
unsafe fn any_norms<T: Real, S: Lanes>(s: S, norms: Norms<T>) {
    s.vectorize(AnyNorms { s, norms });
}

/// [`any_norms`] as a function of a level, whose maker keeps its contract.
struct AnyNorms<T, S> {
    s: S,
    norms: Norms<T>,
}

impl<T: Real, S: Lanes> pulp::NullaryFnOnce for AnyNorms<T, S> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { s, norms: Norms { cosines, vectors, across, nj, ni } } = self;
        let lanes = T::lanes::<S>();
        let limit = T::vsplat(s, T::from_f64(0.25) * T::LARGEST);
        for index in 0..vectors {
            // SAFETY: the caller's contract.
            unsafe {
                let at = cosines.add(index * lanes);
                let (a, b) = (T::vsplat(s, *nj.add(index / across)), T::vload(s, ni.add(index % across * lanes)));
                let (c, product) = (T::vload(s, at), T::vmul(s, a, b));
                let in_turn = T::vmul(s, T::vmul(s, c, T::vmax(s, a, b)), T::vmin(s, a, b));
                let fits = T::vge(s, limit, product);
                T::vstore(s, at, T::vselect(s, fits, T::vmul(s, c, product), in_turn));
            }
        }
    }
}

/// Any angles, by the formula that goes with the dimension.
#[inline(always)]
fn weigh<T: Real, S: Lanes, const R: usize, const FEW: bool>(
    s: S,
    c: &mut [[T::Vector<S>; 1]; R],
    near: Option<&[[T::Vector<S>; 1]; R]>,
) {
    if FEW {
        weighted_angles::<T, S, R, 1>(s, c, near);
    } else {
        weighted_mixed_angles::<T, S, R, 1>(s, c, near);
    }
}

/// c and 1 - |c|, with the lanes near 1 recomputed from the distance of the unit vectors.
///
/// # Safety
/// - `uj` is readable and `ui` readable for one vector, at `dimension` places 64 apart.
#[inline(always)]
unsafe fn refine<T: Real, S: Lanes>(
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
pub(super) struct Tile<'a, T> {
    /// Samples i.
    pub left: Block<'a, T>,
    /// Samples j.
    pub right: Block<'a, T>,
    /// Whether both are the same block of one set, so that i = j is on the diagonal.
    pub diagonal: bool,
    /// Whether only entries with i >= j are wanted; matters on the diagonal.
    pub lower: bool,
    /// Where entry (i, j) goes.
    pub direct: Place<T>,
    /// Where entry (i, j) goes as well.
    pub mirror: Option<Place<T>>,
}

impl<T: Real> Tile<'_, T> {
    /// Computes the tile and writes it.
    ///
    /// # Safety
    /// - Every entry of the tile lies within its places, and nobody else accesses them.
    /// - Places that stream are aligned.
    pub unsafe fn write(self, level: Level) {
        level.run(Write(self));
    }
}

/// [`Tile::write`] as a kernel, whose maker keeps its contract.
struct Write<'a, T>(Tile<'a, T>);

impl<T: Real> Kernel for Write<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(self, s: S) {
        if self.0.left.units.len() < MANY { self.0.shape::<S, true>(s) } else { self.0.shape::<S, false>(s) }
    }
}

impl<T: Real> Tile<'_, T> {
    /// Constants, so that only one shape is compiled: R rows of V vectors, with R V accumulators.
    #[inline(always)]
    fn shape<S: Lanes, const FEW: bool>(&self, s: S) {
        if const { size_of::<T::Vector<S>>() == 64 && size_of::<T>() == 4 } {
            self.blocks::<S, 16, 1, FEW>(s);
        } else if const { size_of::<T::Vector<S>>() == 64 } {
            self.blocks::<S, 8, 1, FEW>(s);
        } else if const { size_of::<T::Vector<S>>() == 32 && S::FUSED } {
            self.blocks::<S, 4, 2, FEW>(s);
        } else if const { size_of::<T::Vector<S>>() == 32 } {
            self.blocks::<S, 2, 2, FEW>(s);
        } else {
            self.blocks::<S, 4, 4, FEW>(s);
        }
    }

    #[inline(always)]
    fn blocks<S: Lanes, const R: usize, const V: usize, const FEW: bool>(&self, s: S) {
        let line = line::<T>();
        assert!(
            V * T::lanes::<S>() == line && line.is_multiple_of(R) && self.left.units.len() == self.right.units.len()
        );
        for j in (0..self.right.count).step_by(line) {
            // Blocks above the diagonal are not wanted.
            let first = if self.diagonal && self.lower { j } else { 0 };
            for i in (first..self.left.count).step_by(line) {
                let whole = i + line <= self.left.count && j + line <= self.right.count && !(self.diagonal && i == j);
                let mut buffer = Run::new();
                for r in (0..line).step_by(R) {
                    // SAFETY: blocks of a line lie within 64 samples, and the entries written within the tile.
                    unsafe {
                        let k = entries::<T, S, R, V, FEW>(s, (self.left, i), (self.right, j + r));
                        if R == line && whole {
                            self.direct.put(s, &k, (i, j));
                            if let Some(mirror) = self.mirror {
                                mirror.put(s, &k, (i, j));
                            }
                        } else {
                            buffer.fill(s, r, &k);
                        }
                    }
                }
                // SAFETY: the entries of the block lie within the tile.
                unsafe {
                    if !whole {
                        self.put_part(&buffer, (i, j));
                    } else if R != line {
                        self.direct.put_block(s, &mut buffer, (i, j));
                        if let Some(mirror) = self.mirror {
                            mirror.put_block(s, &mut buffer, (i, j));
                        }
                    }
                }
            }
        }
    }

    /// Writes a block that meets the edge or the diagonal.
    unsafe fn put_part(&self, buffer: &Run<T>, (i, j): (usize, usize)) {
        for c in j..(j + line::<T>()).min(self.right.count) {
            for r in i..(i + line::<T>()).min(self.left.count) {
                // SAFETY: the entry lies within the tile, and all rows of the block were computed.
                unsafe {
                    let k = if self.diagonal && r == c { self.right.diagonal.0[r] } else { buffer.get(r - i, c - j) };
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
