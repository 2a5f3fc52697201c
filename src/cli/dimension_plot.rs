//! The plot of `dimension`: the three curves over the noise, with their plateaus.

use plotters::prelude::*;

use crate::diffusion::denoising_error::Average;
use crate::theory::dimension::{NoiseLevel, Plateau, Report};

use super::Outcome;
use super::plots::{INK, KERNEL, NETWORK, TRUTH, svg};

/// Draws the curves; each plateau is a wide pale line at its value.
pub fn curves(report: &Report) -> Outcome<String> {
    svg((720, 420), |area| draw(report, area))
}

/// A curve: its name, its colour, its values and its plateau.
type Curve = (&'static str, RGBColor, fn(&NoiseLevel) -> Option<Average>, Option<Plateau>);

fn draw(report: &Report, area: &super::plots::Area<'_>) -> Result<(), Box<dyn std::error::Error>> {
    let plateaus = &report.plateaus;
    let series: [Curve; 3] = [
        ("MMSE dimension", NETWORK, |level| Some(level.mmse), plateaus.mmse),
        ("FLIPD", KERNEL, |level| Some(level.flipd), plateaus.flipd),
        ("rank gap", TRUTH, |level| level.rank_gap, plateaus.rank_gap),
    ];
    let of = |estimate: fn(&NoiseLevel) -> Option<Average>| {
        let point = move |level: &NoiseLevel| estimate(level).map(|e| (level.sigma, e.value, e.standard_error));
        report.curves.iter().filter_map(point).collect::<Vec<_>>()
    };
    let high =
        series.iter().flat_map(|s| of(s.2)).fold(1.0f64, |high, (_, value, error)| high.max(value + 2.0 * error));
    let low = series.iter().flat_map(|s| of(s.2)).fold(0.0f64, |low, (_, value, _)| low.min(value));
    let sigmas = report.curves.iter().map(|level| level.sigma);
    let (from, to) = sigmas.fold((f64::INFINITY, 0.0f64), |(a, b), sigma| (a.min(sigma), b.max(sigma)));
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .caption(
            format!("Dimension of {} numerical columns", report.columns),
            ("sans-serif", 15).into_font().color(&INK),
        )
        .set_label_area_size(LabelAreaPosition::Left, 52)
        .set_label_area_size(LabelAreaPosition::Bottom, 40)
        .build_cartesian_2d((from..to).log_scale(), 1.05 * low..1.05 * high)?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc("noise to signal, sigma")
        .y_desc("dimension")
        .x_label_formatter(&|x| format!("{x}"))
        .axis_style(INK)
        .label_style(("sans-serif", 12))
        .draw()?;
    for (_, colour, _, found) in &series {
        if let Some(Plateau { value, sigma, .. }) = found {
            let line = PathElement::new(sigma.map(|sigma| (sigma, *value)), colour.mix(0.25).stroke_width(9));
            chart.draw_series(std::iter::once(line))?;
        }
    }
    for (name, colour, estimate, _) in series {
        let points = of(estimate);
        if points.is_empty() {
            continue;
        }
        let bar = |&(x, y, e): &(f64, f64, f64)| {
            PathElement::new([(x, y - 2.0 * e), (x, y + 2.0 * e)], colour.stroke_width(1))
        };
        chart.draw_series(points.iter().map(bar))?;
        chart.draw_series(points.iter().map(|&(x, y, _)| Circle::new((x, y), 2, colour.filled())))?;
        let line = LineSeries::new(points.iter().map(|&(x, y, _)| (x, y)), colour.stroke_width(2));
        let drawn = chart.draw_series(line)?;
        drawn.label(name).legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .border_style(INK.mix(0.3))
        .background_style(WHITE.mix(0.85))
        .label_font(("sans-serif", 11))
        .draw()?;
    Ok(())
}
