//! The plots of `verify`: panels of points and lines, both axes logarithmic.

use plotters::prelude::*;

use super::Outcome;
use super::plots::{INK, svg};

/// How a series is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stroke {
    /// A line.
    Line,
    /// A line with a dot at each point.
    Marked,
    /// Dots alone, faint.
    Dots,
    /// A dashed line: what is expected.
    Dashed,
}

/// One series of a panel.
#[derive(Debug, Clone)]
pub struct Series {
    /// Its name in the legend; none if it is empty.
    pub name: String,
    /// Its colour.
    pub colour: RGBColor,
    /// How it is drawn.
    pub stroke: Stroke,
    /// Its points; those that are not positive are left out.
    pub points: Vec<(f64, f64)>,
}

impl Series {
    /// A series.
    pub fn new(name: impl Into<String>, colour: RGBColor, stroke: Stroke, points: Vec<(f64, f64)>) -> Self {
        let points = points.into_iter().filter(|(x, y)| *x > 0.0 && *y > 0.0 && y.is_finite()).collect();
        Self { name: name.into(), colour, stroke, points }
    }
}

/// A panel of a plot.
#[derive(Debug, Clone)]
pub struct Panel {
    /// Above it.
    pub title: String,
    /// What is drawn.
    pub series: Vec<Series>,
    /// Vertical lines with their names.
    pub marks: Vec<(f64, String, RGBColor)>,
}

/// Panels side by side.
pub fn panels(x: &str, y: &str, panels: &[Panel], legend: SeriesLabelPosition) -> Outcome<String> {
    svg((460 * panels.len().max(1) as u32, 360), |area| {
        for (panel, area) in panels.iter().zip(area.split_evenly((1, panels.len().max(1)))) {
            draw(panel, &area, (x, y), legend.clone())?;
        }
        Ok(())
    })
}

fn draw(
    panel: &Panel,
    area: &super::plots::Area<'_>,
    (x, y): (&str, &str),
    legend: SeriesLabelPosition,
) -> Result<(), Box<dyn std::error::Error>> {
    let points = || panel.series.iter().flat_map(|s| &s.points);
    let range = |values: &mut dyn Iterator<Item = f64>, margin: f64| {
        let (low, high) = values.fold((f64::INFINITY, 0.0f64), |(a, b), v| (a.min(v), b.max(v)));
        if high > 0.0 { low / margin..high * margin } else { 0.1..1.0 }
    };
    let xs = range(&mut points().map(|p| p.0).chain(panel.marks.iter().map(|m| m.0.max(1.0))), 1.15);
    let ys = range(&mut points().map(|p| p.1), 1.35);
    let mut chart = ChartBuilder::on(area)
        .margin(12)
        .caption(&panel.title, ("sans-serif", 15).into_font().color(&INK))
        .set_label_area_size(LabelAreaPosition::Left, 62)
        .set_label_area_size(LabelAreaPosition::Bottom, 40)
        .build_cartesian_2d(
            xs.clone().log_scale().with_key_points(marks(&xs)),
            ys.clone().log_scale().with_key_points(marks(&ys)),
        )?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc(x)
        .y_desc(y)
        .x_labels(6)
        .y_labels(6)
        .x_label_formatter(&|x| number(*x))
        .y_label_formatter(&|y| number(*y))
        .axis_style(INK)
        .label_style(("sans-serif", 12))
        .draw()?;
    for (at, name, colour) in &panel.marks {
        let (at, colour) = (at.max(xs.start), *colour);
        let style = colour.stroke_width(1);
        let line = PathElement::new(vec![(at, ys.start), (at, ys.end)], style);
        chart
            .draw_series(std::iter::once(line))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x + 9, y - 6), (x + 9, y + 6)], style));
    }
    for series in &panel.series {
        let (colour, points) = (series.colour, series.points.clone());
        let style = colour.stroke_width(2);
        let thin = colour.stroke_width(1);
        match series.stroke {
            Stroke::Dots => {
                let dots = points.into_iter().map(|p| Circle::new(p, 2, colour.mix(0.35).filled()));
                let drawn = chart.draw_series(dots)?;
                if !series.name.is_empty() {
                    drawn
                        .label(&series.name)
                        .legend(move |(x, y)| Circle::new((x + 9, y), 2, colour.mix(0.35).filled()));
                }
                continue;
            }
            Stroke::Dashed => {
                let drawn = chart.draw_series(DashedLineSeries::new(points, 5, 4, thin))?;
                if !series.name.is_empty() {
                    drawn.label(&series.name).legend(move |(x, y)| {
                        let dash = |from: i32| PathElement::new([(x + from, y), (x + from + 5, y)], thin);
                        EmptyElement::at((0, 0)) + dash(0) + dash(9)
                    });
                }
                continue;
            }
            Stroke::Marked => {
                chart.draw_series(points.iter().map(|&p| Circle::new(p, 3, colour.filled())))?;
            }
            Stroke::Line => {}
        }
        let drawn = chart.draw_series(LineSeries::new(points, style))?;
        if !series.name.is_empty() {
            drawn.label(&series.name).legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
        }
    }
    chart
        .configure_series_labels()
        .position(legend)
        .border_style(INK.mix(0.3))
        .background_style(WHITE.mix(0.85))
        .label_font(("sans-serif", 11))
        .draw()?;
    Ok(())
}

/// Where a logarithmic axis has its marks: at powers of ten, and between them where there are few.
fn marks(range: &std::ops::Range<f64>) -> Vec<f64> {
    let (low, high) = (range.start.log10().floor() as i32, range.end.log10().ceil() as i32);
    let decades = (range.end / range.start).log10();
    let within: &[f64] = if decades < 0.8 {
        &[1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0]
    } else if decades < 2.5 {
        &[1.0, 2.0, 5.0]
    } else {
        &[1.0]
    };
    let step = (decades / 7.0).ceil().max(1.0) as usize;
    let all = (low..=high).step_by(step).flat_map(|power| within.iter().map(move |x| x * 10f64.powi(power)));
    all.filter(|x| range.contains(x)).collect()
}

/// A number on an axis.
fn number(x: f64) -> String {
    if (1e-3..1e5).contains(&x) {
        let digits = (1.0 - x.log10().floor()).clamp(0.0, 4.0) as usize;
        let text = format!("{x:.digits$}");
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
    } else {
        format!("{x:.0e}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_on_axes_are_short() {
        let cases = [(0.001, "0.001"), (0.25, "0.25"), (1.0, "1"), (1500.0, "1500"), (1e6, "1e6"), (2e-5, "2e-5")];
        for (x, text) in cases {
            assert_eq!(number(x), text);
        }
    }

    #[test]
    fn axes_have_some_marks_and_not_many() {
        for (low, high) in [(0.011, 0.029), (0.1, 1.0), (0.7, 40.0), (400.0, 3e5), (1e-7, 2.0), (1e-30, 1.0)] {
            let marks = marks(&(low..high));
            assert!((2..=9).contains(&marks.len()), "{low} {high} {marks:?}");
            assert!(marks.iter().all(|x| (low..high).contains(x)) && marks.is_sorted());
        }
    }

    #[test]
    fn empty_panels_and_points_off_the_axes_are_drawn() {
        let series = Series::new("s", INK, Stroke::Line, vec![(1.0, 0.0), (2.0, f64::NAN), (3.0, 1.0)]);
        assert_eq!(series.points, [(3.0, 1.0)]);
        let panel = |series| Panel { title: "t".into(), series, marks: vec![(0.0, "m".into(), INK)] };
        let drawn =
            panels("x", "y", &[panel(vec![series]), panel(Vec::new())], SeriesLabelPosition::UpperRight).unwrap();
        assert!(drawn.starts_with("<svg") && drawn.trim_end().ends_with("</svg>"));
    }
}
