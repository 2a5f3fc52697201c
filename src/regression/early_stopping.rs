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
//! `2e` in theory. The theory takes the regression function's norm in the kernel's space to be one; for a function of norm `B`
//! everything is divided by `B`, so that what counts is `sigma / B`. Labels have no unit that the theory could know: so
//! [`Noise::Relative`] takes both from the data, by cross-validation. Its rivals are in [`super::risk`].

use crate::regression::risk::Curve;
use crate::regression::spectrum::{Spectrum, shrinkage};
use crate::regression::spectrum_estimate::{Estimate, SpectrumEstimate};
use crate::{Error, Result};

/// Iterations beyond which a rule says "never".
pub(crate) const NEVER: u64 = 1 << 53;

/// The scale `sigma` of the label noise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Noise {
    /// Known, in the unit of the labels.
    Known(f64),
    /// Estimated by the fixed point of [`StoppingRule::estimate_noise`], for a function of norm one in the kernel's space.
    Estimated,
    /// Estimated together with the norm of the function, which it is divided by: the rule then stops where generalised
    /// cross-validation says, for no choice of units. It assumes what cross-validation does: errors of the labels that are
    /// independent between samples and of one scale.
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
    /// `T_hat`, the iteration to stop after; 2^53 if nothing is to be gained by stopping.
    pub iterations: u64,
    /// The critical radius `eps_hat`.
    pub critical_radius: f64,
    /// `norm^2 eps_hat^2`, the order of the squared error at the stop (RWY theorem 1), in the squared unit of the labels.
    pub predicted_error: f64,
    /// The scale of the label noise, in the unit of the labels.
    pub noise: f64,
    /// The norm of the function that the noise was measured against, in the unit of the labels: 1 unless asked for by
    /// [`Noise::Relative`], with which it is the norm for which the rule stops where cross-validation says.
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

    /// The rule with constant 1 and noise estimated relative to the function's norm. Nothing in it has a unit: labels times a
    /// factor, a kernel times a factor with the step divided by it, and outputs rotated among each other stop at the same
    /// iteration.
    pub const SHARP: StoppingRule = StoppingRule { constant: 1.0, noise: Noise::Relative };

    /// The rule as it is proved, with noise of known scale.
    pub fn theory(noise: f64) -> Self {
        Self { constant: Self::THEORY, noise: Noise::Known(noise) }
    }

    /// Rounds of the fixed point, and the iteration that it starts from.
    const ROUNDS: usize = 8;
    const FIRST: u64 = 10;

    /// The last iteration that cross-validation looks at, iterations to a factor of ten, and the share of the samples that must be
    /// left unfitted: an iteration at a third of a percent says as much as one.
    const FARTHEST: u64 = 1_000_000_000_000;
    const PER_DECADE: usize = 20;
    const UNFITTED: f64 = 0.01;

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
    /// The theory takes that norm to be one. But every iteration is where the rule stops for some norm, and cross-validation says
    /// how well each does: the rule stops at [`Curve::mean_iteration`](super::risk::Curve::mean_iteration) of [`Curve::generalised_cross_validation`], `sigma` is what the
    /// residuals there show, and `B` is the norm for which the condition turns just after it.
    ///
    /// `residual` and `outputs` as for [`StoppingRule::stop`].
    fn estimate_relative_noise(
        &self,
        spectrum: &Spectrum,
        step: f64,
        outputs: usize,
        mut residual: impl FnMut(u64) -> f64,
    ) -> (f64, f64) {
        // Where all but a few of the samples are fitted, what is left says nothing of the noise.
        let left = |tau: u64| spectrum.sum(|value| shrinkage(step * value, tau)) / spectrum.dimension() as f64;
        let grid: Vec<u64> = Curve::grid(Self::FARTHEST, Self::PER_DECADE)
            .into_iter()
            .take_while(|&tau| tau == 1 || left(tau) > Self::UNFITTED)
            .collect();
        let curve = Curve::generalised_cross_validation(spectrum, step, outputs, &grid, &mut residual);
        let Some(mean) = curve.mean_iteration(spectrum.dimension() * outputs) else { return (0.0, 1.0) };
        let tau = (mean.round() as u64).max(1);
        let noise = noise_at(spectrum, step, tau, outputs, residual(tau));
        let time = step * (tau as f64 + 0.5);
        let norm = self.constant * noise * time * spectrum.complexity((1.0 / time).sqrt());
        if noise > 0.0 && norm > 0.0 && norm.is_finite() { (noise, norm) } else { (0.0, 1.0) }
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
        let curve = Curve::grid(iterations.saturating_mul(10).clamp(10, NEVER), 20)
            .into_iter()
            .map(|tau| self.crossing(spectrum, step * tau as f64, tau, relative))
            .collect();
        let predicted_error = (norm * critical_radius).powi(2);
        Ok(Stop { iterations, critical_radius, predicted_error, noise, norm, curve })
    }

    /// The earliest and the latest `T_hat` that the error bars of an estimated spectrum allow, for noise of scale `noise` relative to
    /// the function's norm and constant `step`.
    ///
    /// # Errors
    /// [`Error::Setting`] as for [`StoppingRule::stop`].
    pub fn range(&self, spectrum: &SpectrumEstimate, step: f64, noise: f64) -> Result<[u64; 2]> {
        StoppingRule { noise: Noise::Known(noise), ..*self }.check(step)?;
        let last = |side: f64| {
            let exceeded = |tau: u64| {
                let time = step * tau as f64;
                let Estimate { value, error } = spectrum.complexity((1.0 / time).sqrt());
                value + side * error > 1.0 / (self.constant * noise * time)
            };
            let mut above = 1;
            while !exceeded(above) {
                if above == NEVER {
                    return NEVER;
                }
                above *= 2;
            }
            let mut below = above / 2;
            while above - below > 1 {
                let middle = below + (above - below) / 2;
                if exceeded(middle) { above = middle } else { below = middle }
            }
            below
        };
        Ok([last(1.0), last(-1.0)])
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
}

/// The noise scale that residuals after `iterations` steps show: the root of
/// `residual / (outputs (N - degrees of freedom))`.
pub(crate) fn noise_at(spectrum: &Spectrum, step: f64, iterations: u64, outputs: usize, residual: f64) -> f64 {
    // N - tr S = sum (1 - s lambda)^tau, without the cancellation of the difference.
    let left = spectrum.sum(|value| shrinkage(step * value, iterations));
    (residual / (outputs as f64 * left)).sqrt()
}

/// The same after effective time `time` of gradient flow, which small steps and steps with momentum follow:
/// the root of `residual / (outputs sum exp(-time lambda))`.
pub(crate) fn noise_in_flow(spectrum: &Spectrum, time: f64, outputs: usize, residual: f64) -> f64 {
    (residual / (outputs as f64 * spectrum.sum(|value| (-time * value).exp()))).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::regression::example::{expectations, spectrum};
    use crate::regression::risk::Curve;

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
    fn the_fixed_point_is_reached_from_below_while_training() {
        let spectrum = spectrum();
        let residual = pure_noise(0.2, 3);
        let rule = StoppingRule { constant: 1.0, noise: Noise::Estimated };
        let stop = rule.stop(&spectrum, 0.5, 3, &residual).unwrap();
        assert!((stop.noise / 0.2 - 1.0).abs() < 0.05 && stop.norm == 1.0, "{} {}", stop.noise, stop.norm);
        let exceeded = |tau: u64| {
            let noise = noise_at(&spectrum, 0.5, tau, 3, residual(tau));
            rule.crossing(&spectrum, 0.5 * (tau + 1) as f64, tau + 1, noise).exceeded()
        };
        let tau = (1..).find(|&tau| exceeded(tau)).unwrap();
        assert!(tau.abs_diff(stop.iterations) <= 1 + stop.iterations / 100, "{tau} {}", stop.iterations);
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

    #[test]
    fn noise_counts_relative_to_the_norm() {
        let spectrum = spectrum();
        let grid = Curve::grid(1_000_000, 20);
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
    }

    #[test]
    fn the_stop_has_no_unit() {
        let outputs = 24;
        let [risk, residual] = expectations(4.0, 0.3);
        let stop = |labels: f64, kernel: f64| {
            let values: Vec<f64> = spectrum().values().iter().map(|value| value * kernel).collect();
            let spectrum = Spectrum::from_eigenvalues(&values).unwrap();
            let all = |tau| labels * labels * outputs as f64 * residual(tau);
            StoppingRule::SHARP.stop(&spectrum, 0.5 / kernel, outputs, all).unwrap()
        };
        let one = stop(1.0, 1.0);
        let best = Curve::of(&Curve::grid(1_000_000, 20), &risk).lowest().unwrap().1;
        assert!(risk(one.iterations) < 1.05 * best);
        // With powers of two the arithmetic is the same, with others it is rounded.
        for unit in [0.125, 1024.0] {
            let other = stop(unit, 1.0);
            assert_eq!((other.noise, other.norm), (unit * one.noise, unit * one.norm));
            assert_eq!((other.iterations, other.critical_radius), (one.iterations, one.critical_radius));
        }
        for (labels, kernel) in
            [(0.01, 1.0), (0.1, 1.0), (10.0, 1.0), (100.0, 1.0), (1.0, 4.0), (1.0, 0.3), (7.0, 30.0)]
        {
            let other = stop(labels, kernel);
            assert_eq!(other.iterations, one.iterations, "{labels} {kernel}");
            assert!((other.noise / one.noise / labels - 1.0).abs() < 1e-9, "{labels} {kernel}");
            assert!((other.norm / one.norm / labels * kernel.sqrt() - 1.0).abs() < 1e-9, "{labels} {kernel}");
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
    }
}
