//! The page that `verify` leaves: one HTML file with its plots inside, readable on a screen and on paper.

use crate::theory::{
    Case, Claim, Inputs, LEFT, RULES, Regime, Report, RuleRow, Stopped, Tails, Verdict, WidthPoint, median,
};
use plotters::prelude::*;

use super::Outcome;
use super::plots::{INK, KERNEL, NETWORK};
use super::verify_plots::{Panel, Series, Stroke, panels};

const GREY: RGBColor = RGBColor(140, 144, 150);
const PURPLE: RGBColor = RGBColor(112, 60, 150);
const TEAL: RGBColor = RGBColor(0, 112, 104);

const STYLE: &str = "
body { font: 15px/1.45 sans-serif; color: #282c34; max-width: 62em; margin: 2em auto; padding: 0 1em; }
h1 { font-size: 1.6em; margin-bottom: 0.2em; } h2 { font-size: 1.15em; margin: 2em 0 0.4em; }
table { border-collapse: collapse; width: 100%; font-size: 0.86em; }
th, td { text-align: left; vertical-align: top; padding: 0.3em 0.6em; border-bottom: 1px solid #ccc; }
td.number, th.number { text-align: right; white-space: nowrap; }
.holds { color: #176b3a; font-weight: bold; } .faster { color: #17566b; font-weight: bold; } .fails { color: #a32020; font-weight: bold; }
.undecided { color: #6b5a17; font-weight: bold; }
.reason { color: #555; } figure { margin: 0.6em 0 0; } figure svg { max-width: 100%; height: auto; }
figcaption { font-size: 0.9em; } section { break-inside: avoid; }
@media print { body { font-size: 10pt; max-width: none; margin: 0; } h2 { margin-top: 1em; } }
";

/// The page.
pub fn page(report: &Report) -> Outcome<String> {
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>What the theory predicts, measured</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<h1>What the theory predicts, measured</h1>\n"
    );
    let length = if report.quick { "the short version" } else { "the full version" };
    html += &format!(
        "<p>Score estimation with a two-layer ReLU network is a kernel regression that must be stopped in time: six claims on \
         Gaussian mixtures in d = 2 and d = 8 dimensions, whose true denoiser f* is known. ntk-score {}, {length}, first seed {}; \
         intervals are 95 % confidence over seeds.</p>\n",
        env!("CARGO_PKG_VERSION"),
        report.seed
    );
    html += &claims_table(&report.claims);
    for (title, plot, caption) in
        [training(report)?, flips(report)?, drift(report)?, gap(report)?, overfitting(report)?, rate(report)?]
    {
        html += &section(&title, &plot, &caption);
    }
    html += &rules(report);
    html += &tails(report);
    if let Some(regime) = &report.regime {
        html += &regime_section(regime)?;
    }
    html += "</body>\n</html>\n";
    Ok(html)
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace("+-", "±")
}

fn section(title: &str, plot: &str, caption: &str) -> String {
    // The plots are parts of the page: no XML declaration, and they shrink with it.
    format!(
        "<section>\n<h2>{}</h2>\n<figure>\n{plot}\n<figcaption>{caption}</figcaption>\n</figure>\n</section>\n",
        escape(title)
    )
}

fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Holds => "holds",
        Verdict::Faster => "faster",
        Verdict::Fails => "fails",
        Verdict::Undecided => "undecided",
    }
}

fn claims_table(claims: &[Claim]) -> String {
    let mut html =
        "<table>\n<tr><th></th><th>claim</th><th>d</th><th>measured as</th><th>expected</th><th>measured</th>\
                    <th>verdict</th></tr>\n"
            .to_owned();
    for claim in claims {
        html += &format!(
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td class=\"{}\">{}</td></tr>\n",
            claim.row,
            escape(claim.claim),
            claim.d,
            escape(claim.quantity),
            escape(&claim.expected),
            escape(&claim.measured),
            class(claim.verdict),
            verdict_in_words(claim.verdict)
        );
        if !claim.reason.is_empty() {
            html += &format!("<tr><td></td><td colspan=\"6\" class=\"reason\">{}</td></tr>\n", escape(&claim.reason));
        }
    }
    html + "</table>\n"
}

/// What the claims of a row say, for a caption.
fn found(report: &Report, row: usize) -> String {
    let own = report.claims.iter().filter(|claim| claim.row == row);
    let parts: Vec<String> = own
        .map(|c| {
            let (measured, verdict) = (escape(&c.measured), verdict_in_words(c.verdict));
            format!("d = {}, {}: <b>{measured}</b> ({verdict})", c.d, escape(c.claim))
        })
        .collect();
    format!("Measured: {}.", parts.join("; "))
}

type Part = (String, String, String);

fn training(report: &Report) -> Outcome<Part> {
    let mut drawn = Vec::new();
    for d in dimensions(report) {
        let own: Vec<_> = report.training.iter().filter(|run| run.d == d && run.separated).collect();
        let widest = own.iter().map(|run| run.neurons).max().unwrap_or(0);
        let mut series = Vec::new();
        let of = |run: &crate::theory::Convergence, column: usize| {
            run.curve.iter().map(|point| (point[0], point[column])).collect::<Vec<_>>()
        };
        for (at, run) in own.iter().filter(|run| run.neurons == widest).enumerate() {
            let name = |text: &str| if at == 0 { text.to_owned() } else { String::new() };
            series.push(Series::new(name("bound"), INK, Stroke::Dashed, of(run, 3)));
            series.push(Series::new(name("kernel regression"), KERNEL, Stroke::Line, of(run, 2)));
            series.push(Series::new(name("network"), NETWORK, Stroke::Line, of(run, 1)));
        }
        drawn.push(Panel { title: format!("d = {d}, {widest} neurons, a line per seed"), series, marks: Vec::new() });
    }
    let plot = panels("iterations", "||u - y||² over ||y||²", &drawn, SeriesLabelPosition::LowerLeft)?;
    let separated = || report.training.iter().filter(|run| run.separated).map(|run| run.samples);
    let caption = format!(
        "Training error against the bound (1 - ηλ₀)^τ, λ₀ the smallest eigenvalue of the kernel, on few samples ({} and {}) that \
         were picked far from each other, which makes λ₀ large. Expected: never above it, for networks that are wide enough. The \
         table has the same for samples as they are drawn. {}",
        separated().next().unwrap_or(0),
        separated().next_back().unwrap_or(0),
        found(report, 1)
    );
    Ok(("1 Training converges linearly".into(), plot, caption))
}

fn dimensions(report: &Report) -> Vec<usize> {
    report.widths.flipped.iter().map(|slope| slope.d).collect()
}

/// Points of all seeds, the mean over seeds in the logarithm, and a line of a given slope through the widest.
fn against_width(points: &[(usize, f64)], name: &str, colour: RGBColor, slope: Option<f64>) -> Vec<Series> {
    let mut widths: Vec<usize> = points.iter().map(|p| p.0).collect();
    widths.sort_unstable();
    widths.dedup();
    let mean = |m: usize| {
        let own: Vec<f64> = points.iter().filter(|p| p.0 == m).map(|p| p.1.ln()).collect();
        (own.iter().sum::<f64>() / own.len() as f64).exp()
    };
    let means: Vec<(f64, f64)> = widths.iter().map(|&m| (m as f64, mean(m))).collect();
    let dots = points.iter().map(|&(m, y)| (m as f64, y)).collect();
    let mut series =
        vec![Series::new("", colour, Stroke::Dots, dots), Series::new(name, colour, Stroke::Marked, means.clone())];
    if let (Some(slope), Some(&(last, height))) = (slope, means.last()) {
        let text = if slope == -0.5 { "slope -1/2".to_owned() } else { format!("slope {slope}") };
        let line = widths.iter().map(|&m| (m as f64, height * (m as f64 / last).powf(slope))).collect();
        series.push(Series::new(text, INK, Stroke::Dashed, line));
    }
    series
}

/// A quantity of the networks: its name, its colour, the slope to be drawn with it, and how to read it.
type Quantity = (&'static str, RGBColor, Option<f64>, fn(&WidthPoint) -> f64);

fn width_panels(report: &Report, quantities: &[Quantity]) -> Vec<Panel> {
    let panel = |d: usize| {
        let series = quantities.iter().flat_map(|&(name, colour, slope, quantity)| {
            let own = report.widths.points.iter().filter(|p| p.d == d);
            against_width(&own.map(|p| (p.neurons, quantity(p))).collect::<Vec<_>>(), name, colour, slope)
        });
        Panel { title: format!("d = {d}"), series: series.collect(), marks: Vec::new() }
    };
    dimensions(report).into_iter().map(panel).collect()
}

fn setting(report: &Report) -> String {
    let widths = &report.widths;
    format!("N = {}, {} iterations, a dot per network", widths.samples, widths.iterations)
}

fn flips(report: &Report) -> Outcome<Part> {
    let drawn = width_panels(
        report,
        &[
            ("flipped at the end", NETWORK, Some(-0.5), |p| p.flipped),
            ("flipped at any time", KERNEL, None, |p| p.ever),
        ],
    );
    let plot = panels("neurons m", "share of flipped activations", &drawn, SeriesLabelPosition::LowerLeft)?;
    let caption = format!(
        "Share of activations that differ between the start and the end of training, and of those that ever differed from the \
         start (the sets S_j that the theorem bounds); {}. Expected: slope -1/2 where networks are wide. {}",
        setting(report),
        found(report, 2)
    );
    Ok(("2 Activation patterns freeze".into(), plot, caption))
}

fn drift(report: &Report) -> Outcome<Part> {
    let drawn = width_panels(
        report,
        &[
            ("change ||H(τ) - H(0)|| / ||H(0)||", NETWORK, Some(-0.75), |p| p.change),
            ("distance ||H(0) - H|| / ||H||", KERNEL, Some(-0.5), |p| p.gap),
        ],
    );
    let plot = panels("neurons m", "relative Frobenius norm", &drawn, SeriesLabelPosition::LowerLeft)?;
    let caption = format!(
        "How far the finite-width kernel moves in training, and how far its start is from the limit; {}. Expected: both at most \
         of order m^(-1/2); where flips cancel the movement is of order m^(-3/4). {}",
        setting(report),
        found(report, 3)
    );
    Ok(("3 The kernel freezes".into(), plot, caption))
}

fn gap(report: &Report) -> Outcome<Part> {
    let drawn = width_panels(
        report,
        &[
            ("largest over points", NETWORK, Some(-0.5), |p| p.largest_difference),
            ("root mean square", TEAL, None, |p| p.difference),
            ("from the linearised network", PURPLE, None, |p| p.linearised),
        ],
    );
    let plot = panels("neurons m", "sup over τ of |f_W - f_K|", &drawn, SeriesLabelPosition::LowerLeft)?;
    let caption = format!(
        "Difference between network and kernel regression at fresh points, the largest over all iterations, and between the \
         network and its linearisation at the end; {}. Expected: falling, slope about -1/2. {}",
        setting(report),
        found(report, 4)
    );
    Ok(("4 The network is kernel regression".into(), plot, caption))
}

fn overfitting(report: &Report) -> Outcome<Part> {
    let mut drawn = Vec::new();
    for d in dimensions(report) {
        let own: Vec<&Case> = report.overfitting.iter().filter(|case| case.d == d).collect();
        let Some(first) = own.first() else { continue };
        let curve = |case: &Case| case.curve.iter().map(|&(tau, error)| (tau as f64, error)).collect::<Vec<_>>();
        let mut series = vec![Series::new("first seed", KERNEL, Stroke::Line, curve(first))];
        for (at, case) in own.iter().skip(1).enumerate() {
            series.push(Series::new(if at == 0 { "other seeds" } else { "" }, GREY, Stroke::Dots, curve(case)));
        }
        let colours = [NETWORK, PURPLE, TEAL, TEAL, INK, INK];
        let marks = [0, 1, 2, 4, 5].map(|rule| (first.stops[rule].0 as f64, RULES[rule].to_owned(), colours[rule]));
        drawn.push(Panel { title: format!("d = {d}, N = {}", first.samples), series, marks: marks.to_vec() });
    }
    let plot = panels("iterations", "E|f - f*|²", &drawn, SeriesLabelPosition::LowerRight)?;
    let caption = format!(
        "Error of kernel regression against iterations, with the iteration at which each rule stops the first seed. Expected: it \
         falls, then rises; the rule stops within 1.1 times the lowest error and the theory's c = 2e within 2.5 times. {}",
        found(report, 5)
    );
    Ok(("5 Training too long overfits".into(), plot, caption))
}

fn rate(report: &Report) -> Outcome<Part> {
    let mut drawn = Vec::new();
    for d in dimensions(report) {
        let mut series = Vec::new();
        let kinds = [
            (Inputs::Plain, "z = (x, t)", NETWORK),
            (Inputs::Constant, "z = (x, t, 1)", KERNEL),
            (Inputs::InSpace, "function in the space", TEAL),
        ];
        for (inputs, name, colour) in kinds {
            let own: Vec<&Case> = report.growth.iter().filter(|case| case.d == d && case.inputs == inputs).collect();
            let of = |f: fn(&Case) -> f64| own.iter().map(|case| (case.samples, f(case))).collect::<Vec<_>>();
            series.extend(against_width(&of(|c| c.stops[0].1), name, colour, None));
            // Dashed, through the error at the largest N: the slope that the radius predicts.
            let radii = against_width(&of(|c| c.critical_radius.powi(2)), "", INK, None).pop();
            let errors = against_width(&of(|c| c.stops[0].1), "", INK, None).pop();
            if let (Some(radii), Some(errors)) = (radii, errors)
                && let (Some(&(_, radius)), Some(&(_, error))) = (radii.points.last(), errors.points.last())
            {
                let line = radii.points.iter().map(|&(n, square)| (n, square * error / radius)).collect();
                let name = if inputs == Inputs::Plain { "slopes of ε²" } else { "" };
                series.push(Series::new(name, colour, Stroke::Dashed, line));
            }
        }
        drawn.push(Panel { title: format!("d = {d}"), series, marks: Vec::new() });
    }
    let plot = panels("samples N", "E|f - f*|² at the stop", &drawn, SeriesLabelPosition::LowerLeft)?;
    let caption = format!(
        "Error at the rule's stop against the number of samples; dashed, through its last point, the slope of \
         the squared critical radius. Expected: that slope. Three regressions: the score's as the theory has it; the same with a \
         constant input, without which the kernel's space is too small for it; and a function of norm one in the space with \
         Gaussian noise, as the theorem assumes. {}",
        found(report, 6)
    );
    Ok(("6 More data helps".into(), plot, caption))
}

/// What a row of the comparison stands for.
pub fn case_name(row: &RuleRow) -> String {
    if row.problem != "every" {
        return row.problem.to_owned();
    }
    let d = if row.d == 0 { "every d".into() } else { format!("d = {}", row.d) };
    let n = if row.samples == 0 { "every N".into() } else { format!("N = {}", row.samples) };
    let window = if row.window == "every" { "every noise".into() } else { format!("{} noise", row.window) };
    if row.samples > 0 { format!("{d}, {n}") } else { format!("{d}, {window}") }
}

/// A median with the worst in brackets, or a dash.
pub fn ratio(median: f64, worst: f64, digits: usize) -> String {
    if median.is_finite() { format!("{median:.digits$} ({worst:.2})") } else { "-".into() }
}

fn rules(report: &Report) -> String {
    format!(
        "<section>\n<h2>How far each stopping rule is from the best iteration</h2>\n<p>Error at the stop over the lowest error of \
         any iteration: median, the worst in brackets. The rules see noisy labels only. The rule weighs iterations by \
         cross-validation; with c = 2e it is the theory's, with the noise alone estimated and a norm of one. Hold-out keeps a \
         fifth of the samples from training; refitted, the whole set is then trained as long. Training on goes to 10<sup>6</sup> \
         iterations, by all eigenvectors; where only a Krylov space is known, beyond 2048 samples, it has no figure.</p>\n\
         <p>On problems that no choice of a rule has seen:</p>\n{}\
         <p>On the mixtures of the claims above. Noise is low for diffusion times from 0.05 to 0.5, high from 0.5 to 3:</p>\n{}\
         </section>\n",
        rules_table(&report.unseen.rows),
        rules_table(&report.rules.rows)
    )
}

fn rules_table(rows: &[RuleRow]) -> String {
    let mut html = "<table>\n<tr><th></th>".to_owned();
    for name in RULES {
        html += &format!("<th class=\"number\">{}</th>", escape(name));
    }
    html += "<th class=\"number\">cases</th></tr>\n";
    for row in rows {
        html += &format!("<tr><td>{}</td>", case_name(row));
        for (median, worst) in row.median.iter().zip(&row.worst) {
            html += &format!("<td class=\"number\">{}</td>", ratio(*median, *worst, 2));
        }
        html += &format!("<td class=\"number\">{}</td></tr>\n", row.cases);
    }
    html + "</table>\n"
}

fn tails(report: &Report) -> String {
    let middle = |f: fn(&Tails) -> f64| median(report.tails.iter().map(f));
    let mut html = format!(
        "<section>\n<h2>Localisation matters where tails are heavy</h2>\n<p>Two narrow clusters among ever wider ones (tails of \
         order 1/r); {} samples, of which the domain of radius {:.2} drops {:.0}; the farthest is at {:.0}. All errors are on \
         the domain, relative to no training. Medians of {} seeds.</p>\n<table>\n<tr><th>the rule sees</th>\
         <th class=\"number\">iterations</th><th class=\"number\">σ</th><th class=\"number\">error at the stop</th>\
         <th class=\"number\">lowest error</th></tr>\n",
        report.tails.first().map_or(0, |t| t.samples),
        middle(|t| t.radius),
        middle(|t| t.dropped as f64),
        middle(|t| t.farthest),
        report.tails.len()
    );
    for (name, pick) in
        [("every sample", (|t| t.everything) as fn(&Tails) -> Stopped), ("samples on the domain", |t| t.localised)]
    {
        let of = |f: &dyn Fn(&Tails) -> f64| median(report.tails.iter().map(f));
        html += &format!(
            "<tr><td>{name}</td><td class=\"number\">{:.0}</td><td class=\"number\">{:.3}</td><td class=\"number\">{:.3}</td>\
             <td class=\"number\">{:.3}</td></tr>\n",
            of(&|t| pick(t).iterations as f64),
            of(&|t| pick(t).sigma),
            of(&|t| pick(t).error / t.untrained),
            of(&|t| pick(t).best / t.untrained)
        );
    }
    html + "</table>\n</section>\n"
}

/// A verdict in words.
pub fn verdict_in_words(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Holds => "holds",
        Verdict::Faster => "holds as a bound: faster",
        Verdict::Fails => "does not hold",
        Verdict::Undecided => "not decided",
    }
}

/// Where the kernel regime ends on the table.
pub fn regime_in_words(regime: &Regime) -> String {
    let Regime { rows, outputs, radius, dropped, iterations, stop, .. } = regime;
    let widths = || regime.points.iter().map(|p| p.neurons);
    let share = 100.0 * LEFT;
    let answer = match regime.leaves_below {
        Some(width) => format!("below about {width:.0} neurons"),
        None => {
            let last = widths().max().unwrap_or(0);
            let at_last = median(regime.points.iter().filter(|p| p.neurons == last).map(|p| p.difference));
            if at_last > LEFT {
                format!("at every width tried: {:.0} % at {last} neurons", 100.0 * at_last)
            } else {
                format!("at none of the widths tried, from {} neurons on", widths().min().unwrap_or(0))
            }
        }
    };
    let until = if stop > iterations { format!("; the rule stops at {stop}") } else { ", where the rule stops".into() };
    format!(
        "The table ({rows} rows, {outputs} coded columns, {dropped} samples outside radius {radius:.1} dropped): after \
         {iterations} iterations{until}, network and kernel regression differ by more than {share:.0} % {answer}."
    )
}

fn regime_section(regime: &Regime) -> Outcome<String> {
    let of =
        |f: fn(&crate::theory::RegimePoint) -> f64| regime.points.iter().map(|p| (p.neurons, f(p))).collect::<Vec<_>>();
    let mut left = against_width(&of(|p| p.flipped), "share flipped", NETWORK, Some(-0.5));
    left.extend(against_width(&of(|p| p.change), "kernel's change", PURPLE, None));
    left.extend(against_width(&of(|p| p.gap), "kernel's distance from its limit", KERNEL, None));
    let mut right = against_width(&of(|p| p.difference), "difference of predictions", TEAL, Some(-0.5));
    let ends = || regime.points.iter().map(|p| p.neurons as f64);
    let (low, high) = (ends().fold(f64::INFINITY, f64::min), ends().fold(0.0, f64::max));
    right.push(Series::new("the regime is left", GREY, Stroke::Dashed, vec![(low, LEFT), (high, LEFT)]));
    let marks = regime.leaves_below.map(|width| (width, format!("{width:.0} neurons"), GREY));
    let drawn = [
        Panel { title: "patterns and kernel".into(), series: left, marks: Vec::new() },
        Panel { title: "predictions".into(), series: right, marks: marks.into_iter().collect() },
    ];
    let plot = panels("neurons m", "relative size", &drawn, SeriesLabelPosition::LowerLeft)?;
    Ok(section("At what width the network leaves the kernel regime", &plot, &escape(&regime_in_words(regime))))
}
