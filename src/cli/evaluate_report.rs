//! The page that `evaluate --report` leaves: one HTML file with everything inside, readable on a screen and on paper.

use crate::evaluate::Evaluation;

use super::evaluate_words::{Line, groups, left_out, percent, summary, worst_pairs};
use super::{Outcome, evaluate_plots};

/// Columns whose marginals are drawn; of more, those with the largest errors.
const MOST_MARGINALS: usize = 60;
/// Most columns of a drawn matrix.
const MOST_ASSOCIATIONS: usize = 150;
/// Pairs that are listed.
const PAIRS: usize = 12;
/// Columns of the tree test that are listed.
const TREE_COLUMNS: usize = 10;

const STYLE: &str = "
body { font: 15px/1.45 sans-serif; color: #282c34; max-width: 62em; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.6em; margin-bottom: 0.2em; } h2 { font-size: 1.15em; margin: 1.8em 0 0.4em; }
table { border-collapse: collapse; width: 100%; font-size: 0.88em; }
th, td { text-align: left; vertical-align: top; padding: 0.28em 0.6em; border-bottom: 1px solid #ccc; }
td.number, th.number { text-align: right; white-space: nowrap; font-variant-numeric: tabular-nums; }
tr.group th { padding-top: 0.9em; border-bottom: 2px solid #888; }
.summary { font-size: 1.06em; border-left: 4px solid #c44e1c; padding-left: 0.9em; }
.small { color: #555; font-size: 0.88em; } figure { margin: 0.4em 0 0; break-inside: avoid; }
figure svg { max-width: 100%; height: auto; display: block; } .bar { background: #b9c6d8; height: 0.75em; }
td.wide { width: 45%; } section, tr { break-inside: avoid; } section.long { break-inside: auto; }
h2 { break-after: avoid; }
@media print { body { font-size: 9.5pt; max-width: none; margin: 0; } h2 { margin-top: 1em; }
 .bar { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
";

/// The page; `names` are those of the training, test and synthetic table.
pub fn page(e: &Evaluation, names: [String; 3]) -> Outcome<String> {
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>A generated table, compared</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<h1>A generated table, compared with real data</h1>\n"
    );
    let [train, test, synthetic] = names.map(|name| escape(&name));
    html += &format!(
        "<p class=\"small\">Training: {train}, {} rows. Test: {test}, {} rows. Generated: {synthetic}, {} rows. {} columns \
         compared. ntk-score {}.</p>\n",
        e.n_train,
        e.n_test,
        e.n_synthetic,
        e.columns.len(),
        env!("CARGO_PKG_VERSION")
    );
    html += &format!("<p class=\"summary\">{}</p>\n", escape(&summary(e)));
    if let Some(words) = left_out(&e.left_out) {
        html += &format!("<p class=\"small\">Columns {}.</p>\n", escape(&words));
    }
    html += &figures(e);
    html += &marginals(e)?;
    html += &pairs(e);
    if e.associations_train.names.len() <= MOST_ASSOCIATIONS {
        let caption = "Real (training) data, generated data, and their difference on a scale of its own. Pale cells in the third \
                       matrix mean that associations are kept.";
        html += &section("Associations between columns", &figure(&evaluate_plots::associations(e)?), caption);
    }
    html += &trees(e);
    html += &missing(e);
    html += DEFINITIONS;
    html += "</body>\n</html>\n";
    Ok(html)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn figure(svg: &str) -> String {
    format!("<figure>\n{svg}\n</figure>\n")
}

fn section(title: &str, content: &str, caption: &str) -> String {
    format!("<section>\n<h2>{title}</h2>\n<p class=\"small\">{caption}</p>\n{content}</section>\n")
}

fn figures(e: &Evaluation) -> String {
    let mut html = "<table>\n<tr><th>figure</th><th class=\"number\">generated</th><th class=\"number\">floor</th>\
                    <th>what it means</th></tr>\n"
        .to_owned();
    for group in groups(e).iter().filter(|group| !group.lines.is_empty()) {
        html += &format!("<tr class=\"group\"><th colspan=\"4\">{}</th></tr>\n", group.title);
        for Line { name, value, floor, meaning } in &group.lines {
            html += &format!(
                "<tr><td>{}</td><td class=\"number\">{value}</td><td class=\"number\">{floor}</td><td>{}</td></tr>\n",
                escape(name),
                escape(meaning)
            );
        }
    }
    html += "</table>\n";
    let mut caption =
        "The floor is what real data have of the same figure: no generator can be expected to be better. ".to_owned();
    if let Some(floor) = &e.floor {
        caption += &format!(
            "Unless the last column says otherwise it is that of two halves of the training rows, {} rows each. The halves are \
             smaller than the tables, so the floor is a little too high. ",
            floor.rows
        );
    }
    if let Some(note) = &e.utility_note {
        caption += &format!("Nothing was predicted: {}. ", escape(note));
    }
    section("All figures", &html, &caption)
}

fn marginals(e: &Evaluation) -> Outcome<String> {
    let mut shown: Vec<usize> = (0..e.columns.len()).collect();
    let mut caption =
        "Filled: training rows. Outlined: generated rows. The percentage is the column's Shape error.".to_owned();
    if shown.len() > MOST_MARGINALS {
        shown.sort_by(|&a, &b| e.columns[a].shape.total_cmp(&e.columns[b].shape));
        shown.truncate(MOST_MARGINALS);
        caption +=
            &format!(" Of {} columns the {MOST_MARGINALS} with the largest errors, largest first.", e.columns.len());
    }
    let strips = shown.chunks(4).map(|strip| evaluate_plots::strip(e, strip).map(|svg| figure(&svg)));
    let strips: String = strips.collect::<Outcome<Vec<String>>>()?.concat();
    Ok(section("Single columns", &strips, &caption).replacen("<section>", "<section class=\"long\">", 1))
}

fn pairs(e: &Evaluation) -> String {
    let worst = worst_pairs(e, PAIRS);
    if worst.is_empty() {
        return String::new();
    }
    let mut html = "<table>\n<tr><th>pair</th><th class=\"number\">Trend error</th><th class=\"number\">NMI real</th>\
                    <th class=\"number\">NMI generated</th></tr>\n"
        .to_owned();
    for pair in worst {
        html += &format!(
            "<tr><td>{} &times; {}</td><td class=\"number\">{}</td><td class=\"number\">{:.3}</td>\
             <td class=\"number\">{:.3}</td></tr>\n",
            escape(&pair.first),
            escape(&pair.second),
            percent(100.0 * (1.0 - pair.trend)),
            pair.nmi_train,
            pair.nmi_synthetic
        );
    }
    let caption = "NMI is the normalised mutual information: 0 for independent columns, 1 where each tells the other. Less in the \
                   generated table means that a relation was lost.";
    section("The pairs of columns that differ most", &(html + "</table>\n"), caption)
}

fn trees(e: &Evaluation) -> String {
    let mut html = "<table>\n<tr><th>column</th><th class=\"number\">share of gain</th><th></th></tr>\n".to_owned();
    let largest = e.c2st_trees_columns.first().map_or(1.0, |column| column.gain_share.max(1e-9));
    for column in e.c2st_trees_columns.iter().take(TREE_COLUMNS) {
        html += &format!(
            "<tr><td>{}</td><td class=\"number\">{:.1} %</td><td class=\"wide\"><div class=\"bar\" style=\"width: {:.1}%\"></div>\
             </td></tr>\n",
            escape(&column.name),
            100.0 * column.gain_share,
            100.0 * column.gain_share / largest
        );
    }
    let caption = format!(
        "Boosted trees learn to tell generated from training rows on two thirds of both and are tried on the last third. Their \
         AUC is {:.3} (0.5: a guess, 1: never wrong), which is a score of {:.4}. The columns in whose splits they gained most \
         are where the generated table differs, alone or together with others; an AUC near 0.5 makes the list meaningless.",
        e.c2st_trees_auc, e.c2st_trees
    );
    section("How trees tell the tables apart", &(html + "</table>\n"), &caption)
}

fn missing(e: &Evaluation) -> String {
    let with: Vec<_> =
        e.columns.iter().filter(|c| c.missing_train + c.missing_test + c.missing_synthetic > 0.0).collect();
    if with.is_empty() {
        return String::new();
    }
    let mut html = "<table>\n<tr><th>column</th><th class=\"number\">training</th><th class=\"number\">test</th>\
                    <th class=\"number\">generated</th></tr>\n"
        .to_owned();
    for column in with {
        let [a, b, c] =
            [column.missing_train, column.missing_test, column.missing_synthetic].map(|share| percent(100.0 * share));
        html += &format!(
            "<tr><td>{}</td><td class=\"number\">{a}</td><td class=\"number\">{b}</td><td class=\"number\">{c}</td></tr>\n",
            escape(&column.name)
        );
    }
    let caption = "Share of missing cells. In categories a missing cell is a level; a missing number is left out of the column's \
                   own distribution and of correlations, stands at the training median in distances, and sets a category there.";
    section("Missing cells", &(html + "</table>\n"), caption)
}

const DEFINITIONS: &str = "<section class=\"long\">\n<h2>What the figures are</h2>\n<p class=\"small\"><b>Shape error</b>: the \
largest difference between the distribution functions of a number (Kolmogorov-Smirnov), half the sum of differences of shares of \
a category (total variation); mean over columns. <b>Trend error</b>: half the difference of Pearson's correlations for two \
numbers, total variation of the contingency table otherwise, numbers cut into ten bins; mean over pairs. <b>Weighted NMI</b>: 1 - \
the mean difference of normalised mutual information, pairs weighted by how dependent they are. <b>alpha-precision</b> and \
<b>beta-recall</b>: how well generated rows stay within the cloud of real rows and how well they cover it (Alaa et al. 2022). \
<b>Two-sample tests</b>: 1 - mean over three folds of 2 max(AUC, 1/2) - 1 of a classifier that is to tell the tables apart; \
a logistic regression is blind to relations between columns, trees are not. <b>Usefulness</b>: boosted trees learn a column \
from the others on generated rows and are tested on test rows. <b>Distances</b> are sums over columns: differences of numbers \
over the training range, 2 for a differing category. <b>Nearer to train than test</b>: whether the nearest real row of a \
generated one is a training row; with equal numbers of both, half of the rows when nothing is memorised. <b>Membership test</b>: \
the probability that a training row is nearer to its nearest generated row than a test row is, with its 95 % interval (DeLong); \
an interval above 0.5 means that somebody who holds the generated table can guess better than by chance whose rows were used. \
None of these figures is a guarantee of privacy.</p>\n</section>\n";
