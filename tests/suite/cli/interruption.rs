//! A fit that is interrupted, as a person meets it: a checkpoint is left and nothing else, and the same command goes on.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Output, Stdio};

/// Long enough that the signal comes in time, and no rows held out that could end it.
const FIT: [&str; 10] =
    ["fit", "table.csv", "--iterations", "4000", "--width", "128", "--batch", "128", "--stop", "none"];

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let rows = (0..200).map(|i| format!("{},{},{}\n", i * i % 97, i * 7 % 31, ["x", "y", "z"][i % 3]));
    fs::write(folder.path().join("table.csv"), "a,b,c\n".to_owned() + &rows.collect::<String>()).unwrap();
    folder
}

fn command(more: &[&str], folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ntk-score"));
    command.args([&FIT, more].concat()).current_dir(folder).stderr(Stdio::piped());
    command
}

fn run(more: &[&str], folder: &Path) -> Output {
    command(more, folder).output().unwrap()
}

/// Runs the fit until it trains and then sends it a signal; returns its exit code and what it said from then on.
fn interrupt(signal: &str, more: &[&str], folder: &Path) -> (Option<i32>, String) {
    let mut fit = command(more, folder).spawn().unwrap();
    let mut said = BufReader::new(fit.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("fitting") {
        line.clear();
        assert!(said.read_line(&mut line).unwrap() > 0, "the fit ended before it trained");
    }
    assert!(Command::new("kill").args([signal, &fit.id().to_string()]).status().unwrap().success());
    let mut rest = String::new();
    said.read_to_string(&mut rest).unwrap();
    (fit.wait().unwrap().code(), rest)
}

fn files(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[test]
fn an_interrupted_fit_leaves_a_checkpoint_and_goes_on_to_the_same_bytes() {
    let folder = folder();
    let at = folder.path();
    assert!(run(&["--out", "whole"], at).status.success());
    let whole = fs::read(at.join("whole")).unwrap();
    for (signal, code) in [("-INT", 130), ("-TERM", 143)] {
        let (found, said) = interrupt(signal, &["--out", "model"], at);
        assert_eq!(found, Some(code), "{said}");
        assert!(said.contains("--resume goes on from model.checkpoint"), "{said}");
        assert_eq!(files(at), ["model.checkpoint", "table.csv", "whole"]);
        // Not lost by a second start.
        let anew = run(&["--out", "model"], at);
        let said = String::from_utf8_lossy(&anew.stderr).into_owned();
        assert_eq!(anew.status.code(), Some(2));
        assert!(said.contains("--resume") && said.contains("model.checkpoint"), "{said}");
        let other = run(&["--out", "model", "--resume", "--seed", "1"], at);
        let said = String::from_utf8_lossy(&other.stderr).into_owned();
        assert_eq!(other.status.code(), Some(2));
        assert!(said.contains("other settings"), "{said}");
        let resumed = run(&["--out", "model", "--resume", "--threads", "1"], at);
        assert!(resumed.status.success(), "{}", String::from_utf8_lossy(&resumed.stderr));
        assert!(fs::read(at.join("model")).unwrap() == whole);
        assert_eq!(files(at), ["model", "table.csv", "whole"]);
        fs::remove_file(at.join("model")).unwrap();
    }
    let nothing = run(&["--out", "model", "--resume"], at);
    assert_eq!(nothing.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&nothing.stderr).contains("no checkpoint"));
}
