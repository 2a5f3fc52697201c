//! The commands `fit` and `sample` as a person meets them: files in, files out, one sentence when something is wrong.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A folder with a small table in it: numbers with ties, codes, words and a constant.
fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("table.csv");
    fs::write(&table, table_text(240)).unwrap();
    (folder, table)
}

fn table_text(rows: usize) -> String {
    let mut text = "income,paid,children,town,country\n".to_owned();
    let mut state = 7u64;
    let mut next = |bound: u64| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) % bound
    };
    for _ in 0..rows {
        let income = 1000 + next(9000);
        let paid = if next(3) == 0 { 0 } else { income / 10 + next(50) };
        let town = ["Aachen", "Bath", "Como"][next(3) as usize];
        text += &format!("{income},{paid},{},{town},EU\n", next(4));
    }
    text
}

fn run(arguments: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ntk-score")).args(arguments).current_dir(folder).output().unwrap()
}

fn fit(folder: &Path, table: &Path, model: &str, more: &[&str]) -> Output {
    let table = table.to_str().unwrap();
    let base = ["fit", table, "--out", model, "--iterations", "12", "--width", "64", "--batch", "100"];
    run(&[&base, more].concat(), folder)
}

/// Fails unless the command ended with code 2 and one sentence that holds all of `words`.
#[track_caller]
fn assert_refused(output: &Output, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    let lines: Vec<&str> = said.lines().filter(|l| l.starts_with("error")).collect();
    assert_eq!(lines.len(), 1, "{said}");
    assert!(!said.contains("panicked"), "{said}");
    for word in words {
        assert!(said.contains(word), "'{word}' is missing from: {said}");
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_on_any_number_of_threads() {
    let (folder, table) = folder();
    let mut models = Vec::new();
    let mut tables = Vec::new();
    for threads in ["1", "2", "4"] {
        let (model, csv) = (format!("{threads}.safetensors"), format!("{threads}.csv"));
        let fitted = fit(folder.path(), &table, &model, &["--seed", "5", "--threads", threads]);
        assert!(fitted.status.success(), "{}", String::from_utf8_lossy(&fitted.stderr));
        let sample =
            ["sample", &model, "--rows", "1100", "--steps", "5", "--out", &csv, "--seed", "3", "--threads", threads];
        let sampled = run(&sample, folder.path());
        assert!(sampled.status.success(), "{}", String::from_utf8_lossy(&sampled.stderr));
        models.push(fs::read(folder.path().join(model)).unwrap());
        tables.push(fs::read(folder.path().join(csv)).unwrap());
    }
    assert!(models.windows(2).all(|m| m[0] == m[1]));
    assert!(tables.windows(2).all(|t| t[0] == t[1]));
    let other = fit(folder.path(), &table, "other.safetensors", &["--seed", "6"]);
    assert!(other.status.success());
    assert_ne!(models[0], fs::read(folder.path().join("other.safetensors")).unwrap());
}

#[test]
fn generated_tables_look_like_the_table() {
    let (folder, table) = folder();
    assert!(fit(folder.path(), &table, "m.safetensors", &["--drop", "paid"]).status.success());
    for sampler in ["heun", "dpm", "ancestral", "euler"] {
        let sample =
            ["sample", "m.safetensors", "--rows", "70", "--steps", "8", "--out", "s.csv", "--sampler", sampler];
        assert!(run(&sample, folder.path()).status.success(), "{sampler}");
        let text = fs::read_to_string(folder.path().join("s.csv")).unwrap();
        let mut lines = text.lines();
        assert_eq!(lines.next(), Some("income,children,town,country"));
        let mut rows = 0;
        for line in lines {
            let cells: Vec<&str> = line.split(',').collect();
            let income: i64 = cells[0].parse().unwrap();
            assert!((1000..10_000).contains(&income), "{line}");
            assert!((0..4).contains(&cells[1].parse::<i64>().unwrap()), "{line}");
            assert!(["Aachen", "Bath", "Como"].contains(&cells[2]) && cells[3] == "EU", "{line}");
            rows += 1;
        }
        assert_eq!(rows, 70);
    }
}

#[test]
fn every_preset_and_every_optimizer_fit() {
    let (folder, table) = folder();
    for more in [
        &["--preset", "paper"][..],
        &["--preset", "ntk"],
        &["--optimizer", "gd"],
        &["--optimizer", "nesterov"],
        &["--optimizer", "adam"],
        &["--times", "even"],
        &["--times", "recoverable", "--preset", "ntk"],
    ] {
        let fitted = fit(folder.path(), &table, "m.safetensors", more);
        assert!(fitted.status.success(), "{more:?}: {}", String::from_utf8_lossy(&fitted.stderr));
        let sample = ["sample", "m.safetensors", "--rows", "10", "--steps", "4", "--out", "s.csv"];
        assert!(run(&sample, folder.path()).status.success(), "{more:?}");
    }
}

#[test]
fn tables_that_cannot_be_used_are_refused_in_one_sentence() {
    let (folder, _) = folder();
    let good = table_text(30);
    let broken = |from: &str, to: &str| good.replacen(from, to, 1);
    let second_line = good.lines().nth(2).unwrap().to_owned();
    let income = second_line.split(',').next().unwrap();
    let with_income = |cell: &str| good.replacen(&second_line, &second_line.replacen(income, cell, 1), 1);
    let cases: Vec<(&str, Vec<u8>, &[&str])> = vec![
        ("no table", vec![0, 159, 146, 150, 10, 0, 255], &["bad.csv"]),
        ("empty", Vec::new(), &["bad.csv"]),
        ("header only", broken("x", "x").lines().next().unwrap().into(), &["rows"]),
        ("one row", good.lines().take(2).collect::<Vec<_>>().join("\n").into(), &["row"]),
        ("ragged", (good.clone() + "1,2\n").into(), &["bad.csv"]),
        ("missing", with_income("").into(), &["row 2", "income"]),
        ("infinite", with_income("inf").into(), &["row 2", "income"]),
        ("no number", with_income("nan").into(), &["row 2", "income"]),
        ("empty column", "a,b\n1,\n2,\n3,\n".into(), &["'b'"]),
        ("twice", good.replacen("paid", "income", 1).into(), &["income"]),
    ];
    for (name, bytes, words) in cases {
        fs::write(folder.path().join("bad.csv"), bytes).unwrap();
        let output = fit(folder.path(), Path::new("bad.csv"), "m.safetensors", &["--missing", "refuse"]);
        eprintln!("{name}: {}", String::from_utf8_lossy(&output.stderr));
        assert_refused(&output, words);
        assert!(!folder.path().join("m.safetensors").exists(), "{name}");
    }
    assert_refused(&fit(folder.path(), Path::new("none.csv"), "m.safetensors", &[]), &["none.csv"]);
    // Nothing was left behind.
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn outputs_that_cannot_be_written_are_refused_before_the_work() {
    let (folder, table) = folder();
    assert_refused(&fit(folder.path(), &table, "none/m.safetensors", &[]), &["none/m.safetensors"]);
    assert_refused(&fit(folder.path(), &table, ".", &[]), &["cannot write"]);
}

#[test]
fn settings_that_cannot_be_used_are_refused() {
    let (folder, table) = folder();
    let wide = |width: &str| {
        let table = table.to_str().unwrap();
        run(&["fit", table, "--out", "m.safetensors", "--iterations", "1", "--width", width], folder.path())
    };
    assert_refused(&wide("63"), &["width", "63"]);
    assert_refused(&wide("99999999999998"), &["the network", "PB"]);
    assert_refused(&fit(folder.path(), &table, "m.safetensors", &["--drop", "nothing"]), &["nothing"]);
    let paper = ["--preset", "paper", "--times", "even"];
    assert_refused(&fit(folder.path(), &table, "m.safetensors", &paper), &["--times", "--preset best and ntk"]);
    let unknown = fit(folder.path(), &table, "m.safetensors", &["--times", "odd"]);
    assert_refused(&unknown, &["--times", "even, fixed, recoverable"]);
    assert_refused(&fit(folder.path(), &table, "m.safetensors", &["--numerical", "town"]), &["town"]);
}

#[test]
fn models_that_cannot_be_used_are_refused() {
    let (folder, table) = folder();
    assert!(fit(folder.path(), &table, "m.safetensors", &[]).status.success());
    let bytes = fs::read(folder.path().join("m.safetensors")).unwrap();
    let sample = |bytes: &[u8], rows: &str| {
        fs::write(folder.path().join("b.safetensors"), bytes).unwrap();
        run(&["sample", "b.safetensors", "--rows", rows, "--out", "s.csv"], folder.path())
    };
    for cut in [0, 5, 100, bytes.len() / 2, bytes.len() - 1] {
        assert_refused(&sample(&bytes[..cut], "10"), &["b.safetensors", "cut off"]);
    }
    let version = br#"\"version\":3,"#;
    let at = bytes.windows(version.len()).position(|w| w == version).expect("the header has a version");
    let mut newer = bytes.clone();
    newer[at + version.len() - 2] = b'7';
    assert_refused(&sample(&newer, "10"), &["version 7"]);
    assert_refused(&sample(&bytes, "99999999999999"), &["the generated table", "PB"]);
    assert_refused(&run(&["sample", "none.safetensors", "--rows", "1", "--out", "s.csv"], folder.path()), &["none"]);
    assert!(!folder.path().join("s.csv").exists());
}

#[test]
fn missing_cells_are_refused_or_learnt() {
    let (folder, table) = folder();
    // Every fourth income and every fifth town.
    let text: Vec<String> = table_text(240)
        .lines()
        .enumerate()
        .map(|(row, line)| {
            let mut cells: Vec<&str> = line.split(',').collect();
            if row > 0 && row % 4 == 0 {
                cells[0] = "";
            }
            if row > 0 && row % 5 == 0 {
                cells[3] = "NA";
            }
            cells.join(",")
        })
        .collect();
    fs::write(&table, text.join("\n")).unwrap();
    let words = ["row 4 of column 'income' is missing", "--drop", "--missing"];
    assert_refused(&fit(folder.path(), &table, "model.safetensors", &["--missing", "refuse"]), &words);
    assert!(!folder.path().join("model.safetensors").exists());
    let output = fit(folder.path(), &table, "model.safetensors", &[]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let output = run(&["sample", "model.safetensors", "--rows", "400", "--out", "new.csv"], folder.path());
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let generated = fs::read_to_string(folder.path().join("new.csv")).unwrap();
    let rows: Vec<Vec<&str>> = generated.lines().skip(1).map(|line| line.split(',').collect()).collect();
    let count = |column: usize, mark: &str| rows.iter().filter(|cells| cells[column] == mark).count();
    // A quarter and a fifth of 400 rows, from a network that has hardly been trained.
    assert!((40..200).contains(&count(0, "")), "{}", count(0, ""));
    assert!((30..180).contains(&count(3, "NA")), "{}", count(3, "NA"));
    assert!(rows.iter().all(|cells| cells[0].is_empty() || cells[0].parse::<u32>().is_ok()));
}

#[test]
fn categories_of_few_rows_are_merged_and_said() {
    let (folder, table) = folder();
    let text = table_text(240).replacen("Bath", "Zug", 2);
    fs::write(&table, text).unwrap();
    let output = fit(folder.path(), &table, "m.safetensors", &["--rare", "3"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && said.contains("'town': 1 categories that fewer than 3 rows have"), "{said}");
    let model = fs::read(folder.path().join("m.safetensors")).unwrap();
    assert!(!model.windows(3).any(|window| window == b"Zug") && model.windows(6).any(|window| window == b"(rare)"));
    assert_refused(&fit(folder.path(), &table, "m.safetensors", &["--rare", "1"]), &["--rare"]);
}

#[test]
fn a_model_without_training_says_so() {
    let (folder, table) = folder();
    let output = run(&["fit", table.to_str().unwrap(), "--out", "m.safetensors", "--budget", "0.001s"], folder.path());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(3), "{said}");
    assert!(said.contains("untrained") && said.contains("--budget"), "{said}");
    let sample = ["sample", "m.safetensors", "--rows", "10", "--steps", "4", "--out", "s.csv"];
    assert!(run(&sample, folder.path()).status.success());
}
