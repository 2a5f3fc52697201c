//! Rows that meet conditions and gaps that are filled, from the outside: the walk-through, and mixtures whose conditionals are known.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use faer::Par;
use ntk_score::fit::{Fill, FitSettings, FittedTable, Length, Preset, SampleSettings, fit};
use ntk_score::table::{Condition, Table};

fn run(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ntk-score")).args(arguments).current_dir(folder).output().unwrap()
}

#[track_caller]
fn refused(output: &Output, words: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    for word in words {
        assert!(said.contains(word), "'{word}' is missing from: {said}");
    }
}

/// Cells below the header, by column.
fn read(path: &Path) -> Vec<(String, Vec<String>)> {
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_path(path).unwrap();
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    (0..rows[0].len())
        .map(|i| (rows[0][i].to_owned(), rows[1..].iter().map(|row| row[i].to_owned()).collect()))
        .collect()
}

fn column<'a>(table: &'a [(String, Vec<String>)], name: &str) -> &'a [String] {
    &table.iter().find(|(own, _)| own == name).unwrap_or_else(|| panic!("no column {name}")).1
}

fn number(cell: &str) -> f64 {
    cell.parse().unwrap_or_else(|_| panic!("'{cell}' is no number"))
}

/// The commands of the walk-through, as they stand on the page.
#[cfg(unix)]
fn walk_through() -> Vec<String> {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/tables.md")).unwrap();
    let (_, section) = page.split_once("## A small table, step by step").expect("the page has a walk-through");
    let (_, block) = section.split_once("```sh\n").unwrap();
    block.split_once("```").unwrap().0.lines().map(str::to_owned).collect()
}

#[cfg(unix)]
#[test]
fn the_walk_through_works_line_by_line() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/example/orders.csv");
    fs::create_dir_all(at("docs/example")).unwrap();
    fs::copy(source, at("docs/example/orders.csv")).unwrap();
    let program = Path::new(env!("CARGO_BIN_EXE_ntk-score")).parent().unwrap();
    let path = format!("{}:{}", program.display(), std::env::var("PATH").unwrap());
    let lines = walk_through();
    assert!(lines.len() > 8, "{lines:?}");
    for line in lines {
        let mut command = Command::new("sh");
        command.args(["-c", &line]).current_dir(folder.path()).env("PATH", &path);
        // The lines are under test here, and no level: plain loops would take minutes.
        let output = command.env_remove("NTK_SCORE_SIMD").output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }
    assert!(fs::read_to_string(at("columns.json")).unwrap().contains("\"shipped\""));
    assert!(fs::read_to_string(at("report.html")).unwrap().contains("<svg"));
    let kept = |table: &[(String, Vec<String>)]| {
        for row in 0..table[0].1.len() {
            let cell = |name: &str| column(table, name)[row].as_str();
            assert!(
                cell("shipped").is_empty() || cell("ordered") <= cell("shipped"),
                "{} {}",
                cell("ordered"),
                cell("shipped")
            );
            let sum = number(cell("price")) + number(cell("shipping"));
            assert!((number(cell("total")) - sum).abs() < 1e-6, "{} {sum}", cell("total"));
        }
    };
    let synthetic = read(&at("synthetic.csv"));
    assert_eq!(synthetic[0].1.len(), 400);
    kept(&synthetic);
    let returned = read(&at("returned.csv"));
    assert_eq!(returned[0].1.len(), 50);
    assert!(column(&returned, "status").iter().all(|status| status == "returned"));
    assert!(column(&returned, "price").iter().all(|price| number(price) >= 40.0));
    kept(&returned);
    let mut names = column(&returned, "order").to_vec();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 50, "row names differ from each other");
    let completed = read(&at("completed.csv"));
    assert_eq!(
        (column(&completed, "town"), column(&completed, "items")),
        (&["Bath", "Como"].map(String::from)[..], &["3", "1"].map(String::from)[..])
    );
    let (gaps, filled, five) = (read(&at("test.csv")), read(&at("filled.csv")), read(&at("five.csv")));
    assert_eq!((five[0].0.as_str(), five[0].1.len()), ("draw", 500));
    let mut different = 0;
    for ((name, cells), (_, full)) in gaps.iter().zip(&filled) {
        let drawn = column(&five, name);
        for (row, (cell, full)) in cells.iter().zip(full).enumerate() {
            let missing = cell.is_empty() || cell == "NA";
            assert!(!full.is_empty() && full != "NA" && (missing || cell == full), "{name}: '{cell}' became '{full}'");
            assert!(missing || (0..5).all(|draw| &drawn[draw * 100 + row] == cell), "{name}, row {row}");
            different += usize::from(missing && (1..5).any(|draw| drawn[draw * 100 + row] != drawn[row]));
        }
    }
    assert!(different > 10, "draws differ from each other: {different}");
}

#[test]
fn what_cannot_be_asked_for_is_refused_in_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let orders = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/example/orders.csv");
    let fit = |more: &[&str]| {
        let base =
            ["fit", orders.to_str().unwrap(), "--out", "m", "--iterations", "3", "--width", "32", "--batch", "64"];
        run(folder, &[&base, more].concat())
    };
    refused(&fit(&["--keep", "total<price"]), &["total<price", "the right way round"]);
    refused(&fit(&["--keep", "ordered<=town"]), &["not both numbers"]);
    refused(&fit(&["--keep", "ordered<=delivered"]), &["'delivered'", "the columns are"]);
    refused(&fit(&["--where", "price>=1000000"]), &["500 of 500 rows"]);
    let fitted = fit(&["--where", "price<100", "--keep", "ordered<=shipped"]);
    let said = String::from_utf8_lossy(&fitted.stderr).into_owned();
    assert!(fitted.status.success() && said.contains("rows that do not meet 'price<100'"), "{said}");
    let sample = |more: &[&str]| run(folder, &[&["sample", "m", "--out", "s.csv", "--steps", "4"], more].concat());
    refused(&sample(&["--rows", "5", "--where", "tonw=Bath"]), &["'tonw'", "town"]);
    refused(&sample(&["--rows", "5", "--where", "town=Rome"]), &["'Rome'", "Bath"]);
    refused(&sample(&["--rows", "5", "--where", "town>Bath"]), &["compared by = and != only"]);
    refused(&sample(&["--rows", "5", "--where", "town"]), &["compares nothing"]);
    refused(&sample(&["--rows", "5", "--where", "town=Bath", "--where", "town=Como"]), &["leaves no value"]);
    refused(&sample(&["--rows", "5", "--where", "ordered=soon"]), &["no date such as"]);
    refused(&sample(&["--rows", "5", "--where", "price>=10000000"]), &["'price>=10000000'", "goes from"]);
    refused(&sample(&["--where", "town=Bath"]), &["--rows"]);
    fs::write(folder.join("c.csv"), "town,colour\nBath,red\n").unwrap();
    refused(&sample(&["--condition", "c.csv"]), &["'colour'", "does not have"]);
    fs::write(folder.join("c.csv"), "town\nBath\nRome\n").unwrap();
    refused(&sample(&["--condition", "c.csv"]), &["row 2 of column 'town'", "'Rome'"]);
    fs::write(folder.join("g.csv"), "price\n3.50\nmuch\n").unwrap();
    let fill = |table: &str| run(folder, &["impute", "m", table, "--out", "f.csv", "--steps", "3"]);
    refused(&fill("g.csv"), &["row 2 of column 'price'", "'much'"]);
    fs::write(folder.join("g.csv"), "colour\nred\n").unwrap();
    refused(&fill("g.csv"), &["none of the model's columns"]);
    refused(&run(folder, &["impute", "m", "c.csv", "--out", "c.csv"]), &["would overwrite"]);
    assert!(!folder.join("s.csv").exists() && !folder.join("f.csv").exists());
}

/// A mixture of two Gaussians in three dimensions with a category that tells them apart nine times in ten.
struct Mixture;

impl Mixture {
    const MEANS: [[f64; 3]; 2] = [[-1.5, 0.0, 1.0], [2.0, 1.0, -1.0]];
    /// Lower triangular factors of the covariances.
    const FACTORS: [[[f64; 3]; 3]; 2] =
        [[[1.0, 0.0, 0.0], [0.8, 0.6, 0.0], [-0.5, 0.3, 0.5]], [[0.7, 0.0, 0.0], [-0.6, 0.5, 0.0], [0.4, 0.6, 0.4]]];
    const SHARES: [f64; 2] = [0.65, 0.35];
    /// A level that only every two-hundredth row has, all of them of the second Gaussian.
    const LEVELS: [[f64; 3]; 2] = [[0.9, 0.1, 0.0], [0.1, 0.886, 0.014]];

    fn covariance(k: usize, i: usize, j: usize) -> f64 {
        (0..3).map(|l| Self::FACTORS[k][i][l] * Self::FACTORS[k][j][l]).sum()
    }

    fn draw(rows: usize, seed: u64) -> Vec<([f64; 3], usize)> {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut uniform = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 11) as f64 / (1u64 << 53) as f64
        };
        let mut one = || {
            let k = usize::from(uniform() >= Self::SHARES[0]);
            let mut normal = || (-2.0 * (1.0 - uniform()).ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos();
            let z = [normal(), normal(), normal()];
            let x = [0, 1, 2].map(|i| Self::MEANS[k][i] + (0..3).map(|l| Self::FACTORS[k][i][l] * z[l]).sum::<f64>());
            let mut left = uniform();
            let level = Self::LEVELS[k].iter().position(|share| {
                left -= share;
                left < 0.0
            });
            (x, level.unwrap_or(1))
        };
        (0..rows).map(|_| one()).collect()
    }

    fn table(rows: &[([f64; 3], usize)]) -> Table {
        let mut columns: Vec<Vec<String>> =
            (0..3).map(|i| rows.iter().map(|(x, _)| format!("{:.4}", x[i])).collect()).collect();
        columns.push(rows.iter().map(|(_, level)| ["low", "high", "rare"][*level].to_owned()).collect());
        Table::new(["x", "y", "z", "level"].map(str::to_owned).to_vec(), columns).unwrap()
    }

    fn fitted() -> FittedTable {
        let mut settings = FitSettings::new(Preset::Best, Length::Iterations(150));
        (settings.width, settings.batch, settings.par) = (128, 256, Par::rayon(2));
        fit(&Self::table(&Self::draw(4000, 1)), &settings, &mut |_| std::ops::ControlFlow::Continue(())).unwrap()
    }

    /// Mean of number `wanted` given the two others and the level.
    fn expected(wanted: usize, (x, level): &([f64; 3], usize)) -> f64 {
        let others: Vec<usize> = (0..3).filter(|i| *i != wanted).collect();
        let (mut sum, mut total) = (0.0, 0.0);
        for k in 0..2 {
            let s = |i: usize, j: usize| Self::covariance(k, others[i], others[j]);
            let off = [0, 1].map(|i| x[others[i]] - Self::MEANS[k][others[i]]);
            let determinant = s(0, 0) * s(1, 1) - s(0, 1) * s(0, 1);
            let solved = [
                (s(1, 1) * off[0] - s(0, 1) * off[1]) / determinant,
                (s(0, 0) * off[1] - s(0, 1) * off[0]) / determinant,
            ];
            let distance = off[0] * solved[0] + off[1] * solved[1];
            let weight = Self::SHARES[k] * Self::LEVELS[k][*level] * (-0.5 * distance).exp() / determinant.sqrt();
            let across = |i: usize| Self::covariance(k, wanted, others[i]);
            sum += weight * (Self::MEANS[k][wanted] + across(0) * solved[0] + across(1) * solved[1]);
            total += weight;
        }
        sum / total
    }
}

#[test]
fn gaps_of_a_gaussian_mixture_are_filled_nearly_as_well_as_its_law_allows() {
    let fitted = Mixture::fitted();
    let rows = Mixture::draw(900, 2);
    let full = Mixture::table(&rows);
    let names = ["x", "y", "z"];
    let columns = full.names().iter().zip(full.columns()).map(|(name, cells)| {
        let gap = |row: usize| names.get(row % 3) == Some(&name.as_str());
        cells.iter().enumerate().map(|(row, cell)| if gap(row) { String::new() } else { cell.clone() }).collect()
    });
    let gaps = Table::new(full.names().to_vec(), columns.collect()).unwrap();
    let mut settings = SampleSettings::new(0);
    (settings.method, settings.steps, settings.par) = (Fill::GUESS_METHOD, Fill::GUESS_STEPS, Par::rayon(2));
    let filled = fitted.impute(&gaps, &[], Fill::GUESS, &settings, &mut |_, _| ()).unwrap();
    assert_eq!((filled.cells, filled.broken, filled.tables.len()), (900, 0, 1));
    let filled = &filled.tables[0];
    let mut errors = [[0.0f64; 3]; 2];
    for (row, truth) in rows.iter().enumerate() {
        let wanted = row % 3;
        let made = number(&filled.column(names[wanted]).unwrap()[row]);
        errors[0][wanted] += (made - truth.0[wanted]).powi(2);
        errors[1][wanted] += (Mixture::expected(wanted, truth) - truth.0[wanted]).powi(2);
        for (name, cells) in gaps.names().iter().zip(gaps.columns()) {
            let kept = cells[row].is_empty() || filled.column(name).unwrap()[row] == cells[row];
            assert!(kept, "observed cells stay as they are written");
        }
    }
    let [made, best] = errors.map(|squares| squares.iter().sum::<f64>().sqrt());
    assert!(made < 1.05 * best, "error {made}, at best {best}");
}

#[test]
fn rows_of_a_rare_level_follow_the_law_of_that_level_and_meet_every_condition() {
    let fitted = Mixture::fitted();
    let columns = fitted.columns();
    let mut settings = SampleSettings::new(2000);
    settings.par = Par::rayon(2);
    let sample = |stated: &[&str]| {
        let conditions: Vec<_> = stated.iter().map(|text| Condition::parse(text, &columns).unwrap()).collect();
        let met = fitted.sample_where(&settings, &conditions, &mut |_, _| ()).unwrap();
        for condition in &conditions {
            assert!(condition.met(&met.table).unwrap().iter().all(|met| *met), "{}", condition.text());
        }
        let mean = |name: &str| met.table.column(name).unwrap().iter().map(|cell| number(cell)).sum::<f64>() / 2000.0;
        assert_eq!(met.table.rows(), 2000);
        (["x", "y", "z"].map(mean), met.drawn)
    };
    // Rows of the rare level are those of the second Gaussian; 20 of them were seen.
    let (means, drawn) = sample(&["level=rare"]);
    assert_eq!(drawn, 2000, "a rare level costs nothing");
    for (mean, wanted) in means.iter().zip(Mixture::MEANS[1]) {
        assert!((mean - wanted).abs() < 0.35, "{means:?}");
    }
    // One range alone is drawn first: next to nothing is drawn in vain.
    let (_, drawn) = sample(&["x>=3"]);
    assert!(drawn < 2200, "{drawn}");
    // E[y | x >= 3] of the second Gaussian, which nearly all such rows are of.
    let (means, drawn) = sample(&["level!=low", "x>=3", "z<0.5"]);
    assert!(drawn > 2200 && drawn < 40_000, "{drawn}");
    assert!(means[0] > 3.0 && means[1] < 0.6, "{means:?}");
}
