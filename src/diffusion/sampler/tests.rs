//! Samplers against targets whose law, and whose probability flow, are known.

use super::*;
use crate::diffusion::mixture::GaussianMixture;
use crate::diffusion::process::Schedule;

fn processes() -> [ForwardProcess; 3] {
    [
        ForwardProcess::new(Schedule::Constant { g: 1.0 }, 0.01, 6.0).unwrap(),
        ForwardProcess::new(Schedule::VARIANCE_PRESERVING, 1e-3, 1.0).unwrap(),
        ForwardProcess::new(Schedule::LOG_SNR, 0.0, 1.0).unwrap(),
    ]
}

fn gaussian() -> GaussianMixture {
    let means = Mat::from_fn(1, 2, |_, i| [0.7, -0.4][i]);
    GaussianMixture::new(&[1.0], means.as_ref(), &[0.6]).unwrap()
}

fn moments(x: &Panels<f64>) -> (Vec<f64>, Mat<f64>) {
    let (n, d) = (x.rows() as f64, x.columns());
    let mean: Vec<f64> = (0..d).map(|i| (0..x.rows()).map(|r| x.get(r, i)).sum::<f64>() / n).collect();
    let covariance = Mat::from_fn(d, d, |i, j| {
        (0..x.rows()).map(|r| (x.get(r, i) - mean[i]) * (x.get(r, j) - mean[j])).sum::<f64>() / n
    });
    (mean, covariance)
}

/// Largest distance of the sampler's rows from what the exact probability flow makes of the same noise.
fn flow_error(method: Method, process: &ForwardProcess, grid: Grid, steps: usize) -> f64 {
    let target = gaussian();
    let sampler = Sampler { grid, ..Sampler::new(method, steps) };
    let run = |steps| {
        let sampler = Sampler { steps, ..sampler.clone() };
        sampler.run::<f64>(process, &mut target.denoiser(process, Par::Seq), 100, 1, Par::Seq, &mut |_, _| ()).unwrap()
    };
    // The noise of time T is what one step turns into f(x, T), which is affine in x: undo it.
    let first = run(1);
    let found = run(steps);
    let (late, early) = (process.end(), process.start());
    let spread = |t: f64| process.alpha(t).powi(2) * 0.36 + process.h(t);
    let shrink = |t: f64| process.alpha(t) * 0.36 / spread(t);
    let mut worst = 0.0f64;
    for row in 0..100 {
        for (i, mean) in [0.7, -0.4].into_iter().enumerate() {
            let centred = (first.get(row, i) - mean) / shrink(late);
            let exact = centred * (spread(early) / spread(late)).sqrt();
            worst = worst.max((found.get(row, i) - (mean + shrink(early) * exact)).abs());
        }
    }
    worst
}

#[test]
fn flow_solvers_converge_at_second_order() {
    for process in &processes() {
        for grid in [Grid::LogSnr, Grid::Karras { rho: 7.0 }] {
            for method in [Method::Heun, Method::DpmSolver] {
                let errors = [64, 128, 256].map(|steps| flow_error(method, process, grid, steps + 1));
                for pair in errors.windows(2) {
                    let order = (pair[0] / pair[1]).log2();
                    assert!((1.75..2.35).contains(&order), "{method:?} {grid:?} {process:?}: {errors:?}");
                }
                assert!(errors[2] < 2e-3, "{method:?} {grid:?}: {errors:?}");
            }
        }
    }
}

#[test]
fn reverse_diffusions_converge_at_first_order() {
    // Relative error of the variance, from the exact law at T; 50,000 rows of 2 give it to 0.5 %.
    let process = ForwardProcess::new(Schedule::LOG_SNR, 0.0, 1.0).unwrap();
    let target = gaussian();
    let start = Start::Gaussian { mean: target.mean(), covariance: target.covariance() };
    for method in [Method::EulerMaruyama, Method::Ancestral] {
        let errors = [15, 30].map(|steps| {
            let sampler = Sampler { start: start.clone(), ..Sampler::new(method, steps) };
            let mut denoiser = target.denoiser(&process, Par::Seq);
            let x = sampler.run::<f64>(&process, &mut denoiser, 50_000, 2, Par::Seq, &mut |_, _| ()).unwrap();
            let (_, covariance) = moments(&x);
            // The last step returns f, whose variance is what the posterior mean keeps.
            let v = 0.36 * process.alpha(0.0).powi(2) + process.h(0.0);
            let wanted = (process.alpha(0.0) * 0.36).powi(2) / v;
            (0.5 * (covariance[(0, 0)] + covariance[(1, 1)]) / wanted - 1.0).abs()
        });
        let order = (errors[0] / errors[1]).log2();
        assert!((0.6..1.5).contains(&order), "{method:?}: {errors:?}");
    }
}

#[test]
fn every_method_recovers_the_mixture() {
    let target = GaussianMixture::spiral();
    let (mean, covariance) = (target.mean(), target.covariance());
    let start = Start::Gaussian { mean: mean.clone(), covariance: covariance.clone() };
    let process = ForwardProcess::new(Schedule::LOG_SNR, 0.0, 1.0).unwrap();
    let rows = 6000;
    for (method, steps) in
        [(Method::EulerMaruyama, 300), (Method::Ancestral, 300), (Method::Heun, 40), (Method::DpmSolver, 60)]
    {
        let sampler = Sampler { start: start.clone(), ..Sampler::new(method, steps) };
        let mut denoiser = target.denoiser(&process, Par::rayon(2));
        let mut calls = Vec::new();
        let mut progress = |done, total| calls.push((done, total));
        let x = sampler.run::<f64>(&process, &mut denoiser, rows, 3, Par::rayon(2), &mut progress).unwrap();
        assert_eq!(calls.last().unwrap().0, calls.last().unwrap().1);
        let found = moments(&x);
        for i in 0..2 {
            // Five standard errors of the mean, and as much again for the steps; likewise for the second moments.
            let error = (covariance[(i, i)] / rows as f64).sqrt();
            assert!((found.0[i] - mean[i]).abs() < 10.0 * error, "{method:?} {:?} {mean:?}", found.0);
            for j in 0..2 {
                assert!((found.1[(i, j)] - covariance[(i, j)]).abs() < 0.1, "{method:?} {:?}", found.1);
            }
        }
    }
}

#[test]
fn bytes_depend_on_the_seed_only() {
    let target = GaussianMixture::spiral();
    let process = ForwardProcess::new(Schedule::LOG_SNR, 0.0, 1.0).unwrap();
    for method in Method::ALL {
        let churn = (method == Method::Heun).then_some(Churn { amount: 5.0, from: 0.05, to: 50.0, noise: 1.003 });
        let run = |seed, batch, par| {
            let sampler = Sampler { batch, churn, ..Sampler::new(method, 5) };
            sampler.run::<f32>(&process, &mut target.denoiser(&process, par), 2100, seed, par, &mut |_, _| ()).unwrap()
        };
        let one = run(1, 8192, Par::Seq);
        assert_eq!(one, run(1, 1, Par::rayon(3)), "{method:?}");
        assert_ne!(one.get(0, 0), run(2, 8192, Par::Seq).get(0, 0));
        assert!(one.block(one.blocks() - 1).iter().all(|l| l.0[one.rows() % PANEL..].iter().all(|&x| x == 0.0)));
    }
}

#[test]
fn churn_adds_noise_and_keeps_the_law() {
    let target = gaussian();
    let process = ForwardProcess::new(Schedule::LOG_SNR, 0.0, 1.0).unwrap();
    let run = |churn| {
        let sampler = Sampler { churn, grid: Grid::Karras { rho: 7.0 }, ..Sampler::new(Method::Heun, 60) };
        let mut denoiser = target.denoiser(&process, Par::Seq);
        sampler.run::<f64>(&process, &mut denoiser, 20_000, 4, Par::Seq, &mut |_, _| ()).unwrap()
    };
    let (plain, churned) = (run(None), run(Some(Churn { amount: 20.0, from: 0.01, to: 50.0, noise: 1.0 })));
    assert_ne!(plain.get(0, 0), churned.get(0, 0));
    for x in [&plain, &churned] {
        let (_, covariance) = moments(x);
        assert!((covariance[(0, 0)] / 0.36 - 1.0).abs() < 0.05, "{covariance:?}");
    }
}

#[test]
fn times_fall_from_end_to_start() {
    for process in &processes() {
        for grid in [Grid::Time, Grid::LogSnr, Grid::Karras { rho: 7.0 }] {
            let times = Sampler { grid, ..Sampler::new(Method::Heun, 30) }.times(process).unwrap();
            assert_eq!((times[0], times[29]), (process.end(), process.start()));
            assert!(times.windows(2).all(|w| w[0] > w[1]), "{times:?}");
        }
        assert_eq!(Sampler::new(Method::Heun, 1).times(process).unwrap(), vec![process.end()]);
    }
}

#[test]
fn unusable_settings_are_errors() {
    let target = gaussian();
    let process = processes()[2];
    let run = |sampler: Sampler| {
        let mut denoiser = target.denoiser(&process, Par::Seq);
        sampler.run::<f32>(&process, &mut denoiser, 10, 0, Par::Seq, &mut |_, _| ()).map(|_| ())
    };
    let base = Sampler::new(Method::Heun, 3);
    let churn = Some(Churn { amount: 1.0, from: 0.0, to: 1.0, noise: 1.0 });
    let law = |mean: &[f64], diagonal: f64| Start::Gaussian {
        mean: mean.to_vec(),
        covariance: Mat::from_fn(2, 2, |i, j| if i == j { diagonal } else { 0.0 }),
    };
    assert!(run(base.clone()).is_ok());
    assert!(matches!(run(Sampler { steps: 0, ..base.clone() }), Err(Error::Setting { .. })));
    assert!(matches!(run(Sampler { grid: Grid::Karras { rho: 0.0 }, ..base.clone() }), Err(Error::Setting { .. })));
    assert!(matches!(run(Sampler { churn, ..Sampler::new(Method::Ancestral, 3) }), Err(Error::Setting { .. })));
    assert!(matches!(run(Sampler { start: law(&[0.0], 1.0), ..base.clone() }), Err(Error::Shape { .. })));
    assert!(matches!(run(Sampler { start: law(&[0.0, f64::NAN], 1.0), ..base.clone() }), Err(Error::NotFinite { .. })));
    assert!(matches!(run(Sampler { start: law(&[0.0, 0.0], -1e9), ..base.clone() }), Err(Error::Setting { .. })));
    assert!("heun".parse::<Method>() == Ok(Method::Heun) && "eular".parse::<Method>().is_err());
}
