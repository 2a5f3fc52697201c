//! `ntk-score evaluate`: how good is a generated table?

use std::path::{Path, PathBuf};

use clap::Args;
use ntk_score::evaluate::{Evaluation, EvaluationOptions, evaluate};
use ntk_score::files::csv;
use ntk_score::files::output::PendingFile;
use ntk_score::table::schema::Schema;

use super::columns::{ColumnArgs, with_flags};
use super::fit::parse_threads;
use super::{Failure, Outcome, evaluate_plots, finish, pending, use_threads};

/// Compare a synthetic table with the real ones.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  ntk-score evaluate --train train.csv --test test.csv --synthetic synthetic.csv
  ntk-score evaluate --train train.csv --test test.csv --synthetic synthetic.csv --json figures.json --plots plots")]
pub struct EvaluateArgs {
    /// The table that the model was fitted to
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
    /// Folder for plots of the marginals and of the associations between columns (SVG)
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
    #[command(flatten)]
    columns: ColumnArgs,
    /// Seed of the random parts (folds of the two-sample test, rows left out where tables differ in size)
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Threads to use [default: one per core]
    #[arg(long, value_name = "T", value_parser = parse_threads)]
    threads: Option<usize>,
}

/// Runs the command.
pub fn run(args: EvaluateArgs) -> Outcome {
    use_threads(args.threads)?;
    let train = csv::read(&args.train)?;
    let test = csv::read(&args.test)?;
    let synthetic = csv::read(&args.synthetic)?;
    let json = args.json.as_ref().map(|path| pending(path)).transpose()?;
    let schema = Schema::infer(&train, &args.columns.options(&train)?)
        .map_err(|e| Failure::new(format!("in the training table, {}", with_flags(&e.to_string()))))?;
    let options = EvaluationOptions { seed: args.seed };
    let evaluation = evaluate(&train, &test, &synthetic, &schema, &options)?;
    let plots = args.plots.as_ref().map(|folder| plot_files(folder)).transpose()?;
    print!("{}", report(&evaluation));
    if let (Some(file), Some(path)) = (json, &args.json) {
        let text = serde_json::to_string_pretty(&evaluation);
        let text = text.map_err(|e| Failure::new(format!("the figures cannot be written as JSON: {e}")))?;
        finish(file, path, format!("{text}\n").as_bytes())?;
    }
    if let Some([(marginals, marginals_path), (associations, associations_path)]) = plots {
        finish(marginals, &marginals_path, evaluate_plots::marginals(&evaluation)?.as_bytes())?;
        finish(associations, &associations_path, evaluate_plots::associations(&evaluation)?.as_bytes())?;
    }
    Ok(())
}

/// The two plots in this folder, which is made if it is not there.
fn plot_files(folder: &Path) -> Outcome<[(PendingFile, PathBuf); 2]> {
    std::fs::create_dir_all(folder).map_err(|e| Failure::file("create", folder, &e))?;
    let [marginals, associations] = ["marginals.svg", "associations.svg"].map(|name| folder.join(name));
    Ok([(pending(&marginals)?, marginals), (pending(&associations)?, associations)])
}

/// The figures as a table for reading.
fn report(e: &Evaluation) -> String {
    let percent = |value: f64| format!("{value:.2} %");
    let share = |value: f64| format!("{value:.4}");
    let lines = [
        ("Shape error", percent(e.shape_error_pct), "single columns; 0 is perfect".into()),
        ("Trend error, shared bins", percent(e.trend_shared_bins_error_pct), "pairs of columns; 0 is perfect".into()),
        ("Trend error, own bins", percent(e.trend_error_pct), "as published; one outlier moves it by percents".into()),
        ("alpha-precision", share(e.alpha_precision), "1 when synthetic rows lie where real ones do".into()),
        ("beta-recall", share(e.beta_recall), "about 0.5 for a fresh real sample; more means copies".into()),
        (
            "nearer to train than test",
            share(e.dcr_share),
            format!("{:.4} when nothing is memorised", e.dcr_share_expected),
        ),
        ("the same, equal numbers", share(e.dcr_share_balanced), "0.5 when nothing is memorised".into()),
        (
            "median distance to train",
            share(e.dcr_median),
            format!("{:.4} for test rows; less means copies", e.dcr_median_of_test),
        ),
        (
            "exact copies of train",
            percent(e.exact_train_copies_pct),
            format!("{} for test rows", percent(e.exact_train_copies_in_test_pct)),
        ),
        ("logistic two-sample test", share(e.c2st_logistic), "1 when no linear boundary tells them apart".into()),
    ];
    let mut text =
        format!("{} synthetic rows against {} training and {} test rows\n\n", e.n_synthetic, e.n_train, e.n_test);
    for (name, value, meaning) in lines {
        text += &format!("{name:<26}{value:>9}   {meaning}\n");
    }
    let mut columns: Vec<_> = e.columns.iter().collect();
    columns.sort_by(|a, b| a.shape.total_cmp(&b.shape));
    let mut pairs: Vec<_> = e.pairs.iter().collect();
    pairs.sort_by(|a, b| a.trend.total_cmp(&b.trend));
    let columns = columns.iter().take(3).map(|c| format!("{} {}", c.name, percent(100.0 * (1.0 - c.shape))));
    let pairs =
        pairs.iter().take(3).map(|p| format!("{} x {} {}", p.first, p.second, percent(100.0 * (1.0 - p.trend))));
    text += &format!("\nlargest errors: {}\n", columns.collect::<Vec<_>>().join(", "));
    if !e.pairs.is_empty() {
        text += &format!("                {}\n", pairs.collect::<Vec<_>>().join(", "));
    }
    text
}
