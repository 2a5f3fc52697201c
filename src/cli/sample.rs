//! `ntk-score sample`: a fitted model goes in, a generated table comes out.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Args, ValueEnum};
use faer::Par;

use crate::diffusion::sampler::Method;
use crate::error::quoted;
use crate::files::csv;
use crate::fit::{FittedTable, Met, SampleSettings};
use crate::table::{Condition, Given};

use super::columns::{CsvArgs, place, refuse_same};
use super::fit::{parse_threads, read_model};
use super::{Failure, Outcome, note, pending, progress_bar, use_threads};

/// Generate a table from a fitted model.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ntk-score sample model.safetensors --rows 27000 --out synthetic.csv
  ntk-score sample model.safetensors --rows 1000 --out some.csv --where 'default=1' --where 'LIMIT_BAL>=200000'
  ntk-score sample model.safetensors --condition wanted.csv --out completed.csv   (one row for each row of wanted.csv)")]
pub struct SampleArgs {
    /// The fitted model; - is standard input
    model: PathBuf,
    /// Rows to generate
    #[arg(long, value_name = "N", required_unless_present = "condition")]
    rows: Option<usize>,
    /// Where the table goes; - is standard output
    #[arg(long, value_name = "SYNTHETIC.csv")]
    out: PathBuf,
    /// A condition that every row meets: a column, one of = != < <= > >=, and a value; nothing after = or != means missing.
    /// May be given more than once, and all are met
    #[arg(long = "where", value_name = "CONDITION")]
    conditions: Vec<String>,
    /// A table of some of the columns: one row is generated for each of its rows, with its cells as they are
    #[arg(long, value_name = "FILE.csv", conflicts_with_all = ["rows", "conditions"])]
    condition: Option<PathBuf>,
    #[command(flatten)]
    csv: CsvArgs,
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
    let mut settings = SampleSettings::new(args.rows.unwrap_or(0));
    settings.method = match args.sampler {
        Sampler::Heun => Method::Heun,
        Sampler::Dpm => Method::DpmSolver,
        Sampler::Ancestral => Method::Ancestral,
        Sampler::Euler => Method::EulerMaruyama,
    };
    settings.steps = args.steps;
    settings.seed = args.seed;
    settings.par = Par::rayon(threads);
    let given = args.condition.as_ref().map(|path| given(&args, path, &fitted)).transpose()?;
    let conditions = args.conditions.iter().map(|text| Condition::parse(text, &fitted.columns()));
    let conditions = conditions.collect::<Result<Vec<_>, _>>()?;
    let bar = progress_bar(1, "{bar:30} {percent:>3} %  sampling  {elapsed} (left: {eta})");
    let mut observe = |done: usize, total: usize| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    };
    let table = match given {
        Some(given) => fitted.complete(&given, false, &settings, &mut observe).map(|completed| {
            let words = "rows do not keep every relation of the training table with the cells given";
            if completed.broken > 0 {
                bar.suspend(|| note!("{} {words}", completed.broken));
            }
            completed.table
        }),
        None if conditions.is_empty() && fitted.relations.rules().is_empty() => fitted.sample(&settings, &mut observe),
        None => fitted.sample_where(&settings, &conditions, &mut observe).map(|met| {
            bar.suspend(|| tell(&met, &conditions));
            met.table
        }),
    };
    bar.finish_and_clear();
    let table = table?;
    csv::write(output, &args.out, &table)?;
    note!("wrote {} rows to {} in {:.1} s", table.rows(), place(&args.out), started.elapsed().as_secs_f64());
    Ok(())
}

/// The cells that the file of --condition gives.
fn given(args: &SampleArgs, path: &Path, fitted: &FittedTable) -> Outcome<Given> {
    refuse_same(path, &args.out)?;
    if args.model == path && path.as_os_str() == "-" {
        return Err(Failure::new(
            "model and conditions cannot both come from standard input; give a file for one of them",
        ));
    }
    let table = args.csv.read(path)?;
    let columns = fitted.columns();
    if let Some(name) = table.names().iter().find(|name| columns.iter().all(|column| column.name != **name)) {
        let names = quoted(columns.iter().map(|column| &column.name));
        return Err(Failure::new(format!(
            "--condition has a column '{name}', which the model does not have; it has {names}"
        )));
    }
    let mut given = Given::nothing(table.rows());
    for (name, cells) in table.names().iter().zip(table.columns()) {
        given.give(name, cells.iter().cloned().map(Some).collect());
    }
    Ok(given)
}

/// How conditions were met.
fn tell(met: &Met, conditions: &[Condition]) {
    let stated = |sure: bool| {
        let these = conditions.iter().zip(&met.sure).filter(|(_, own)| **own == sure);
        quoted(these.map(|(condition, _)| condition.text()))
    };
    let (sure, rest) = (stated(true), stated(false));
    if !sure.is_empty() {
        note!("held from the first step on: {sure}");
    }
    if !rest.is_empty() || met.met < met.drawn {
        let share = 100.0 * met.met as f64 / met.drawn.max(1) as f64;
        let what = if rest.is_empty() { "every rule".to_owned() } else { rest };
        note!("of {} rows drawn, {} met {what} ({share:.1} %)", met.drawn, met.met);
    }
}
