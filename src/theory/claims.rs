//! What was found, held against what the theory says.

use super::problem::Inputs;
use super::slope::{Interval, median};
use super::stopping::{Case, RULES, Rate};
use super::widths::{Convergence, WidthSlope, Widths};

/// The claim on the kernel of a network before training: a mean over neurons, whose slope is the same at all widths.
const INITIAL: &str = "the kernel starts at its limit";

/// How far a slope may be from the expected one.
const TOLERANCE: f64 = 0.1;

/// Whether a claim holds. What is measured with an interval is decided only if the whole interval says the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
#[cfg_attr(feature = "cli", serde(rename_all = "snake_case"))]
pub enum Verdict {
    /// As expected.
    Holds,
    /// What the theory bounds falls faster than its bound.
    Faster,
    /// Not as expected.
    Fails,
    /// The interval reaches from one answer into another.
    Undecided,
}

impl Verdict {
    /// What a slope's interval says: [`Verdict::Holds`] if all of it lies within [`TOLERANCE`] of `expected`, [`Verdict::Faster`] if
    /// all of it lies below, [`Verdict::Fails`] if all of it lies above.
    fn of(slope: Interval, expected: f64) -> Self {
        let [low, high] = [slope.value - slope.error - expected, slope.value + slope.error - expected];
        if low >= -TOLERANCE && high <= TOLERANCE {
            Verdict::Holds
        } else if high < -TOLERANCE {
            Verdict::Faster
        } else if low > TOLERANCE {
            Verdict::Fails
        } else {
            Verdict::Undecided
        }
    }
}

/// Why nothing is decided.
fn undecided(slope: Interval, expected: f64) -> String {
    let [low, high] = [slope.value - slope.error, slope.value + slope.error];
    format!("the interval from {low:.2} to {high:.2} is not within {TOLERANCE} of {expected:.2}, nor outside")
}

/// One claim of the theory in one dimension.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
pub struct Claim {
    /// Row of the table of claims, from 1 to 6.
    pub row: usize,
    /// In words.
    pub claim: &'static str,
    /// Data dimension.
    pub d: usize,
    /// What is measured.
    pub quantity: &'static str,
    /// What the theory expects.
    pub expected: String,
    /// What was found.
    pub measured: String,
    /// Whether that agrees.
    pub verdict: Verdict,
    /// Why it does not, or what else is to be known; may be empty.
    pub reason: String,
}

pub(super) fn judge(training: &[Convergence], widths: &Widths, overfitting: &[Case], rates: &[Rate]) -> Vec<Claim> {
    let mut claims = Vec::new();
    let mut dimensions: Vec<usize> = widths.flipped.iter().map(|s| s.d).collect();
    dimensions.dedup();
    for separated in [true, false] {
        claims.extend(dimensions.iter().filter_map(|&d| training_claim(training, d, separated)));
    }
    let rows: [(usize, &'static str, &'static str, &[WidthSlope]); 6] = [
        (2, "patterns freeze", "slope of the share of activations flipped at the end against m", &widths.flipped),
        (
            2,
            "patterns freeze for good",
            "slope of the share of activations flipped at any time against m",
            &widths.ever,
        ),
        (3, "the kernel freezes", "slope of ||H(tau) - H(0)|| / ||H(0)|| against m", &widths.change),
        (3, INITIAL, "slope of ||H(0) - H|| / ||H|| against m", &widths.gap),
        (4, "network = its linearisation", "slope of the largest |f_W - f_L| at the end against m", &widths.linearised),
        (4, "network = kernel regression", "slope of sup |f_W - f_K| against m", &widths.largest_difference),
    ];
    for (row, claim, quantity, slopes) in rows {
        for slope in slopes {
            let switched_on = median(widths.points.iter().filter(|p| p.d == slope.d).map(|p| p.switched_on));
            claims.push(slope_claim(row, claim, quantity, slope, switched_on));
        }
    }
    claims.extend(dimensions.iter().filter_map(|&d| overfitting_claim(overfitting, d)));
    claims.extend(rates.iter().map(rate_claim));
    claims
}

fn training_claim(training: &[Convergence], d: usize, separated: bool) -> Option<Claim> {
    let own: Vec<&Convergence> = training.iter().filter(|run| run.d == d && run.separated == separated).collect();
    let samples = own.first()?.samples;
    let widest = own.iter().map(|run| run.neurons).max().unwrap_or(0);
    let closest = |wide: bool| {
        let runs = own.iter().filter(|run| (run.neurons == widest) == wide);
        runs.map(|run| run.closest).fold(0.0, f64::max)
    };
    let smallest = own.iter().map(|run| run.conditioning).fold(f64::INFINITY, f64::min);
    let chosen = if separated { "picked far from each other" } else { "as they are drawn" };
    let setting = format!("{samples} samples {chosen}, lambda_0 down to {smallest:.1e} of the largest eigenvalue");
    let crossed: Vec<&&Convergence> = own.iter().filter(|run| run.closest > 1.0).collect();
    let reason = match crossed.iter().map(|run| run.neurons).max() {
        None => setting,
        Some(neurons) => format!(
            "{setting}; {} of {} runs cross the bound, with up to {neurons} neurons: too narrow for it, since the theorem asks for \
             widths beyond a power of N / lambda_0",
            crossed.len(),
            own.len()
        ),
    };
    Some(Claim {
        row: 1,
        claim: if separated { "training converges linearly" } else { "the same with a small lambda_0" },
        d,
        quantity: "||u - y||^2 over (1 - eta lambda_0)^tau ||u(0) - y||^2, the largest over seeds and iterations",
        expected: "never above 1, for wide networks".into(),
        measured: format!("{:.3} at {widest} neurons; {:.3} for narrower ones", closest(true), closest(false)),
        verdict: if closest(true) <= 1.0 { Verdict::Holds } else { Verdict::Fails },
        reason,
    })
}

fn interval(x: &Interval) -> String {
    format!("{:.3} +- {:.3}", x.value, x.error)
}

fn slope_claim(row: usize, claim: &'static str, quantity: &'static str, slope: &WidthSlope, on: f64) -> Claim {
    // Training ends in its asymptote where networks are wide; neurons that are drawn are in it from the first.
    let (found, other, expected) = match claim {
        INITIAL => (slope.all, format!("widest decade: {}", interval(&slope.widest)), "-1/2 over all widths"),
        _ => (slope.widest, format!("all widths: {}", interval(&slope.all)), "-1/2 over the widest decade"),
    };
    let verdict = Verdict::of(found, -0.5);
    let reason = match (verdict, claim) {
        (Verdict::Holds, _) => String::new(),
        (Verdict::Undecided, _) => undecided(found, -0.5),
        (Verdict::Faster, "the kernel freezes") => format!(
            "The bound adds up flips, m^(-1/2) of all. But each enters H with its direction: {:.0} % switch on, the others off, \
             and they cancel. Of m^(1/2) flips per sample with random signs a sum of order m^(1/4) is left, over m: slope -3/4",
            100.0 * on
        ),
        (Verdict::Faster, _) => "it falls faster than expected".into(),
        (Verdict::Fails, _) => {
            "these networks are too narrow for the asymptote: the slope still steepens with m".into()
        }
    };
    Claim {
        row,
        claim,
        d: slope.d,
        quantity,
        expected: expected.into(),
        measured: format!("{} ({other})", interval(&found)),
        verdict,
        reason,
    }
}

fn overfitting_claim(cases: &[Case], d: usize) -> Option<Claim> {
    let own: Vec<&Case> = cases.iter().filter(|case| case.d == d).collect();
    let samples = own.first()?.samples;
    let of = |rule: usize| median(own.iter().map(|case| case.ratio(rule)));
    let [sharp, theory, on] = [0, 1, 6].map(of);
    let rivals: Vec<String> = (2..6).map(|rule| format!("{} {:.2}", RULES[rule], of(rule))).collect();
    let holds = [sharp <= 1.1, theory <= 2.5, on > 1.1];
    let reasons = ["the rule stops too far from the best", "so is c = 2e", "training on does no harm here"];
    let failed: Vec<&str> = holds.iter().zip(reasons).filter(|(holds, _)| !**holds).map(|(_, reason)| reason).collect();
    Some(Claim {
        row: 5,
        claim: "training too long overfits",
        d,
        quantity: "error of kernel regression at the stop over the lowest, median of seeds",
        expected: "rule: at most 1.1; c = 2e: at most 2.5; training on: more".into(),
        measured: format!(
            "rule: {sharp:.3}; c = 2e: {theory:.2}; after 10^6 iterations {on:.1}; {} (N = {samples})",
            rivals.join(", ")
        ),
        verdict: if failed.is_empty() { Verdict::Holds } else { Verdict::Fails },
        reason: failed.join("; "),
    })
}

fn rate_claim(rate: &Rate) -> Claim {
    // Both slopes are measured, so what is judged is their difference, over seeds.
    let verdict = Verdict::of(rate.beyond, 0.0);
    let reason = match (verdict, rate.inputs) {
        (Verdict::Holds, _) => String::new(),
        (Verdict::Undecided, _) => format!("of the difference, {}", undecided(rate.beyond, 0.0)),
        (Verdict::Faster, _) => {
            "the rate is that of the worst function in the kernel's unit ball; this one is smoother".to_owned()
        }
        (Verdict::Fails, Inputs::Plain) => format!(
            "not the stop's fault: the lowest error of any iteration has slope {}. The kernel's space holds only functions with \
             f(c z) = c f(z), and the posterior mean is none of them: a part of it stays out of reach however many samples \
             there are. See the rows with a constant input",
            interval(&rate.best)
        ),
        (Verdict::Fails, Inputs::Constant) => format!(
            "the lowest error of any iteration has slope {}: these N are too small for the asymptote, probably because the \
             posterior mean has a large norm in the kernel's space. See the row whose function has norm one",
            interval(&rate.best)
        ),
        (Verdict::Fails, Inputs::InSpace) => {
            format!("the lowest error of any iteration has slope {}: these N are too small", interval(&rate.best))
        }
    };
    Claim {
        row: 6,
        claim: match rate.inputs {
            Inputs::Plain => "more data helps at the predicted rate",
            Inputs::Constant => "the same with a constant input",
            Inputs::InSpace => "the same for a function in the kernel's space",
        },
        d: rate.d,
        quantity: "slope of the error at the stop against N",
        expected: format!("{}, the slope of eps^2", interval(&rate.predicted)),
        measured: interval(&rate.error),
        verdict,
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slopes(value: f64) -> WidthSlope {
        let interval = Interval { value, error: 0.02 };
        WidthSlope { d: 2, widest: interval, all: interval }
    }

    #[test]
    fn verdicts_follow_the_slopes() {
        let judge = |value| slope_claim(3, "the kernel freezes", "", &slopes(value), 0.5);
        assert_eq!(judge(-0.45).verdict, Verdict::Holds);
        assert!(judge(-0.45).reason.is_empty());
        assert_eq!(judge(-0.72).verdict, Verdict::Faster);
        assert_eq!(judge(-0.3).verdict, Verdict::Fails);
        assert!(judge(-0.3).reason.contains("narrow"));
        // Within the tolerance by its value, but not with its interval.
        assert_eq!(judge(-0.41).verdict, Verdict::Undecided);
        assert_eq!(judge(-0.59).verdict, Verdict::Undecided);
        assert!(judge(-0.41).reason.contains("-0.43 to -0.39"), "{}", judge(-0.41).reason);
        // What is drawn has its slope at all widths, whatever the widest decade says.
        let noisy = Interval { value: -0.518, error: 0.279 };
        let initial = |all| slope_claim(3, INITIAL, "", &WidthSlope { d: 2, widest: noisy, all }, 0.5).verdict;
        assert_eq!(initial(Interval { value: -0.5, error: 0.03 }), Verdict::Holds);
        assert_eq!(initial(noisy), Verdict::Undecided);
        assert_eq!(
            slope_claim(2, "", "", &WidthSlope { d: 2, widest: noisy, all: noisy }, 0.5).verdict,
            Verdict::Undecided
        );
        let rate = |error: f64, width: f64| Rate {
            d: 2,
            inputs: Inputs::Plain,
            error: Interval { value: error, error: width },
            best: Interval { value: error, error: width },
            predicted: Interval { value: -0.5, error: 0.01 },
            beyond: Interval { value: error + 0.5, error: width },
        };
        let verdicts = [(-0.55, 0.04), (-0.8, 0.1), (-0.2, 0.1), (-0.55, 0.1)]
            .map(|(error, width)| rate_claim(&rate(error, width)).verdict);
        assert_eq!(verdicts, [Verdict::Holds, Verdict::Faster, Verdict::Fails, Verdict::Undecided]);
    }

    #[test]
    fn a_crossed_bound_is_shown() {
        let run = |neurons, closest| Convergence {
            d: 2,
            neurons,
            seed: 0,
            samples: 6,
            separated: true,
            conditioning: 0.1,
            closest,
            curve: Vec::new(),
        };
        let judge = |narrow, wide| training_claim(&[run(64, 0.9), run(64, narrow), run(512, wide)], 2, true).unwrap();
        let held = judge(0.95, 1.0);
        assert!(held.verdict == Verdict::Holds && held.reason.starts_with("6 samples picked far from each other"));
        let narrow = judge(1.5, 0.9);
        assert!(
            narrow.verdict == Verdict::Holds && narrow.reason.contains("1 of 3 runs") && narrow.reason.contains("64")
        );
        assert_eq!(judge(0.5, 1.2).verdict, Verdict::Fails);
    }
}
