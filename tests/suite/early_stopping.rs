//! The stopping rule against independently computed stops, and against the oracle on score regression.

use faer::{Mat, Par};
use ntk_score::diffusion::mixture::GaussianMixture;
use ntk_score::diffusion::process::{ForwardProcess, Schedule};
use ntk_score::diffusion::regression_set::{RegressionSet, RegressionSettings};
use ntk_score::kernels::gram::{cross_gram_into, gram};
use ntk_score::regression::closed_form::ClosedForm;
use ntk_score::regression::early_stopping::{Noise, StoppingRule};
use ntk_score::regression::risk::Curve;
use ntk_score::regression::spectrum::Spectrum;
use serde_json::Value;

#[test]
fn stops_are_exact_and_radii_close() {
    let file: Value = serde_json::from_str(include_str!("../data/early_stopping.json")).unwrap();
    let cases = file["cases"].as_array().unwrap();
    assert!(cases.len() >= 6);
    for case in cases {
        let number = |name: &str| case[name].as_f64().unwrap();
        let values: Vec<f64> =
            case["eigenvalues_of_k_over_n"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
        let spectrum = Spectrum::from_eigenvalues(&values).unwrap();
        assert_eq!(spectrum.dimension() as u64, case["n"].as_u64().unwrap());
        let rule = StoppingRule { constant: number("constant"), noise: Noise::Known(number("sigma")) };
        let stop = rule.stop(&spectrum, number("step"), 1, |_| 0.0).unwrap();
        assert_eq!(stop.iterations, case["stop"].as_u64().unwrap());
        let radius = number("critical_radius");
        assert!((stop.critical_radius / radius - 1.0).abs() < 1e-9, "{} against {radius}", stop.critical_radius);
    }
}

/// Mean squared distances from the true posterior mean over the best iteration's: sharp rule, theory, training on, Stein's
/// estimate and cross-validation.
fn against_the_oracle(seed: u64) -> [f64; 5] {
    let (n, tested) = (400, 400);
    let mixture = GaussianMixture::spiral();
    let process = ForwardProcess::new(Schedule::Constant { g: 1.0 }, 0.05, 3.0).unwrap();
    let settings = RegressionSettings { draws: 1, localisation: None };
    let draw = |rows, seed| {
        let data = mixture.sample(rows, seed);
        RegressionSet::draw(&process, data.as_ref(), &settings, seed).unwrap()
    };
    let (train, test) = (draw(n, seed), draw(tested, seed + 1000));
    let truth = {
        let mut truth = Mat::zeros(tested, 2);
        let mut f = [0.0; 2];
        for j in 0..tested {
            let x = [test.inputs[(j, 0)], test.inputs[(j, 1)]];
            mixture.at(&process, test.times[j]).posterior_mean_into(&mut f, &x);
            (0..2).for_each(|i| truth[(j, i)] = f[i]);
        }
        truth
    };
    let k = gram(train.inputs.as_ref(), Par::Seq).unwrap();
    let closed = ClosedForm::new(k.as_ref(), train.labels.as_ref(), Par::Seq).unwrap();
    let mut cross = Mat::zeros(tested, n);
    cross_gram_into(cross.as_mut(), test.inputs.as_ref(), train.inputs.as_ref(), Par::Seq).unwrap();
    let predictor = closed.predictor(cross.as_ref()).unwrap();
    let (spectrum, eta) = (closed.spectrum().clone(), closed.default_step().unwrap());
    let step = eta * n as f64;
    let error = |tau| (closed.predict(&predictor, eta, tau) - &truth).squared_norm_l2() / tested as f64;
    let residual = |tau| closed.residual(eta, tau);
    let grid = Curve::grid(1_000_000, 30);
    let (_, best) = Curve::of(&grid, error).lowest().unwrap();
    let sharp = closed.stop(StoppingRule::SHARP, eta).unwrap();
    let theory = StoppingRule::theory(sharp.noise).stop(&spectrum, step, 2, residual).unwrap();
    let stein = Curve::steins_estimate(&spectrum, step, 2, sharp.noise, &grid, residual).lowest().unwrap().0;
    let crossed = Curve::generalised_cross_validation(&spectrum, step, 2, &grid, residual).lowest().unwrap().0;
    [sharp.iterations, theory.iterations, 1_000_000, stein, crossed].map(|tau| error(tau) / best)
}

#[test]
fn stopping_by_the_rule_is_close_to_the_best_and_training_on_is_not() {
    for seed in [1, 2, 3] {
        let [sharp, theory, trained_on, stein, crossed] = against_the_oracle(seed);
        // In the plane the rule varies most: on 192 problems that no choice has seen its worst is 1.48 (docs/theory.md).
        assert!(sharp < 1.3, "{sharp}");
        assert!(theory > sharp && theory < 2.5, "{theory}");
        assert!(trained_on > 1.5, "{trained_on}");
        assert!(stein < 2.0 && crossed < 3.0, "{stein} {crossed}");
    }
}

#[test]
fn the_sharp_stop_has_no_unit_and_no_axes() {
    let (n, d) = (60, 3);
    let z = Mat::from_fn(n, 4, |i, k| ((i * 11 + k * 29) as f64 * 0.61).sin());
    let jitter = |i: usize, k: usize| (((i * 7919 + k * 104_729) % 1013) as f64 / 1013.0 - 0.5) * 0.4;
    let y = Mat::from_fn(n, d, |i, k| z[(i, 0)] * z[(i, k + 1)] + jitter(i, k));
    let kernel = gram(z.as_ref(), Par::Seq).unwrap().as_ref().to_owned();
    let stop = |kernel: &Mat<f64>, labels: &Mat<f64>| {
        let closed = ClosedForm::new(kernel.as_ref(), labels.as_ref(), Par::Seq).unwrap();
        let stop = closed.stop(StoppingRule::SHARP, closed.default_step().unwrap()).unwrap();
        (stop.iterations, stop.noise)
    };
    let times = |m: &Mat<f64>, unit: f64| Mat::from_fn(m.nrows(), m.ncols(), |i, k| unit * m[(i, k)]);
    let (iterations, noise) = stop(&kernel, &y);
    assert!((2..10_000).contains(&iterations), "{iterations}");
    // By a power of two every product and sum is the same.
    assert_eq!(stop(&kernel, &times(&y, 0.25)), (iterations, 0.25 * noise));
    for unit in [0.01, 0.1, 10.0, 100.0] {
        assert_eq!(stop(&kernel, &times(&y, unit)).0, iterations);
        assert_eq!(stop(&times(&kernel, unit), &y).0, iterations);
    }
    // A rotation of the outputs: a reflection at the plane across (1, 1, 1).
    let mirrored = Mat::from_fn(n, d, |i, k| y[(i, k)] - 2.0 / 3.0 * (0..d).map(|l| y[(i, l)]).sum::<f64>());
    assert_eq!(stop(&kernel, &mirrored).0, iterations);
}
