//! `ntk-score evaluate` from the outside: the files it leaves, and its failures in one sentence with exit code 2.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/evaluate").join(name)
}

fn run(synthetic: &Path, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ntk-score"))
        .args(["evaluate", "--threads", "2", "--train"])
        .arg(data("train.csv"))
        .arg("--test")
        .arg(data("test.csv"))
        .arg("--synthetic")
        .arg(synthetic)
        .args(more)
        .output()
        .unwrap()
}

/// The one sentence on standard error of a run that failed as it should.
fn failure(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(text.trim_end().lines().count(), 1, "{text}");
    text
}

#[test]
fn figures_and_plots_are_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    let (json, plots) = (folder.path().join("figures.json"), folder.path().join("plots"));
    let report = folder.path().join("report.html");
    let [json_path, plots_path, report_path] = [&json, &plots, &report].map(|path| path.to_str().unwrap());
    let flags = ["--json", json_path, "--plots", plots_path, "--report", report_path];
    let output = run(&data("synthetic.csv"), &flags);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    for words in ["400 synthetic rows", "Shape error", "8.83 %", "alpha-precision", "0.8503", "nearer to train"] {
        assert!(text.contains(words), "{words} is not in\n{text}");
    }
    let figures: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    for key in [
        "n_train",
        "n_test",
        "n_synthetic",
        "shape",
        "shape_error_pct",
        "trend_shared_bins",
        "trend_shared_bins_error_pct",
        "trend",
        "trend_error_pct",
        "alpha_precision",
        "beta_recall",
        "dcr_share",
        "dcr_share_expected",
        "dcr_share_balanced",
        "dcr_median",
        "dcr_median_of_test",
        "exact_train_copies_pct",
        "exact_train_copies_in_test_pct",
        "c2st_logistic",
    ] {
        assert!(figures[key].is_number(), "{key}");
    }
    assert_eq!(figures["columns"].as_array().unwrap().len(), 6);
    assert_eq!(figures["pairs"].as_array().unwrap().len(), 15);
    assert_eq!(figures["associations_train"]["matrix"].as_array().unwrap().len(), 6);
    for name in ["marginals.svg", "associations.svg"] {
        let svg = std::fs::read_to_string(plots.join(name)).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>") && svg.contains("income"));
    }
    let page = std::fs::read_to_string(&report).unwrap();
    // One file that needs no other, and says what the terminal says.
    for outside in ["http://", "https://", "src=", "@import", "<script", "<link"] {
        let page = page.replace("xmlns=\"http://www.w3.org/2000/svg\"", "");
        assert!(!page.contains(outside), "{outside}");
    }
    for words in ["8.83 %", "0.8503", "income", "The pairs of columns", "How trees tell", "membership test", "</html>"]
    {
        assert!(page.contains(words), "{words}");
    }
    assert_eq!(page.matches("<svg").count(), 3, "two rows of marginals and the matrices");
    assert!(figures["summary"].as_str().unwrap().contains("400 generated rows of 6 columns"));
    for key in ["c2st_trees", "nmi_weighted"] {
        assert!(figures[key].is_number() && figures["floor"][key].is_number(), "{key}");
    }
    assert!(figures["membership"]["low"].is_number() && figures["utility"]["trained_on_train"].is_number());
    // Nothing temporary stays.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 3);
}

#[test]
fn failures_are_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("synthetic.csv");
    let good = std::fs::read_to_string(data("synthetic.csv")).unwrap();
    let with = |text: &str| {
        std::fs::write(&path, text).unwrap();
        failure(&run(&path, &[]))
    };
    assert!(failure(&run(&folder.path().join("none.csv"), &[])).contains("there is no such file"));
    assert!(with(&format!("{good}1,2\n")).contains("row 401 has 2 cells"));
    let line = good.lines().nth(1).unwrap().to_owned();
    let broken = |column: usize, cell: &str| {
        let mut cells: Vec<&str> = line.split(',').collect();
        cells[column] = cell;
        good.replacen(&line, &cells.join(","), 1)
    };
    assert!(with(&broken(0, "inf")).contains("row 1 of column 'income' is not a finite number"));
    assert!(with(&broken(0, "much")).contains("row 1 of column 'income' holds the text 'much'"));
    let good = data("synthetic.csv");
    assert!(failure(&run(&good, &["--json", "/no/such/folder/figures.json"])).contains("cannot write"));
    assert!(failure(&run(&good, &["--drop", "ID"])).contains("'ID', which the table does not have"));
    // Left out on every side, a column does not count.
    assert!(run(&good, &["--drop", "income"]).status.success());
}

#[cfg(target_os = "linux")]
#[test]
fn files_are_there_though_nothing_can_be_printed() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("figures.json");
    let run = |output: std::process::Stdio| {
        Command::new(env!("CARGO_BIN_EXE_ntk-score"))
            .args(["evaluate", "--threads", "1", "--train"])
            .arg(data("train.csv"))
            .arg("--test")
            .arg(data("test.csv"))
            .arg("--synthetic")
            .arg(data("synthetic.csv"))
            .arg("--json")
            .arg(&json)
            .stdout(output)
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap()
    };
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let output = run(full.into()).wait_with_output().unwrap();
    assert!(failure(&output).contains("cannot print the result to standard output"));
    std::fs::remove_file(&json).unwrap();
    let mut child = run(std::process::Stdio::piped());
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
    assert!(json.exists());
}

#[test]
fn a_walk_with_gaps_and_without_the_identifier() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("synthetic.csv");
    let text = std::fs::read_to_string(data("synthetic.csv")).unwrap();
    // Without its first column, with a gap, and with a category that nobody has seen.
    let lines = text.lines().enumerate().map(|(at, line)| {
        let cells: Vec<&str> = line.split(',').skip(1).collect();
        match at {
            1 => format!("77,{}", cells[1..].join(",")),
            2 => format!(",{}", cells[1..].join(",")),
            _ => cells.join(","),
        }
    });
    std::fs::write(&path, lines.collect::<Vec<_>>().join("\n")).unwrap();
    let output = run(&path, &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).unwrap();
    assert!(printed.contains("not compared: 'income' (the synthetic table does not have it)"), "{printed}");
    assert!(printed.contains("missing cells, error"), "{printed}");
}
