//! The metrics against a small comparison scored by an independent implementation (SDMetrics for Shape and Trend, SciPy and
//! NumPy for the rest), and against what must hold of any comparison.

use ntk_score::evaluate::{Evaluation, EvaluationOptions, evaluate};
use ntk_score::table::{Schema, SchemaOptions, Table};

fn parse(text: &str) -> Table {
    let mut lines = text.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<String>>());
    let names = lines.next().unwrap();
    let mut columns = vec![Vec::new(); names.len()];
    for line in lines {
        for (column, cell) in columns.iter_mut().zip(line) {
            column.push(cell);
        }
    }
    Table::new(names, columns).unwrap()
}

fn train() -> Table {
    parse(include_str!("../data/evaluate/train.csv"))
}

fn test() -> Table {
    parse(include_str!("../data/evaluate/test.csv"))
}

fn synthetic() -> Table {
    parse(include_str!("../data/evaluate/synthetic.csv"))
}

fn schema() -> Schema {
    Schema::infer(&train(), &SchemaOptions::default()).unwrap()
}

fn compare(train: &Table, test: &Table, synthetic: &Table) -> Evaluation {
    evaluate(train, test, synthetic, &schema(), &EvaluationOptions::default()).unwrap()
}

/// The table with one cell replaced.
fn with_cell(table: &Table, column: &str, row: usize, cell: &str) -> Table {
    let position = table.names().iter().position(|name| name == column).unwrap();
    let mut columns = table.columns().to_vec();
    columns[position][row] = cell.to_owned();
    Table::new(table.names().to_vec(), columns).unwrap()
}

fn rows_of(table: &Table, rows: impl Iterator<Item = usize> + Clone) -> Table {
    let columns = table.columns().iter().map(|column| rows.clone().map(|row| column[row].clone()).collect()).collect();
    Table::new(table.names().to_vec(), columns).unwrap()
}

#[test]
fn figures_agree_with_an_independent_implementation() {
    let expected: serde_json::Value = serde_json::from_str(include_str!("../data/evaluate/expected.json")).unwrap();
    let value = |key: &str| expected[key].as_f64().unwrap();
    let found = compare(&train(), &test(), &synthetic());
    assert_eq!([found.n_train, found.n_test, found.n_synthetic], [400, 120, 400]);
    for (key, found, tolerance) in [
        ("shape", found.shape, 1e-12),
        ("trend_shared_bins", found.trend_shared_bins, 1e-12),
        ("trend", found.trend, 1e-12),
        ("alpha_precision", found.alpha_precision, 1e-12),
        ("beta_recall", found.beta_recall, 1e-12),
        ("dcr_share", found.dcr_share, 1e-12),
        ("dcr_share_expected", found.dcr_share_expected, 1e-12),
        ("dcr_median", found.dcr_median, 1e-6),
        ("dcr_median_of_test", found.dcr_median_of_test, 1e-6),
        ("exact_train_copies_pct", found.exact_train_copies_pct, 1e-12),
        // Another solver, other folds, and categories coded otherwise.
        ("c2st", found.c2st_logistic, 0.05),
    ] {
        assert!((found - value(key)).abs() <= tolerance, "{key}: {found} against {}", value(key));
    }
    for column in &found.columns {
        let error = expected["shape_error_by_column_pct"][&column.name].as_f64().unwrap();
        assert!((100.0 * (1.0 - column.shape) - error).abs() < 6e-4, "{}", column.name);
    }
    assert_eq!(found.pairs.len(), 15);
}

#[test]
fn the_training_table_itself_is_perfect_and_recognised_as_a_copy() {
    let found = compare(&train(), &test(), &train());
    for (name, value) in [
        ("shape", found.shape),
        ("trend_shared_bins", found.trend_shared_bins),
        ("trend", found.trend),
        ("alpha_precision", found.alpha_precision),
    ] {
        assert!((value - 1.0).abs() < 0.005, "{name} is {value}");
    }
    assert_eq!(found.dcr_share, 1.0);
    assert_eq!(found.exact_train_copies_pct, 100.0);
    assert!(found.c2st_logistic > 0.9);
    assert_eq!(found.associations_train, found.associations_synthetic);
    for marginal in &found.marginals {
        assert_eq!(marginal.train, marginal.synthetic, "{}", marginal.name);
        assert!((marginal.train.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{}", marginal.name);
    }
}

#[test]
fn association_matrices_are_symmetric_with_a_unit_diagonal() {
    let associations = compare(&train(), &test(), &synthetic()).associations_synthetic;
    assert_eq!(associations.names, ["income", "age", "ratio", "region", "sex", "owner"]);
    assert_eq!(associations.numerical, 3);
    for (i, row) in associations.matrix.iter().enumerate() {
        assert!((row[i] - 1.0).abs() < 1e-9, "{}", associations.names[i]);
        for (j, value) in row.iter().enumerate() {
            assert_eq!(*value, associations.matrix[j][i]);
            assert!(value.abs() <= 1.0);
        }
    }
    // Age and ratio are correlated by construction, sex with nothing.
    assert!(associations.matrix[1][2] > 0.15 && associations.matrix[4][5] < 0.15);
}

#[test]
fn figures_do_not_depend_on_the_number_of_threads_but_on_the_seed() {
    let larger = parse(&{
        let twice: Vec<String> = synthetic().columns()[0].iter().map(|income| format!("{income}0")).collect();
        let rows = |table: &Table, income: &[String]| -> String {
            (0..table.rows())
                .map(|row| {
                    let rest: Vec<&str> = table.columns()[1..].iter().map(|column| column[row].as_str()).collect();
                    format!("{},{}\n", income[row], rest.join(","))
                })
                .collect()
        };
        let table = synthetic();
        format!("{}\n{}{}", table.names().join(","), rows(&table, &table.columns()[0]), rows(&table, &twice))
    });
    let run = |threads: usize, seed: u64| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| evaluate(&train(), &test(), &larger, &schema(), &EvaluationOptions { seed }).unwrap())
    };
    let one = run(1, 0);
    assert_eq!(one, run(2, 0));
    assert_eq!(one, run(4, 0));
    let other = run(2, 1);
    assert_eq!(one.shape, other.shape);
    assert_ne!(one.beta_recall, other.beta_recall, "which rows of the larger table are left out follows the seed");
}

#[test]
fn tables_that_cannot_be_compared_are_refused_in_a_sentence() {
    let fails = |synthetic: &Table| {
        evaluate(&train(), &test(), synthetic, &schema(), &EvaluationOptions::default()).unwrap_err().to_string()
    };
    let unknown = fails(&with_cell(&synthetic(), "region", 6, "9"));
    assert!(
        unknown.contains("in the synthetic table, row 7 of column 'region' holds the unknown category '9'"),
        "{unknown}"
    );
    assert!(fails(&with_cell(&synthetic(), "age", 0, "")).contains("in the synthetic table, row 1 of column 'age'"));
    assert!(fails(&with_cell(&synthetic(), "age", 0, "inf")).contains("not a finite number"));
    assert!(fails(&with_cell(&synthetic(), "age", 0, "1e200")).contains("too large"));
    assert!(fails(&rows_of(&synthetic(), 0..1)).contains("fewer than two rows"));
    let renamed: Vec<String> = synthetic().names().iter().map(|name| name.replace("age", "years")).collect();
    let renamed = Table::new(renamed, synthetic().columns().to_vec()).unwrap();
    assert!(fails(&renamed).contains("'years' that the training table does not have"));
    let fewer = Table::new(synthetic().names()[1..].to_vec(), synthetic().columns()[1..].to_vec()).unwrap();
    assert!(fails(&fewer).contains("no column 'income'"));
}

#[test]
fn odd_tables_have_figures() {
    // One column only, all numerical, and constants beside it.
    let table = |cells: [&str; 6], constant: &str| {
        let constant = vec![constant.to_owned(); 6];
        Table::new(
            vec!["v".into(), "number".into(), "word".into()],
            vec![cells.map(String::from).to_vec(), constant, vec!["same".into(); 6]],
        )
        .unwrap()
    };
    let train = table(["1.5", "2", "3", "4", "5", "7"], "3");
    let synthetic = table(["1", "2", "3", "4", "5", "6"], "4");
    let schema = Schema::infer(&train, &SchemaOptions::default()).unwrap();
    let found = evaluate(&train, &train, &synthetic, &schema, &EvaluationOptions::default()).unwrap();
    assert!((found.shape - (1.0 - 1.0 / 6.0 + 0.0 + 1.0) / 3.0).abs() < 1e-12, "{}", found.shape);
    for value in [found.trend, found.trend_shared_bins, found.alpha_precision, found.beta_recall, found.c2st_logistic] {
        assert!(value.is_finite());
    }
    let narrow = |table: &Table| Table::new(vec!["v".into()], vec![table.columns()[0].clone()]).unwrap();
    let (train, synthetic) = (narrow(&train), narrow(&synthetic));
    let schema = Schema::infer(&train, &SchemaOptions::default()).unwrap();
    let found = evaluate(&train, &train, &synthetic, &schema, &EvaluationOptions::default()).unwrap();
    assert_eq!(found.trend_shared_bins, 1.0);
    assert!(found.alpha_precision.is_finite() && found.beta_recall.is_finite());
}
