//! What the rows of data are: numbers and blocks of one-hot codes, drawn again and again.

use faer::Mat;
use rand_xoshiro::Xoshiro256PlusPlus;

/// Which columns of a matrix are numbers and which are blocks of one-hot codes: first the numbers, then the blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "model-file", derive(serde::Serialize, serde::Deserialize))]
pub struct Layout {
    /// How many leading columns are numbers.
    pub numerical: usize,
    /// Width of each one-hot block that follows.
    pub blocks: Vec<usize>,
}

impl Layout {
    /// Columns in all: the data dimension d.
    pub fn width(&self) -> usize {
        self.numerical + self.one_hot()
    }

    /// Columns in one-hot blocks.
    pub fn one_hot(&self) -> usize {
        self.blocks.iter().sum()
    }

    /// The blocks as ranges of the one-hot columns, the first starting at 0.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = std::ops::Range<usize>> {
        self.blocks.iter().scan(0, |end, &size| {
            let start = *end;
            *end += size;
            Some(start..*end)
        })
    }
}

/// Rows of data that can be drawn again and again, such as a table whose ties are spread anew each time.
pub trait DataSource: Sync {
    /// Number of rows.
    fn rows(&self) -> usize;
    /// What the columns are.
    fn layout(&self) -> &Layout;
    /// Draws row `row`: its numbers, and for each one-hot block the index of the column that is one.
    fn draw(&self, row: usize, rng: &mut Xoshiro256PlusPlus, numbers: &mut [f32], levels: &mut [u32]);
    /// For each number its values in its own units at the scores of [`knot`](super::contrasts::knot); none where numbers are what
    /// they are.
    fn quantiles(&self) -> Vec<f64> {
        Vec::new()
    }
}

/// Some of a source's rows.
pub struct Subset<'a> {
    source: &'a dyn DataSource,
    rows: &'a [usize],
}

impl<'a> Subset<'a> {
    /// The rows of `source` with these indices.
    pub fn new(source: &'a dyn DataSource, rows: &'a [usize]) -> Self {
        Self { source, rows }
    }
}

impl DataSource for Subset<'_> {
    fn rows(&self) -> usize {
        self.rows.len()
    }

    fn layout(&self) -> &Layout {
        self.source.layout()
    }

    fn draw(&self, row: usize, rng: &mut Xoshiro256PlusPlus, numbers: &mut [f32], levels: &mut [u32]) {
        self.source.draw(self.rows[row], rng, numbers, levels);
    }

    fn quantiles(&self) -> Vec<f64> {
        self.source.quantiles()
    }
}

/// A matrix of numbers as a [`DataSource`].
pub struct MatrixSource {
    rows: Mat<f32>,
    layout: Layout,
}

impl MatrixSource {
    /// All columns are numbers.
    pub fn new(rows: Mat<f32>) -> Self {
        Self { layout: Layout { numerical: rows.ncols(), blocks: Vec::new() }, rows }
    }
}

impl DataSource for MatrixSource {
    fn rows(&self) -> usize {
        self.rows.nrows()
    }

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn draw(&self, row: usize, _: &mut Xoshiro256PlusPlus, numbers: &mut [f32], _: &mut [u32]) {
        for (i, x) in numbers.iter_mut().enumerate() {
            *x = self.rows[(row, i)];
        }
    }
}
