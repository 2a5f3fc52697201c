//! Blocks of the kernel matrix, from unit vectors to finished entries in place without leaving the registers.
//!
//! ```text
//! per block of one cache line of samples j by one of samples i (16 x 16 in f32, 8 x 8 in f64), R rows j at a time:
//!     C[j][lanes i] = sum_k u_j[k] u_i[k][lanes]                  cosines, in accumulators, in parts of 16
//!     where |C| > 0.95:  1 - |C| <- |u_j -+ u_i|^2 / 2            rare
//!     K[j][lanes i] = (C + |C| - sqrt(1 - |C|) |C| P(|C|)) (|z_j| / 2) (|z_i| / 2)
//! then K leaves in whole cache lines: as it is, transposed, or both
//! ```
//! The cosine carries a rounding error of about one unit, which the angle magnifies by up to 1/sqrt(1 - c^2): nothing to speak
//! of below 0.95, half the digits at 1. There the squared distance of the unit vectors takes its place, whose subtractions are
//! exact. Every operation is symmetric in i and j, so entry (i, j) has the same bits as entry (j, i), wherever it is computed,
//! and since no sum runs over lanes, the same bits at AVX2 as at AVX-512.

use super::samples::Block;
use super::store::{Place, Run};
use crate::kernels::PANEL;
use crate::kernels::outer::{Broadcast, accumulate};
use crate::simd::{Kernel, Lanes, Level, Real, weighted_angles};

/// Cosines beyond this are near-duplicates or nearly opposite. At the threshold an error of the cosine, which may be several
/// roundings in a long sum, moves K by 0.9 times itself, times the norms.
const NEAR: f64 = 0.95;

/// Most products that a cosine adds up in one go. Longer sums are made of parts as equal as can be, so that the roundings, should
/// all of them go one way, do not grow with the dimension.
const PART: usize = 16;

/// Values in a cache line.
pub(super) const fn line<T>() -> usize {
    64 / size_of::<T>()
}

/// K of `R` samples j, from `j` of the block `right` on, with `V` vectors of samples i, from `i` of the block `left` on.
///
/// # Safety
/// - `j + R` and `i` plus V vectors are at most 64, and both blocks have the same dimension.
#[inline(always)]
unsafe fn entries<T: Real, S: Lanes, const R: usize, const V: usize>(
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
        let (parts, mut k) = (dimension.div_ceil(PART), 0);
        for part in 0..parts {
            let steps = (dimension - k).div_ceil(parts - part);
            let b = Broadcast { start: uj.add(k * PANEL), row: 1, step: PANEL };
            if part == 0 {
                accumulate(s, steps, b, ui, &mut c);
            } else {
                let mut more = [[T::vsplat(s, T::ZERO); V]; R];
                accumulate(s, steps, b, ui.add(k * PANEL), &mut more);
                for r in 0..R {
                    for v in 0..V {
                        c[r][v] = T::vadd(s, c[r][v], more[r][v]);
                    }
                }
            }
            k += steps;
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
        if T::vbits(s, T::vge(s, largest[0], T::vsplat(s, T::from_f64(NEAR)))) == 0 {
            weighted_angles::<T, S, R, V>(s, &mut c, None);
        } else {
            // Through memory, so that this rare loop stays a loop.
            let mut spill = c;
            for r in 0..R {
                for v in 0..V {
                    let (x, t) = refine(s, spill[r][v], dimension, uj.add(r), ui.add(v * lanes));
                    let mut k = [[x]];
                    weighted_angles::<T, S, 1, 1>(s, &mut k, Some(&[[t]]));
                    spill[r][v] = k[0][0];
                }
            }
            c = spill;
        }
        let (ni, nj) = (left.half_norms.0.as_ptr().add(i), right.half_norms.0.as_ptr().add(j));
        let limit = T::vsplat(s, T::from_f64(0.25) * T::LARGEST);
        // Some pair of norms may have a product beyond the type, though the entry is not. The smaller norm comes last then.
        let wide = left.largest * right.largest > T::from_f64(0.25) * T::LARGEST;
        for r in 0..R {
            for v in 0..V {
                let (a, b) = (T::vsplat(s, *nj.add(r)), T::vload(s, ni.add(v * lanes)));
                let norms = T::vmul(s, a, b);
                let k = T::vmul(s, c[r][v], norms);
                c[r][v] = if wide {
                    let in_turn = T::vmul(s, T::vmul(s, c[r][v], T::vmax(s, a, b)), T::vmin(s, a, b));
                    T::vselect(s, T::vge(s, limit, norms), k, in_turn)
                } else {
                    k
                };
            }
        }
    }
    c
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
        // Constants, so that only one shape is compiled: R rows of V vectors, with R V accumulators.
        if const { size_of::<T::Vector<S>>() == 64 && size_of::<T>() == 4 } {
            self.0.blocks::<S, 16, 1>(s);
        } else if const { size_of::<T::Vector<S>>() == 64 } {
            self.0.blocks::<S, 8, 1>(s);
        } else if const { size_of::<T::Vector<S>>() == 32 && S::FUSED } {
            self.0.blocks::<S, 4, 2>(s);
        } else if const { size_of::<T::Vector<S>>() == 32 } {
            self.0.blocks::<S, 2, 2>(s);
        } else {
            self.0.blocks::<S, 4, 4>(s);
        }
    }
}

impl<T: Real> Tile<'_, T> {
    #[inline(always)]
    fn blocks<S: Lanes, const R: usize, const V: usize>(&self, s: S) {
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
                        let k = entries::<T, S, R, V>(s, (self.left, i), (self.right, j + r));
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
