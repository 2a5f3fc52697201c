//! When to stop: the rule of Raskutti, Wainwright and Yu (RWY 2014) that HRX carry over to score estimation, and its rivals.
//!
//! Gradient descent on `1/(2N) sum |f - y|^2` with step `s` (`s = eta N` for the summed loss `1/2 sum |f - y|^2` with step
//! `eta`) should stop after
//!
//! ```text
//! T_hat = min{tau >= 1 : R(1/sqrt(s tau)) > 1/(c sigma s tau)} - 1
//! ```
//!
//! iterations, with `R` the complexity of [`Spectrum::complexity`], `sigma` the scale of the label noise and `c` a constant:
//! `2e` in theory, 1 sharp in practice. The theory takes the regression function's norm in the kernel's space to be one; for a
//! function of norm `B` everything is divided by `B`, so that what counts is `sigma / B`. Its rivals ([`steins_estimate`],
//! [`generalised_cross_validation`], hold-out and oracle by [`Curve::lowest`]) choose the lowest point of a curve over the
//! iterations.

use crate::regression::spectrum::{Spectrum, shrinkage};
use crate::{Error, Result};

/// Iterations beyond which a rule says "never".
pub const NEVER: u64 = 1 << 53;

/// The scale `sigma` of the label noise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Noise {
    /// Known, in the unit of the labels.
    Known(f64),
    /// Estimated by the fixed point of [`StoppingRule::estimate_noise`], for a function of norm one in the kernel's space.
    Estimated,
    /// Estimated together with the norm of the function, which it is divided by: see [`StoppingRule::estimate_relative_noise`].
    Relative,
}

/// The stopping rule with its settings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StoppingRule {
    /// The constant `c`: larger stops earlier.
    pub constant: f64,
    /// The scale of the label noise.
    pub noise: Noise,
}

/// What the rule says.
#[derive(Debug, Clone, PartialEq)]
pub struct Stop {
    /// `T_hat`, the iteration to stop after; [`NEVER`] if nothing is to be gained by stopping.
    pub iterations: u64,
    /// The critical radius `eps_hat`.
    pub critical_radius: f64,
    /// `norm^2 eps_hat^2`, the order of the squared error at the stop (RWY theorem 1), in the squared unit of the labels.
    pub predicted_error: f64,
    /// The scale of the label noise, in the unit of the labels.
    pub noise: f64,
    /// The norm of the function that the noise was measured against: 1 unless asked for by [`Noise::Relative`].
    pub norm: f64,
    /// The two sides of the condition around the stop, for plots.
    pub curve: Vec<Crossing>,
}

/// The two sides of the stopping condition after some iterations.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Crossing {
    /// Iterations `tau`.
    pub iterations: u64,
    /// `R(1/sqrt(s tau))`.
    pub complexity: f64,
    /// `1/(c sigma s tau)`; once it is below the complexity, training has gone on too long.
    pub bound: f64,
}

impl Crossing {
    /// Whether the complexity exceeds the bound.
    pub fn exceeded(&self) -> bool {
        self.complexity > self.bound
    }
}

impl StoppingRule {
    /// The constant for which RWY prove their bound, `2e`.
    pub const THEORY: f64 = 2.0 * std::f64::consts::E;

    /// The rule with constant 1 and noise estimated relative to the function's norm. On score regression of mixtures the error at
    /// its stop was at most 1.05 times the lowest of all iterations in nine cases of ten, 1.13 times at worst.
    pub const SHARP: StoppingRule = StoppingRule { constant: 1.0, noise: Noise::Relative };

    /// The rule as it is proved, with noise of known scale.
    pub fn theory(noise: f64) -> Self {
        Self { constant: Self::THEORY, noise: Noise::Known(noise) }
    }

    /// Rounds of the fixed point, and the iteration that it starts from.
    const ROUNDS: usize = 8;
    const FIRST: u64 = 10;

    /// What is believed of the squared norm before the labels are seen: that it is one, within a factor of two. And how many steps
    /// of what fraction of that factor are tried to either side.
    const SPREAD: f64 = std::f64::consts::LN_2;
    const TRIED: i32 = 16;
    const FRACTION: f64 = 0.25;

    /// Weights fall by `e` where the sum of squared errors grows by this many `sigma^2`: the least for which the mean under such
    /// weights is proved to be as good as the best (Leung and Barron 2006).
    const TEMPERATURE: f64 = 4.0;

    fn check(&self, step: f64) -> Result<()> {
        let bad = |name, value: f64| {
            let requirement = "it must be positive and finite";
            Err(Error::Setting { name, value: value.to_string(), requirement })
        };
        if !(self.constant.is_finite() && self.constant > 0.0) {
            return bad("the constant of the stopping rule", self.constant);
        }
        if let Noise::Known(noise) = self.noise
            && !(noise.is_finite() && noise > 0.0)
        {
            return bad("the noise scale of the stopping rule", noise);
        }
        if !(step.is_finite() && step > 0.0) {
            return bad("the step size", step);
        }
        Ok(())
    }

    /// Both sides of the condition at effective time `time = s tau` (for steps that vary, their sum).
    pub fn crossing(&self, spectrum: &Spectrum, time: f64, iterations: u64, noise: f64) -> Crossing {
        let complexity = spectrum.complexity((1.0 / time).sqrt());
        Crossing { iterations, complexity, bound: 1.0 / (self.constant * noise * time) }
    }

    /// `T_hat` for noise of scale `noise` and constant `step`.
    fn last(&self, spectrum: &Spectrum, step: f64, noise: f64) -> u64 {
        let exceeded = |tau: u64| self.crossing(spectrum, step * tau as f64, tau, noise).exceeded();
        // The condition turns once, at s tau = 1/eps_hat^2; rounding may leave the closed form one iteration off.
        let radius = spectrum.critical_radius(self.constant, noise);
        let turn = (1.0 / (step * radius * radius)).floor();
        if turn.is_nan() || turn >= NEVER as f64 {
            return NEVER;
        }
        let mut last = turn as u64;
        while last > 0 && exceeded(last) {
            last -= 1;
        }
        while last < NEVER && !exceeded(last + 1) {
            last += 1;
        }
        last
    }

    /// The noise scale by its fixed point: the residuals' scale after `tau` iterations gives a stop, the stop a new `tau`;
    /// eight rounds from `tau = 10`.
    ///
    /// `residual(tau)` is the sum over samples and outputs of the squared residuals after `tau` iterations; with one output's
    /// residuals and `outputs = 1` the estimate is for that output alone.
    pub fn estimate_noise(
        &self,
        spectrum: &Spectrum,
        step: f64,
        outputs: usize,
        mut residual: impl FnMut(u64) -> f64,
    ) -> f64 {
        let mut tau = Self::FIRST;
        let mut noise = 0.0;
        for _ in 0..Self::ROUNDS {
            let next = noise_at(spectrum, step, tau, outputs, residual(tau));
            if !(next.is_finite() && next > 0.0) {
                break;
            }
            noise = next;
            tau = self.last(spectrum, step, noise).max(1);
        }
        noise
    }

    /// The noise scale, and the norm `B` of the function in the kernel's space that it counts against.
    ///
    /// The theory takes that norm to be one. But every iteration is where the rule stops for some norm, and how well each does can
    /// be estimated: so norms are weighed, and their geometric mean, under
    ///
    /// ```text
    /// weight(B) = exp(-N outputs SURE(T_hat(sigma / B)) / (4 sigma^2)) exp(-(ln B^2)^2 / (2 (ln 2)^2))
    /// ```
    ///
    /// is taken, with [`steins_estimate`] for `SURE`. The first factor is Leung and Barron's (2006), who prove that a mean under
    /// it is about as good as the best; the second says that the squared norm is one within a factor of two, as long as
    /// few samples say nothing else. `sigma` is then estimated anew from the residuals at the stop, until that stays, or eight times.
    ///
    /// `residual` and `outputs` as for [`StoppingRule::estimate_noise`]; `residual` is called some hundred times, also for
    /// iterations beyond the stop. `outputs` share one norm, in the sense of a mean square.
    pub fn estimate_relative_noise(
        &self,
        spectrum: &Spectrum,
        step: f64,
        outputs: usize,
        mut residual: impl FnMut(u64) -> f64,
    ) -> (f64, f64) {
        let mut noise = self.estimate_noise(spectrum, step, outputs, &mut residual);
        let mut norm = 1.0;
        let mut tau = self.last(spectrum, step, noise).max(1);
        for round in 0..Self::ROUNDS {
            if round > 0 {
                let next = noise_at(spectrum, step, tau, outputs, residual(tau));
                if !(next.is_finite() && next > 0.0) {
                    break;
                }
                noise = next;
            }
            // ln B^2 of the norms that are tried, and where the rule stops for each.
            let norms: Vec<f64> =
                (-Self::TRIED..=Self::TRIED).map(|k| f64::from(k) * Self::FRACTION * Self::SPREAD).collect();
            let stops: Vec<u64> =
                norms.iter().map(|b| self.last(spectrum, step, noise * (-0.5 * b).exp()).max(1)).collect();
            let risks = steins_estimate(spectrum, step, outputs, noise, &stops, &mut residual).values;
            let scale = (spectrum.dimension() * outputs) as f64 / (Self::TEMPERATURE * noise * noise);
            let weigh = |(b, risk): (&f64, f64)| -scale * risk - 0.5 * (b / Self::SPREAD).powi(2);
            let logarithms: Vec<f64> = norms.iter().zip(risks).map(weigh).collect();
            let highest = logarithms.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let (mut total, mut mean) = (0.0, 0.0);
            for (b, logarithm) in norms.iter().zip(logarithms) {
                let weight = (logarithm - highest).exp();
                total += weight;
                mean += weight * b;
            }
            if !(mean / total).is_finite() {
                break;
            }
            norm = (0.5 * mean / total).exp();
            let before = std::mem::replace(&mut tau, self.last(spectrum, step, noise / norm).max(1));
            if tau == before {
                break;
            }
        }
        (noise, norm)
    }

    /// When to stop kernel regression, or a network in its regime, with constant `step`.
    ///
    /// - `step`: on the loss `1/(2N) sum |f - y|^2`, so `eta N` for the summed loss with step `eta`.
    /// - `outputs`: number of columns of the labels.
    /// - `residual(tau)`: sum of the squared residuals after `tau` iterations; called only if the noise is to be estimated, and then
    ///   in no order of `tau`.
    ///
    /// # Errors
    /// [`Error::Setting`] if the constant, a known noise scale or the step is not positive.
    pub fn stop(
        &self,
        spectrum: &Spectrum,
        step: f64,
        outputs: usize,
        residual: impl FnMut(u64) -> f64,
    ) -> Result<Stop> {
        self.check(step)?;
        let (noise, norm) = match self.noise {
            Noise::Known(noise) => (noise, 1.0),
            Noise::Estimated => (self.estimate_noise(spectrum, step, outputs.max(1), residual), 1.0),
            Noise::Relative => self.estimate_relative_noise(spectrum, step, outputs.max(1), residual),
        };
        let relative = noise / norm;
        let iterations = self.last(spectrum, step, relative);
        let critical_radius = spectrum.critical_radius(self.constant, relative);
        let curve = iteration_grid(iterations.saturating_mul(10).clamp(10, NEVER), 20)
            .into_iter()
            .map(|tau| self.crossing(spectrum, step * tau as f64, tau, relative))
            .collect();
        let predicted_error = (norm * critical_radius).powi(2);
        Ok(Stop { iterations, critical_radius, predicted_error, noise, norm, curve })
    }

    /// `T_hat` for steps that vary: the number of steps after which the condition on their running sum is first violated,
    /// less one; all of them if it never is. `noise` is the scale relative to the function's norm.
    ///
    /// # Errors
    /// [`Error::Setting`] as for [`StoppingRule::stop`], for each step.
    pub fn stop_among(&self, spectrum: &Spectrum, steps: &[f64], noise: f64) -> Result<usize> {
        let mut time = 0.0;
        for (done, &step) in steps.iter().enumerate() {
            self.check(step)?;
            time += step;
            if self.crossing(spectrum, time, done as u64 + 1, noise).exceeded() {
                return Ok(done);
            }
        }
        Ok(steps.len())
    }

    /// The rule while training runs: whether to stop after `iterations` steps, given the sum of the squared residuals now.
    ///
    /// With estimated noise, its scale is the residuals' now; the first iteration at which the condition for the next one
    /// fails is the fixed point of [`StoppingRule::estimate_noise`], reached from below. So it is with [`Noise::Relative`]: the
    /// norm is taken to be one, because to weigh norms takes the residuals of iterations that are still to come.
    ///
    /// # Errors
    /// As for [`StoppingRule::stop`], and [`Error::Diverged`] if the residual is not finite.
    pub fn decide(
        &self,
        spectrum: &Spectrum,
        step: f64,
        outputs: usize,
        iterations: u64,
        residual: f64,
    ) -> Result<Decision> {
        self.check(step)?;
        if !residual.is_finite() {
            return Err(Error::Diverged { iteration: iterations as usize });
        }
        let noise = match self.noise {
            Noise::Known(noise) => noise,
            Noise::Estimated | Noise::Relative => noise_at(spectrum, step, iterations, outputs.max(1), residual),
        };
        let next = iterations + 1;
        let crossing = self.crossing(spectrum, step * next as f64, next, noise);
        let degrees_of_freedom = spectrum.degrees_of_freedom(step, iterations);
        Ok(Decision { stop: crossing.exceeded(), noise, degrees_of_freedom, next: crossing })
    }
}

/// What [`StoppingRule::decide`] found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Decision {
    /// Whether to stop now.
    pub stop: bool,
    /// The noise scale used.
    pub noise: f64,
    /// Effective degrees of freedom spent so far, per output.
    pub degrees_of_freedom: f64,
    /// The condition at the next iteration.
    pub next: Crossing,
}

/// The noise scale that residuals after `iterations` steps show: the root of
/// `residual / (outputs (N - degrees of freedom))`.
pub fn noise_at(spectrum: &Spectrum, step: f64, iterations: u64, outputs: usize, residual: f64) -> f64 {
    // N - tr S = sum (1 - s lambda)^tau, without the cancellation of the difference.
    let left = spectrum.sum(|value| shrinkage(step * value, iterations));
    (residual / (outputs as f64 * left)).sqrt()
}

/// The same after effective time `time` of gradient flow, which small steps and steps with momentum follow:
/// the root of `residual / (outputs sum exp(-time lambda))`.
pub fn noise_in_flow(spectrum: &Spectrum, time: f64, outputs: usize, residual: f64) -> f64 {
    (residual / (outputs as f64 * spectrum.sum(|value| (-time * value).exp()))).sqrt()
}

/// Iteration numbers from 1 to `last`, spaced evenly in their logarithm, about `per_decade` to a factor of ten.
pub fn iteration_grid(last: u64, per_decade: usize) -> Vec<u64> {
    let ratio = 10f64.powf(1.0 / per_decade.max(1) as f64);
    let mut grid = Vec::new();
    let mut next = 1u64;
    while next < last {
        grid.push(next);
        next = ((next as f64 * ratio).round() as u64).max(next + 1);
    }
    grid.push(last.max(1));
    grid
}

/// A quantity over iterations, such as an estimate of the error.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    /// Iterations, rising.
    pub iterations: Vec<u64>,
    /// The quantity after each.
    pub values: Vec<f64>,
}

impl Curve {
    /// The curve of `f` on a grid of iterations.
    pub fn of(iterations: &[u64], f: impl FnMut(u64) -> f64) -> Self {
        Self { iterations: iterations.to_vec(), values: iterations.iter().copied().map(f).collect() }
    }

    /// The iteration with the lowest value (the first among equals; values that are not finite are passed over), and the
    /// value: hold-out if the values are validation errors, the oracle if they are errors against the truth. `None` if no
    /// value is finite.
    pub fn lowest(&self) -> Option<(u64, f64)> {
        let points = self.iterations.iter().copied().zip(self.values.iter().copied());
        points.filter(|p| p.1.is_finite()).reduce(|best, p| if p.1 < best.1 { p } else { best })
    }
}

/// Stein's unbiased estimate of the mean squared error per output, `RSS/(N d) - sigma^2 + 2 sigma^2 df/N` (RWY section 4.1),
/// on a grid of iterations. `residual` as for [`StoppingRule::stop`].
pub fn steins_estimate(
    spectrum: &Spectrum,
    step: f64,
    outputs: usize,
    noise: f64,
    grid: &[u64],
    mut residual: impl FnMut(u64) -> f64,
) -> Curve {
    let n = spectrum.dimension() as f64;
    Curve::of(grid, |tau| {
        let optimism = 2.0 * noise * noise * spectrum.degrees_of_freedom(step, tau) / n;
        residual(tau) / (n * outputs.max(1) as f64) - noise * noise + optimism
    })
}

/// Generalised cross-validation, `RSS/(N d) / (1 - df/N)^2`, on a grid of iterations; needs no noise scale. `residual` as for
/// [`StoppingRule::stop`].
pub fn generalised_cross_validation(
    spectrum: &Spectrum,
    step: f64,
    outputs: usize,
    grid: &[u64],
    mut residual: impl FnMut(u64) -> f64,
) -> Curve {
    let n = spectrum.dimension() as f64;
    Curve::of(grid, |tau| {
        let left = spectrum.sum(|value| shrinkage(step * value, tau)) / n;
        residual(tau) / (n * outputs.max(1) as f64) / (left * left)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spectrum() -> Spectrum {
        let values: Vec<f64> = (1..=300).map(|i| 0.8 / f64::from(i * i)).collect();
        Spectrum::from_eigenvalues(&values).unwrap()
    }

    /// Sum of squared residuals of pure noise of scale `noise`, in expectation.
    fn pure_noise(noise: f64, outputs: usize) -> impl Fn(u64) -> f64 {
        move |tau| outputs as f64 * noise * noise * spectrum().sum(|value| shrinkage(0.5 * value, tau).powi(2))
    }

    #[test]
    fn the_stop_is_the_last_iteration_within_the_bound() {
        let spectrum = spectrum();
        for constant in [0.5, 1.0, StoppingRule::THEORY] {
            for noise in [0.01, 0.3, 20.0] {
                let rule = StoppingRule { constant, noise: Noise::Known(noise) };
                let stop = rule.stop(&spectrum, 0.5, 1, |_| unreachable!("the noise is known")).unwrap();
                let exceeded = |tau: u64| rule.crossing(&spectrum, 0.5 * tau as f64, tau, noise).exceeded();
                assert!(exceeded(stop.iterations + 1) && (1..=stop.iterations.min(5000)).all(|tau| !exceeded(tau)));
                assert_eq!(stop.predicted_error, stop.critical_radius.powi(2));
                let same = rule.stop_among(&spectrum, &vec![0.5; 20_000], noise).unwrap();
                assert_eq!(same as u64, stop.iterations.min(20_000));
                // The curve shows the crossing where it is.
                assert!(stop.curve.iter().all(|point| point.exceeded() == (point.iterations > stop.iterations)));
                assert!(stop.curve.last().unwrap().exceeded());
            }
        }
    }

    #[test]
    fn larger_constants_and_noise_stop_earlier() {
        let spectrum = spectrum();
        let stop = |constant, noise| {
            let rule = StoppingRule { constant, noise: Noise::Known(noise) };
            rule.stop(&spectrum, 0.5, 1, |_| 0.0).unwrap().iterations
        };
        assert!(stop(StoppingRule::THEORY, 0.3) < stop(1.0, 0.3) && stop(1.0, 0.3) < stop(1.0, 0.03));
    }

    #[test]
    fn the_fixed_point_and_the_decision_while_training_agree() {
        let spectrum = spectrum();
        let residual = pure_noise(0.2, 3);
        let rule = StoppingRule { constant: 1.0, noise: Noise::Estimated };
        let stop = rule.stop(&spectrum, 0.5, 3, &residual).unwrap();
        assert!((stop.noise / 0.2 - 1.0).abs() < 0.05 && stop.norm == 1.0, "{} {}", stop.noise, stop.norm);
        let mut tau = 1;
        while !rule.decide(&spectrum, 0.5, 3, tau, residual(tau)).unwrap().stop {
            tau += 1;
        }
        // On the way the norm is taken to be one.
        let [one, relative] =
            [rule, StoppingRule::SHARP].map(|rule| rule.decide(&spectrum, 0.5, 3, tau, residual(tau)).unwrap());
        assert_eq!(one, relative);
        assert!(tau.abs_diff(stop.iterations) <= 1 + stop.iterations / 100, "{tau} {}", stop.iterations);
        let known = StoppingRule { constant: 1.0, noise: Noise::Known(stop.noise) };
        assert!(!known.decide(&spectrum, 0.5, 3, stop.iterations - 1, 1.0).unwrap().stop);
        assert!(known.decide(&spectrum, 0.5, 3, stop.iterations, 1.0).unwrap().stop);
    }

    #[test]
    fn the_flow_s_noise_is_that_of_small_steps() {
        let spectrum = spectrum();
        let residual = pure_noise(0.2, 3)(400);
        let (steps, flow) = (noise_at(&spectrum, 0.5, 400, 3, residual), noise_in_flow(&spectrum, 200.0, 3, residual));
        assert!((flow / steps - 1.0).abs() < 1e-3, "{flow} {steps}");
        // The same time in steps of a hundredth.
        let fine = noise_at(&spectrum, 0.005, 40_000, 3, residual);
        assert!((flow / fine - 1.0).abs() < 1e-5, "{flow} {fine}");
    }

    #[test]
    fn labels_without_noise_never_stop() {
        let stop = StoppingRule::SHARP.stop(&spectrum(), 0.5, 1, |_| 0.0).unwrap();
        assert_eq!((stop.iterations, stop.critical_radius, stop.noise, stop.norm), (NEVER, 0.0, 0.0, 1.0));
    }

    /// Risk and residual of one output in expectation: signal along the first ten eigenvectors, noise along all.
    fn expectations(signal: f64, noise: f64) -> [impl Fn(u64) -> f64; 2] {
        [true, false].map(|risk| {
            move |tau| {
                let spectrum = spectrum();
                let along = |(i, &value): (usize, &f64)| {
                    let (left, signal) = (shrinkage(0.5 * value, tau), if i < 10 { signal } else { 0.0 });
                    let spent = if risk { 1.0 - left } else { left };
                    left * left * signal + spent * spent * noise * noise
                };
                spectrum.values().iter().enumerate().map(along).sum()
            }
        })
    }

    #[test]
    fn noise_counts_relative_to_the_norm() {
        let spectrum = spectrum();
        let grid = iteration_grid(1_000_000, 20);
        for signal in [0.04, 0.4, 4.0, 40.0, 400.0] {
            let [risk, residual] = expectations(signal, 0.3);
            let outputs = 24;
            let all = |tau| outputs as f64 * residual(tau);
            let best = Curve::of(&grid, &risk).lowest().unwrap().1;
            let stop = StoppingRule::SHARP.stop(&spectrum, 0.5, outputs, all).unwrap();
            let one =
                StoppingRule { constant: 1.0, noise: Noise::Estimated }.stop(&spectrum, 0.5, outputs, all).unwrap();
            let [relative, of_one] = [&stop, &one].map(|stop| risk(stop.iterations) / best);
            assert!(relative - 1.0 < 0.5 * (of_one - 1.0) + 0.05, "{signal}: {relative} {of_one}");
            assert_eq!(stop.predicted_error, (stop.norm * stop.critical_radius).powi(2));
            // The condition is that of a function of norm one with noise divided by the norm.
            let known = StoppingRule { constant: 1.0, noise: Noise::Known(stop.noise / stop.norm) };
            let same = known.stop(&spectrum, 0.5, outputs, |_| unreachable!()).unwrap();
            assert_eq!((same.iterations, &same.curve), (stop.iterations, &stop.curve));
        }
        // Larger labels, larger norm; and of labels that say little, a norm near one is believed.
        let norm = |signal, outputs: usize| {
            let [_, residual] = expectations(signal, 0.3);
            StoppingRule::SHARP.stop(&spectrum, 0.5, outputs, |tau| outputs as f64 * residual(tau)).unwrap().norm
        };
        assert!(norm(0.04, 24) < norm(4.0, 24) && norm(4.0, 24) < norm(400.0, 24));
        assert!((0.7..1.4).contains(&norm(0.0, 1)), "{}", norm(0.0, 1));
    }

    #[test]
    fn rivals_find_the_best_iteration_in_expectation() {
        let spectrum = spectrum();
        let noise = 0.3;
        let [total, residual] = expectations(4.0, noise);
        let risk = |tau| total(tau) / 300.0;
        let grid = iteration_grid(1_000_000, 20);
        let best = Curve::of(&grid, risk).lowest().unwrap();
        let stein = steins_estimate(&spectrum, 0.5, 1, noise, &grid, &residual);
        // In expectation Stein's estimate is the risk, point by point.
        stein
            .iterations
            .iter()
            .zip(&stein.values)
            .for_each(|(&tau, &value)| assert!((value - risk(tau)).abs() < 1e-12));
        assert_eq!(stein.lowest().unwrap().0, best.0);
        let crossed = generalised_cross_validation(&spectrum, 0.5, 1, &grid, &residual).lowest().unwrap();
        assert!(risk(crossed.0) < 1.1 * best.1);
        let stop =
            StoppingRule { constant: 1.0, noise: Noise::Known(noise) }.stop(&spectrum, 0.5, 1, residual).unwrap();
        assert!(risk(stop.iterations) < 1.6 * best.1, "{} {}", risk(stop.iterations), best.1);
        assert_eq!(Curve::of(&[1, 2], |_| f64::NAN).lowest(), None);
    }

    #[test]
    fn grids_rise_strictly_to_the_last() {
        for last in [1, 2, 7, 1000] {
            let grid = iteration_grid(last, 10);
            assert_eq!((grid[0], *grid.last().unwrap()), (1, last));
            assert!(grid.windows(2).all(|w| w[0] < w[1]));
        }
    }

    #[test]
    fn unusable_settings_are_errors() {
        let spectrum = spectrum();
        let stop = |constant, noise, step| StoppingRule { constant, noise }.stop(&spectrum, step, 1, |_| 1.0);
        assert!(stop(1.0, Noise::Known(0.1), 0.5).is_ok());
        assert!(stop(0.0, Noise::Known(0.1), 0.5).is_err());
        assert!(stop(1.0, Noise::Known(-0.1), 0.5).is_err());
        assert!(stop(1.0, Noise::Known(f64::NAN), 0.5).is_err());
        assert!(stop(1.0, Noise::Estimated, f64::INFINITY).is_err());
        let decided = StoppingRule::SHARP.decide(&spectrum, 0.5, 1, 3, f64::NAN);
        assert_eq!(decided, Err(Error::Diverged { iteration: 3 }));
    }
}
