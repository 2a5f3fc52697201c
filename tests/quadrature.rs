//! Whether the error bars of the stochastic Lanczos quadrature hold, on a kernel large enough for them to matter: minutes of work,
//! asked for by
//!
//! ```text
//! cargo test --release --test quadrature -- --ignored --nocapture
//! ```

use faer::{Mat, Par};
use ntk_score::kernels::gram::gram;
use ntk_score::score::mixture::GaussianMixture;
use ntk_score::score::operator::MatrixFree;
use ntk_score::score::process::{ForwardProcess, Schedule};
use ntk_score::score::quadrature::{Estimate, Quadrature};
use ntk_score::score::regression::{RegressionSettings, regression_set};
use ntk_score::score::spectrum::Spectrum;

const N: usize = 4096;
const SEEDS: u64 = 100;

/// Samples of diffused data, as score regression has them: dimension d and time.
fn samples(mixture: &GaussianMixture) -> Mat<f64> {
    let process = ForwardProcess::new(Schedule::Constant { g: 1.0 }, 0.05, 3.0).unwrap();
    let settings = RegressionSettings { draws: 1, localisation: None };
    regression_set::<f64>(&process, mixture.sample(N, 5).as_ref(), &settings, 6).unwrap().inputs
}

#[test]
#[ignore = "takes minutes: 100 estimates and an exact spectrum of 4096 samples"]
fn every_quantity_is_within_its_bar_in_95_of_100_seeds_and_bars_are_below_2_percent() {
    // Six components in eight dimensions, at places that look random.
    let means = Mat::from_fn(6, 8, |c, k| {
        f64::from((c as u32 * 8 + k as u32).wrapping_mul(2_654_435_761)) / 2f64.powi(31) - 1.0
    });
    let scattered = GaussianMixture::new(&[1.0; 6], means.as_ref(), &[0.3; 6]).unwrap();
    for mixture in [GaussianMixture::spiral(), scattered] {
        let z = samples(&mixture);
        println!("{N} samples of {} columns", z.ncols());
        check(&z);
    }
}

fn check(z: &Mat<f64>) {
    let exact = Spectrum::of_gram(gram(z.as_ref(), Par::rayon(0)).unwrap().as_ref()).unwrap();

    type Quantity = (String, f64, Box<dyn Fn(&ntk_score::score::quadrature::SpectrumEstimate) -> Estimate>);
    let mut quantities: Vec<Quantity> = Vec::new();
    // Squares of critical radii lie between these levels, unless there is hardly any noise.
    for share in [1e-1, 1e-2, 1e-3, 1e-4] {
        let level = share * exact.largest();
        let wanted = exact.truncated_sum(level);
        quantities.push((
            format!("sum of min(lambda, {share:e} largest)"),
            wanted,
            Box::new(move |e| e.truncated_sum(level)),
        ));
    }
    for iterations in [10, 100, 1000, 10_000] {
        let step = 1.0 / exact.largest();
        let wanted = exact.degrees_of_freedom(step, iterations);
        let name = format!("degrees of freedom after {iterations}");
        quantities.push((name, wanted, Box::new(move |e| e.degrees_of_freedom(step, iterations))));
    }
    let radius = (1e-3 * exact.largest()).sqrt();
    quantities.push(("complexity".into(), exact.complexity(radius), Box::new(move |e| e.complexity(radius))));
    quantities.push(("trace".into(), exact.trace(), Box::new(|e| e.trace())));

    let single = Mat::from_fn(N, z.ncols(), |i, k| z[(i, k)] as f32);
    let mut covered = vec![0; quantities.len()];
    let mut widest = vec![0.0f64; quantities.len()];
    for seed in 0..SEEDS {
        let mut operator = MatrixFree::new(single.as_ref(), Par::rayon(0)).unwrap();
        let estimate = Quadrature { seed, par: Par::rayon(0), ..Quadrature::default() }.run(&mut operator).unwrap();
        for (q, (_, wanted, found)) in quantities.iter().enumerate() {
            let Estimate { value, error } = found(&estimate);
            // The exact spectrum is of samples in 64 bits; those of the estimate were rounded.
            covered[q] += u32::from((value - wanted).abs() <= error + 1e-6 * wanted);
            widest[q] = widest[q].max(error / wanted);
        }
    }
    for ((name, wanted, _), (covered, widest)) in quantities.iter().zip(covered.iter().zip(&widest)) {
        println!("{name:40} {wanted:10.4e}  within its bar {covered:3} of {SEEDS}, widest bar {:.2} %", 100.0 * widest);
    }
    assert!(covered.iter().all(|&c| c >= 95), "{covered:?}");
    assert!(widest.iter().all(|&w| w < 0.02), "{widest:?}");
}
