//! `ntk-score evaluate`: how good is a generated table?

use std::path::{Path, PathBuf};

use crate::evaluate::{self, Evaluation, EvaluationOptions};
use crate::files::output::PendingFile;
use clap::Args;

use super::columns::{ColumnArgs, CsvArgs};
use super::fit::parse_threads;
use super::with_flags;
use super::{
    Failure, Outcome, evaluate_plots, evaluate_report, evaluate_words, finish, note, pending, print, use_threads,
};

/// Compare a synthetic table with the real ones.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ntk-score evaluate --train train.csv --test test.csv --synthetic synthetic.csv
  ntk-score evaluate --train train.csv --test test.csv --synthetic synthetic.csv --report report.html
  ntk-score evaluate --train train.csv --test test.csv --synthetic synthetic.csv --json figures.json --plots plots

Only columns that all three tables have are compared; the others are named. Missing cells are a level of categories; of
numbers their rate is compared.")]
pub struct EvaluateArgs {
    /// The table that the model was fitted to; one of the three may be -, standard input
    #[arg(long, value_name = "A.csv")]
    train: PathBuf,
    /// Rows from the same source that the model has not seen
    #[arg(long, value_name = "B.csv")]
    test: PathBuf,
    /// The generated table
    #[arg(long, value_name = "C.csv")]
    synthetic: PathBuf,
    /// Where all figures go, as one JSON object
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where a page with all figures, what they mean and all plots goes: one file (HTML), to be handed on or printed
    #[arg(long, value_name = "REPORT.html")]
    report: Option<PathBuf>,
    /// Folder for plots of the marginals and of the associations between columns (SVG)
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
    #[command(flatten)]
    csv: CsvArgs,
    #[command(flatten)]
    columns: ColumnArgs,
    /// The column that trees learn to predict on synthetic rows, tested on real ones [default: the last]
    #[arg(long, value_name = "COLUMN")]
    target: Option<String>,
    /// Seed of the random parts (folds of the two-sample tests, halves of the training table, rows left out where tables
    /// differ in size)
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Threads to use [default: one per core]
    #[arg(long, value_name = "T", value_parser = parse_threads)]
    threads: Option<usize>,
}

/// Runs the command.
pub fn run(args: EvaluateArgs) -> Outcome {
    let threads = use_threads(args.threads)?;
    let piped = [&args.train, &args.test, &args.synthetic].iter().filter(|path| path.as_os_str() == "-").count();
    if piped > 1 {
        return Err(Failure::new(
            "only one of the three tables can come from standard input; give files for the others",
        ));
    }
    let train = args.csv.read(&args.train)?;
    let test = args.csv.read(&args.test)?;
    let synthetic = args.csv.read(&args.synthetic)?;
    let json = args.json.as_ref().map(|path| pending(path)).transpose()?;
    let report = args.report.as_ref().map(|path| pending(path)).transpose()?;
    let schema = evaluate::common_schema(&train, &test, &synthetic, &args.columns.options(&train)?)
        .map_err(|e| Failure::new(format!("in the training table, {}", with_flags(&e.to_string()))))?;
    let options = EvaluationOptions { seed: args.seed, threads, target: args.target };
    let evaluation = evaluate::evaluate(&train, &test, &synthetic, &schema, &options)?;
    let plots = args.plots.as_ref().map(|folder| plot_files(folder)).transpose()?;
    if let (Some(file), Some(path)) = (json, &args.json) {
        finish(file, path, json_text(&evaluation)?.as_bytes())?;
    }
    if let (Some(file), Some(path)) = (report, &args.report) {
        let names = [&args.train, &args.test, &args.synthetic].map(|path| path.display().to_string());
        finish(file, path, evaluate_report::page(&evaluation, names)?.as_bytes())?;
    }
    if let Some([(marginals, marginals_path), (associations, associations_path)]) = plots {
        finish(marginals, &marginals_path, evaluate_plots::marginals(&evaluation)?.as_bytes())?;
        finish(associations, &associations_path, evaluate_plots::associations(&evaluation)?.as_bytes())?;
    }
    let words = evaluate_words::table(&evaluation);
    if [&args.json, &args.report].into_iter().flatten().any(|path| path.as_os_str() == "-") {
        // Standard output holds a file.
        note!("{}", words.trim_end());
        return Ok(());
    }
    print(&words)
}

/// Every figure, and what the report says about them in words, as one object.
fn json_text(evaluation: &Evaluation) -> Outcome<String> {
    let wrong = |e| Failure::new(format!("the figures cannot be written as JSON: {e}"));
    let mut object = serde_json::to_value(evaluation).map_err(wrong)?;
    object["summary"] = evaluate_words::summary(evaluation).into();
    Ok(serde_json::to_string_pretty(&object).map_err(wrong)? + "\n")
}

/// The two plots in this folder, which is made if it is not there.
fn plot_files(folder: &Path) -> Outcome<[(PendingFile, PathBuf); 2]> {
    std::fs::create_dir_all(folder).map_err(|e| Failure::file("create", folder, &e))?;
    let [marginals, associations] = ["marginals.svg", "associations.svg"].map(|name| folder.join(name));
    Ok([(pending(&marginals)?, marginals), (pending(&associations)?, associations)])
}
