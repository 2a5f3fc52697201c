//! Alpha-precision and beta-recall (Alaa et al. 2022, "How faithful is your synthetic data?"), on scaled and one-hot coded
//! rows without a learned embedding: the variant whose figures the tabular-diffusion papers print.

use super::neighbours::{Points, nearest, nearest_other, pairwise_sum, scaled};
use super::rows::{Layout, Rows};
use super::statistics::{quantile, sorted};
use rand::SeedableRng;
use rand::seq::index::sample;
use rand_xoshiro::Xoshiro256PlusPlus;

/// Values of alpha, evenly from 0 to 1.
const ALPHAS: usize = 30;

pub(super) struct Coverage {
    pub alpha_precision: f64,
    pub beta_recall: f64,
}

/// Both figures. Where the tables differ in size, rows of the larger one are left out at random. The last one-hot entry is
/// dropped, as it is upstream.
///
/// A level that the training table does not have is no entry of the one-hot form: its block is all zeros, as upstream.
pub(super) fn coverage(layout: &Layout, train: &Rows, synthetic: &Rows, seed: u64, threads: usize) -> Coverage {
    let count = train.count.min(synthetic.count);
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut reduced =
        |rows: &Rows| (rows.count > count).then(|| rows.select(&sample(&mut rng, rows.count, count).into_vec()));
    let (fewer_train, fewer_synthetic) = (reduced(train), reduced(synthetic));
    let train = fewer_train.as_ref().unwrap_or(train);
    let synthetic = fewer_synthetic.as_ref().unwrap_or(synthetic);

    let ranges = train.ranges();
    let real = Vectors::new(layout, train, &ranges);
    let made = Vectors::new(layout, synthetic, &ranges);
    let centre = real.mean();
    // Multiples of the rounded step, as in the published implementation: 26,999 (27,000 rows) is a multiple of 29, so a last
    // digit decides on which side of a radius the row that defines it falls.
    let step = 1.0 / (ALPHAS - 1) as f64;
    let alphas: Vec<f64> =
        (0..ALPHAS).map(|index| if index == ALPHAS - 1 { 1.0 } else { index as f64 * step }).collect();
    let curve_score = |curve: &[f64]| {
        let area: f64 = alphas.iter().zip(curve).map(|(alpha, value)| (alpha - value).abs()).sum();
        1.0 - area / alphas.iter().sum::<f64>()
    };

    let radii = sorted(&real.distances(&centre));
    let to_centre = sorted(&made.distances(&centre));
    let precision: Vec<f64> = alphas
        .iter()
        .map(|&alpha| {
            let radius = quantile(&radii, alpha);
            to_centre.partition_point(|&distance| distance <= radius) as f64 / count as f64
        })
        .collect();

    let real_points = Points::new(layout, train, &ranges, true);
    let made_points = Points::new(layout, synthetic, &ranges, true);
    let between_real = nearest_other(&real_points, threads);
    let closest = nearest(&real_points, &made_points, threads);
    let made_radii = made.distances(&made.mean());
    let reached: Vec<f64> = closest.iter().map(|&(_, row)| made_radii[row as usize]).collect();
    let balls = sorted(&reached);
    let covered = closest.iter().zip(&between_real).zip(&reached);
    let covered: Vec<f64> =
        covered.filter(|(((distance, _), other), _)| distance <= *other).map(|(_, &radius)| radius).collect();
    let covered = sorted(&covered);
    let recall: Vec<f64> = alphas
        .iter()
        .map(|&alpha| {
            let ball = quantile(&balls, alpha);
            covered.partition_point(|&radius| radius <= ball) as f64 / count as f64
        })
        .collect();
    Coverage { alpha_precision: curve_score(&precision), beta_recall: curve_score(&recall) }
}

/// Rows as scaled numbers and one-hot blocks in double precision, written out one at a time.
struct Vectors<'a> {
    rows: &'a Rows,
    ranges: &'a [(f64, f64)],
    sizes: Vec<usize>,
    width: usize,
}

impl<'a> Vectors<'a> {
    fn new(layout: &Layout, rows: &'a Rows, ranges: &'a [(f64, f64)]) -> Self {
        let sizes: Vec<usize> = layout.categories.iter().map(|column| column.known).collect();
        let width = layout.numbers.len() + sizes.iter().sum::<usize>() - usize::from(!sizes.is_empty());
        Self { rows, ranges, sizes, width }
    }

    fn write(&self, row: usize, out: &mut Vec<f64>) {
        out.clear();
        for (column, &(low, span)) in self.rows.numbers.iter().zip(self.ranges) {
            out.push(scaled(column[row], low, span));
        }
        for (levels, &size) in self.rows.levels.iter().zip(&self.sizes) {
            let start = out.len();
            out.resize(start + size, 0.0);
            if (levels[row] as usize) < size {
                out[start + levels[row] as usize] = 1.0;
            }
        }
        out.truncate(self.width);
    }

    fn mean(&self) -> Vec<f64> {
        let (mut sum, mut vector) = (vec![0.0; self.width], Vec::new());
        for row in 0..self.rows.count {
            self.write(row, &mut vector);
            sum.iter_mut().zip(&vector).for_each(|(sum, value)| *sum += value);
        }
        sum.iter_mut().for_each(|sum| *sum /= self.rows.count as f64);
        sum
    }

    /// Euclidean distance of every row to a point.
    fn distances(&self, centre: &[f64]) -> Vec<f64> {
        let mut vector = Vec::new();
        (0..self.rows.count)
            .map(|row| {
                self.write(row, &mut vector);
                vector
                    .iter_mut()
                    .zip(centre)
                    .for_each(|(value, middle)| *value = (*value - middle) * (*value - middle));
                pairwise_sum(&vector).sqrt()
            })
            .collect()
    }
}
