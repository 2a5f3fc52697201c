//! `ntk-score dimension`: a fitted model goes in, the intrinsic dimension of its table over noise levels comes out.

use std::fmt::Write;
use std::path::PathBuf;

use clap::Args;
use faer::Par;

use crate::theory::dimension::{FLATNESS, LEAST_RANGE, Plateau, Report, of_model};

use super::columns::refuse_overwriting;
use super::dimension_plot;
use super::fit::{parse_threads, read_model};
use super::{Failure, Outcome, finish, pending, print, progress_bar, use_threads};

/// Measure the intrinsic dimension of a table over noise levels, from a fitted model
///
/// Three estimates, each at 29 levels of noise: the MMSE dimension, E|D(x + sigma eps) - x|^2 / sigma^2 with D the denoiser; FLIPD,
/// tr dD/dx + |D(x) - x|^2 / sigma^2; and the rank gap of scores around a row. Beside the curves stands the plateau of each, with the
/// range of noise over which it holds, or none.
///
/// A model does not hold the rows that it was fitted to, so the rows x are drawn from the model. Numerical columns are measured, in normal
/// scores as the model codes them; codes of categories are noisy as well but do not count, because they are discrete.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ntk-score dimension model.safetensors
  ntk-score dimension model.safetensors --rows 2000 --json dimension.json --plot dimension.svg")]
pub struct DimensionArgs {
    /// The fitted model; - is standard input
    model: PathBuf,
    /// Rows to draw from the model
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u64).range(16..=8192))]
    rows: u64,
    /// Write the curves and plateaus as one JSON object: seed, rows, columns (numerical), coded_columns, dimension (the plateau of
    /// the MMSE dimension: value, standard_error, sigma, log_snr; or null), plateaus (mmse, flipd, rank_gap), curves (at each level
    /// sigma, log_snr, mmse, flipd, flipd_quartiles, rank_gap, rank_gap_share)
    #[arg(long, value_name = "FILE.json")]
    json: Option<PathBuf>,
    /// Draw the curves
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
    /// Seed of everything that is drawn
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Threads to use [default: one per core]
    #[arg(long, value_name = "T", value_parser = parse_threads)]
    threads: Option<usize>,
}

/// Runs the command.
pub fn run(args: DimensionArgs) -> Outcome {
    let threads = use_threads(args.threads)?;
    for (option, path) in [("--json", &args.json), ("--plot", &args.plot)] {
        let Some(path) = path else { continue };
        refuse_overwriting(&args.model, option, path)?;
        if path.as_os_str() == "-" {
            return Err(Failure::new(format!("{option} needs the name of a file; standard output is for the figures")));
        }
    }
    if args.json.is_some() && args.json == args.plot {
        return Err(Failure::new("--json and --plot name the same file; give two names"));
    }
    let fitted = read_model(&args.model)?;
    let json = args.json.as_ref().map(|path| pending(path)).transpose()?;
    let plot = args.plot.as_ref().map(|path| pending(path)).transpose()?;
    let bar = progress_bar(1, "{bar:30} {percent:>3} %  denoising  {elapsed} (left: {eta})");
    let mut observe = |done: usize, total: usize| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    };
    let report = of_model(&fitted, args.rows as usize, args.seed, Par::rayon(threads), &mut observe);
    bar.finish_and_clear();
    let report = report?;
    if let (Some(file), Some(path)) = (json, &args.json) {
        let text = serde_json::to_string_pretty(&report);
        let text = text.map_err(|e| Failure::new(format!("the curves cannot be written as JSON: {e}")))?;
        finish(file, path, (text + "\n").as_bytes())?;
    }
    if let (Some(file), Some(path)) = (plot, &args.plot) {
        finish(file, path, dimension_plot::curves(&report)?.as_bytes())?;
    }
    print(&words(&report))
}

/// Curves and plateaus as a person reads them.
fn words(report: &Report) -> String {
    let mut text = format!(
        "{} numerical columns of {} coded, {} rows drawn from the model; standard errors over rows\n\n",
        report.columns, report.coded_columns, report.rows
    );
    let heads = ["sigma", "log SNR", "MMSE dimension", "FLIPD", "(quartiles)", "rank gap", "(clear)"];
    let [sigma, ratio, mmse, flipd, quartiles, gap, share] = heads;
    text += &format!("{sigma:>8} {ratio:>8} {mmse:>17} {flipd:>17}  {quartiles:<20} {gap:>14} {share:>8}\n");
    for level in &report.curves {
        let both = |value: f64, error: f64| format!("{value:.2} +- {error:.2}");
        let [low, middle, high] = level.flipd_quartiles;
        let rank = level.rank_gap.map_or("-".into(), |gap| both(gap.value, gap.standard_error));
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{:>8.4} {:>8.2} {:>17} {:>17}  {:<20} {rank:>14} {:>6.0} %",
            level.sigma,
            level.log_snr,
            both(level.mmse.value, level.mmse.standard_error),
            both(level.flipd.value, level.flipd.standard_error),
            format!("({low:.2} {middle:.2} {high:.2})"),
            100.0 * level.rank_gap_share
        );
    }
    let plateaus = &report.plateaus;
    text += "\nplateaus\n";
    for (name, found) in [("MMSE", plateaus.mmse), ("FLIPD", plateaus.flipd), ("rank gap", plateaus.rank_gap)] {
        text += &format!("  {name:<9} {}\n", told(found));
    }
    let percent = 100.0 * FLATNESS;
    text + &format!(
        "a plateau is the widest range of noise, a factor of {LEAST_RANGE} at least, over which a curve falls or rises by {percent} % at most\n"
    )
}

/// A plateau in words.
fn told(found: Option<Plateau>) -> String {
    let none = "none: the curve changes throughout".to_owned();
    found.map_or(none, |p| {
        let [from, to] = p.sigma;
        format!("{:.2} +- {:.2} for sigma from {from:.3} to {to:.3}", p.value, p.standard_error)
    })
}
