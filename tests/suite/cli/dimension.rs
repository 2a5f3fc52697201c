//! `ntk-score dimension`: its keys are a promise, a seed gives its bytes, and what is wrong is one sentence.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

fn run(arguments: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ntk-score")).args(arguments).current_dir(folder).output().unwrap()
}

fn succeed(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Fits a table of these lines.
fn fit(folder: &Path, lines: impl Iterator<Item = String>, model: &str) {
    fs::write(folder.join("table.csv"), lines.collect::<String>()).unwrap();
    let length = ["--iterations", "20", "--width", "64", "--batch", "100"];
    succeed(run(&[&["fit", "table.csv", "--out", model], &length[..]].concat(), folder));
}

/// Four columns with a category, two of which follow a third nearly.
fn lines() -> impl Iterator<Item = String> {
    let row = |i: u64| {
        let a = i.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407) >> 44;
        let c = i.wrapping_mul(2862933555777941757).wrapping_add(3037000493) >> 44;
        let kind = ["x", "y", "z"][(a % 3) as usize];
        format!("{a},{},{c},{kind},{}\n", 2 * a + c % 5, 3 * a + c % 7)
    };
    std::iter::once("a,b,c,kind,e\n".to_owned()).chain((1..300).map(row))
}

#[test]
fn the_object_has_its_keys_and_a_seed_gives_its_bytes_on_any_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fit(folder, lines(), "m.safetensors");
    let of = |threads: &str, seed: &str| {
        let few = ["dimension", "m.safetensors", "--rows", "70", "--seed", seed, "--threads", threads];
        let words = succeed(run(&[&few, &["--json", "d.json", "--plot", "d.svg"][..]].concat(), folder));
        let [json, plot] = ["d.json", "d.svg"].map(|name| fs::read_to_string(folder.join(name)).unwrap());
        (words, json, plot)
    };
    let (words, json, plot) = of("1", "5");
    assert_eq!((words.clone(), json.clone(), plot.clone()), of("2", "5"));
    assert_ne!(json, of("2", "6").1);
    for word in ["MMSE", "FLIPD", "rank gap", "4 numerical columns of 7 coded", "70 rows", "plateaus"] {
        assert!(words.contains(word), "'{word}' is missing from: {words}");
    }
    assert!(plot.starts_with("<svg") && plot.contains("FLIPD"));

    let object: Value = serde_json::from_str(&json).unwrap();
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    let all = ["seed", "rows", "columns", "coded_columns", "dimension", "plateaus", "curves"];
    assert_eq!(keys(&object), all);
    assert_eq!((&object["seed"], &object["rows"], &object["columns"]), (&5.into(), &70.into(), &4.into()));
    assert_eq!(object["coded_columns"], 7);
    assert_eq!(keys(&object["plateaus"]), ["mmse", "flipd", "rank_gap"]);
    assert_eq!(object["dimension"], object["plateaus"]["mmse"]);
    for plateau in object["plateaus"].as_object().unwrap().values().filter(|plateau| !plateau.is_null()) {
        assert_eq!(keys(plateau), ["value", "standard_error", "sigma", "log_snr"]);
        assert!(plateau["sigma"][1].as_f64() >= plateau["sigma"][0].as_f64());
    }
    let curves = object["curves"].as_array().unwrap();
    assert_eq!(curves.len(), 29);
    for level in curves {
        let names = ["sigma", "log_snr", "mmse", "flipd", "flipd_quartiles", "rank_gap", "rank_gap_share"];
        assert_eq!(keys(level), names);
        for estimate in ["mmse", "flipd"] {
            assert_eq!(keys(&level[estimate]), ["value", "standard_error"]);
            let value = level[estimate]["value"].as_f64().unwrap();
            assert!((-0.5..6.0).contains(&value), "{level}");
        }
    }
    assert!(curves.windows(2).all(|pair| pair[0]["sigma"].as_f64() < pair[1]["sigma"].as_f64()));
}

#[test]
fn other_presets_are_measured_too() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fs::write(folder.join("table.csv"), lines().collect::<String>()).unwrap();
    for preset in ["paper", "ntk"] {
        let fit = ["fit", "table.csv", "--out", "m", "--iterations", "20", "--width", "64", "--preset", preset];
        succeed(run(&fit, folder));
        let words = succeed(run(&["dimension", "m", "--rows", "16"], folder));
        // Codes that a base takes for numbers are still no numerical columns.
        assert!(words.contains("4 numerical columns of 7 coded"), "{preset}: {words}");
    }
}

#[test]
fn everything_that_is_wrong_is_said_in_one_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    fit(folder, lines(), "m.safetensors");
    let categories = (0..200).map(|i| format!("{},{}\n", ["p", "q"][i * i % 7 % 2], ["r", "s", "t"][i % 3]));
    fit(folder, std::iter::once("f,g\n".to_owned()).chain(categories), "categories.safetensors");
    let before = fs::read(folder.join("m.safetensors")).unwrap();
    let cases: [(&[&str], &str); 9] = [
        (&["none.safetensors"], "no such file"),
        (&["table.csv"], "table.csv"),
        (&["categories.safetensors"], "no numerical column"),
        (&["m.safetensors", "--rows", "3"], "16..=8192"),
        (&["m.safetensors", "--threads", "0"], "threads"),
        (&["m.safetensors", "--json", "m.safetensors"], "--json m.safetensors would overwrite"),
        (&["m.safetensors", "--json", "-"], "name of a file"),
        (&["m.safetensors", "--json", "d", "--plot", "d"], "same file"),
        (&["m.safetensors", "--json", "missing/d.json"], "missing"),
    ];
    for (arguments, word) in cases {
        let output = run(&[&["dimension"], arguments].concat(), folder);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(output.stdout.is_empty() && said.trim_end().lines().count() == 1, "{arguments:?}: {said}");
        assert!(said.contains(word), "{arguments:?} should say '{word}': {said}");
    }
    assert_eq!(fs::read(folder.join("m.safetensors")).unwrap(), before);
    assert_eq!(fs::read_dir(folder).unwrap().count(), 3, "failures leave no files behind");
}
