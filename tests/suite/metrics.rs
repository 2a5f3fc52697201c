//! The metrics against a small comparison scored by an independent implementation (SDMetrics for Shape and Trend, SciPy and
//! NumPy for the rest), and against what must hold of any comparison.

use ntk_score::evaluate::{Evaluation, EvaluationOptions, common_schema, evaluate};
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
        let options = EvaluationOptions { seed, threads, ..EvaluationOptions::default() };
        evaluate(&train(), &test(), &larger, &schema(), &options).unwrap()
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
    let options = EvaluationOptions::default();
    let fails =
        |synthetic: &Table| evaluate(&train(), &test(), synthetic, &schema(), &options).unwrap_err().to_string();
    let text = fails(&with_cell(&synthetic(), "age", 6, "old"));
    assert!(text.contains("in the synthetic table, row 7 of column 'age' holds the text 'old'"), "{text}");
    assert!(fails(&with_cell(&synthetic(), "age", 0, "inf")).contains("not a finite number"));
    assert!(fails(&rows_of(&synthetic(), 0..1)).contains("fewer than two rows"));
    let other = Table::new(vec!["z".into()], vec![vec!["1".into(); 9]]).unwrap();
    assert!(fails(&other).contains("no column in common"));
    let target = EvaluationOptions { target: Some("none".into()), ..options.clone() };
    let text = evaluate(&train(), &test(), &synthetic(), &schema(), &target).unwrap_err().to_string();
    assert!(text.contains("'none' is none of the columns that are compared"), "{text}");
    for text in [text, fails(&other), fails(&with_cell(&synthetic(), "age", 0, "x"))] {
        assert!(!text.contains("--"), "{text}");
    }
}

#[test]
fn columns_that_a_table_lacks_are_left_out_and_named() {
    let renamed: Vec<String> = synthetic().names().iter().map(|name| name.replace("age", "years")).collect();
    let renamed = Table::new(renamed, synthetic().columns().to_vec()).unwrap();
    let schema = common_schema(&train(), &test(), &renamed, &SchemaOptions::default()).unwrap();
    assert_eq!(schema.columns.len(), 5);
    let found = evaluate(&train(), &test(), &renamed, &schema, &EvaluationOptions::default()).unwrap();
    let whole = compare(&train(), &test(), &synthetic());
    let without_age = whole.columns.iter().filter(|column| column.name != "age").map(|column| column.shape);
    assert!((found.shape - without_age.sum::<f64>() / 5.0).abs() < 1e-12);
    let left: Vec<(&str, &str)> = found.left_out.iter().map(|l| (l.name.as_str(), l.reason.as_str())).collect();
    assert_eq!(
        left,
        [("age", "the synthetic table does not have it"), ("years", "the training table does not have it")]
    );
    // Found too from the training table's whole schema; an empty column cannot be compared.
    assert_eq!(found, compare(&train(), &test(), &renamed));
    let empty = |table: Table| {
        let (mut names, mut columns) = (table.names().to_vec(), table.columns().to_vec());
        names.push("note".into());
        columns.push(vec![String::new(); table.rows()]);
        Table::new(names, columns).unwrap()
    };
    let (a, b, c) = (empty(train()), empty(test()), empty(synthetic()));
    let schema = common_schema(&a, &b, &c, &SchemaOptions::default()).unwrap();
    let found = evaluate(&a, &b, &c, &schema, &EvaluationOptions::default()).unwrap();
    assert_eq!(found.left_out[0].reason, "it is empty in the training table");
    assert_eq!(found.shape, whole.shape);
}

#[test]
fn categories_that_only_another_table_has_are_levels() {
    let whole = compare(&train(), &test(), &synthetic());
    let only_in_test = compare(&train(), &with_cell(&test(), "region", 0, "99"), &synthetic());
    assert_eq!((only_in_test.shape, only_in_test.trend_shared_bins), (whole.shape, whole.trend_shared_bins));
    assert_eq!(only_in_test.alpha_precision, whole.alpha_precision);
    let made = (0..200).fold(synthetic(), |table, row| with_cell(&table, "region", row, "new"));
    let found = compare(&train(), &test(), &made);
    let region = found.columns.iter().find(|column| column.name == "region").unwrap();
    assert!(region.shape <= 0.5 + 1e-12, "{}", region.shape);
    let marginal = found.marginals.iter().find(|marginal| marginal.name == "region").unwrap();
    assert_eq!((marginal.levels.last().unwrap().as_str(), *marginal.synthetic.last().unwrap()), ("new", 0.5));
    assert!(found.c2st_trees < 0.6 && found.c2st_trees_columns[0].name == "region");
}

#[test]
fn missing_cells_are_compared_by_their_rate() {
    let gaps = |table: Table, column: &str, rows: usize| {
        (0..rows).fold(table, |table, row| with_cell(&table, column, row, if row % 2 == 0 { "" } else { "NA" }))
    };
    let a = gaps(gaps(train(), "age", 100), "region", 40);
    let c = gaps(gaps(synthetic(), "age", 20), "region", 40);
    let schema = common_schema(&a, &test(), &c, &SchemaOptions::default()).unwrap();
    let found = evaluate(&a, &test(), &c, &schema, &EvaluationOptions::default()).unwrap();
    let column = |name: &str| found.columns.iter().find(|column| column.name == name).unwrap();
    let age = column("age");
    assert_eq!([age.missing_train, age.missing_test, age.missing_synthetic], [0.25, 0.0, 0.05]);
    assert_eq!([column("region").missing_train, column("region").missing_synthetic], [0.1, 0.1]);
    assert!((found.missing_error_pct - 100.0 * 0.2 / 6.0).abs() < 1e-12);
    // The distribution of age is that of the rows that have it.
    let given = |table: &Table, rows: std::ops::Range<usize>| rows_of(table, rows);
    let alone = compare(&given(&train(), 100..400), &test(), &given(&synthetic(), 20..400));
    let of_given = alone.columns.iter().find(|column| column.name == "age").unwrap();
    assert_eq!(age.shape, of_given.shape);
    for value in [found.trend, found.nmi_weighted, found.alpha_precision, found.beta_recall, found.dcr_median] {
        assert!(value.is_finite());
    }
    // No number at all in the synthetic table.
    let none = gaps(synthetic(), "age", 400);
    let found = compare(&train(), &test(), &none);
    assert_eq!(found.columns.iter().find(|column| column.name == "age").unwrap().shape, 0.0);
    assert!(found.c2st_trees < 0.01 && found.trend.is_finite() && found.alpha_precision.is_finite());
}

#[test]
fn copies_are_counted_on_the_cells_as_they_are() {
    let table = |offset: usize, rows: usize, spelling: &str| {
        let ids = (0..rows).map(|i| format!("{}{spelling}", 900_000_000 + offset + 8 * i)).collect();
        Table::new(vec!["id".into(), "v".into()], vec![ids, (0..rows).map(|i| (i * i % 97).to_string()).collect()])
            .unwrap()
    };
    let (real, near) = (table(0, 300, ""), table(5, 300, ""));
    let schema = Schema::infer(&real, &SchemaOptions::default()).unwrap();
    let run = |test: &Table, synthetic: &Table| {
        evaluate(&real, test, synthetic, &schema, &EvaluationOptions::default()).unwrap()
    };
    let found = run(&table(3, 100, ""), &near);
    assert_eq!((found.exact_train_copies_pct, found.exact_train_copies_in_test_pct), (0.0, 0.0));
    assert!(found.dcr_median > 0.0);
    let found = run(&table(0, 100, ".0"), &table(0, 300, ""));
    assert_eq!((found.exact_train_copies_pct, found.exact_train_copies_in_test_pct), (100.0, 100.0));
    let [low, high] = found.exact_train_copies_in_test_interval_pct;
    assert!(low > 90.0 && high == 100.0);
}

#[test]
fn trees_see_what_a_linear_boundary_does_not() {
    // Two columns that are equal in the training table and independent in the other.
    let mut state = 1u64;
    let mut column = |rows: usize| -> Vec<String> {
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 54).to_string()
        };
        (0..rows).map(|_| next()).collect()
    };
    let mut table = |equal: bool, rows: usize| {
        let first = column(rows);
        let second = if equal { first.clone() } else { column(rows) };
        Table::new(vec!["a".into(), "b".into(), "c".into()], vec![first, second, column(rows)]).unwrap()
    };
    let (real, made) = (table(true, 1200), table(false, 1200));
    let found = evaluate(
        &real,
        &rows_of(&real, 0..200),
        &made,
        &Schema::infer(&real, &SchemaOptions::default()).unwrap(),
        &EvaluationOptions::default(),
    )
    .unwrap();
    assert!(found.c2st_logistic > 0.8, "{}", found.c2st_logistic);
    assert!(found.c2st_trees < 0.2, "{}", found.c2st_trees);
    let mut first: Vec<&str> = found.c2st_trees_columns[..2].iter().map(|column| column.name.as_str()).collect();
    first.sort_unstable();
    assert_eq!(first, ["a", "b"]);
    assert!(found.nmi_weighted < 0.7 && found.floor.unwrap().nmi_weighted > 0.9);
}

#[test]
fn membership_and_usefulness_know_their_extremes() {
    let own = compare(&train(), &test(), &train());
    assert!(own.membership.low > 0.9 && own.membership.auc > 0.95, "{:?}", own.membership);
    let utility = own.utility.unwrap();
    assert_eq!(utility.trained_on_synthetic, utility.trained_on_train);
    // Three samples of one distribution: nothing is memorised.
    let mut state = 1u64;
    let mut sample = |rows: usize| {
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 54).to_string()
        };
        let columns = (0..2).map(|_| (0..rows).map(|_| next()).collect()).collect();
        Table::new(vec!["a".into(), "b".into()], columns).unwrap()
    };
    let (first, other, second) = (sample(400), sample(300), sample(400));
    let numbers = Schema::infer(&first, &SchemaOptions::default()).unwrap();
    let apart = evaluate(&first, &other, &second, &numbers, &EvaluationOptions::default()).unwrap();
    assert!(apart.membership.low < 0.5 && apart.membership.high > 0.5, "{:?}", apart.membership);
    assert_eq!((apart.membership.n_train, apart.membership.n_test), (400, 300));
    // A number as the target, and a target that cannot be predicted.
    let options = EvaluationOptions { target: Some("ratio".into()), ..EvaluationOptions::default() };
    let found = evaluate(&train(), &test(), &train(), &schema(), &options).unwrap();
    let utility = found.utility.unwrap();
    assert_eq!((utility.target.as_str(), utility.measure), ("ratio", "R2"));
    assert!(utility.trained_on_train.is_finite() && utility.trained_on_train < 1.0, "{}", utility.trained_on_train);
    let constant = (0..400).fold(synthetic(), |table, row| with_cell(&table, "owner", row, "0"));
    let found = compare(&train(), &test(), &constant);
    assert!(found.utility.is_none());
    assert!(found.utility_note.unwrap().contains("only one level in the synthetic rows"));
}

#[test]
fn many_levels_take_little_memory() {
    let table = |from: usize| {
        let town = (0..3000).map(|i| format!("town {}", (i * 7 + from) % 2500)).collect();
        let size = (0..3000).map(|i| ((i * 31 + from) % 211).to_string()).collect();
        Table::new(vec!["town".into(), "size".into()], vec![town, size]).unwrap()
    };
    let (a, b, c) = (table(0), table(100), table(900));
    let schema = common_schema(&a, &b, &c, &SchemaOptions::default()).unwrap();
    let found = evaluate(&a, &b, &c, &schema, &EvaluationOptions { threads: 2, ..Default::default() }).unwrap();
    assert!(found.c2st_logistic.is_finite() && found.columns[0].shape < 1.0);
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
