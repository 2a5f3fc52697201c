//! `ntk-score impute`: a table with gaps and a fitted model go in, a table without gaps comes out.

use std::path::PathBuf;
use std::time::Instant;

use crate::error::quoted;
use crate::files::csv;
use crate::fit::{Fill, SampleSettings};
use crate::table::Table;
use clap::Args;
use faer::Par;

use super::columns::{CsvArgs, place, refuse_same};
use super::fit::{parse_threads, read_model};
use super::{Failure, Outcome, note, pending, progress_bar, use_threads};

/// Fill the gaps of a table: observed cells stay as they are, the others come from a fitted model.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ntk-score impute model.safetensors gaps.csv --out filled.csv
  ntk-score impute model.safetensors gaps.csv --out five.csv --draws 5

Without --draws every gap gets the best guess given what is observed of its row: the mean of numbers and dates, the most likely
category. Guesses have the smallest error and too little spread. With --draws K there are K completed tables in one file, one under the
other, with a first column 'draw' from 1 to K (none for K = 1): every gap is drawn anew in each, as multiple imputation wants it.")]
pub struct ImputeArgs {
    /// The fitted model; - is standard input
    model: PathBuf,
    /// The table with gaps: CSV with a header line, plain or gzip'd; - is standard input
    table: PathBuf,
    /// Where the filled table goes; - is standard output
    #[arg(long, value_name = "FILLED.csv")]
    out: PathBuf,
    /// Write K completed tables with gaps drawn, instead of one with guesses
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u64).range(1..=1000))]
    draws: Option<u64>,
    #[command(flatten)]
    csv: CsvArgs,
    /// Texts that mean a missing cell, separated by commas, beside the usual ones and those that the model saw
    #[arg(long, value_name = "?,-,None", value_delimiter = ',', allow_hyphen_values = true)]
    missing_marks: Vec<String>,
    /// Steps from noise to data [default: 40 for draws, 12 for each of the 32 draws of a guess]
    #[arg(long, value_name = "K")]
    steps: Option<usize>,
    /// Seed of everything that is drawn
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Threads to use [default: one per core]
    #[arg(long, value_name = "T", value_parser = parse_threads)]
    threads: Option<usize>,
}

/// Runs the command.
pub fn run(args: ImputeArgs) -> Outcome {
    let threads = use_threads(args.threads)?;
    let started = Instant::now();
    refuse_same(&args.model, &args.out)?;
    refuse_same(&args.table, &args.out)?;
    if args.model == args.table && args.model.as_os_str() == "-" {
        return Err(Failure::new("model and table cannot both come from standard input; give a file for one of them"));
    }
    let fitted = read_model(&args.model)?;
    let table = args.csv.read(&args.table)?;
    let output = pending(&args.out)?;
    let fill = args.draws.map_or(Fill::GUESS, |draws| Fill::Draws { draws: draws as usize });
    let mut settings = SampleSettings::new(0);
    if let Fill::Guess { .. } = fill {
        (settings.method, settings.steps) = (Fill::GUESS_METHOD, Fill::GUESS_STEPS);
    }
    settings.steps = args.steps.unwrap_or(settings.steps);
    settings.seed = args.seed;
    settings.par = Par::rayon(threads);
    let columns = fitted.columns();
    let lacking = quoted(columns.iter().map(|column| &column.name).filter(|name| table.column(name).is_none()));
    let bar = progress_bar(1, "{bar:30} {percent:>3} %  filling  {elapsed} (left: {eta})");
    let filled = fitted.impute(&table, &args.missing_marks, fill, &settings, &mut |done, total| {
        bar.set_length(total as u64);
        bar.set_position(done as u64);
    });
    bar.finish_and_clear();
    let filled = filled?;
    csv::write(output, &args.out, &stacked(&filled.tables)?)?;
    if !lacking.is_empty() {
        note!("the table lacks {lacking}, which the model has: not known in any row, and not written");
    }
    if !filled.unknown.is_empty() {
        note!("gaps stay in {}, which the model does not have", quoted(&filled.unknown));
    }
    if filled.broken > 0 {
        note!("{} rows do not keep every relation of the training table with their observed cells", filled.broken);
    }
    let (cells, seconds) = (filled.cells, started.elapsed().as_secs_f64());
    let each =
        if filled.tables.len() > 1 { format!(" in each of {} tables", filled.tables.len()) } else { String::new() };
    note!("filled {cells} cells{each}, wrote {} in {seconds:.1} s", place(&args.out));
    Ok(())
}

/// The tables one under the other, with a column that counts them if there are several.
fn stacked(tables: &[Table]) -> Outcome<Table> {
    if let [only] = tables {
        return Ok(only.clone());
    }
    let mut name = "draw".to_owned();
    while tables.iter().any(|table| table.column(&name).is_some()) {
        name.push('\'');
    }
    let numbered = tables.iter().enumerate().map(|(draw, table)| {
        let names = std::iter::once(&name).chain(table.names()).cloned().collect();
        let count = vec![(draw + 1).to_string(); table.rows()];
        Table::new(names, std::iter::once(count).chain(table.columns().iter().cloned()).collect())
    });
    Ok(Table::stack(numbered.collect::<Result<_, _>>()?)?)
}
