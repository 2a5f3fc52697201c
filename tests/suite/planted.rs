//! A table with known structure goes in, and a table with the same structure comes out: fit, sample and evaluate together.

use std::ops::ControlFlow;

use faer::Par;
use ntk_score::evaluate::{Evaluation, EvaluationOptions, evaluate};
use ntk_score::fit::{FitSettings, Length, Preset, SampleSettings, Stopping, fit};
use ntk_score::table::{Schema, SchemaOptions, Table};

const ROWS: usize = 1500;
const NAMES: [&str; 6] = ["size", "price", "tax", "total", "kind", "grade"];

/// Sizes in two groups; prices that follow them with noise; a tax in steps of the price; the total of both, exactly; a kind that
/// follows the group, and a grade that follows the kind three times in four.
fn table(seed: u64) -> Table {
    let mut state = seed;
    let mut uniform = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as f64 / (1u64 << 31) as f64
    };
    let mut columns = vec![Vec::new(); NAMES.len()];
    for _ in 0..ROWS {
        // A sum of uniform numbers is as good as normal here.
        let mut normal = || (0..12).map(|_| uniform()).sum::<f64>() - 6.0;
        let (shape, noise) = (normal(), normal());
        let large = uniform() < 0.4;
        let size = if large { 160.0 + 20.0 * shape } else { 70.0 + 10.0 * shape };
        let price = (300.0 * size + 4000.0 * noise).max(1000.0).round();
        let tax = (price / 10.0).round() + 500.0 * f64::from(u8::from(uniform() < 0.5));
        let kind = if large == (uniform() < 0.95) { "house" } else { "flat" };
        let grade = if uniform() < 0.75 { if kind == "house" { "a" } else { "b" } } else { "c" };
        let numbers = [size.round(), price, tax, price + tax].map(|x| x.to_string());
        for (column, cell) in columns.iter_mut().zip(numbers.into_iter().chain([kind.into(), grade.into()])) {
            column.push(cell);
        }
    }
    Table::new(NAMES.map(String::from).to_vec(), columns).unwrap()
}

fn numbers(table: &Table, name: &str) -> Vec<f64> {
    table.column(name).unwrap().iter().map(|cell| cell.parse().unwrap()).collect()
}

fn correlation(x: &[f64], y: &[f64]) -> f64 {
    let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
    let (a, b) = (mean(x), mean(y));
    let sum = |f: &dyn Fn(f64, f64) -> f64| x.iter().zip(y).map(|(&x, &y)| f(x - a, y - b)).sum::<f64>();
    sum(&|x, y| x * y) / (sum(&|x, _| x * x) * sum(&|_, y| y * y)).sqrt()
}

/// Share of the rows of one kind that have this grade.
fn share(table: &Table, kind: &str, grade: &str) -> f64 {
    let rows = table.column("kind").unwrap().iter().zip(table.column("grade").unwrap());
    let own: Vec<_> = rows.filter(|(own, _)| *own == kind).collect();
    own.iter().filter(|(_, own)| *own == grade).count() as f64 / own.len() as f64
}

fn against(train: &Table, test: &Table, synthetic: &Table) -> Evaluation {
    let schema = Schema::infer(train, &SchemaOptions::default()).unwrap();
    let options = EvaluationOptions { threads: rayon::current_num_threads(), ..EvaluationOptions::default() };
    evaluate(train, test, synthetic, &schema, &options).unwrap()
}

#[test]
fn a_table_with_planted_structure_comes_back() {
    let (train, test) = (table(1), table(2));
    let mut settings = FitSettings::new(Preset::Best, Length::Iterations(400));
    (settings.width, settings.batch, settings.par) = (512, 256, Par::rayon(0));
    let fitted = fit(&train, &settings, &mut |_| ControlFlow::Continue(())).unwrap();
    let made = fitted.sample(&SampleSettings::new(ROWS), &mut |_, _| ()).unwrap();

    let found = against(&train, &test, &made);
    let floor = against(&train, &test, &test);
    // What two samples of the same law differ by is the least that can be asked for.
    assert!(found.shape_error_pct < floor.shape_error_pct + 4.0, "{} {}", found.shape_error_pct, floor.shape_error_pct);
    let trend = found.trend_shared_bins_error_pct;
    assert!(trend < floor.trend_shared_bins_error_pct + 5.0, "{trend} {}", floor.trend_shared_bins_error_pct);
    let [size, price, tax, total] = ["size", "price", "tax", "total"].map(|name| numbers(&made, name));
    assert!(total.iter().zip(price.iter().zip(&tax)).all(|(total, (price, tax))| *total == price + tax));
    let wanted = correlation(&numbers(&train, "size"), &numbers(&train, "price"));
    assert!((correlation(&size, &price) - wanted).abs() < 0.05, "{} {wanted}", correlation(&size, &price));
    for (kind, grade) in [("house", "a"), ("house", "b"), ("flat", "b"), ("flat", "c")] {
        let (found, wanted) = (share(&made, kind, grade), share(&train, kind, grade));
        assert!((found - wanted).abs() < 0.12, "{kind} {grade}: {found} {wanted}");
    }

    // The same measures see a table whose columns have lost each other: each is turned by another number of rows.
    let turned = train.columns().iter().enumerate().map(|(i, column)| {
        let mut column = column.clone();
        column.rotate_left(i * 211);
        column
    });
    let lost = Table::new(train.names().to_vec(), turned.collect()).unwrap();
    let lost = against(&train, &test, &lost);
    assert!(lost.trend_shared_bins_error_pct > 2.0 * trend, "{} {trend}", lost.trend_shared_bins_error_pct);
}

/// The best linear denoiser takes categories for numbers; their frequencies have to come out nevertheless.
#[test]
fn training_in_the_theorys_way_keeps_frequencies_and_correlations() {
    let (train, test) = (table(1), table(2));
    let mut settings = FitSettings::new(Preset::Ntk, Length::Iterations(150));
    (settings.width, settings.batch, settings.par) = (512, 256, Par::rayon(0));
    let fitted = fit(&train, &settings, &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(fitted.record.stop.rule, Stopping::Theory);
    let made = fitted.sample(&SampleSettings::new(ROWS), &mut |_, _| ()).unwrap();
    let [size, price, tax, total] = ["size", "price", "tax", "total"].map(|name| numbers(&made, name));
    assert!(total.iter().zip(price.iter().zip(&tax)).all(|(total, (price, tax))| *total == price + tax));
    // Sizes come in two groups, which a Gaussian copula mixes where they meet: .83 of the table's .96.
    let wanted = correlation(&numbers(&train, "size"), &numbers(&train, "price"));
    assert!((correlation(&size, &price) - wanted).abs() < 0.2, "{} {wanted}", correlation(&size, &price));
    let often = |table: &Table, column: &str, level: &str| {
        table.column(column).unwrap().iter().filter(|cell| *cell == level).count() as f64 / ROWS as f64
    };
    for (column, level) in [("kind", "house"), ("grade", "a"), ("grade", "b"), ("grade", "c")] {
        let (found, wanted) = (often(&made, column, level), often(&train, column, level));
        assert!((found - wanted).abs() < 0.08, "{column} {level}: {found} {wanted}");
    }
    let (found, floor) = (against(&train, &test, &made), against(&train, &test, &test));
    assert!(found.shape_error_pct < floor.shape_error_pct + 5.0, "{} {}", found.shape_error_pct, floor.shape_error_pct);
}
