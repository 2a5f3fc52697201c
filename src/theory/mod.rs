//! The experiments that show every prediction of the theory holding, or not: data, without a picture or a word on a screen.
//!
//! Fourth floor, beside [`crate::fit`]: it composes and returns data; drawing them is the command line's work.
//!
//! [`run`] answers for six claims (training converges, patterns freeze, the kernel freezes, the network is kernel regression,
//! training too long overfits, more data helps at the predicted rate) and three questions beside them: how far each stopping
//! rule is from the best iteration, whether localisation matters, and at what width a network on a given table leaves the
//! kernel regime. Apart from these, [`dimension`] measures the dimension of data from a denoiser.

mod claims;
pub mod demo;
pub mod dimension;
mod problem;
mod regime;
mod slope;
mod stopping;
mod tails;
mod unseen;
mod widths;

pub use claims::{Claim, Verdict};
pub use problem::Inputs;
pub use regime::{LEFT, Regime, RegimePoint};
pub use slope::median;
pub use stopping::{Case, RULES, Rate, RuleRow, Rules, WINDOWS};
pub use tails::{Stopped, Tails};
pub use unseen::unseen;
pub use widths::{Convergence, WidthPoint, Widths};

use crate::Result;
use crate::table::Table;
use crate::table::schema::SchemaOptions;

/// Data dimensions of the claims, and of the comparison of rules.
const DIMENSIONS: [usize; 2] = [2, 8];
const COMPARED: [usize; 3] = [2, 8, 24];

/// What to run.
#[derive(Debug, Clone)]
pub struct Settings<'a> {
    /// First of the seeds.
    pub seed: u64,
    /// Narrower networks, fewer samples and seeds: under a minute.
    pub quick: bool,
    /// A table on which to look for the end of the kernel regime.
    pub table: Option<(&'a Table, SchemaOptions)>,
}

/// How much is run.
struct Size {
    /// Widths are powers of two between these.
    widths: [u32; 2],
    width_seeds: u64,
    training_widths: &'static [usize],
    samples: &'static [usize],
    compared: &'static [usize],
    largest_compared: Option<usize>,
    /// Largest number of samples with other than plain inputs.
    largest_other: usize,
    seeds: u64,
    /// Sizes and seeds of the comparison on other problems.
    unseen: &'static [usize],
    unseen_seeds: u64,
    table_widths: [u32; 2],
    table_seeds: u64,
}

const FULL: Size = Size {
    widths: [9, 18],
    width_seeds: 16,
    training_widths: &[1 << 9, 1 << 11, 1 << 13, 1 << 15],
    samples: &[128, 250, 500, 1000, 2000, 4000, 8192],
    compared: &[250, 500, 1000, 2000, 4000],
    largest_compared: Some(8192),
    largest_other: 4000,
    seeds: 5,
    unseen: &[128, 256, 512, 1024],
    unseen_seeds: 2,
    table_widths: [7, 15],
    table_seeds: 3,
};

const QUICK: Size = Size {
    widths: [9, 15],
    width_seeds: 6,
    training_widths: &[1 << 9, 1 << 11, 1 << 13],
    samples: &[128, 250, 500, 1000],
    compared: &[250, 500, 1000],
    largest_compared: None,
    largest_other: 1000,
    seeds: 5,
    unseen: &[128, 256],
    unseen_seeds: 1,
    table_widths: [7, 11],
    table_seeds: 2,
};

/// Everything that was found.
#[derive(Debug, Clone)]
#[cfg_attr(feature = "cli", derive(serde::Serialize))]
pub struct Report {
    /// First of the seeds.
    pub seed: u64,
    /// Whether the short version was run.
    pub quick: bool,
    /// The claims, each in each dimension.
    pub claims: Vec<Claim>,
    /// Training against its bound.
    pub training: Vec<Convergence>,
    /// Networks of many widths against kernel regression.
    pub widths: Widths,
    /// Error against iterations of kernel regressions.
    pub overfitting: Vec<Case>,
    /// Error at the stop against the number of samples.
    pub rates: Vec<Rate>,
    /// The regressions behind `rates`.
    pub growth: Vec<Case>,
    /// The stopping rules compared.
    pub rules: Rules,
    /// The stopping rules compared on problems that no choice has seen.
    pub unseen: Rules,
    /// Localisation on heavy-tailed data.
    pub tails: Vec<Tails>,
    /// The kernel regime on a table, if one was given.
    pub regime: Option<Regime>,
}

/// Largest number of samples whose Gram matrix [`run`] decomposes.
pub const EXACT: usize = problem::EXACT;

/// Runs all experiments on the threads of the current rayon pool. `observe(share, what)` is told where it stands. The same seed
/// gives the same report whatever the number of threads.
///
/// # Errors
/// [`crate::Error::Table`] if the table cannot be used; otherwise those of the computations, which do not occur with the sizes
/// used here.
pub fn run(settings: &Settings<'_>, observe: &mut dyn FnMut(f64, &str)) -> Result<Report> {
    let size = if settings.quick { &QUICK } else { &FULL };
    let first = settings.seed;
    let seeds = |count: u64| first..first + count;
    let powers = |[low, high]: [u32; 2]| (low..=high).map(|power| 1usize << power).collect::<Vec<_>>();
    // Before anything long: a table that cannot be used is said at once.
    let regime = match &settings.table {
        None => None,
        Some((table, schema)) => {
            let widths = powers(size.table_widths);
            let mut tell = |share| observe(0.25 * share, "the table's kernel regime");
            Some(regime::run(table, schema, &widths, seeds(size.table_seeds), &mut tell)?)
        }
    };
    let begun = if regime.is_some() { 0.25 } else { 0.0 };
    let mut part = |from: f64, to: f64, share: f64, what: &str| {
        observe(begun + (1.0 - begun) * (from + (to - from) * share), what);
    };
    let training = widths::convergence(&DIMENSIONS, size.training_widths, seeds(5), &mut |share| {
        part(0.0, 0.08, share, "training against its bound");
    })?;
    let widths = widths::run(&DIMENSIONS, &powers(size.widths), seeds(size.width_seeds), &mut |share| {
        part(0.08, 0.35, share, "networks of many widths");
    })?;
    let tails = tails::run(seeds(5), &mut |share| part(0.35, 0.38, share, "heavy tails"))?;
    let unseen = unseen::unseen(size.unseen, seeds(size.unseen_seeds), &mut |share| {
        part(0.38, 0.6, share, "stopping rules on other problems");
    })?;
    let mut tasks = Vec::new();
    for seed in seeds(size.seeds) {
        for d in COMPARED {
            for window in WINDOWS {
                let whole = window.name == "all";
                let compared = size.compared.iter().copied().chain(size.largest_compared.filter(|_| whole));
                let rated = size.samples.iter().copied().filter(|_| whole && DIMENSIONS.contains(&d));
                let mut sizes: Vec<usize> = compared.chain(rated).collect();
                sizes.sort_unstable();
                sizes.dedup();
                tasks.extend(sizes.into_iter().map(|samples| {
                    let curve = whole && samples == 1000 && DIMENSIONS.contains(&d);
                    stopping::Task { d, inputs: Inputs::Plain, samples, window, seed, curve }
                }));
            }
        }
        for inputs in [Inputs::Constant, Inputs::InSpace] {
            for d in DIMENSIONS {
                let sizes = size.samples.iter().filter(|&&n| n <= size.largest_other);
                let task = |&samples| stopping::Task { d, inputs, samples, window: WINDOWS[1], seed, curve: false };
                tasks.extend(sizes.map(task));
            }
        }
    }
    let mut cases = stopping::run(&mut tasks, &mut |share| part(0.6, 1.0, share, "stopping rules"))?;
    // Sorted by what is regressed on what, the plain ones first.
    let other = cases.split_off(cases.partition_point(|case| case.inputs == Inputs::Plain));
    let rated = |c: &&Case| c.window == "all" && DIMENSIONS.contains(&c.d);
    let growth: Vec<Case> = cases.iter().filter(rated).chain(&other).cloned().collect();
    let rates = stopping::rates(&growth);
    let overfitting: Vec<Case> = cases.iter().filter(|c| !c.curve.is_empty()).cloned().collect();
    let rules = stopping::compare(cases);
    let claims = claims::judge(&training, &widths, &overfitting, &rates);
    Ok(Report {
        seed: first,
        quick: settings.quick,
        claims,
        training,
        widths,
        overfitting,
        rates,
        growth,
        rules,
        unseen,
        tails,
        regime,
    })
}
