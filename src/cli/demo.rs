//! `ntk-score demo`: the whole story on data whose score is known, in pictures and numbers.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::diffusion::denoising_error::Average;
use crate::theory::demo::{self, DemoReport, Field};
use clap::Args;
use plotters::prelude::*;

use super::fit::parse_threads;
use super::plots::{INK, KERNEL, NETWORK, TRUTH, shade, svg};
use super::{Failure, Outcome, finish, pending, print, progress_bar, use_threads};

/// Train on a Gaussian mixture whose score is known, stop early, compare with the truth, and draw it; needs no data
#[derive(Debug, Args)]
pub struct DemoArgs {
    /// Folder for the plots (SVG) and the report (JSON)
    #[arg(long, value_name = "DIR", default_value = "ntk-score-demo")]
    out: PathBuf,
    /// Seed of everything that is drawn
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Threads to use [default: one per core]
    #[arg(long, value_name = "T", value_parser = parse_threads)]
    threads: Option<usize>,
}

/// Runs the command.
pub fn run(args: DemoArgs) -> Outcome {
    let threads = use_threads(args.threads)?;
    fs::create_dir_all(&args.out).map_err(|e| Failure::file("create", &args.out, &e))?;
    let names = ["score_field.svg", "samples.svg", "error_by_iteration.svg", "error_by_time.svg", "report.json"];
    let paths = names.map(|name| args.out.join(name));
    let mut files = Vec::new();
    for path in &paths {
        files.push(pending(path)?);
    }
    let started = Instant::now();
    let bar = progress_bar(1000, "{bar:30} {percent:>3} %  {msg}  {elapsed}");
    let report = demo::run(args.seed, threads, &mut |share, what| {
        bar.set_position((share * 1000.0) as u64);
        bar.set_message(what.to_owned());
    });
    bar.finish_and_clear();
    let report = report?;
    let json = serde_json::to_string_pretty(&report).map_err(|e| Failure::new(format!("cannot write JSON: {e}")))?;
    let contents =
        [draw_field(&report)?, draw_samples(&report)?, draw_iterations(&report)?, draw_times(&report)?, json + "\n"];
    for ((file, path), content) in files.into_iter().zip(&paths).zip(&contents) {
        finish(file, path, content.as_bytes())?;
    }
    print(&summary(&report, &args.out, started.elapsed().as_secs_f64()))
}

fn summary(report: &DemoReport, folder: &Path, seconds: f64) -> String {
    let DemoReport { samples, neurons, stop, best_network, best_kernel, .. } = report;
    let mut text = String::new();
    let mut line = |words: String| text += &(words + "\n");
    line(format!("A Gaussian mixture in the plane, {samples} noisy samples, {neurons} neurons."));
    let error = |e: &Average| format!("{:.5} +- {:.5}", e.value, e.standard_error);
    line("Error of the denoiser, E|f - f*|^2 over time and space, with its standard error (lower is better):".into());
    line("                       stopped by the rule                 at the best iteration".into());
    line(format!(
        "  network              {} (tau {:<7})    {:<10.5} (tau {})",
        error(&report.network_at_stop),
        stop,
        best_network.error,
        best_network.iteration
    ));
    line(format!(
        "  kernel regression    {} (tau {:<7})    {:<10.5} (tau {})",
        error(&report.kernel_at_stop),
        stop,
        best_kernel.error,
        best_kernel.iteration
    ));
    line(format!("  before training      {}", error(&report.error_untrained)));
    if let Some(last) = report.curve.iter().rev().find_map(|point| Some((point.iteration, point.kernel?))) {
        line(format!("  kernel regression, trained too long: {:.5} (tau {})", last.1, last.0));
    }
    line(format!(
        "  network, trained with fresh noise in batches (Adam, as tables are fitted): {}",
        error(&report.error_with_fresh_noise)
    ));
    line(format!(
        "Error of the score, lambda E|s - grad log p|^2, at points of its own: network {}, kernel regression {}.",
        error(&report.score_error_network),
        error(&report.score_error_kernel)
    ));
    line(format!(
        "Label noise estimated as {:.4}; {:.2} % of the activation bits flipped; {seconds:.1} s in all.",
        report.sigma,
        100.0 * report.flipped
    ));
    line(format!("Plots and report.json are in {}", folder.display()));
    text
}

type Drawn = Result<(), Box<dyn std::error::Error>>;

/// True, network and kernel score fields side by side, over the density at that time.
fn draw_field(report: &DemoReport) -> Outcome<String> {
    let field = &report.field;
    svg((1260, 460), |area| -> Drawn {
        let (title, body) = area.split_vertically(34);
        let text = format!("Score field at t = {:.2}: arrows follow the gradient of the log-density (shaded)", field.t);
        title.draw(&Text::new(text, (16, 10), ("sans-serif", 18).into_font().color(&INK)))?;
        let panels = body.split_evenly((1, 3));
        let kinds = [("truth", TRUTH), ("network", NETWORK), ("kernel regression", KERNEL)];
        for (panel, ((name, colour), pick)) in panels.iter().zip(kinds.into_iter().zip(0..)) {
            draw_arrows(panel, field, name, colour, pick)?;
        }
        Ok(())
    })
}

fn draw_arrows(area: &super::plots::Area<'_>, field: &Field, name: &str, colour: RGBColor, pick: usize) -> Drawn {
    let r = field.half_width;
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .caption(name, ("sans-serif", 16).into_font().color(&colour))
        .set_label_area_size(LabelAreaPosition::Left, 30)
        .set_label_area_size(LabelAreaPosition::Bottom, 26)
        .build_cartesian_2d(-r..r, -r..r)?;
    draw_density(&mut chart, field)?;
    chart
        .configure_mesh()
        .disable_mesh()
        .x_labels(5)
        .y_labels(5)
        .axis_style(INK)
        .label_style(("sans-serif", 12))
        .draw()?;
    // One scale for all panels: the longest true arrow is a little longer than the arrows' spacing.
    let longest = field.arrows.iter().map(|a| a.scores[0][0].hypot(a.scores[0][1])).fold(0.0, f64::max);
    let scale = 1.5 * field.spacing / longest.max(1e-9);
    for arrow in &field.arrows {
        let [u, v] = arrow.scores[pick];
        let (from, [dx, dy]) = (arrow.at, [u * scale, v * scale]);
        let tip = (from[0] + dx, from[1] + dy);
        let head = |turn: f64| {
            let (sin, cos) = turn.sin_cos();
            (tip.0 - 0.3 * (dx * cos - dy * sin), tip.1 - 0.3 * (dx * sin + dy * cos))
        };
        let lines = [vec![(from[0], from[1]), tip], vec![head(0.45), tip, head(-0.45)]];
        chart.draw_series(lines.into_iter().map(|line| PathElement::new(line, colour.stroke_width(1))))?;
    }
    Ok(())
}

type Chart<'a, 'b> = ChartContext<
    'a,
    SVGBackend<'b>,
    Cartesian2d<plotters::coord::types::RangedCoordf64, plotters::coord::types::RangedCoordf64>,
>;

fn draw_density(chart: &mut Chart<'_, '_>, field: &Field) -> Drawn {
    let (n, r) = (field.cells, field.half_width);
    let size = 2.0 * r / n as f64;
    let largest = field.density.iter().copied().fold(0.0, f64::max);
    let cells = field.density.iter().enumerate().filter(|(_, p)| **p > 0.004 * largest).map(|(at, p)| {
        let (x, y) = (-r + (at % n) as f64 * size, -r + (at / n) as f64 * size);
        Rectangle::new([(x, y), (x + size, y + size)], shade((p / largest).sqrt()).filled())
    });
    chart.draw_series(cells)?;
    Ok(())
}

/// Data, and samples of the network, over the density of the data.
fn draw_samples(report: &DemoReport) -> Outcome<String> {
    svg((1260, 470), |area| -> Drawn {
        let panels = area.split_evenly((1, 3));
        let sets = [
            ("data", &report.data, TRUTH),
            ("network stopped by the rule", &report.generated, NETWORK),
            ("network trained with fresh noise", &report.generated_with_fresh_noise, NETWORK),
        ];
        for (panel, (name, points, colour)) in panels.iter().zip(sets) {
            let r = report.clean.half_width;
            let mut chart = ChartBuilder::on(panel)
                .margin(12)
                .caption(format!("{name}, {} points", points.len()), ("sans-serif", 16).into_font().color(&colour))
                .set_label_area_size(LabelAreaPosition::Left, 30)
                .set_label_area_size(LabelAreaPosition::Bottom, 26)
                .build_cartesian_2d(-r..r, -r..r)?;
            draw_density(&mut chart, &report.clean)?;
            chart.configure_mesh().disable_mesh().x_labels(5).y_labels(5).axis_style(INK).draw()?;
            chart.draw_series(points.iter().map(|&[x, y]| Circle::new((x, y), 1.4, colour.mix(0.55).filled())))?;
        }
        Ok(())
    })
}

/// Test error against iterations, with the stop marked.
fn draw_iterations(report: &DemoReport) -> Outcome<String> {
    let curve = &report.curve;
    let last = curve.last().map_or(1.0, |p| p.iteration as f64);
    let errors = curve.iter().flat_map(|p| [p.network, p.kernel].into_iter().flatten());
    let high = 1.15 * errors.fold(0.0, f64::max);
    svg((820, 500), |area| -> Drawn {
        let mut chart = ChartBuilder::on(area)
            .margin(18)
            .caption("Distance to the true denoiser while training", ("sans-serif", 18).into_font().color(&INK))
            .set_label_area_size(LabelAreaPosition::Left, 64)
            .set_label_area_size(LabelAreaPosition::Bottom, 44)
            .build_cartesian_2d((1.0..last).log_scale(), 0.0..high)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .x_desc("iterations of gradient descent")
            .y_desc("E|f - f*|^2")
            .x_label_formatter(&|x| format!("{x:.0}"))
            .y_label_formatter(&|y| format!("{y:.3}"))
            .axis_style(INK)
            .draw()?;
        let stop = report.stop.max(1) as f64;
        let marker = vec![(stop, 0.0), (stop, high)];
        let stop_style = INK.stroke_width(1);
        chart
            .draw_series(std::iter::once(PathElement::new(marker, stop_style)))?
            .label(format!("stop of the rule (c = 1), iteration {}", report.stop))
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], stop_style));
        let series = [("network", NETWORK, 0), ("kernel regression", KERNEL, 1)];
        for (name, colour, pick) in series {
            let points = curve.iter().filter_map(|p| Some((p.iteration as f64, [p.network, p.kernel][pick]?)));
            chart
                .draw_series(LineSeries::new(points, colour.stroke_width(2)))?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::LowerLeft)
            .border_style(INK.mix(0.3))
            .background_style(WHITE)
            .draw()?;
        Ok(())
    })
}

/// Error against diffusion time at the stop.
fn draw_times(report: &DemoReport) -> Outcome<String> {
    let times = &report.times;
    let span = times.first().map_or(0.0, |p| p.t)..times.last().map_or(1.0, |p| p.t);
    let high = times.iter().flat_map(|p| [p.network, p.kernel]).fold(0.0, f64::max);
    svg((820, 460), |area| -> Drawn {
        let mut chart = ChartBuilder::on(area)
            .margin(18)
            .caption("Distance to the true denoiser at the stop, by time", ("sans-serif", 18).into_font().color(&INK))
            .set_label_area_size(LabelAreaPosition::Left, 64)
            .set_label_area_size(LabelAreaPosition::Bottom, 44)
            .build_cartesian_2d(span, 0.0..high * 1.1)?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .x_desc("diffusion time t")
            .y_desc("E|f - f*|^2 at t")
            .axis_style(INK)
            .draw()?;
        for (name, colour, pick) in [("network", NETWORK, 0), ("kernel regression", KERNEL, 1)] {
            let points = times.iter().map(|p| (p.t, [p.network, p.kernel][pick]));
            chart
                .draw_series(LineSeries::new(points, colour.stroke_width(2)))?
                .label(name)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .border_style(INK.mix(0.3))
            .background_style(WHITE)
            .draw()?;
        Ok(())
    })
}
