//! Denoising score matching as regression with noisy labels (HRX section 3), and its localisation.
//!
//! A sample is `z = (X_t, t - T0)` with label `y = X_0`: the time is uniform on \[T0, T\], and `X_t = alpha X_0 + sqrt(h) eps`.
//! The regression function is the posterior mean `f*(x, t) = E[X_0 | X_t = x]`; the labels scatter around it although the
//! data are exact. Statements about the regression hold on a bounded domain, `||x|| <= R` and `t >= T0 + Delta`; samples
//! outside are dropped and counted.

use faer::{Mat, MatRef};
use rand::RngExt;

use crate::checks::check_finite;
use crate::diffusion::process::ForwardProcess;
use crate::kernels::Real;
use crate::random::{CHUNK, Purpose, chunk_streams, normal};
use crate::{Error, Result};

/// The bounded domain that samples are kept on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Localisation {
    /// The radius `R` of the domain, in the unit of the data. `None` takes the largest `alpha R0 + sqrt(h) B` over all times, with
    /// `R0` the largest norm of a data row and `B = sqrt(d) + sqrt(2 log(samples/failure))` a bound on the norms of all noise vectors.
    pub radius: Option<f64>,
    /// Chance that the default radius drops any sample at all, in (0, 1).
    pub failure: f64,
    /// `Delta`: times below `T0 + Delta` are dropped, which keeps `||z||` away from zero; in the unit of time.
    pub margin: f64,
}

impl Localisation {
    /// The default radius at a failure chance of 1/1000, and a margin of 1/1000 of the time.
    pub fn new(process: &ForwardProcess) -> Self {
        Self { radius: None, failure: 1e-3, margin: 1e-3 * (process.end() - process.start()) }
    }
}

/// How samples are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RegressionSettings {
    /// Draws of time and noise per data row.
    pub draws: usize,
    /// The domain; `None` keeps every sample.
    pub localisation: Option<Localisation>,
}

/// The regression set: `kept` rows of inputs, labels and times.
#[derive(Debug, Clone)]
pub struct RegressionSet<T> {
    /// Inputs `z = (X_t, t - T0)`, kept x `d + 1`.
    pub inputs: Mat<T>,
    /// Labels `X_0`, kept x `d`.
    pub labels: Mat<T>,
    /// Diffusion times, one per kept sample.
    pub times: Vec<f64>,
    /// The data row each kept sample came from.
    pub sources: Vec<usize>,
    /// The radius of the domain; infinite without localisation.
    pub radius: f64,
    /// Samples dropped because `||x|| > R`.
    pub dropped_far: usize,
    /// Samples dropped because `t < T0 + Delta`.
    pub dropped_early: usize,
}

/// The radius that holds all of `samples` noisy samples with probability `1 - failure`, if the data lie within `data_radius`.
///
/// The largest `alpha R0 + sqrt(h) B` over `from <= t <= T`, where `B = sqrt(d) + sqrt(2 log(samples/failure))` bounds the norm
/// of every noise vector.
pub(crate) fn default_radius(
    process: &ForwardProcess,
    data_radius: f64,
    dimension: usize,
    samples: usize,
    failure: f64,
    from: f64,
) -> f64 {
    let noise = (dimension as f64).sqrt() + (2.0 * (samples.max(1) as f64 / failure).ln()).max(0.0).sqrt();
    let at = |t: f64| process.alpha(t) * data_radius + process.sqrt_h(t) * noise;
    // (alpha, sqrt h) runs along a quarter circle, on which the sum has one maximum: where sqrt h / alpha = B / R0.
    let best = if data_radius > 0.0 { process.time_of_sigma(noise / data_radius) } else { process.end() };
    at(best.clamp(from, process.end()))
}

/// The largest Euclidean norm of a row: the radius `R0` of the ball that holds the data.
pub(crate) fn data_radius<T: Real>(data: MatRef<'_, T>) -> f64 {
    let norm = |row: usize| (0..data.ncols()).map(|i| data[(row, i)].to_f64().powi(2)).sum::<f64>();
    (0..data.nrows()).map(norm).fold(0.0, f64::max).sqrt()
}

impl<T: Real> RegressionSet<T> {
    /// Draws a regression set from `data` (N x d): for every row `draws` times and noises, rows in order, all draws of a row
    /// together.
    ///
    /// The same `seed` gives the same set; another seed, fresh noise. The noise is drawn in `f64`, rows in chunks with a stream
    /// each.
    ///
    /// # Errors
    /// [`Error::Empty`] without rows, columns or draws, or if the domain holds none of the samples; [`Error::NotFinite`];
    /// [`Error::Setting`] for a radius, failure chance or margin that is out of range; [`Error::Memory`] if the number of samples
    /// is beyond reason.
    pub fn draw(
        process: &ForwardProcess,
        data: MatRef<'_, T>,
        settings: &RegressionSettings,
        seed: u64,
    ) -> Result<Self> {
        let (rows, d) = (data.nrows(), data.ncols());
        if rows == 0 {
            return Err(Error::Empty { what: "the data", unit: "row" });
        }
        if d == 0 {
            return Err(Error::Empty { what: "the data", unit: "column" });
        }
        if settings.draws == 0 {
            return Err(Error::Empty { what: "the regression set", unit: "draw per row" });
        }
        check_finite("the data", data)?;
        let bytes = (rows as u128 * settings.draws as u128) * (2 * d as u128 + 3) * size_of::<T>() as u128;
        if bytes > isize::MAX as u128 {
            return Err(Error::Memory { what: "the regression set", bytes });
        }
        let samples = rows * settings.draws;
        let (radius, earliest) = match settings.localisation {
            None => (f64::INFINITY, process.start()),
            Some(domain) => {
                check_domain(&domain, process)?;
                let earliest = process.start() + domain.margin;
                let default = || default_radius(process, data_radius(data), d, samples, domain.failure, earliest);
                (domain.radius.unwrap_or_else(default), earliest)
            }
        };

        let mut set = RegressionSet {
            inputs: Mat::zeros(samples, d + 1),
            labels: Mat::zeros(samples, d),
            times: Vec::with_capacity(samples),
            sources: Vec::with_capacity(samples),
            radius,
            dropped_far: 0,
            dropped_early: 0,
        };
        let mut noisy = vec![0.0; d];
        for (chunk, mut stream) in
            chunk_streams(seed, Purpose::Regression, 0, rows.div_ceil(CHUNK)).into_iter().enumerate()
        {
            for row in chunk * CHUNK..rows.min((chunk + 1) * CHUNK) {
                for _ in 0..settings.draws {
                    let t = process.start() + (process.end() - process.start()) * stream.random::<f64>();
                    let (alpha, spread) = (process.alpha(t), process.sqrt_h(t));
                    for (i, x) in noisy.iter_mut().enumerate() {
                        *x = alpha * data[(row, i)].to_f64() + spread * normal::<f64>(&mut stream);
                    }
                    if t < earliest {
                        set.dropped_early += 1;
                    } else if noisy.iter().map(|x| x * x).sum::<f64>() > radius * radius {
                        set.dropped_far += 1;
                    } else {
                        let kept = set.times.len();
                        for (i, &x) in noisy.iter().enumerate() {
                            set.inputs[(kept, i)] = T::from_f64(x);
                            set.labels[(kept, i)] = data[(row, i)];
                        }
                        set.inputs[(kept, d)] = T::from_f64(t - process.start());
                        set.times.push(t);
                        set.sources.push(row);
                    }
                }
            }
        }
        let kept = set.times.len();
        if kept == 0 {
            return Err(Error::Empty { what: "the domain of the regression (radius or margin)", unit: "sample" });
        }
        set.inputs.truncate(kept, d + 1);
        set.labels.truncate(kept, d);
        Ok(set)
    }
}

fn check_domain(domain: &Localisation, process: &ForwardProcess) -> Result<()> {
    let bad = |name, value: f64, requirement| Err(Error::Setting { name, value: value.to_string(), requirement });
    if let Some(radius) = domain.radius
        && !(radius.is_finite() && radius > 0.0)
    {
        return bad("the radius of the domain", radius, "it must be positive and finite");
    }
    if !(domain.failure > 0.0 && domain.failure < 1.0) {
        return bad("the failure chance of the domain", domain.failure, "it must lie between 0 and 1");
    }
    if !(domain.margin >= 0.0 && domain.margin < process.end() - process.start()) {
        return bad("the margin of the domain", domain.margin, "it must be at least 0 and shorter than the diffusion");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diffusion::mixture::GaussianMixture;
    use crate::diffusion::process::Schedule;

    fn process() -> ForwardProcess {
        ForwardProcess::new(Schedule::Constant { g: 1.0 }, 0.01, 3.0).unwrap()
    }

    #[test]
    fn samples_follow_the_forward_process() {
        let process = process();
        let data = GaussianMixture::spiral().sample(3000, 1);
        let settings = RegressionSettings { draws: 3, localisation: None };
        let set = RegressionSet::draw(&process, data.as_ref(), &settings, 7).unwrap();
        assert_eq!((set.inputs.nrows(), set.inputs.ncols(), set.labels.ncols()), (9000, 3, 2));
        assert_eq!((set.dropped_far, set.dropped_early), (0, 0));
        let (mut sum, mut square) = (0.0, 0.0);
        for j in 0..9000 {
            let t = set.times[j];
            assert!((process.start()..=process.end()).contains(&t));
            assert_eq!(set.inputs[(j, 2)], t - process.start());
            assert_eq!(set.sources[j], j / 3);
            for i in 0..2 {
                assert_eq!(set.labels[(j, i)], data[(j / 3, i)]);
                let eps = (set.inputs[(j, i)] - process.alpha(t) * set.labels[(j, i)]) / process.sqrt_h(t);
                sum += eps;
                square += eps * eps;
            }
        }
        // Five standard errors of 18,000 normals.
        assert!((sum / 18_000.0).abs() < 0.04 && (square / 18_000.0 - 1.0).abs() < 0.06);
        let mean = set.times.iter().sum::<f64>() / 9000.0;
        assert!((mean - 1.505).abs() < 0.05, "{mean}");
    }

    #[test]
    fn seeds_repeat_and_differ() {
        let data = GaussianMixture::spiral().sample(1500, 1);
        let settings = RegressionSettings { draws: 1, localisation: None };
        let draw = |seed| RegressionSet::draw(&process(), data.as_ref(), &settings, seed).unwrap();
        assert_eq!(draw(1).inputs, draw(1).inputs);
        assert_ne!(draw(1).inputs, draw(2).inputs);
    }

    #[test]
    fn the_domain_drops_and_counts() {
        let process = process();
        let data = GaussianMixture::spiral().sample(2000, 1);
        let domain = Localisation { radius: Some(1.5), failure: 1e-3, margin: 0.5 };
        let settings = RegressionSettings { draws: 2, localisation: Some(domain) };
        let set = RegressionSet::draw(&process, data.as_ref(), &settings, 3).unwrap();
        assert_eq!(set.times.len() + set.dropped_far + set.dropped_early, 4000);
        assert!(set.dropped_far > 500 && (400..900).contains(&set.dropped_early));
        assert_eq!(set.inputs.nrows(), set.times.len());
        for j in 0..set.times.len() {
            assert!(set.times[j] >= 0.51 && set.inputs[(j, 0)].hypot(set.inputs[(j, 1)]) <= 1.5);
        }
        // What is kept are the same draws as without the domain.
        let all =
            RegressionSet::draw(&process, data.as_ref(), &RegressionSettings { localisation: None, ..settings }, 3)
                .unwrap();
        assert!(set.times.iter().all(|t| all.times.contains(t)));
    }

    #[test]
    fn the_default_radius_holds_every_sample() {
        let process = process();
        let data = GaussianMixture::spiral().sample(2000, 1);
        let settings = RegressionSettings { draws: 5, localisation: Some(Localisation::new(&process)) };
        let set = RegressionSet::draw(&process, data.as_ref(), &settings, 3).unwrap();
        assert_eq!(set.dropped_far, 0);
        assert!(set.dropped_early > 0 && set.dropped_early < 40);
        // Against the definition, maximised over a fine grid of times.
        let noise = 2f64.sqrt() + (2.0 * (10_000.0f64 / 1e-3).ln()).sqrt();
        let at = |t: f64| process.alpha(t) * data_radius(data.as_ref()) + process.sqrt_h(t) * noise;
        let largest = (0..=10_000).map(|i| at(0.013 + 2.987 * f64::from(i) / 1e4)).fold(0.0, f64::max);
        assert!((set.radius / largest - 1.0).abs() < 1e-6, "{} {largest}", set.radius);
    }

    #[test]
    fn unusable_input_is_an_error() {
        let process = process();
        let settings = RegressionSettings { draws: 1, localisation: Some(Localisation::new(&process)) };
        let data = Mat::<f64>::from_fn(3, 2, |i, j| (i + j) as f64);
        let draw = |data: &Mat<f64>, settings: &RegressionSettings| {
            RegressionSet::draw(&process, data.as_ref(), settings, 0).map(|_| ()).unwrap_err()
        };
        assert!(matches!(draw(&Mat::zeros(0, 2), &settings), Error::Empty { .. }));
        assert!(matches!(draw(&Mat::zeros(2, 0), &settings), Error::Empty { .. }));
        assert!(matches!(draw(&data, &RegressionSettings { draws: 0, ..settings }), Error::Empty { .. }));
        let mut infinite = data.clone();
        infinite[(2, 1)] = f64::NAN;
        assert!(matches!(draw(&infinite, &settings), Error::NotFinite { row: 2, column: 1, .. }));
        let with = |change: fn(&mut Localisation)| {
            let mut domain = Localisation::new(&process);
            change(&mut domain);
            draw(&data, &RegressionSettings { draws: 1, localisation: Some(domain) })
        };
        assert!(matches!(with(|d| d.radius = Some(-1.0)), Error::Setting { .. }));
        assert!(matches!(with(|d| d.failure = 0.0), Error::Setting { .. }));
        assert!(matches!(with(|d| d.margin = 10.0), Error::Setting { .. }));
        assert!(matches!(with(|d| d.radius = Some(1e-9)), Error::Empty { .. }));
    }
}
