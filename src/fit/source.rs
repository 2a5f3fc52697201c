//! The coded rows of a table as data that can be drawn again and again.

use faer::Mat;
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::model::layout::{DataSource, Layout};
use crate::model::preconditioner::Preconditioner;
use crate::random::{Purpose, stream};
use crate::table::encoded::EncodedTable;

/// Rows of an encoded table, ties drawn anew each time.
pub(super) struct TableSource {
    pub rows: EncodedTable,
    pub layout: Layout,
    /// For each number its values at the knots of contrasts.
    pub quantiles: Vec<f64>,
}

impl TableSource {
    /// Every row once, as `preconditioner` codes them: rows x d.
    pub fn matrix(&self, preconditioner: &Preconditioner, seed: u64) -> Mat<f32> {
        let mut rng = stream(seed, Purpose::Data);
        let mut row = vec![0.0; self.layout.width()];
        let mut levels = vec![0; self.layout.blocks.len()];
        let mut data = Mat::zeros(DataSource::rows(self), row.len());
        for j in 0..data.nrows() {
            preconditioner.draw_row(self, j, &mut rng, &mut row, &mut levels);
            for (i, &x) in row.iter().enumerate() {
                data[(j, i)] = x;
            }
        }
        data
    }
}

impl DataSource for TableSource {
    fn rows(&self) -> usize {
        self.rows.rows()
    }

    fn layout(&self) -> &Layout {
        &self.layout
    }

    fn draw(&self, row: usize, rng: &mut Xoshiro256PlusPlus, numbers: &mut [f32], levels: &mut [u32]) {
        self.rows.draw_row_into(row, rng, numbers, levels);
    }

    fn quantiles(&self) -> Vec<f64> {
        self.quantiles.clone()
    }
}
