//! `ntk-score fit`: a table goes in, a fitted model comes out.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::files::input;
use crate::fit::{self, Ended, FitSettings, FittedTable, Length, OptimizerKind, StopRecord, Stopping};
use crate::table::{Codec, Findings, Merged, Missing, SchemaOptions, Table, merge_rare};
use crate::{Error, store};
use clap::{Args, ValueEnum};
use faer::Par;

use super::checkpoints::CheckpointArgs;
use super::columns::{ColumnArgs, CsvArgs, listed, refuse_same};
use super::rows::RowArgs;
use super::{Failure, Outcome, finish, note, pending, print, progress_bar, signals, use_threads};

/// Fit a score model to a table.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ntk-score fit train.csv --out model.safetensors
  ntk-score fit train.csv --out model.safetensors --budget 8m --drop ID
  ntk-score fit train.csv --dry-run --schema columns.json   (shows what the columns are taken for; change the file, give it back)
  ntk-score fit train.csv --out model.safetensors --iterations 20000 --seed 7   (the same bytes every time)")]
pub struct FitArgs {
    /// The table: CSV with a header line, plain or gzip'd; - is standard input
    table: PathBuf,
    /// Where the model goes; - is standard output
    #[arg(long, value_name = "MODEL.safetensors", required_unless_present = "dry_run")]
    out: Option<PathBuf>,
    /// Only show what the columns are taken for, and write it to the file of --schema unless that is there already
    #[arg(long)]
    dry_run: bool,
    /// How long the fit may take, such as 90s, 8m or 1h [default: 8m]
    #[arg(long, value_name = "TIME", value_parser = parse_duration, conflicts_with = "iterations")]
    budget: Option<Duration>,
    /// Train for exactly this many iterations; makes the result reproducible
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u64).range(1..))]
    iterations: Option<u64>,
    #[command(flatten)]
    checkpoints: CheckpointArgs,
    #[command(flatten)]
    csv: CsvArgs,
    #[command(flatten)]
    columns: ColumnArgs,
    #[command(flatten)]
    rows: RowArgs,
    /// Merge the categories of a column that fewer than K rows have into one called (rare), so that the model names none of them
    #[arg(long, value_name = "K", value_parser = clap::value_parser!(u64).range(2..))]
    rare: Option<u64>,
    /// What to do with missing cells: learn where they are and generate them in their turn, or refuse the table
    #[arg(long, value_enum, default_value_t = MissingCells::Level)]
    missing: MissingCells,
    /// The way of fitting: `best` makes the best tables, `paper` is the system of Han, Razaviyayn and Xu as published, `ntk` is
    /// their training of what the best linear denoiser leaves
    #[arg(long, value_enum, default_value_t = Preset::Best)]
    preset: Preset,
    /// Neurons of the network; an even number
    #[arg(long, value_name = "M")]
    width: Option<usize>,
    /// How gradients change the weights [default: adam for best, gd for ntk and paper]
    #[arg(long, value_enum)]
    optimizer: Option<Optimizer>,
    /// What ends training before its time or iterations are used: the rule of early stopping with the constant of the theory (2e)
    /// or the sharper 1, or a tenth of the rows held out [default: holdout for best, theory for ntk
    /// and paper (with adam: holdout, none)]
    #[arg(long, value_enum, value_name = "RULE")]
    stop: Option<Stop>,
    /// Networks, each reading what those before it made of a row; one that does not help on rows held out is left out
    #[arg(long, value_name = "S", value_parser = parse_stages)]
    stages: Option<usize>,
    /// Rows in a batch
    #[arg(long, value_name = "ROWS")]
    batch: Option<usize>,
    /// How training draws noise levels: evenly; by a fixed law, mostly where tables have most to learn; or where the error that training
    /// can still remove lies, as far as the noise leaves it recoverable. For the presets best and ntk [default: fixed]
    #[arg(long, value_enum, value_name = "LAW")]
    times: Option<Times>,
    /// Noisy samples of each row that the preset paper draws, once, before it trains [default: 1]
    #[arg(long, value_name = "L", value_parser = parse_draws)]
    draws: Option<usize>,
    /// Seed of everything that is drawn
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Threads to use [default: one per core]
    #[arg(long, value_name = "T", value_parser = parse_threads)]
    threads: Option<usize>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum MissingCells {
    Refuse,
    Level,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Preset {
    Best,
    Ntk,
    Paper,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Stop {
    Theory,
    Sharp,
    Holdout,
    None,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Times {
    Even,
    Fixed,
    Recoverable,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Optimizer {
    Gd,
    Nesterov,
    Adam,
}

/// Runs the command.
pub fn run(args: FitArgs) -> Outcome {
    let threads = use_threads(args.threads)?;
    let started = Instant::now();
    let out = args.out.clone().unwrap_or_default();
    refuse_same(&args.table, &out)?;
    let table = args.csv.read(&args.table)?;
    let missing = match args.missing {
        MissingCells::Refuse => Missing::Fail,
        MissingCells::Level => Missing::Level,
    };
    let options = SchemaOptions { missing, ..args.columns.options(&table)? };
    let mut findings = Findings::of(&table, &options)?;
    let (mut table, rules) = args.rows.apply(table, &findings.schema.columns)?;
    if !args.rows.is_empty() {
        findings = Findings::of(&table, &options)?;
    }
    if let Some(least) = args.rare {
        let (merged, schema, told) = merge_rare(&table, &findings.schema, least as usize)?;
        for Merged { column, levels, rows, name } in told {
            note!(
                "'{column}': {levels} categories that fewer than {least} rows have are merged into '{name}' ({rows} rows)"
            );
        }
        findings = Findings::of(&merged, &SchemaOptions { schema: Some(schema), ..options.clone() })?;
        table = merged;
    }
    let lines = listed(&findings.described(&Codec::fit(&table, &findings.schema)?));
    if args.dry_run {
        write_schema(&args, &findings)?;
        return print(&lines);
    }
    if let Some(path) = args.columns.schema.as_ref().filter(|path| !path.exists()) {
        return Err(Failure::file("read", path, &std::io::ErrorKind::NotFound.into()));
    }
    note!("{}", lines.trim_end());
    let output = pending(&out)?;
    let (mut checkpoints, from) = args.checkpoints.open(&out)?;
    let length = match (args.budget, args.iterations) {
        (_, Some(k)) => Length::Iterations(k as usize),
        (budget, None) => Length::Budget(budget.unwrap_or(Duration::from_secs(480))),
    };
    let preset = match args.preset {
        Preset::Best => fit::Preset::Best,
        Preset::Ntk => fit::Preset::Ntk,
        Preset::Paper => fit::Preset::Paper,
    };
    let mut settings = FitSettings::new(preset, length);
    settings.schema = SchemaOptions { schema: Some(findings.schema), ..options };
    settings.rules = rules;
    settings.width = args.width.unwrap_or(settings.width);
    settings.stages = args.stages.unwrap_or(settings.stages);
    settings.batch = args.batch.unwrap_or(settings.batch);
    if args.draws.is_some() && preset != fit::Preset::Paper {
        return Err(Failure::new("--draws is for --preset paper; the others draw anew for every batch"));
    }
    if settings.stages > 1 && preset != fit::Preset::Best {
        return Err(Failure::new("--stages is for --preset best; the others train one network"));
    }
    settings.draws = args.draws.unwrap_or(settings.draws);
    if args.times.is_some() && preset == fit::Preset::Paper {
        return Err(Failure::new(
            "--times is for --preset best and ntk; paper draws its times once, by the law that was published",
        ));
    }
    settings.times = match args.times {
        Some(Times::Even) => fit::Times::Even,
        Some(Times::Fixed) => fit::Times::Fixed,
        Some(Times::Recoverable) => fit::Times::Recoverable,
        None => settings.times,
    };
    settings.seed = args.seed;
    settings.par = Par::rayon(threads);
    settings.optimizer = args.optimizer.map(|o| match o {
        Optimizer::Gd => OptimizerKind::Descent,
        Optimizer::Nesterov => OptimizerKind::Nesterov,
        Optimizer::Adam => OptimizerKind::Adam,
    });
    settings.stop = args.stop.map(|stop| match stop {
        Stop::Theory => Stopping::Theory,
        Stop::Sharp => Stopping::Sharp,
        Stop::Holdout => Stopping::HoldOut,
        Stop::None => Stopping::None,
    });
    let bar = progress_bar(10_000, "{bar:30} {percent:>3} %  {msg}  {elapsed} (left: {eta})");
    bar.set_message("preparing the base denoiser");
    let mut training = None;
    signals::set_last_words(" before a checkpoint was written".into());
    let fitted = fit::resume(&table, &settings, from, &mut |at, state| {
        if training.is_none() {
            // Not before: nothing is fitted yet where table or settings are refused. Who reads the sentence may interrupt at once, and
            // then gets a checkpoint.
            signals::will_ask(true);
            bar.suspend(|| {
                let (rows, columns) = (table.rows(), table.names().len());
                note!("fitting {rows} rows x {columns} columns, threads: {threads}");
            });
        }
        let (since, first) = *training.get_or_insert_with(|| (Instant::now(), at.iteration - 1));
        let rate = (at.iteration - first) as f64 / since.elapsed().as_secs_f64().max(1e-3);
        bar.set_position((at.share * 10_000.0) as u64);
        bar.set_message(format!("loss {:.4} + {:.4}  {rate:.0} it/s", at.squared, at.entropy));
        checkpoints.observe(at, state).map(|()| ControlFlow::Continue(()))
    });
    bar.finish_and_clear();
    let fitted = match fitted {
        Err(Error::Interrupted) => return Err(signals::failure()),
        fitted => fitted?,
    };
    for relation in fitted.relations.in_words() {
        note!("kept in generated rows: {relation}");
    }
    finish(output, &out, &store::to_bytes(&fitted)?)?;
    checkpoints.remove();
    let record = &fitted.record;
    let [squared, entropy] = record.losses;
    note!(
        "{} iterations in {:.1} s ({}), loss {squared:.4} (numbers) + {entropy:.4} (categories)",
        record.iterations,
        started.elapsed().as_secs_f64(),
        record.ended.in_words()
    );
    for (networks, [squared, entropy]) in record.held_out_losses.iter().enumerate() {
        note!("rows held out, {networks} networks: {squared:.4} + {entropy:.4}");
    }
    say(record.ended, &record.stop);
    if fitted.calibration.is_none() && preset != fit::Preset::Paper {
        note!("warning: there was no time to calibrate the model; give a longer --budget");
    }
    if let Some(warning) = doubt(&fitted, &table) {
        note!("warning: {warning}");
    }
    note!(
        "wrote {}",
        if out.as_os_str() == "-" { "the model to standard output".into() } else { out.display().to_string() }
    );
    if record.iterations == 0 {
        return Err(Failure::untrained());
    }
    Ok(())
}

/// Writes what the columns were taken for where the user wants it and nothing is yet.
fn write_schema(args: &FitArgs, findings: &Findings) -> Outcome {
    if let Some(path) = args.columns.schema.as_ref().filter(|path| !path.exists()) {
        let text = crate::files::schema::to_text(&findings.declared())?;
        finish(pending(path)?, path, text.as_bytes())?;
        note!("wrote {}", path.display());
    }
    Ok(())
}

/// Why a fit should not be trusted, if its last losses say so: half the mean square per number starts at most a little above
/// one half, whatever the table, so a loss beyond 1 means that training did harm.
fn doubt(fitted: &FittedTable, table: &Table) -> Option<String> {
    let [squared, entropy] = fitted.record.losses;
    if squared.is_finite() && entropy.is_finite() && squared <= 1.0 {
        return None;
    }
    let (rows, width) = (table.rows(), fitted.codec.width());
    let reason = if rows < 2 * width {
        format!("{rows} rows are few for {width} coded columns; give more rows or leave columns out by --drop")
    } else {
        "the steps of training were too large; try another --optimizer, or the preset's own".into()
    };
    Some(format!("a loss of {squared:.3} per number is worse than no training at all, which has about 0.5: {reason}"))
}

/// Says how training was stopped.
fn say(ended: Ended, stop: &StopRecord) {
    let StopRecord { rule, iteration, effective_time, noise, critical_radius, held_out, radius, dropped } = stop;
    if let Some(radius) = radius {
        note!("domain: radius {radius:.3}, {dropped} samples outside were dropped");
    }
    if *rule == Stopping::None {
        return;
    }
    let applied = matches!(ended, Ended::Rule | Ended::HoldOut);
    let verb = if applied { "stopped by" } else { "not yet stopped by" };
    let mut text = format!("{verb} {}: the model has the weights of iteration {iteration}", rule.name());
    if let Some(time) = effective_time {
        text += &format!(", effective time {time:.4e} (steps on the mean loss, over 1 - momentum)");
    }
    if let (Some(noise), Some(radius)) = (noise, critical_radius) {
        text += &format!("; label noise {noise:.4}, critical radius {radius:.4}");
    }
    if *held_out > 0 {
        text += &format!("; {held_out} rows were held out");
    }
    note!("{text}");
}

/// Reads `90`, `90s`, `8m` or `1h`.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = match text.strip_suffix(['s', 'm', 'h']) {
        Some(number) => (number, &text[number.len()..]),
        None => (text, "s"),
    };
    let seconds = number.trim().parse::<f64>().ok().filter(|x| x.is_finite() && *x > 0.0);
    let seconds = seconds.ok_or("give a positive time such as 90s, 8m or 1h")?;
    let factor = match unit {
        "h" => 3600.0,
        "m" => 60.0,
        _ => 1.0,
    };
    Duration::try_from_secs_f64(seconds * factor).map_err(|_| "give a shorter time".into())
}

/// A number of networks from 1 to 16.
fn parse_stages(text: &str) -> Result<usize, String> {
    let stages = text.parse::<usize>().ok().filter(|s| (1..=16).contains(s));
    stages.ok_or_else(|| "give a number of networks from 1 to 16".into())
}

fn parse_draws(text: &str) -> Result<usize, String> {
    let draws = text.parse::<usize>().ok().filter(|draws| (1..=1024).contains(draws));
    draws.ok_or_else(|| "give a number of draws from 1 to 1024".into())
}

/// A number of threads from 1 to 1024.
pub fn parse_threads(text: &str) -> Result<usize, String> {
    let threads = text.parse::<usize>().ok().filter(|t| (1..=1024).contains(t));
    threads.ok_or_else(|| "give a number of threads from 1 to 1024".into())
}

/// Reads a fitted model from its file.
pub fn read_model(path: &std::path::Path) -> Outcome<fit::FittedTable> {
    let bytes = input::read(path).map_err(|e| Failure::file("read", path, &e))?;
    store::from_bytes(&bytes).map_err(|e| Failure::new(format!("{}: {e}", path.display())))
}
