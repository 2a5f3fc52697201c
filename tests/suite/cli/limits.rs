//! The program under a limit on its memory: what does not fit is refused in a sentence, and nothing is asked for that is not there.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Runs the program with so many kilobytes of address space; its exit code and what it said.
fn limited(kilobytes: u64, arguments: &str, folder: &Path) -> (Option<i32>, String) {
    let program = env!("CARGO_BIN_EXE_ntk-score");
    let script = format!("ulimit -v {kilobytes} && exec '{program}' {arguments}");
    let output = Command::new("sh").args(["-c", &script]).current_dir(folder).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_file_without_an_end_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for command in ["fit /dev/zero --out m", "sample /dev/zero --rows 3 --out s.csv"] {
        let (code, said) = limited(1_500_000, command, folder.path());
        assert_eq!(code, Some(2), "{said}");
        assert!(said.contains("no end") && said.contains("MB"), "{said}");
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn a_column_of_very_many_texts_is_refused_with_the_figure() {
    let folder = tempfile::tempdir().unwrap();
    let rows = (0..24_000).map(|i| format!("{},text {}\n", i * i % 1013, i % 12_000));
    fs::write(folder.path().join("table.csv"), "a,b\n".to_owned() + &rows.collect::<String>()).unwrap();
    let (code, said) = limited(2_500_000, "fit table.csv --out m --iterations 1", folder.path());
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("would take") && said.contains("GB"), "{said}");
}
