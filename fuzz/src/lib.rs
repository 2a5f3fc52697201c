//! What the fuzz targets share: matrices made of few bytes, in several memory layouts, and comparisons that say what differed.

use std::borrow::Cow;

use arbitrary::{Arbitrary, Unstructured};
use faer::{Mat, MatRef};
use ntk_score::simd::Level;

/// Numbers that repeat the bytes given, cut into pieces of `take` bytes and turned into values by `value`.
///
/// A few bytes so become a matrix of any size, and changing one byte changes several entries. The period is made odd, so
/// that it fits no tile.
pub struct Palette<'a> {
    bytes: Cow<'a, [u8]>,
    next: usize,
}

impl<'a> Palette<'a> {
    /// A palette of `count` bytes of the input (fewer where it is used up, and never none).
    pub fn take(u: &mut Unstructured<'a>, count: usize) -> arbitrary::Result<Self> {
        let count = count.min(u.len());
        let mut bytes = Cow::Borrowed(u.bytes(count)?);
        if bytes.len().is_multiple_of(2) {
            bytes.to_mut().push(37);
        }
        Ok(Self { bytes, next: 0 })
    }

    /// The next byte, round and round.
    pub fn byte(&mut self) -> u8 {
        let byte = self.bytes[self.next % self.bytes.len()];
        self.next += 1;
        byte
    }

    /// The next `N` bytes.
    pub fn bytes<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.byte())
    }

    /// A multiple of 1/8 in [-4, 4]: sums of products of a few thousand of these are exact in either precision, so that
    /// kernel and reference have to agree whatever order they add in.
    pub fn eighth(&mut self) -> f64 {
        f64::from(self.byte() as i8 / 4) / 8.0
    }

    /// A matrix of values made by `value`.
    pub fn matrix(&mut self, rows: usize, columns: usize, mut value: impl FnMut(&mut Self) -> f64) -> Mat<f64> {
        Mat::from_fn(rows, columns, |_, _| value(self))
    }
}

/// How a matrix lies in memory.
#[derive(Debug, Clone, Copy, Arbitrary)]
pub enum Storage {
    /// As faer makes it.
    Columns,
    /// Transposed.
    Rows,
    /// Columns at a distance that is no multiple of a vector, the first entry not aligned.
    Apart,
    /// Every other row of a larger matrix.
    EveryOther,
    /// Rows from the last to the first.
    Backwards,
}

/// A copy of a matrix, converted to `T`, in one of the layouts.
pub struct Stored<T> {
    whole: Mat<T>,
    storage: Storage,
    rows: usize,
    columns: usize,
}

impl<T: ntk_score::kernels::Real> Stored<T> {
    /// The copy; what lies between its entries is NaN, so that a kernel that strays is seen.
    pub fn new(matrix: MatRef<'_, f64>, storage: Storage) -> Self {
        let (rows, columns) = (matrix.nrows(), matrix.ncols());
        let nan = || T::from_f64(f64::NAN);
        let at = |i: usize, j: usize| T::from_f64(matrix[(i, j)]);
        let whole = match storage {
            Storage::Columns => Mat::from_fn(rows, columns, at),
            Storage::Rows => Mat::from_fn(columns, rows, |j, i| at(i, j)),
            Storage::Apart => {
                Mat::from_fn(rows + 3, columns, |i, j| if i == 0 || i > rows { nan() } else { at(i - 1, j) })
            }
            Storage::EveryOther => {
                Mat::from_fn(2 * rows, columns, |i, j| if i.is_multiple_of(2) { at(i / 2, j) } else { nan() })
            }
            Storage::Backwards => Mat::from_fn(rows, columns, |i, j| at(rows - 1 - i, j)),
        };
        Self { whole, storage, rows, columns }
    }

    /// The matrix.
    pub fn view(&self) -> MatRef<'_, T> {
        let whole = self.whole.as_ref();
        match self.storage {
            Storage::Columns => whole,
            Storage::Rows => whole.transpose(),
            Storage::Apart => whole.submatrix(1, 0, self.rows, self.columns),
            Storage::EveryOther => every_other(whole, self.rows),
            Storage::Backwards => whole.reverse_rows(),
        }
    }
}

fn every_other<T>(whole: MatRef<'_, T>, rows: usize) -> MatRef<'_, T> {
    let (columns, row, column) = (whole.ncols(), whole.row_stride(), whole.col_stride());
    // SAFETY: rows 0, 2, ... of a matrix that has twice as many.
    unsafe { MatRef::from_raw_parts(whole.as_ptr(), rows, columns, 2 * row, column) }
}

/// One of the SIMD levels this processor has.
pub fn level(u: &mut Unstructured<'_>) -> arbitrary::Result<Level> {
    Ok(*u.choose(&Level::available())?)
}

/// A size around the boundaries that kernels have: 0, 1, lanes, panels of 64, and one beside.
pub fn size(u: &mut Unstructured<'_>, least: usize, most: usize) -> arbitrary::Result<usize> {
    const EDGES: [usize; 15] = [0, 1, 2, 3, 7, 8, 9, 15, 16, 17, 63, 64, 65, 128, 129];
    let size = if u.ratio(1, 2)? { *u.choose(&EDGES)? } else { u.int_in_range(least..=most)? };
    Ok(size.clamp(least, most))
}

/// Panics unless `found` is within `tolerance` of `expected`; `what` says which entry of what.
pub fn assert_close(found: f64, expected: f64, tolerance: f64, what: impl FnOnce() -> String) {
    let near = found == expected || (found - expected).abs() <= tolerance;
    assert!(near, "{}: found {found:e}, expected {expected:e}, tolerance {tolerance:e}", what());
}
