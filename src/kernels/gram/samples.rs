//! Samples made ready for the kernel: unit vectors in panels, with their lengths beside them.

use faer::{MatRef, Par};

use crate::kernels::panels::check_shape;
use crate::kernels::{Disjoint, Lane64, PANEL, for_each_task, workers};
use crate::simd::{Kernel, Lanes, Level, Scalar};
use crate::{Error, Result};

/// Unit vectors along N samples of dimension D in blocks of 64 samples; a block stores its D columns one after the other, each
/// as 64 consecutive values. The last block is padded with zero vectors.
#[derive(Debug, Clone)]
pub(super) struct Samples<T> {
    count: usize,
    dimension: usize,
    units: Vec<Lane64<T>>,
    half_norms: Vec<Lane64<T>>,
    largest: Vec<T>,
    diagonal: Vec<Lane64<T>>,
}

/// One block of [`Samples`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Block<'a, T> {
    /// D columns of unit vectors.
    pub units: &'a [Lane64<T>],
    /// Half the norm of each sample.
    pub half_norms: &'a Lane64<T>,
    /// The largest of them.
    pub largest: T,
    /// K of each sample with itself.
    pub diagonal: &'a Lane64<T>,
    /// Samples that are not padding.
    pub count: usize,
}

impl<T: Scalar> Samples<T> {
    /// Reads the rows of `z`, any strides; `what` names it in errors.
    ///
    /// # Errors
    /// [`Error::NotFinite`] for a NaN or an infinity, [`Error::Setting`] if a norm is beyond the type's range,
    /// [`Error::Memory`] if there is not enough of it.
    pub fn new(level: Level, what: &'static str, z: MatRef<'_, T>, par: Par) -> Result<Self> {
        let (count, dimension) = z.shape();
        let blocks = count.div_ceil(PANEL);
        let (mut units, mut half_norms, mut diagonal) = (Vec::new(), Vec::new(), Vec::new());
        zeros(&mut units, "the copy of the samples", blocks, dimension)?;
        zeros(&mut half_norms, "the norms of the samples", blocks, 1)?;
        zeros(&mut diagonal, "the norms of the samples", blocks, 1)?;
        {
            let (units, half_norms) = (Disjoint::new(&mut units), Disjoint::new(&mut half_norms));
            let diagonal = Disjoint::new(&mut diagonal);
            // Sharing out less than a few hundred samples costs more than it gains.
            let mut buffers = vec![Rows::new(); workers(par).min(blocks.div_ceil(8)).max(1)];
            for_each_task(blocks, &mut buffers, |rows, block| {
                let first = block * PANEL;
                let z = z.subrows(first, (count - first).min(PANEL));
                // SAFETY: each task takes its own block.
                let (units, half_norms, diagonal) = unsafe {
                    let units = units.piece(block * dimension, dimension);
                    (units, &mut half_norms.piece(block, 1)[0], &mut diagonal.piece(block, 1)[0])
                };
                level.run(Prepare { z, rows, units, half_norms, diagonal });
            });
        }
        let mut samples = Self { count, dimension, units, half_norms, largest: Vec::new(), diagonal };
        samples.check_finite(what, z)?;
        let largest = |lane: &Lane64<T>| lane.0.iter().fold(T::ZERO, |a, &b| if b > a { b } else { a });
        samples.largest = samples.half_norms.iter().map(largest).collect();
        Ok(samples)
    }

    /// The samples' lengths are finite unless one of their entries is not, or the length is beyond the type.
    fn check_finite(&self, what: &'static str, z: MatRef<'_, T>) -> Result<()> {
        let lengths = self.half_norms.iter().flat_map(|lane| &lane.0).take(self.count);
        let Some(row) = lengths.into_iter().position(|&x| !(x + x).finite()) else {
            return Ok(());
        };
        check_finite(what, z)?;
        let value = format!("beyond the range of {} for sample {row} (counted from 0)", T::NAME);
        Err(Error::Setting { name: "the norm", value, requirement: "it must be finite; scale the samples down" })
    }

    /// Number of samples N.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Number of blocks of 64 samples.
    pub fn blocks(&self) -> usize {
        self.half_norms.len()
    }

    /// Block `block`.
    pub fn block(&self, block: usize) -> Block<'_, T> {
        Block {
            units: &self.units[block * self.dimension..(block + 1) * self.dimension],
            half_norms: &self.half_norms[block],
            largest: self.largest[block],
            diagonal: &self.diagonal[block],
            count: (self.count - block * PANEL).min(PANEL),
        }
    }
}

/// Makes `lanes` hold `blocks` times `columns` lanes of zeros.
///
/// # Errors
/// [`Error::Memory`] if there is no room; `what` names it.
pub(super) fn zeros<T: Scalar>(
    lanes: &mut Vec<Lane64<T>>,
    what: &'static str,
    blocks: usize,
    columns: usize,
) -> Result<()> {
    let bytes = (blocks as u128 * columns as u128).saturating_mul(size_of::<Lane64<T>>() as u128);
    lanes.clear();
    let len = blocks.checked_mul(columns).filter(|&len| lanes.try_reserve_exact(len).is_ok());
    let len = len.ok_or(Error::Memory { what, bytes })?;
    lanes.resize(len, Lane64([T::ZERO; PANEL]));
    Ok(())
}

/// 64 numbers about 64 rows.
#[derive(Clone)]
struct Rows {
    /// A power of two that brings the largest entry near 1.
    scale: [f64; PANEL],
    /// Sum of the squares of the scaled entries.
    squares: [f64; PANEL],
}

impl Rows {
    fn new() -> Self {
        Self { scale: [1.0; PANEL], squares: [0.0; PANEL] }
    }

    /// Measures the rows of `z`, at most 64.
    #[inline(always)]
    fn measure<T: Scalar>(&mut self, z: MatRef<'_, T>) {
        self.scale = [1.0; PANEL];
        self.squares = [0.0; PANEL];
        if size_of::<T>() == size_of::<f64>() {
            // Squares of f32 are always representable in f64; those of f64 are not.
            let mut largest = [0.0f64; PANEL];
            each_column(z, |_, column| {
                for (m, x) in largest.iter_mut().zip(column) {
                    *m = m.max(x.abs());
                }
            });
            for (scale, m) in self.scale.iter_mut().zip(largest) {
                let exponent = (m.to_bits() >> 52) as i64 - 1023;
                *scale = f64::from_bits(((1023 - exponent.clamp(-1000, 1000)) as u64) << 52);
            }
        }
        // In parts, so that the error of a norm does not grow with the dimension.
        let mut part = [0.0; PANEL];
        each_column(z, |k, column| {
            if k.is_multiple_of(16) {
                for (sum, part) in self.squares.iter_mut().zip(&mut part) {
                    *sum += std::mem::take(part);
                }
            }
            for ((sum, x), scale) in part.iter_mut().zip(column).zip(&self.scale) {
                let x = x * scale;
                *sum += x * x;
            }
        });
        for (sum, part) in self.squares.iter_mut().zip(part) {
            *sum += part;
        }
    }
}

/// Calls `f` with the number and the entries of each column of `z` (at most 64 rows), filled up with zeros.
#[inline(always)]
fn each_column<T: Scalar>(z: MatRef<'_, T>, mut f: impl FnMut(usize, &[f64; PANEL])) {
    let (rows, stride) = (z.nrows(), z.row_stride());
    assert!(rows <= PANEL);
    let mut column = [0.0; PANEL];
    for k in 0..z.ncols() {
        if stride == 1 && rows == PANEL {
            // SAFETY: the column has 64 entries, one after the other.
            let entries = unsafe { &*z.ptr_at(0, k).cast::<[T; PANEL]>() };
            for (x, entry) in column.iter_mut().zip(entries) {
                *x = entry.to_f64();
            }
        } else {
            for (i, x) in column[..rows].iter_mut().enumerate() {
                // SAFETY: row i and column k exist.
                *x = unsafe { z.get_unchecked(i, k) }.to_f64();
            }
        }
        f(k, &column);
    }
}

/// Fills one block.
struct Prepare<'a, T> {
    z: MatRef<'a, T>,
    rows: &'a mut Rows,
    units: &'a mut [Lane64<T>],
    half_norms: &'a mut Lane64<T>,
    diagonal: &'a mut Lane64<T>,
}

impl<T: Scalar> Kernel for Prepare<'_, T> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(self, _: S) {
        let Self { z, rows, units, half_norms, diagonal } = self;
        rows.measure(z);
        let mut length = [1.0; PANEL];
        for i in 0..PANEL {
            let (squares, scale) = (rows.squares[i], rows.scale[i]);
            let norm = squares.sqrt();
            half_norms.0[i] = T::from_f64(0.5 * norm / scale);
            diagonal.0[i] = T::from_f64(0.5 * squares / scale / scale);
            // A zero vector stays zero.
            length[i] = if norm > 0.0 { norm } else { 1.0 };
        }
        each_column(z, |k, column| {
            let unit = &mut units[k].0;
            for i in 0..PANEL {
                unit[i] = T::from_f64(column[i] * rows.scale[i] / length[i]);
            }
        });
    }
}

/// See [`super::row_norms_into`].
pub(in crate::kernels) fn row_norms<T: Scalar>(out: &mut [T], z: MatRef<'_, T>) -> Result<()> {
    measure_into(out, z, |squares, scale| squares.sqrt() / scale)
}

/// See [`super::diagonal_into`].
pub(in crate::kernels) fn diagonal<T: Scalar>(out: &mut [T], z: MatRef<'_, T>) -> Result<()> {
    measure_into(out, z, |squares, scale| 0.5 * squares / scale / scale)
}

fn measure_into<T: Scalar>(out: &mut [T], z: MatRef<'_, T>, value: impl Fn(f64, f64) -> f64) -> Result<()> {
    check_shape("the output", out.len(), 1, z.nrows(), 1)?;
    check_finite("the samples", z)?;
    let mut rows = Rows::new();
    for (block, out) in out.chunks_mut(PANEL).enumerate() {
        rows.measure(z.subrows(block * PANEL, out.len()));
        for (i, out) in out.iter_mut().enumerate() {
            *out = T::from_f64(value(rows.squares[i], rows.scale[i]));
        }
    }
    Ok(())
}

/// [`Error::NotFinite`] if there is a NaN or an infinity.
pub(super) fn check_finite<T: Scalar>(what: &'static str, z: MatRef<'_, T>) -> Result<()> {
    for column in 0..z.ncols() {
        for row in 0..z.nrows() {
            if !z[(row, column)].finite() {
                return Err(Error::NotFinite { what, row, column });
            }
        }
    }
    Ok(())
}
