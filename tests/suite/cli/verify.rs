//! The commands `verify` and `fit --stop` as a person meets them.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn command(arguments: &[&str], folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ntk-score"));
    command.args(arguments).current_dir(folder);
    command
}

fn run(arguments: &[&str], folder: &Path) -> Output {
    command(arguments, folder).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A folder with a table of two related numbers and a category.
fn folder(rows: u64) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mut text = "income,paid,town\n".to_owned();
    let mut state = 7u64;
    let mut next = |bound: u64| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) % bound
    };
    for _ in 0..rows {
        let income = 1000 + next(9000);
        text += &format!("{income},{},{}\n", income / 10 + next(200), ["Aachen", "Bath"][next(2) as usize]);
    }
    fs::write(folder.path().join("table.csv"), text).unwrap();
    folder
}

#[test]
fn verify_measures_prints_and_draws() {
    // At the highest level always: it would take minutes at the lower ones, whose kernels have tests of their own. A run that forces
    // another level, and not the number of threads, would only do the same again.
    if std::env::var_os("NTK_SCORE_SIMD").is_some() && std::env::var_os("RAYON_NUM_THREADS").is_none() {
        println!("skipped: it runs where no level is forced");
        return;
    }
    let folder = folder(200);
    // One test runs the short version; it asks for everything that can be asked for.
    let all = ["verify", "--quick", "--out", "found", "--table", "table.csv", "--seed", "3"];
    let output = command(&all, folder.path()).env("NTK_SCORE_SIMD", "auto").output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let report: Value = serde_json::from_slice(&fs::read(folder.path().join("found/verify.json")).unwrap()).unwrap();
    let claims = report["claims"].as_array().unwrap();
    let rows: Vec<u64> = claims.iter().map(|claim| claim["row"].as_u64().unwrap()).collect();
    assert!((1..=6).all(|row| rows.iter().filter(|&&r| r == row).count() >= 2), "{rows:?}");
    for claim in claims {
        for word in ["claim", "expected", "measured"] {
            assert!(printed.contains(claim[word].as_str().unwrap()), "{claim}");
        }
        // What does not hold says why.
        assert!(claim["verdict"] != "fails" || !claim["reason"].as_str().unwrap().is_empty(), "{claim}");
    }
    // With networks this narrow the slopes are shallow, but slopes they are.
    for point in report["widths"]["flipped"].as_array().unwrap() {
        let slope = point["widest"]["value"].as_f64().unwrap();
        assert!((-0.6..-0.35).contains(&slope), "{slope}");
    }
    for case in report["overfitting"].as_array().unwrap() {
        let (first, last) = (&case["stops"][0], &case["stops"][6]);
        assert!(first[1].as_f64().unwrap() < 1.2 * case["best"][1].as_f64().unwrap());
        assert!(last[1].as_f64().unwrap() > 1.5 * case["best"][1].as_f64().unwrap());
    }
    for tails in report["tails"].as_array().unwrap() {
        let error = |which: &str| tails[which]["error"].as_f64().unwrap();
        assert!(error("localised") < 0.5 * error("everything"), "{tails}");
    }
    assert!(
        printed.contains("d = 24, N = 1000")
            && printed.contains("near a subspace")
            && printed.contains("The table (160 rows"),
        "{printed}"
    );
    let page = fs::read_to_string(folder.path().join("found/verify.html")).unwrap();
    assert_eq!(page.matches("<svg").count(), 7);
    assert_eq!(page.matches("<figcaption>").count(), 7);
    assert!(page.ends_with("</html>\n") && !page.contains("NaN") && !page.contains("http-equiv"));
}

#[test]
fn rules_are_compared_on_problems_of_any_size() {
    let folder = folder(12);
    let output = run(&["verify", "--rules", "40", "--seed", "7"], folder.path());
    assert!(output.status.success(), "{}", said(&output));
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(printed.lines().all(|line| line.starts_with('|') && line.ends_with('|')), "{printed}");
    for word in ["hold-out, refitted", "heavy tails", "very smooth function", "d = 64", "N = 40", "mean of all | 64 |"]
    {
        assert!(printed.contains(word), "{word}: {printed}");
    }
    assert!(!printed.contains("NaN"), "{printed}");
}

#[test]
fn verify_refuses_in_one_sentence() {
    let folder = folder(12);
    for (arguments, word) in [
        (&["verify", "--quick", "--table", "none.csv"][..], "none.csv"),
        (&["verify", "--quick", "--table", "table.csv"], "20 rows"),
        (&["verify", "--quick", "--out", "table.csv"], "table.csv"),
    ] {
        let output = run(arguments, folder.path());
        let lines: Vec<String> = said(&output).lines().filter(|l| l.starts_with("error")).map(str::to_owned).collect();
        assert!(output.status.code() == Some(2) && lines.len() == 1 && lines[0].contains(word), "{}", said(&output));
    }
}

/// Fits, and returns what the model says of its stop, and what was said.
fn fit(folder: &Path, more: &[&str]) -> (Value, String) {
    let base = ["fit", "table.csv", "--out", "m.safetensors", "--width", "128", "--batch", "100", "--seed", "1"];
    let output = run(&[&base, more].concat(), folder);
    assert!(output.status.success(), "{more:?}: {}", said(&output));
    let bytes = fs::read(folder.join("m.safetensors")).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let own: Value = serde_json::from_str(header["__metadata__"]["ntk_score"].as_str().unwrap()).unwrap();
    assert!(
        run(&["sample", "m.safetensors", "--rows", "5", "--steps", "4", "--out", "s.csv"], folder).status.success()
    );
    let mut stop = own["record"]["stop"].clone();
    // Whether the rule ended training is said beside it.
    stop["applied"] = (own["record"]["ended"] == "rule" || own["record"]["ended"] == "hold_out").into();
    (stop, said(&output))
}

#[test]
fn each_way_of_stopping_is_done_said_and_recorded() {
    let folder = folder(400);
    let fit = |more: &[&str]| fit(folder.path(), more);
    let iteration = |stop: &Value| stop["iteration"].as_u64().unwrap();
    let paper = |stop: &'static str| fit(&["--preset", "paper", "--iterations", "3000", "--stop", stop]);

    let (sharp, words) = paper("sharp");
    assert!(sharp["applied"] == true && (2..3000).contains(&iteration(&sharp)), "{sharp}");
    assert!(words.contains("stopped by sharp") && words.contains("effective time"), "{words}");
    assert!(words.contains("domain: radius"), "{words}");
    let step = sharp["effective_time"].as_f64().unwrap() / iteration(&sharp) as f64;
    assert!(sharp["noise"].as_f64().unwrap() > 0.0 && sharp["critical_radius"].as_f64().unwrap() > 0.0);
    // A larger constant stops earlier, and the preset's own is the theory's.
    let (theory, _) = paper("theory");
    assert!(iteration(&theory) < iteration(&sharp), "{theory} {sharp}");
    assert_eq!(fit(&["--preset", "paper", "--iterations", "3000"]).0, theory);
    // The weights kept are those of the stop, not of the step after it.
    let weights = || {
        let bytes = fs::read(folder.path().join("m.safetensors")).unwrap();
        bytes[8 + u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize..].to_vec()
    };
    let (stopped, last) = (weights(), iteration(&theory).to_string());
    fit(&["--preset", "paper", "--iterations", &last, "--stop", "none"]);
    assert!(weights() == stopped);
    // Several draws of each row are a larger regression set, held out row by row.
    let (draws, words) = fit(&["--preset", "paper", "--iterations", "40", "--stop", "holdout", "--draws", "3"]);
    assert!((100..=120).contains(&draws["held_out"].as_u64().unwrap()), "{draws} {words}");

    // Momentum carries every step tenfold: about as much effective time in a tenth of the iterations.
    let (momentum, _) =
        fit(&["--preset", "paper", "--iterations", "3000", "--stop", "sharp", "--optimizer", "nesterov"]);
    let time = |stop: &Value| stop["effective_time"].as_f64().unwrap();
    assert!((time(&momentum) / iteration(&momentum) as f64 / step / 10.0 - 1.0).abs() < 1e-9);
    assert!((0.5..2.0).contains(&(time(&momentum) / time(&sharp))), "{momentum} {sharp}");

    let (held, words) = paper("holdout");
    assert!(held["applied"] == true && held["held_out"].as_u64().unwrap() >= 39, "{held}");
    assert!(words.contains("rows were held out"), "{words}");
    let (none, _) = fit(&["--preset", "paper", "--iterations", "40", "--stop", "none"]);
    assert!(none["applied"] == false && iteration(&none) == 40 && none["rule"] == "none", "{none}");

    // The best preset trains on batches, until told otherwise.
    let (own, _) = fit(&["--iterations", "30"]);
    assert!(own["rule"] == "holdout" && own["effective_time"].is_null(), "{own}");
    let (batches, words) = fit(&["--iterations", "3000", "--stop", "sharp", "--optimizer", "nesterov"]);
    assert!(batches["applied"] == true && batches["effective_time"].as_f64().unwrap() > 0.0, "{batches}");
    assert!(words.contains("stopped by sharp"), "{words}");
    let (held, _) = fit(&["--iterations", "60", "--stop", "holdout"]);
    assert!(held["held_out"] == 40 && iteration(&held) <= 60, "{held}");

    let refused = run(&["fit", "table.csv", "--out", "m.safetensors", "--draws", "2"], folder.path());
    assert!(refused.status.code() == Some(2) && said(&refused).contains("--preset paper"), "{}", said(&refused));
    let refused =
        run(&["fit", "table.csv", "--out", "m.safetensors", "--preset", "ntk", "--stages", "2"], folder.path());
    assert!(refused.status.code() == Some(2) && said(&refused).contains("--preset best"), "{}", said(&refused));
    let refused = run(&["fit", "table.csv", "--out", "m.safetensors", "--stop", "sharp"], folder.path());
    assert!(refused.status.code() == Some(2) && said(&refused).contains("holdout"), "{}", said(&refused));
}

#[test]
fn a_stopped_fit_has_the_same_bytes_on_any_number_of_threads() {
    let folder = folder(300);
    for more in [&["--preset", "paper", "--stop", "sharp"][..], &["--stop", "holdout"]] {
        let mut models = Vec::new();
        for threads in ["1", "3"] {
            fit(folder.path(), &[&["--iterations", "50", "--threads", threads], more].concat());
            models.push(fs::read(folder.path().join("m.safetensors")).unwrap());
        }
        assert!(models[0] == models[1], "{more:?}");
    }
}
