//! The figures of `ntk-score evaluate` in words: the lines of its table, and a paragraph for a reader who knows no metrics.

use crate::evaluate::{Evaluation, LeftOut};

/// One figure.
pub struct Line {
    /// What it is called.
    pub name: String,
    /// The generated table's.
    pub value: String,
    /// The same of two halves of the training table, or what it is when nothing is wrong.
    pub floor: String,
    /// What it means.
    pub meaning: String,
}

/// A group of figures that belong together.
pub struct Group {
    /// What they are about.
    pub title: &'static str,
    /// The figures.
    pub lines: Vec<Line>,
}

fn line(name: &str, value: String, floor: String, meaning: &str) -> Line {
    Line { name: name.into(), value, floor, meaning: meaning.into() }
}

/// A percentage with two decimals.
pub fn percent(value: f64) -> String {
    format!("{value:.2} %")
}

fn share(value: f64) -> String {
    format!("{value:.4}")
}

/// All figures.
pub fn groups(e: &Evaluation) -> Vec<Group> {
    vec![likeness(e), usefulness(e), privacy(e)]
}

fn likeness(e: &Evaluation) -> Group {
    let half = |f: fn(&crate::evaluate::Floor) -> f64, write: fn(f64) -> String| {
        e.floor.as_ref().map_or_else(|| "-".into(), |floor| write(f(floor)))
    };
    let mut lines = vec![
        line(
            "Shape error",
            percent(e.shape_error_pct),
            half(|f| f.shape_error_pct, percent),
            "single columns; 0 is perfect",
        ),
        line(
            "Trend error, shared bins",
            percent(e.trend_shared_bins_error_pct),
            half(|f| f.trend_shared_bins_error_pct, percent),
            "pairs of columns; 0 is perfect",
        ),
        line(
            "Trend error, own bins",
            percent(e.trend_error_pct),
            half(|f| f.trend_error_pct, percent),
            "as published; one outlier moves it by percents",
        ),
        line(
            "weighted NMI of pairs",
            share(e.nmi_weighted),
            half(|f| f.nmi_weighted, share),
            "dependence kept where there is some; 1 is perfect",
        ),
        line(
            "alpha-precision",
            share(e.alpha_precision),
            half(|f| f.alpha_precision, share),
            "1 when synthetic rows lie where real ones do",
        ),
        line(
            "beta-recall",
            share(e.beta_recall),
            half(|f| f.beta_recall, share),
            "about 0.5 for a fresh real sample; more means copies",
        ),
        line(
            "logistic two-sample test",
            share(e.c2st_logistic),
            half(|f| f.c2st_logistic, share),
            "1 when no linear boundary tells them apart",
        ),
        line(
            "tree two-sample test",
            share(e.c2st_trees),
            half(|f| f.c2st_trees, share),
            "1 when boosted trees cannot tell them apart",
        ),
    ];
    if e.columns.iter().any(|c| c.missing_train + c.missing_test + c.missing_synthetic > 0.0) {
        lines.push(line(
            "missing cells, error",
            percent(e.missing_error_pct),
            half(|f| f.missing_error_pct, percent),
            "difference of the shares of missing cells, mean over columns",
        ));
    }
    Group { title: "Likeness", lines }
}

fn usefulness(e: &Evaluation) -> Group {
    let lines = e.utility.iter().map(|u| Line {
        name: format!("{} of '{}'", if u.measure == "R2" { "R\u{b2}" } else { u.measure }, u.target),
        value: share(u.trained_on_synthetic),
        floor: share(u.trained_on_train),
        meaning: "trees learn on synthetic rows, tested on test rows; beside it: learnt on training rows".into(),
    });
    Group { title: "Usefulness", lines: lines.collect() }
}

fn privacy(e: &Evaluation) -> Group {
    let m = &e.membership;
    let [low, high] = e.exact_train_copies_in_test_interval_pct;
    let lines = vec![
        line(
            "nearer to train than test",
            share(e.dcr_share),
            share(e.dcr_share_expected),
            "share of synthetic rows; beside it: when nothing is memorised",
        ),
        line("the same, equal numbers", share(e.dcr_share_balanced), "0.5000".into(), "0.5 when nothing is memorised"),
        line(
            "median distance to train",
            share(e.dcr_median),
            share(e.dcr_median_of_test),
            "beside it: of test rows; less than they have means copies",
        ),
        line(
            "exact copies of train",
            percent(e.exact_train_copies_pct),
            percent(e.exact_train_copies_in_test_pct),
            &format!("whole rows; beside it: of test rows, which is chance ({low:.2} to {high:.2} %)"),
        ),
        line(
            "membership test, AUC",
            share(m.auc),
            "0.5000".into(),
            &format!("{:.4} to {:.4}; above 0.5: distances tell who was trained on", m.low, m.high),
        ),
    ];
    Group { title: "Privacy", lines }
}

/// The table for the terminal.
pub fn table(e: &Evaluation) -> String {
    let mut text =
        format!("{} synthetic rows against {} training and {} test rows\n", e.n_synthetic, e.n_train, e.n_test);
    text += &left_out(&e.left_out).map_or_else(String::new, |words| words + "\n");
    text += &format!("\n{:<26}{:>10}{:>10}\n", "", "synthetic", "floor");
    for Line { name, value, floor, meaning } in groups(e).into_iter().flat_map(|group| group.lines) {
        text += &format!("{name:<26}{value:>10}{floor:>10}   {meaning}\n");
    }
    if let Some(note) = &e.utility_note {
        text += &format!("nothing was predicted: {note}\n");
    }
    if let Some(floor) = &e.floor {
        text +=
            &format!("\nfloor: two halves of the training table, of {} rows each, unless said otherwise\n", floor.rows);
    }
    let columns = worst_columns(e, 3).into_iter().map(|(name, error)| format!("{name} {}", percent(error)));
    text += &format!("largest errors: {}\n", columns.collect::<Vec<_>>().join(", "));
    let pairs = worst_pairs(e, 3).into_iter();
    let pairs: Vec<String> =
        pairs.map(|p| format!("{} x {} {}", p.first, p.second, percent(100.0 * (1.0 - p.trend)))).collect();
    if !pairs.is_empty() {
        text += &format!("                {}\n", pairs.join(", "));
    }
    if e.c2st_trees_auc >= 0.6 {
        text += &format!("trees looked at: {}\n", tree_columns(e, 5));
    }
    text
}

/// The columns with the largest Shape errors, in percent.
pub fn worst_columns(e: &Evaluation, most: usize) -> Vec<(&str, f64)> {
    let mut columns: Vec<_> = e.columns.iter().map(|c| (c.name.as_str(), 100.0 * (1.0 - c.shape))).collect();
    columns.sort_by(|a, b| b.1.total_cmp(&a.1));
    columns.truncate(most);
    columns
}

/// The pairs with the largest Trend errors.
pub fn worst_pairs(e: &Evaluation, most: usize) -> Vec<&crate::evaluate::PairScore> {
    let mut pairs: Vec<_> = e.pairs.iter().collect();
    pairs.sort_by(|a, b| a.trend.total_cmp(&b.trend));
    pairs.truncate(most);
    pairs
}

fn tree_columns(e: &Evaluation, most: usize) -> String {
    let shown = e.c2st_trees_columns.iter().take(most).filter(|c| c.gain_share >= 0.01);
    shown.map(|c| format!("{} {:.0} %", c.name, 100.0 * c.gain_share)).collect::<Vec<_>>().join(", ")
}

/// Which columns were not compared, and why; nothing where all were.
pub fn left_out(columns: &[LeftOut]) -> Option<String> {
    const SHOWN: usize = 10;
    let shown = columns.iter().take(SHOWN).map(|c| format!("'{}' ({})", c.name, c.reason));
    let more = columns.len().saturating_sub(SHOWN);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    (!columns.is_empty()).then(|| format!("not compared: {}{rest}", shown.collect::<Vec<_>>().join(", ")))
}

/// What the figures say, for a reader who knows none of them.
pub fn summary(e: &Evaluation) -> String {
    let mut text = format!(
        "{} generated rows of {} columns were compared with the {} rows that the generator learnt from and with {} real rows \
         that it has not seen. ",
        e.n_synthetic,
        e.columns.len(),
        e.n_train,
        e.n_test
    );
    let beside = |f: fn(&crate::evaluate::Floor) -> f64| {
        e.floor
            .as_ref()
            .map_or_else(String::new, |floor| format!(" (two halves of the real rows: {})", percent(f(floor))))
    };
    text += &format!(
        "The distributions of single columns differ by {}{} on average, those of pairs of columns by {}{}. ",
        percent(e.shape_error_pct),
        beside(|f| f.shape_error_pct),
        percent(e.trend_shared_bins_error_pct),
        beside(|f| f.trend_shared_bins_error_pct)
    );
    let rate = match e.c2st_trees_auc {
        auc if auc < 0.55 => "hardly ever",
        auc if auc < 0.7 => "sometimes",
        auc if auc < 0.9 => "mostly",
        _ => "nearly always",
    };
    text += &format!(
        "Shown a generated and a real row, decision trees {rate} tell which is which (they are right in {:.0} % of all cases; \
         guessing is right in 50 %)",
        100.0 * e.c2st_trees_auc
    );
    let columns = tree_columns(e, 3);
    text += &if e.c2st_trees_auc >= 0.6 && !columns.is_empty() {
        format!("; what gives generated rows away is above all {columns} of what the trees used. ")
    } else {
        ". ".into()
    };
    if let Some(u) = &e.utility {
        text += &format!(
            "A predictor of '{}' that learnt from generated rows alone reaches {} {:.3} on real rows; one that learnt from real \
             rows reaches {:.3}. ",
            u.target,
            if u.measure == "R2" { "an R\u{b2} of" } else { "an AUC of" },
            u.trained_on_synthetic,
            u.trained_on_train
        );
    }
    text + &memory(e)
}

/// Whether rows were memorised, in words.
fn memory(e: &Evaluation) -> String {
    let m = &e.membership;
    let [_, high] = e.exact_train_copies_in_test_interval_pct;
    let copied = e.exact_train_copies_pct > high;
    let near = m.low > 0.5;
    let copies = format!(
        "{} of the generated rows equal a training row in every cell, as {} of the unseen real rows do by chance",
        percent(e.exact_train_copies_pct),
        percent(e.exact_train_copies_in_test_pct)
    );
    let distance = format!(
        "a training row is nearer to the generated table than an unseen one in {:.1} % of all cases, where 50 % is chance \
         (interval {:.1} to {:.1} %)",
        100.0 * m.auc,
        100.0 * m.low,
        100.0 * m.high
    );
    match (copied, near) {
        (false, false) => {
            format!("No sign of rows learnt by heart was found: {copies}, and {distance}. This is no proof.")
        }
        (true, _) => format!("Warning: training rows were copied: {copies}; {distance}."),
        (false, true) => {
            format!("Warning: distances tell which rows the generator learnt from: {distance}. {copies}.")
        }
    }
}
