//! Small tables that tools of this kind get wrong, from the file to the generated file.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn case(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/cases").join(name)
}

fn run(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ntk-score")).args(arguments).current_dir(folder).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn fit(folder: &Path, table: &Path, more: &[&str]) -> Output {
    let table = table.to_str().unwrap();
    let base = ["fit", table, "--out", "m.safetensors", "--iterations", "20", "--width", "32", "--batch", "64"];
    run(folder, &[&base, more].concat())
}

/// Fits, generates 300 rows, and gives what fit said and the generated cells, column by column, below their names.
#[track_caller]
fn generated(table: &Path, more: &[&str]) -> (String, Vec<(String, Vec<String>)>) {
    let folder = tempfile::tempdir().unwrap();
    let fitted = fit(folder.path(), table, more);
    assert!(fitted.status.success(), "{}", said(&fitted));
    let sampled = run(folder.path(), &["sample", "m.safetensors", "--rows", "300", "--steps", "12", "--out", "s.csv"]);
    assert!(sampled.status.success(), "{}", said(&sampled));
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_path(folder.path().join("s.csv")).unwrap();
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 301);
    let column = |i: usize| (rows[0][i].to_owned(), rows[1..].iter().map(|row| row[i].to_owned()).collect());
    (said(&fitted), (0..rows[0].len()).map(column).collect())
}

/// The cells of the only column.
#[track_caller]
fn only(table: &Path, more: &[&str]) -> (String, Vec<String>) {
    let (said, mut columns) = generated(table, more);
    assert_eq!(columns.len(), 1);
    (said, columns.remove(0).1)
}

fn written(folder: &Path, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    path
}

#[track_caller]
fn assert_refused(output: &Output, words: &[&str]) {
    let said = said(output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    for word in words.iter().chain(&["error: "]) {
        assert!(said.contains(word), "'{word}' is missing from: {said}");
    }
}

#[test]
fn one_huge_integer_among_small_ones() {
    let (_, cells) = only(&case("one-huge-integer.csv"), &[]);
    for cell in cells {
        assert!((1..=9_999_999_999_999_999).contains(&cell.parse::<u64>().unwrap()), "{cell}");
    }
}

#[test]
fn rounding_noise_among_cents() {
    let (_, cells) = only(&case("one-long-decimal.csv"), &[]);
    for cell in cells {
        assert_eq!(cell.split_once('.').unwrap().1.len(), 2, "{cell}");
    }
}

#[test]
fn ids_that_collide_as_doubles_are_categories_by_their_text() {
    for more in [&[][..], &["--categorical", "id"]] {
        let (_, columns) = generated(&case("sixteen-digit-ids.csv"), more);
        let cells = &columns[0].1;
        for id in ["90071992547409920", "90071992547409921", "90071992547409922", "90071992547409923"] {
            let count = cells.iter().filter(|cell| *cell == id).count();
            assert!((20..150).contains(&count), "{id} is there {count} times in 300 rows");
        }
        assert!(cells.iter().all(|cell| cell.starts_with("9007199254740992") && cell.len() == 17));
    }
}

#[test]
fn versions_are_three_categories() {
    for more in [&[][..], &["--categorical", "v"]] {
        let (_, columns) = generated(&case("version-codes.csv"), more);
        for version in ["1.1", "1.10", "1.2"] {
            let count = columns[0].1.iter().filter(|cell| *cell == version).count();
            assert!((40..200).contains(&count), "{version} is there {count} times in 300 rows");
        }
    }
}

#[test]
fn integers_of_nineteen_digits() {
    let (_, cells) = only(&case("nineteen-digit-integers.csv"), &[]);
    for cell in cells {
        assert!(cell.len() == 19 && cell.bytes().all(|b| b.is_ascii_digit()) && cell.ends_with("000"), "{cell}");
    }
}

#[test]
fn question_marks_are_missing_cells() {
    let (said, cells) = only(&case("question-marks.csv"), &[]);
    assert!(said.contains("whole number"), "{said}");
    let marks = cells.iter().filter(|cell| *cell == "?").count();
    assert!((15..110).contains(&marks), "{marks} of 300, where one in seven is real");
    assert!(cells.iter().all(|cell| cell == "?" || cell.parse::<i64>().is_ok()));
}

#[test]
fn names_are_no_categories() {
    let folder = tempfile::tempdir().unwrap();
    let refused = fit(folder.path(), &case("one-duplicate-name.csv"), &[]);
    assert_refused(&refused, &["'name'", "identifier", "--categorical"]);
    // Beside another column they are left out, or new ones are made.
    let names = fs::read_to_string(case("one-duplicate-name.csv")).unwrap();
    let lines = names
        .lines()
        .enumerate()
        .map(|(i, name)| format!("{name},{}\n", if i == 0 { "age".into() } else { (i * i % 83).to_string() }));
    let table = written(folder.path(), "names.csv", lines.collect::<String>());
    let (said, columns) = generated(&table, &[]);
    assert!(columns.len() == 1 && said.contains("60 different texts in 61 rows"), "{said}");
    let (_, columns) = generated(&table, &["--identifier", "name"]);
    let mut made = columns[0].1.clone();
    assert!(made.iter().all(|name| name.starts_with("Ann ") && !names.lines().any(|real| real == name)), "{made:?}");
    made.sort();
    made.dedup();
    assert_eq!(made.len(), 300);
}

#[test]
fn whole_numbers_that_are_dates() {
    let (said, cells) = only(&case("yyyymmdd.csv"), &[]);
    assert!(said.contains("date"), "{said}");
    let real = fs::read_to_string(case("yyyymmdd.csv")).unwrap();
    let (first, last) = (real.lines().skip(1).min().unwrap(), real.lines().skip(1).max().unwrap());
    for cell in cells {
        let [month, day] = [4..6, 6..8].map(|place| cell[place].parse::<u32>().unwrap());
        let days = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month as usize - 1];
        assert!((1..=days).contains(&day) && (first..=last).contains(&cell.as_str()), "{cell}");
    }
}

#[test]
fn dates_keep_their_format_and_range() {
    let folder = tempfile::tempdir().unwrap();
    let mut text = "seen,born,at\n".to_owned();
    for i in 0..200 {
        let born =
            if i % 8 == 3 { "NA".into() } else { format!("{:02}/{:02}/{}", i % 28 + 1, i % 12 + 1, 1950 + i % 60) };
        text += &format!(
            "2024-{:02}-{:02},{born},2023-06-{:02}T{:02}:30:00Z\n",
            i % 12 + 1,
            (i * 7) % 28 + 1,
            i % 30 + 1,
            i % 24
        );
    }
    let table = written(folder.path(), "dates.csv", text);
    let (said, columns) = generated(&table, &[]);
    assert_eq!(said.matches("date ").count(), 3, "{said}");
    for cell in &columns[0].1 {
        assert!(("2024-01-01"..="2024-12-28").contains(&cell.as_str()) && cell.len() == 10, "{cell}");
    }
    for cell in &columns[1].1 {
        assert!(
            cell == "NA" || cell.len() == 10 && cell[..2].parse::<u32>().unwrap() <= 31 && &cell[5..6] == "/",
            "{cell}"
        );
    }
    assert!(columns[1].1.iter().any(|cell| cell == "NA"));
    for cell in &columns[2].1 {
        assert!(cell.starts_with("2023-0") && cell.ends_with(":30:00Z"), "{cell}");
    }
    let unclear = (0..60).map(|i| format!("{:02}/{:02}/2024\n", i % 12 + 1, (i / 3) % 12 + 1)).collect::<String>();
    let unclear = written(folder.path(), "unclear.csv", format!("day\n{unclear}"));
    assert_refused(&fit(folder.path(), &unclear, &[]), &["cannot be told apart", "--dates", "'day=dmy'"]);
    assert!(fit(folder.path(), &unclear, &["--dates", "day=mdy"]).status.success());
}

#[test]
fn files_of_other_dialects() {
    let folder = tempfile::tempdir().unwrap();
    let rows = |separator: &str| {
        (0..60).map(|i| format!("{i}{separator}{}{separator}{}\n", i * i % 47, i * 31 % 59)).collect::<String>()
    };
    let names = |path: &Path, more: &[&str]| {
        let (said, columns) = generated(path, more);
        (said, columns.into_iter().map(|column| column.0).collect::<Vec<_>>())
    };
    let semicolons = written(folder.path(), "semicolons.csv", format!("\u{feff}; Age ;a,b\n{}\n", rows(";")));
    let (said, found) = names(&semicolons, &[]);
    assert!(said.contains("cells are separated by ';'; 1 blank line skipped"), "{said}");
    assert_eq!(found, [" Age ", "a,b"], "the column without a name counts rows");
    assert_eq!(names(&semicolons, &["--drop", "", "--drop", "a,b"]).1, [" Age "]);
    assert_eq!(names(&semicolons, &["--numerical", "", "--drop", " Age ", "--drop", "a,b"]).1, [""]);
    let years = written(folder.path(), "years.csv", format!("2010,2011,2012\n{}", rows(",")));
    assert_refused(&fit(folder.path(), &years, &[]), &["looks like data", "--no-header", "--header"]);
    assert_eq!(names(&years, &["--header", "--numerical", "2010"]).1, ["2010", "2011", "2012"]);
    assert_eq!(names(&years, &["--no-header", "--numerical", "c1"]).1, ["c1", "c2", "c3"]);
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(format!("x,y,z\n{}", rows(",")).as_bytes()).unwrap();
    let packed = written(folder.path(), "table.csv.gz", packed.finish().unwrap());
    assert_eq!(names(&packed, &[]).1, ["y", "z"]);
}

#[test]
fn standard_input_and_output_are_files_too() {
    let folder = tempfile::tempdir().unwrap();
    let text = (0..60).fold("x,y\n".to_owned(), |text, i| text + &format!("{},{}\n", i * i % 47, i * 31 % 59));
    let piped = |arguments: &[&str], input: &[u8]| {
        let mut child = Command::new(env!("CARGO_BIN_EXE_ntk-score"))
            .args(arguments)
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(input).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", said(&output));
        output.stdout
    };
    let model = piped(&["fit", "-", "--out", "-", "--iterations", "5", "--width", "32"], text.as_bytes());
    let table = piped(&["sample", "-", "--out", "-", "--rows", "20", "--steps", "4"], &model);
    let table = String::from_utf8(table).unwrap();
    assert!(table.starts_with("x,y\n") && table.lines().count() == 21, "{table}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn the_input_is_not_written_over() {
    let folder = tempfile::tempdir().unwrap();
    let table = written(folder.path(), "table.csv", "x,y\n1,2\n3,4\n5,7\n");
    let refused = run(folder.path(), &["fit", "table.csv", "--out", "./table.csv", "--iterations", "1"]);
    assert_refused(&refused, &["overwrite"]);
    assert_eq!(fs::read_to_string(table).unwrap(), "x,y\n1,2\n3,4\n5,7\n");
}

#[test]
fn what_the_columns_are_is_shown_changed_and_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let row = |i: usize| format!("{},{},{},\n", i + 1, i * i % 47, ["red", "blue"][i % 2]);
    written(folder.path(), "t.csv", "no,size,colour,remark\n".to_owned() + &(0..80).map(row).collect::<String>());
    let dry = run(folder.path(), &["fit", "t.csv", "--dry-run", "--schema", "s.json"]);
    assert!(dry.status.success(), "{}", said(&dry));
    let shown = String::from_utf8(dry.stdout).unwrap();
    for words in [
        "no      left out",
        "size    whole number  0 to ",
        "colour  category      2: blue, red",
        "remark  constant",
        "100.0 %",
    ] {
        assert!(shown.contains(words), "'{words}' is not in\n{shown}");
    }
    let text = fs::read_to_string(folder.path().join("s.json")).unwrap();
    fs::write(folder.path().join("s.json"), text.replacen("left_out", "number", 1).replacen("constant", "left_out", 1))
        .unwrap();
    let table = folder.path().join("t.csv");
    assert!(fit(folder.path(), &table, &["--schema", "s.json"]).status.success());
    assert!(run(folder.path(), &["sample", "m.safetensors", "--rows", "3", "--out", "g.csv"]).status.success());
    assert!(fs::read_to_string(folder.path().join("g.csv")).unwrap().starts_with("no,size,colour\n"));
    assert_refused(&fit(folder.path(), &table, &["--schema", "none.json"]), &["none.json", "no such file"]);
}

#[test]
fn what_is_beyond_64_bits_is_refused_and_what_is_within_is_exact() {
    let folder = tempfile::tempdir().unwrap();
    let column = |first: u128, step: u128| {
        (0..150).fold("x\n".to_owned(), |text, i| text + &format!("{}\n", first + step * i * i))
    };
    let path = written(folder.path(), "large.csv", column(u128::from(u64::MAX), 1));
    assert_refused(&fit(folder.path(), &path, &[]), &["beyond 64 bits", "--categorical"]);
    let path = written(folder.path(), "large.csv", column(u128::from(u64::MAX) - 149 * 149, 1));
    let (_, cells) = only(&path, &[]);
    for cell in cells {
        assert!(cell.parse::<u64>().unwrap() >= u64::MAX - 149 * 149, "{cell}");
    }
}
