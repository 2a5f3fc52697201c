//! The estimators on data whose dimension and denoiser are known.

use super::*;
use crate::diffusion::mixture::GaussianMixture;
use crate::diffusion::process::Schedule;
use crate::random::stream;

fn process() -> ForwardProcess {
    ForwardProcess::new(Schedule::LOG_SNR, 0.0, 1.0).unwrap()
}

/// The exact denoiser of a centred Gaussian with these variances along orthonormal axes (columns).
struct Gaussian<'a> {
    process: &'a ForwardProcess,
    axes: Mat<f64>,
    variances: Vec<f64>,
}

impl<'a> Gaussian<'a> {
    fn new(process: &'a ForwardProcess, variances: &[f64]) -> Self {
        let d = variances.len();
        Self { process, axes: Mat::identity(d, d), variances: variances.to_vec() }
    }

    /// Along axes at random.
    fn turned(process: &'a ForwardProcess, variances: &[f64]) -> Self {
        let d = variances.len();
        let mut rng = stream(11, Purpose::Base);
        let mut axes = Mat::from_fn(d, d, |_, _| normal::<f64>(&mut rng));
        for j in 0..d {
            for k in 0..j {
                let along: f64 = (0..d).map(|i| axes[(i, j)] * axes[(i, k)]).sum();
                (0..d).for_each(|i| axes[(i, j)] -= along * axes[(i, k)]);
            }
            let norm = (0..d).map(|i| axes[(i, j)].powi(2)).sum::<f64>().sqrt();
            (0..d).for_each(|i| axes[(i, j)] /= norm);
        }
        Self { axes, ..Self::new(process, variances) }
    }

    fn rows(&self, rows: usize) -> Panels<f64> {
        let d = self.variances.len();
        let mut rng = stream(5, Purpose::Data);
        let along = Mat::from_fn(rows, d, |_, k| self.variances[k].sqrt() * normal::<f64>(&mut rng));
        Panels::from_matrix("the rows", (along * self.axes.transpose()).as_ref()).unwrap()
    }

    fn curves(&self, rows: usize, columns: usize, par: Par) -> Vec<NoiseLevel> {
        let rows = self.rows(rows);
        let data = Data { process: self.process, rows: &rows, columns, seed: 3, par };
        let mut denoiser = Self { axes: self.axes.clone(), variances: self.variances.clone(), ..*self };
        data.curves(&mut denoiser, &mut |_| ()).unwrap()
    }
}

impl Denoiser<f64> for Gaussian<'_> {
    fn dimension(&self) -> usize {
        self.variances.len()
    }

    fn denoise_into(&mut self, out: &mut Panels<f64>, x: &Panels<f64>, t: f64) -> Result<()> {
        let square = self.process.sigma(t).powi(2);
        let keep = |k: usize| self.variances[k] / (self.variances[k] + square);
        let kept = (x.to_matrix() * &self.axes)
            * Mat::from_fn(x.columns(), x.columns(), |i, k| if i == k { keep(k) } else { 0.0 });
        let clean = kept * self.axes.transpose();
        for row in 0..x.rows() {
            (0..x.columns()).for_each(|i| out.set(row, i, clean[(row, i)] / self.process.alpha(t)));
        }
        Ok(())
    }
}

#[test]
fn all_three_find_the_dimension_of_a_subspace() {
    let process = process();
    // 8 columns are differenced one by one, 32 along random signs.
    for d in [8, 32] {
        for k in [1, 2, 4] {
            let variances: Vec<f64> = (0..d).map(|i| if i < k { 1.0 } else { 1e-8 }).collect();
            let curves = Gaussian::turned(&process, &variances).curves(256, d, Par::Seq);
            let Plateaus { mmse, flipd, rank_gap } = Plateaus::of(&curves);
            let [mmse, flipd, rank_gap] = [mmse, flipd, rank_gap].map(Option::unwrap);
            let near = |found: f64| (found / k as f64 - 1.0).abs() < 0.1;
            assert!(near(mmse.value) && near(flipd.value), "{k} of {d}: {mmse:?} {flipd:?}");
            // Near the end of its plateau some rows lie far out, where their scores bend.
            assert_eq!(rank_gap.value.round(), k as f64, "{k} of {d}: {rank_gap:?}");
            for found in [mmse, flipd, rank_gap] {
                assert!(found.sigma[0] < 0.05 && found.sigma[1] > 0.1, "{k} of {d}: {found:?}");
            }
            let low = &curves[2];
            assert!(low.flipd_quartiles.windows(2).all(|q| q[0] <= q[1]) && low.rank_gap_share == 1.0, "{low:?}");
            assert_eq!(low.rank_gap.map(|gap| gap.value), Some(k as f64), "{low:?}");
        }
    }
}

#[test]
fn curves_of_a_gaussian_are_their_closed_forms() {
    let process = process();
    let variances: Vec<f64> = (0..8).map(|i| 4f64.powi(-i)).collect();
    let curves = Gaussian::turned(&process, &variances).curves(16_000, 8, Par::Seq);
    for level in &curves {
        let s = level.sigma.powi(2);
        let mmse: f64 = variances.iter().map(|v| v / (v + s)).sum();
        let flipd: f64 = variances.iter().map(|v| v / (v + s) + s * v / (v + s).powi(2)).sum();
        for (found, wanted) in [(level.mmse, mmse), (level.flipd, flipd)] {
            let error = (found.value - wanted).abs();
            // Standard errors are of the right size, and small where the data are more than noise.
            assert!(error < 4.0 * found.standard_error + 1e-9, "{level:?}, wanted {wanted}");
            assert!(level.sigma > 0.5 || error < 1e-2 * wanted, "{level:?}, wanted {wanted}");
        }
    }
    assert!(curves[0].sigma < 0.02 && curves[LEVELS - 1].sigma > 20.0);
}

#[test]
fn points_have_no_dimension_and_full_data_that_of_their_columns() {
    let process = process();
    let lattice = Mat::from_fn(4, 2, |c, i| (c >> i & 1) as f64 - 0.5);
    let of = |means: &Mat<f64>, std: f64| {
        let mixture = GaussianMixture::new(&[1.0; 4], means.as_ref(), &[std; 4]).unwrap();
        let rows = Panels::from_matrix("the rows", mixture.sample(256, 1).as_ref()).unwrap();
        let data = Data { process: &process, rows: &rows, columns: 2, seed: 0, par: Par::Seq };
        data.curves(&mut mixture.denoiser(&process, Par::Seq), &mut |_| ()).unwrap()
    };
    // Below the spacing the noise tells where a row was; near it, it does not.
    let points = of(&lattice, 1e-6);
    assert!(points[0].mmse.value < 1e-6 && points[0].flipd.value < 1e-6, "{:?}", points[0]);
    assert!(points.iter().any(|level| level.mmse.value > 0.3));
    assert_eq!(Plateaus::of(&points).mmse, None);
    let full = Plateaus::of(&of(&lattice, 0.5)).mmse.unwrap();
    assert!((full.value - 2.0).abs() < 0.15, "{full:?}");
}

#[test]
fn columns_that_are_not_measured_do_not_count_and_threads_change_nothing() {
    let process = process();
    let gaussian = Gaussian::new(&process, &[1.0, 1e-8, 1e-8, 1.0, 1.0]);
    let curves = gaussian.curves(1100, 3, Par::Seq);
    assert_eq!(curves, gaussian.curves(1100, 3, Par::rayon(2)));
    let Plateaus { mmse, flipd, rank_gap } = Plateaus::of(&curves);
    for found in [mmse, flipd, rank_gap].map(Option::unwrap) {
        assert_eq!(found.value.round(), 1.0, "{found:?}");
    }
}

#[test]
fn scores_that_are_noise_have_no_gap_and_unusable_rows_are_refused() {
    let process = process();
    let point = Gaussian::new(&process, &[0.0; 12]);
    let curves = point.curves(64, 12, Par::Seq);
    assert!(curves.iter().all(|level| level.rank_gap.is_none() && level.rank_gap_share < 0.1), "{curves:?}");
    assert!(curves.iter().all(|level| level.mmse.value == 0.0 && level.flipd.value == 0.0));
    let rows = |n: usize, d: usize| Panels::<f64>::zeros(n, d);
    let refused = |rows: &Panels<f64>, columns: usize| {
        let data = Data { process: &process, rows, columns, seed: 0, par: Par::Seq };
        data.curves(&mut Gaussian::new(&process, &[1.0; 3]), &mut |_| ()).unwrap_err()
    };
    assert!(matches!(refused(&rows(4, 2), 2), Error::Shape { .. }));
    assert!(matches!(refused(&rows(1, 3), 2), Error::Empty { .. }));
    assert!(matches!(refused(&rows(4, 3), 0), Error::Empty { .. }));
    // One column has no gap to be found.
    assert_eq!(Gaussian::new(&process, &[1.0]).curves(8, 1, Par::Seq)[0].rank_gap, None);
}
