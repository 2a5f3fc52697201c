//! Which diffusion times training draws. The density of the times is also a weight of the loss: the errors of times that are drawn often
//! count for more.

use crate::diffusion::process::ForwardProcess;

/// Parts of equal length of the times, in each of which the error is measured: into each fall 128 or more of the rows that it is
/// measured on, and over each the log signal-to-noise ratio changes by less than one.
pub(crate) const PARTS: usize = 16;

/// The law of the times.
#[derive(Debug, Clone, PartialEq)]
pub enum TimeDensity {
    /// Evenly over all of them.
    Even,
    /// A share evenly, the others by a logistic law of the log signal-to-noise ratio.
    Logistic {
        /// Share of the evenly spread times, in [0, 1).
        even: f64,
        /// Centre of the logistic law.
        centre: f64,
        /// Its scale; positive.
        spread: f64,
    },
    /// By what training can still remove of the error.
    Recoverable(Recoverable),
}

impl TimeDensity {
    /// What serves tables best: three quarters of the times lie where there is most to learn.
    pub const TABLES: Self = Self::Logistic { even: 0.25, centre: 1.0, spread: 1.6 };

    /// The time at `place` in [0, 1] of the sequence of times, such that evenly spread places give times of this law: under the logistic
    /// one evenly spread times first, then the others from noisy to clean; else from clean to noisy.
    pub(crate) fn at(&self, process: &ForwardProcess, place: f64) -> f64 {
        let (start, end) = (process.start(), process.end());
        match self {
            Self::Even => start + (end - start) * place,
            &Self::Logistic { even, .. } if place < even => start + (end - start) * place / even,
            &Self::Logistic { even, centre, spread } => {
                let law = |x: f64| 1.0 / (1.0 + (-(x - centre) / spread).exp());
                let (low, high) = (law(process.log_snr(end)), law(process.log_snr(start)));
                let v = low + (high - low) * (place - even) / (1.0 - even);
                process.time_of_log_snr(centre + spread * (v / (1.0 - v)).ln()).clamp(start, end)
            }
            Self::Recoverable(law) => start + (end - start) * law.share_at(place),
        }
    }
}

/// Times by the excess error that training can still remove, after "Elucidating Representation Degradation Problem in Diffusion Model
/// Training" (ERD): the density is proportional to `w(t) (J(t) - J_floor(t))`, but for a share of even draws.
///
/// `J(t) = E|X_0 - f(X_t, t)|^2` is the denoiser's error, `R(t) = 1 - J(t) / E|X_0 - E X_0|^2` the share of the clean row that the noisy
/// one still tells, and `w = sqrt(R)`. The floor is not known. The error is looked at whenever training has become twice as long, and
/// the excess is taken to be in proportion to what the latest doubling removed: where `J = J_floor + a tau^-p` after `tau` iterations, a
/// doubling removes `2^p - 1` times what is left, and with one `p` for all times that factor does not matter.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "model-file", derive(serde::Serialize, serde::Deserialize))]
pub struct Recoverable {
    /// Errors at the latest look, one for each part of the times; none before the first.
    errors: Vec<f64>,
    /// Steps before the next look.
    next: usize,
    /// The share of the draws that each part of the times gets; their sum is one.
    shares: Vec<f64>,
}

impl Recoverable {
    /// Share of the draws that stay even, as many as [`TimeDensity::TABLES`] spreads evenly. A time that is hardly drawn does not improve,
    /// and would not be drawn again.
    const EVEN: f64 = 0.25;
    /// Steps between the first look, before training, and the second. A look takes as long as two steps or less, and in fewer steps
    /// than these the averaged weights hardly move.
    const FIRST: usize = 32;

    /// Even draws, until the error has been looked at twice.
    pub fn new() -> Self {
        Self { errors: Vec::new(), next: 0, shares: vec![1.0 / PARTS as f64; PARTS] }
    }

    /// Whether to look at the error after this many steps.
    pub(crate) fn due(&self, steps: usize) -> bool {
        steps == self.next
    }

    /// Takes up the mean squared errors of rows in each part of the times after this many steps; `variance` is the mean squared distance
    /// of a row from the mean row. Where the error has fallen nowhere, the law stays as it is.
    pub(crate) fn tell(&mut self, steps: usize, errors: Vec<f64>, variance: f64) {
        let excess = |(&before, &now): (&f64, &f64)| (1.0 - now / variance).max(0.0).sqrt() * (before - now).max(0.0);
        let excesses: Vec<f64> = self.errors.iter().zip(&errors).map(excess).collect();
        let sum: f64 = excesses.iter().sum();
        if sum > 0.0 {
            let share = |excess| Self::EVEN / PARTS as f64 + (1.0 - Self::EVEN) * excess / sum;
            self.shares = excesses.into_iter().map(share).collect();
        }
        self.errors = errors;
        self.next = (2 * steps).max(Self::FIRST);
    }

    /// The share of the times that lies before the one at `place` in [0, 1] of the draws.
    fn share_at(&self, place: f64) -> f64 {
        let mut left = place;
        for (part, &share) in self.shares.iter().enumerate() {
            if left < share {
                return (part as f64 + left / share) / PARTS as f64;
            }
            left -= share;
        }
        1.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::diffusion::process::Schedule;

    fn process() -> ForwardProcess {
        ForwardProcess::new(Schedule::LOG_SNR, 0.0, 1.0).unwrap()
    }

    /// A floor that differs from time to time, and what lies above it before training.
    fn floor(part: usize) -> (f64, f64) {
        let place = (part as f64 + 0.5) / PARTS as f64;
        (0.9 * place, 0.3 * (-0.5 * ((place - 0.4) / 0.1).powi(2)).exp() * (1.0 - 0.9 * place))
    }

    /// What has learnt from errors that fall by a power of the iterations to that floor.
    fn learnt(looks: usize) -> Recoverable {
        let mut law = Recoverable::new();
        for _ in 0..looks {
            let steps = law.next;
            let error = |part| {
                let (floor, above) = floor(part);
                floor + above / (1.0 + steps as f64).powf(0.5)
            };
            law.tell(steps, (0..PARTS).map(error).collect(), 1.0);
        }
        law
    }

    #[test]
    fn draws_follow_the_density_which_integrates_to_one() {
        let process = process();
        // The densities on [0, 1], written down anew: there the log signal-to-noise ratio falls from 8 to -6.
        let logistic = |t: f64| {
            let law = |x: f64| 1.0 / (1.0 + (-(x - 1.0) / 1.6).exp());
            let x = 8.0 - 14.0 * t;
            0.25 + 0.75 * 14.0 / 1.6 * law(x) * (1.0 - law(x)) / (law(8.0) - law(-6.0))
        };
        let learnt = learnt(4);
        let shares = learnt.shares.clone();
        let parts = |t: f64| shares[((t * PARTS as f64) as usize).min(PARTS - 1)] * PARTS as f64;
        let even = |_: f64| 1.0;
        let laws: [(TimeDensity, &dyn Fn(f64) -> f64); 3] =
            [(TimeDensity::Even, &even), (TimeDensity::TABLES, &logistic), (TimeDensity::Recoverable(learnt), &parts)];
        for (law, density) in laws {
            const CELLS: usize = 16_000;
            const DRAWS: usize = 4000;
            let mut times: Vec<f64> = (0..DRAWS).map(|j| law.at(&process, (j as f64 + 0.5) / DRAWS as f64)).collect();
            times.sort_by(f64::total_cmp);
            let (mut mass, mut drawn, mut distance) = (0.0, 0, 0.0f64);
            for cell in 0..CELLS {
                mass += density((cell as f64 + 0.5) / CELLS as f64) / CELLS as f64;
                let end = (cell + 1) as f64 / CELLS as f64;
                drawn += times[drawn..].iter().take_while(|&&t| t <= end).count();
                distance = distance.max((drawn as f64 / DRAWS as f64 - mass).abs());
            }
            assert!((mass - 1.0).abs() < 1e-6, "{law:?}: {mass}");
            assert!(distance < 2.0 / DRAWS as f64, "{law:?}: Kolmogorov distance {distance}");
            // The ends, which rounding can reach.
            assert!([0.0, 1.0].map(|place| law.at(&process, place)).iter().all(|t| (0.0..=1.0).contains(t)), "{law:?}");
        }
    }

    #[test]
    fn times_with_excess_error_are_drawn_more_often() {
        // Even until there are two looks to compare.
        assert_eq!(learnt(1).shares, Recoverable::new().shares);
        for looks in 3..10 {
            let law = learnt(looks);
            let steps = law.next / 2;
            let weighed = |part| {
                let (floor, above) = floor(part);
                let excess = above / (1.0 + steps as f64).powf(0.5);
                (1.0 - floor - excess).sqrt() * excess
            };
            let sum: f64 = (0..PARTS).map(weighed).sum();
            for (part, &share) in law.shares.iter().enumerate() {
                let wanted = 0.25 / PARTS as f64 + 0.75 * weighed(part) / sum;
                assert!((share / wanted - 1.0).abs() < 1e-9, "look {looks}, part {part}: {share} {wanted}");
            }
            // A quarter is even; nearly all else lies around 0.4, though the error is larger at later times.
            assert!(law.shares[3..10].iter().sum::<f64>() > 0.75, "{:?}", law.shares);
        }
    }

    #[test]
    fn a_law_without_news_stays_as_it_is() {
        let mut law = learnt(5);
        let (shares, steps) = (law.shares.clone(), law.next);
        assert!(law.due(steps) && !law.due(steps + 1) && !law.due(0));
        // Errors that rise everywhere, and then errors from which nothing can be recovered.
        law.tell(steps, vec![0.99; PARTS], 1.0);
        law.tell(2 * steps, vec![0.98; PARTS], 0.5);
        assert_eq!(law.shares, shares);
        assert_eq!(law.next, 4 * steps);
    }
}
