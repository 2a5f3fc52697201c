//! `ntk-score verify`: every prediction of the theory, measured on this machine.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use crate::memory;
use crate::regression::spectrum::Effort;
use crate::theory::{self, Claim, RULES, Report, RuleRow, Settings};
use clap::Args;

use super::columns::{ColumnArgs, CsvArgs};
use super::fit::parse_threads;
use super::{Failure, Outcome, finish, note, pending, print, progress_bar, use_threads, verify_page};

/// Measure what the theory predicts: six claims, how good each stopping rule is, and where the kernel regime ends
///
/// Prints a table of what is expected, what was measured and whether they agree, and leaves a page with a plot for every claim
/// (verify.html, which is also meant for paper) and all points (verify.json). Takes some minutes; --quick takes less than one.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ntk-score verify --quick
  ntk-score verify --out theory --table train.csv --drop ID
  ntk-score verify --rules 128,256,512 --seed 100   (the table of docs/theory.md)")]
pub struct VerifyArgs {
    /// Folder for verify.html and verify.json
    #[arg(long, value_name = "DIR", default_value = "ntk-score-verify")]
    out: PathBuf,
    /// Narrower networks and fewer samples
    #[arg(long)]
    quick: bool,
    /// First seed of everything that is drawn
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(..1 << 62))]
    seed: u64,
    /// Only compare the stopping rules on problems that no choice has seen, with each of these numbers of samples and two seeds, and
    /// print the table
    #[arg(long, value_name = "N,N,...", value_delimiter = ',', value_parser = clap::value_parser!(u64).range(32..=8192))]
    #[arg(conflicts_with_all = ["quick", "table", "out"])]
    rules: Vec<u64>,
    /// A table (CSV with a header line) on which to find the width at which networks leave the kernel regime
    #[arg(long, value_name = "TABLE.csv")]
    table: Option<PathBuf>,
    #[command(flatten)]
    csv: CsvArgs,
    #[command(flatten)]
    columns: ColumnArgs,
    /// Threads to use [default: one per core]
    #[arg(long, value_name = "T", value_parser = parse_threads)]
    threads: Option<usize>,
}

/// Runs the command.
pub fn run(args: VerifyArgs) -> Outcome {
    let threads = use_threads(args.threads)?;
    if !args.rules.is_empty() {
        return compare_rules(&args);
    }
    let table = args.table.as_ref().map(|path| args.csv.read(path)).transpose()?;
    fs::create_dir_all(&args.out).map_err(|e| Failure::file("create", &args.out, &e))?;
    let [page, data] = ["verify.html", "verify.json"].map(|name| args.out.join(name));
    let (page_file, data_file) = (pending(&page)?, pending(&data)?);
    let settings = Settings {
        seed: args.seed,
        quick: args.quick,
        table: match &table {
            Some(table) => Some((table, args.columns.options(table)?)),
            None => None,
        },
    };
    let minutes = if args.quick { "less than a minute" } else { "up to ten minutes" };
    let Effort { seconds, bytes } = Effort::of_spectrum(theory::EXACT)?;
    note!(
        "{minutes} on two cores; running on {threads} threads. The largest exact spectrum, of {} samples, takes about {seconds:.0} s \
         and {} per thread; more samples go without one.",
        theory::EXACT,
        memory::in_words(5 * bytes / 2)
    );
    let started = Instant::now();
    let bar = progress_bar(10_000, "{bar:30} {percent:>3} %  {msg}  {elapsed} (left: {eta})");
    let report = theory::run(&settings, &mut |share, what| {
        bar.set_position((share * 10_000.0) as u64);
        bar.set_message(what.to_owned());
    });
    bar.finish_and_clear();
    let report = report?;
    let json = serde_json::to_string_pretty(&report).map_err(|e| Failure::new(format!("cannot write JSON: {e}")))?;
    finish(page_file, &page, verify_page::page(&report)?.as_bytes())?;
    finish(data_file, &data, (json + "\n").as_bytes())?;
    let (seconds, page, data) = (started.elapsed().as_secs_f64(), page.display(), data.display());
    print(&format!("{}\n{seconds:.0} s; the plots are in {page}, all points in {data}\n", summary(&report)))
}

/// The table of the page on theory.
fn compare_rules(args: &VerifyArgs) -> Outcome {
    let sizes: Vec<usize> = args.rules.iter().map(|&n| n as usize).collect();
    let bar = progress_bar(10_000, "{bar:30} {percent:>3} %  {elapsed} (left: {eta})");
    let found = theory::unseen(&sizes, args.seed..args.seed + 2, &mut |share| {
        bar.set_position((share * 10_000.0) as u64);
    });
    bar.finish_and_clear();
    let found = found?;
    let mut text = format!("| problem | cases | {} |\n|{}\n", RULES.join(" | "), "---|".repeat(RULES.len() + 2));
    for row in &found.rows {
        let cells = row.median.iter().zip(&row.worst).map(|(median, worst)| verify_page::ratio(*median, *worst, 3));
        let cells: Vec<String> = cells.collect();
        text += &format!("| {} | {} | {} |\n", verify_page::case_name(row), row.cases, cells.join(" | "));
    }
    if let Some(all) = found.rows.last() {
        let means: Vec<String> = all.mean.iter().map(|mean| format!("{mean:.3}")).collect();
        text += &format!("| mean of all | {} | {} |\n", all.cases, means.join(" | "));
    }
    print(&text)
}

fn summary(report: &Report) -> String {
    let mut text = String::new();
    for claim in &report.claims {
        let Claim { row, claim: name, d, quantity, expected, measured, verdict, reason } = claim;
        text += &format!("{row}  {name:<40} d = {d}   {}\n", verify_page::verdict_in_words(*verdict).to_uppercase());
        text += &format!("     {quantity}\n     expected  {expected}\n     measured  {measured}\n");
        if !reason.is_empty() {
            text += &format!("     because   {reason}\n");
        }
    }
    text += "\nError at the stop over the lowest error of any iteration: median (worst)\n";
    text += &format!("{:<28}{}\n", "", RULES.map(|name| format!("{name:>20}")).concat());
    for row in &report.rules.rows {
        text += &rule_line(row);
    }
    text += "\nThe same on problems that no choice of a rule has seen\n";
    for row in &report.unseen.rows {
        text += &rule_line(row);
    }
    let mean = |f: fn(&theory::Tails) -> f64| theory::median(report.tails.iter().map(f));
    text += &format!(
        "\nHeavy tails, error on the domain over that of no training: {:.3} with every sample, {:.3} with those on the domain \
         ({:.1} % dropped)\n",
        mean(|t| t.everything.error / t.untrained),
        mean(|t| t.localised.error / t.untrained),
        100.0 * mean(|t| t.dropped as f64 / t.samples as f64)
    );
    if let Some(regime) = &report.regime {
        text += &format!("\n{}\n", verify_page::regime_in_words(regime));
    }
    text
}

fn rule_line(row: &RuleRow) -> String {
    let cells = row.median.iter().zip(&row.worst).map(|(median, worst)| verify_page::ratio(*median, *worst, 3));
    let cells: String = cells.map(|cell| format!("{cell:>20}")).collect();
    format!("{:<28}{cells}\n", verify_page::case_name(row))
}
