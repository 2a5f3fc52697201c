//! The forward process: how data turn into noise, and the noise schedules (HRX section 2; Song et al. 2021).
//!
//! `dX = -1/2 g(t) X dt + sqrt(g(t)) dB`, so that `X_t = alpha(t) X_0 + sqrt(h(t)) eps` with `eps ~ N(0, I)`,
//! `alpha(t) = exp(-I(t)/2)`, `h(t) = 1 - alpha(t)^2` and `I(t)` the integral of `g` from 0 to `t`. Everything is written in
//! terms of `I` by `expm1` and `ln_1p`, so that small times lose no digits.

use crate::{Error, Result};

/// The speed `g(t)` of the forward process.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Schedule {
    /// `g(t) = g`: the Ornstein-Uhlenbeck process on its own clock.
    Constant {
        /// The speed, per unit of time; positive.
        g: f64,
    },
    /// `g` linear in `t`, the variance-preserving process of Song et al.
    Linear {
        /// `g(0)`, positive.
        start: f64,
        /// `g(1)`, positive.
        end: f64,
    },
    /// `log(alpha^2/h)` linear in `t` on \[0, 1\], which spreads uniform times evenly over the noise levels.
    LogSnr {
        /// The log signal-to-noise ratio at `t = 0`.
        start: f64,
        /// The log signal-to-noise ratio at `t = 1`, below `start`.
        end: f64,
    },
}

impl Schedule {
    /// The variance-preserving process with the settings of Song et al.: `g` from 0.1 to 20.
    pub const VARIANCE_PRESERVING: Schedule = Schedule::Linear { start: 0.1, end: 20.0 };
    /// Log signal-to-noise ratio from 8 to -6: noise from 2 % of the signal to 20 times the signal.
    pub const LOG_SNR: Schedule = Schedule::LogSnr { start: 8.0, end: -6.0 };

    /// The integral of `g` from 0 to `t`; for [`Schedule::LogSnr`], whose process starts noisy, `-2 log alpha(t)`.
    fn integral(self, t: f64) -> f64 {
        match self {
            Schedule::Constant { g } => g * t,
            Schedule::Linear { start, end } => t * (start + 0.5 * (end - start) * t),
            Schedule::LogSnr { .. } => softplus(-self.log_snr(t)),
        }
    }

    /// The integral of `g` from `s` to `t`, without cancellation.
    fn integral_between(self, s: f64, t: f64) -> f64 {
        match self {
            Schedule::Constant { g } => g * (t - s),
            Schedule::Linear { start, end } => (t - s) * (start + 0.5 * (end - start) * (t + s)),
            Schedule::LogSnr { start, end } => {
                // log((1 + e^-b) / (1 + e^-a)) = log(1 + h(s) (e^(a-b) - 1)) with a, b the ratios at s, t.
                (self.h(s) * ((start - end) * (t - s)).exp_m1()).ln_1p()
            }
        }
    }

    fn h(self, t: f64) -> f64 {
        match self {
            Schedule::LogSnr { .. } => 1.0 / (1.0 + self.log_snr(t).exp()),
            _ => -(-self.integral(t)).exp_m1(),
        }
    }

    fn log_snr(self, t: f64) -> f64 {
        match self {
            Schedule::LogSnr { start, end } => start + (end - start) * t,
            _ => {
                let i = self.integral(t);
                // alpha^2/h = 1/(e^I - 1), in the form that neither cancels nor overflows.
                if i < 1.0 { -i.exp_m1().ln() } else { -i - (-(-i).exp_m1()).ln() }
            }
        }
    }

    fn g(self, t: f64) -> f64 {
        match self {
            Schedule::Constant { g } => g,
            Schedule::Linear { start, end } => start + (end - start) * t,
            Schedule::LogSnr { start, end } => (start - end) * self.h(t),
        }
    }

    /// The time at which [`Schedule::log_snr`] has the value `ratio`.
    fn time_of(self, ratio: f64) -> f64 {
        let i = softplus(-ratio);
        match self {
            Schedule::Constant { g } => i / g,
            Schedule::Linear { start, end } => 2.0 * i / (start + (start * start + 2.0 * (end - start) * i).sqrt()),
            Schedule::LogSnr { start, end } => (start - ratio) / (start - end),
        }
    }
}

/// `log(1 + e^x)`, exact in relative terms for large negative `x` and finite for large positive.
fn softplus(x: f64) -> f64 {
    if x > 0.0 { x + (-x).exp().ln_1p() } else { x.exp().ln_1p() }
}

/// The forward process with its schedule, watched from time `T0` (`start`) to time `T` (`end`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ForwardProcess {
    schedule: Schedule,
    start: f64,
    end: f64,
}

/// Mean coefficients and variance of the Gaussian `X_s | X_t, X_0` for `s < t`: see [`ForwardProcess::bridge`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Bridge {
    /// Coefficient of `X_t` in the mean.
    pub noisy: f64,
    /// Coefficient of `X_0` in the mean.
    pub clean: f64,
    /// Variance of each coordinate.
    pub variance: f64,
}

impl ForwardProcess {
    /// The largest log signal-to-noise ratio, in absolute value, at either end.
    const EXTREME: f64 = 80.0;

    /// A process watched on `[start, end]`, in the time unit of the schedule.
    ///
    /// # Errors
    /// [`Error::Setting`] if a number is not finite, `g` is not positive everywhere on `[0, end]`, a [`Schedule::LogSnr`]
    /// does not fall or is asked beyond time 1, the times do not satisfy `0 <= start < end`, there is no noise yet at `start`
    /// (the score would be infinite), or the signal-to-noise ratio leaves `e^-80 ..= e^80`.
    pub fn new(schedule: Schedule, start: f64, end: f64) -> Result<Self> {
        let bad = |name, value: f64, requirement| Err(Error::Setting { name, value: value.to_string(), requirement });
        match schedule {
            Schedule::Constant { g } if !(g.is_finite() && g > 0.0) => {
                return bad("the speed g of the forward process", g, "it must be positive and finite");
            }
            Schedule::Linear { start, end } => {
                for g in [start, end] {
                    if !(g.is_finite() && g > 0.0) {
                        return bad("an end of the linear schedule", g, "it must be positive and finite");
                    }
                }
            }
            Schedule::LogSnr { start, end } if !(start.is_finite() && end.is_finite() && start > end) => {
                return bad("the final log signal-to-noise ratio", end, "it must be finite and below the first");
            }
            _ => {}
        }
        if !(start.is_finite() && start >= 0.0) {
            return bad("the first diffusion time", start, "it must be finite and not negative");
        }
        if !(end.is_finite() && end > start) {
            return bad("the last diffusion time", end, "it must be finite and later than the first");
        }
        if matches!(schedule, Schedule::LogSnr { .. }) && end > 1.0 {
            return bad("the last diffusion time", end, "the log-SNR schedule ends at 1");
        }
        let process = Self { schedule, start, end };
        if process.g(end) <= 0.0 {
            return bad(
                "the last diffusion time",
                end,
                "the speed of the linear schedule must still be positive there",
            );
        }
        if process.h(start) <= 0.0 {
            return bad(
                "the first diffusion time",
                start,
                "it must be positive, because the score without noise is infinite",
            );
        }
        if process.log_snr(start) > Self::EXTREME {
            return bad("the first diffusion time", start, "it must be later: log(alpha^2/h) there is above 80");
        }
        if process.log_snr(end) < -Self::EXTREME {
            return bad("the last diffusion time", end, "it must be earlier: log(alpha^2/h) there is below -80");
        }
        Ok(process)
    }

    /// The schedule.
    pub fn schedule(&self) -> Schedule {
        self.schedule
    }

    /// The first time `T0`, at which sampling ends.
    pub fn start(&self) -> f64 {
        self.start
    }

    /// The last time `T`, at which sampling begins.
    pub fn end(&self) -> f64 {
        self.end
    }

    /// What is left of the signal at time `t`: `exp(-1/2 int_0^t g)`.
    pub fn alpha(&self, t: f64) -> f64 {
        match self.schedule {
            Schedule::LogSnr { .. } => (1.0 / (1.0 + (-self.log_snr(t)).exp())).sqrt(),
            _ => (-0.5 * self.schedule.integral(t)).exp(),
        }
    }

    /// The variance of the noise at time `t`: `1 - alpha(t)^2`, without cancellation.
    pub fn h(&self, t: f64) -> f64 {
        self.schedule.h(t)
    }

    /// The standard deviation of the noise at time `t`.
    pub fn sqrt_h(&self, t: f64) -> f64 {
        self.h(t).sqrt()
    }

    /// The speed at time `t`: minus the derivative of `log alpha^2`.
    pub fn g(&self, t: f64) -> f64 {
        self.schedule.g(t)
    }

    /// The log signal-to-noise ratio `log(alpha^2/h)` at time `t`; it falls with `t`.
    pub fn log_snr(&self, t: f64) -> f64 {
        self.schedule.log_snr(t)
    }

    /// Noise to signal, `sqrt(h)/alpha`: the noise level of Karras et al. at time `t`.
    pub fn sigma(&self, t: f64) -> f64 {
        (-0.5 * self.log_snr(t)).exp()
    }

    /// The weight `h^2/alpha^2` under which score matching is regression on the clean data (HRX section 3).
    pub fn score_weight(&self, t: f64) -> f64 {
        self.h(t) * (-self.log_snr(t)).exp()
    }

    /// The time at which the log signal-to-noise ratio is `log_snr`: the inverse of [`ForwardProcess::log_snr`].
    pub fn time_of_log_snr(&self, log_snr: f64) -> f64 {
        self.schedule.time_of(log_snr)
    }

    /// The time at which noise to signal is `sigma > 0`: the inverse of [`ForwardProcess::sigma`].
    pub fn time_of_sigma(&self, sigma: f64) -> f64 {
        self.schedule.time_of(-2.0 * sigma.ln())
    }

    /// Signal kept and noise variance added from time `s` to a later time `t`: `X_t = a X_s + sqrt(v) eps` for `(a, v)`.
    pub fn transition(&self, s: f64, t: f64) -> (f64, f64) {
        let i = self.schedule.integral_between(s, t);
        ((-0.5 * i).exp(), -(-i).exp_m1())
    }

    /// The Gaussian law of `X_s` given `X_t` and `X_0`, for `s < t`: the exact step of ancestral sampling.
    pub(crate) fn bridge(&self, s: f64, t: f64) -> Bridge {
        let (kept, added) = self.transition(s, t);
        let (before, after) = (self.h(s), self.h(t));
        Bridge { noisy: kept * before / after, clean: self.alpha(s) * added / after, variance: before * added / after }
    }

    /// The score `(alpha f - x)/h` that a denoiser's value `f` implies for one coordinate `x` at time `t` (HRX section 3).
    pub fn score_of(&self, f: f64, x: f64, t: f64) -> f64 {
        (self.alpha(t) * f - x) / self.h(t)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> [ForwardProcess; 4] {
        [
            ForwardProcess::new(Schedule::Constant { g: 1.0 }, 0.01, 3.0).unwrap(),
            ForwardProcess::new(Schedule::Constant { g: 2.5 }, 1e-6, 2.0).unwrap(),
            ForwardProcess::new(Schedule::VARIANCE_PRESERVING, 1e-3, 1.0).unwrap(),
            ForwardProcess::new(Schedule::LOG_SNR, 0.0, 1.0).unwrap(),
        ]
    }

    fn close(a: f64, b: f64, tolerance: f64) {
        assert!((a - b).abs() <= tolerance * b.abs().max(1e-300), "{a} against {b}");
    }

    #[test]
    fn definitions_hold_at_every_time() {
        for p in all() {
            for i in 0..=20 {
                let t = p.start() + (p.end() - p.start()) * f64::from(i) / 20.0;
                let (alpha, h) = (p.alpha(t), p.h(t));
                close(alpha * alpha + h, 1.0, 1e-15);
                close(p.sqrt_h(t), h.sqrt(), 0.0);
                assert!((p.log_snr(t) - (alpha * alpha / h).ln()).abs() < 1e-11, "{}", p.log_snr(t));
                close(p.sigma(t), h.sqrt() / alpha, 1e-11);
                close(p.score_weight(t), (h / alpha).powi(2), 1e-11);
                // The schedule's derivative, by a central difference of log alpha^2.
                let e = 1e-5;
                let difference = (p.alpha(t - e).ln() - p.alpha(t + e).ln()) / e;
                close(p.g(t), difference, 2e-6);
            }
        }
    }

    #[test]
    fn small_times_lose_no_digits() {
        let p = ForwardProcess::new(Schedule::Constant { g: 1.0 }, 1e-30, 1.0).unwrap();
        close(p.h(1e-18), 1e-18, 1e-15);
        close(p.h(1e-9), 1e-9 - 0.5e-18, 1e-15);
        close(p.log_snr(1e-18), -(1e-18f64.ln()), 1e-15);
        let p = ForwardProcess::new(Schedule::VARIANCE_PRESERVING, 1e-18, 1.0).unwrap();
        close(p.h(1e-15), 1e-16 + 9.95e-30, 1e-14);
        close(p.transition(0.5, 0.5 + 1e-13).1 / 1e-13, 10.05, 1e-3);
        let (a, b) = (0.3, 0.3 + f64::EPSILON);
        assert!(p.transition(a, b).1 > 0.0, "a step of one ulp still adds noise");
        // Late times: log alpha^2/h neither overflows nor returns -0.
        let late = ForwardProcess::new(Schedule::Constant { g: 1.0 }, 0.1, 70.0).unwrap();
        close(late.log_snr(70.0), -70.0, 1e-15);
    }

    #[test]
    fn inverses_return_the_time() {
        for p in all() {
            for i in 0..=50 {
                let t = p.start() + (p.end() - p.start()) * f64::from(i) / 50.0;
                assert!((p.time_of_log_snr(p.log_snr(t)) - t).abs() < 1e-13 * (1.0 + t));
                assert!((p.time_of_sigma(p.sigma(t)) - t).abs() < 1e-13 * (1.0 + t));
            }
        }
    }

    #[test]
    fn steps_compose_and_bridges_keep_the_marginal() {
        for p in all() {
            let (s, t) = (p.start() + 0.2 * (p.end() - p.start()), p.start() + 0.6 * (p.end() - p.start()));
            let (kept, added) = p.transition(s, t);
            close(kept * p.alpha(s), p.alpha(t), 1e-13);
            close(kept * kept * p.h(s) + added, p.h(t), 1e-13);
            // Averaging the bridge over X_t | X_0 must give X_s | X_0.
            let b = p.bridge(s, t);
            close(b.noisy * p.alpha(t) + b.clean, p.alpha(s), 1e-12);
            close(b.noisy * b.noisy * p.h(t) + b.variance, p.h(s), 1e-12);
        }
    }

    #[test]
    fn unusable_settings_are_errors() {
        let bad = [
            (Schedule::Constant { g: 0.0 }, 0.1, 1.0),
            (Schedule::Constant { g: f64::NAN }, 0.1, 1.0),
            (Schedule::Constant { g: 1.0 }, 0.0, 1.0),
            (Schedule::Constant { g: 1.0 }, -1.0, 1.0),
            (Schedule::Constant { g: 1.0 }, 1.0, 1.0),
            (Schedule::Constant { g: 1.0 }, 0.1, f64::INFINITY),
            (Schedule::Constant { g: 1.0 }, 0.1, 1000.0),
            (Schedule::Linear { start: 0.1, end: -2.0 }, 0.1, 1.0),
            (Schedule::Linear { start: 1.0, end: 0.1 }, 0.1, 1.5),
            (Schedule::LogSnr { start: -6.0, end: 8.0 }, 0.0, 1.0),
            (Schedule::LogSnr { start: 8.0, end: -6.0 }, 0.0, 1.2),
            (Schedule::LogSnr { start: 90.0, end: -6.0 }, 0.0, 1.0),
        ];
        for (schedule, start, end) in bad {
            assert!(
                matches!(ForwardProcess::new(schedule, start, end), Err(Error::Setting { .. })),
                "{schedule:?} {start} {end}"
            );
        }
    }
}
