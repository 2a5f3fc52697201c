//! `ntk-score sample`: a fitted model goes in, a generated table comes out.

use std::path::PathBuf;
use std::time::Instant;

use crate::diffusion::sampler::Method;
use crate::files::csv;
use crate::fit::{self, SampleSettings};
use clap::{Args, ValueEnum};
use faer::Par;

use super::columns::refuse_same;
use super::fit::{parse_threads, read_model};
use super::{Outcome, note, pending, progress_bar, use_threads};

/// Generate a table from a fitted model.
#[derive(Debug, Args)]
#[command(after_help = "Example:
  ntk-score sample model.safetensors --rows 27000 --out synthetic.csv")]
pub struct SampleArgs {
    /// The fitted model; - is standard input
    model: PathBuf,
    /// Rows to generate
    #[arg(long, value_name = "N")]
    rows: usize,
    /// Where the table goes; - is standard output
    #[arg(long, value_name = "SYNTHETIC.csv")]
    out: PathBuf,
    /// Steps from noise to data
    #[arg(long, value_name = "K", default_value_t = SampleSettings::STEPS)]
    steps: usize,
    /// How steps are made
    #[arg(long, value_enum, default_value_t = Sampler::Heun)]
    sampler: Sampler,
    /// Seed of everything that is drawn
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Threads to use [default: one per core]
    #[arg(long, value_name = "T", value_parser = parse_threads)]
    threads: Option<usize>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Sampler {
    /// Heun's rule on the probability-flow equation: two network calls a step, second order
    Heun,
    /// DPM-Solver++(2M): one network call a step, second order
    Dpm,
    /// The exact Gaussian step, with fresh noise
    Ancestral,
    /// Euler-Maruyama on the reverse stochastic differential equation
    Euler,
}

/// Runs the command.
pub fn run(args: SampleArgs) -> Outcome {
    let threads = use_threads(args.threads)?;
    let started = Instant::now();
    refuse_same(&args.model, &args.out)?;
    let fitted = read_model(&args.model)?;
    let output = pending(&args.out)?;
    let mut settings = SampleSettings::new(args.rows);
    settings.method = match args.sampler {
        Sampler::Heun => Method::Heun,
        Sampler::Dpm => Method::DpmSolver,
        Sampler::Ancestral => Method::Ancestral,
        Sampler::Euler => Method::EulerMaruyama,
    };
    settings.steps = args.steps;
    settings.seed = args.seed;
    settings.par = Par::rayon(threads);
    let bar = progress_bar(1, "{bar:30} {percent:>3} %  sampling  {elapsed} (left: {eta})");
    let table = fit::sample(&fitted, &settings, &mut |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    csv::write(output, &args.out, &table?)?;
    let seconds = started.elapsed().as_secs_f64();
    let to = if args.out.as_os_str() == "-" { "standard output".into() } else { args.out.display().to_string() };
    note!("wrote {} rows to {to} in {seconds:.1} s", args.rows);
    Ok(())
}
