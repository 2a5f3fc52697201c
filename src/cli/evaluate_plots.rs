//! The plots of `ntk-score evaluate`: every column's marginal, and the associations between columns, as SVG.
//!
//! In both, filled shapes are the training table and outlines the synthetic one.

use crate::evaluate::{Associations, ColumnScore, Evaluation, Marginal};
use plotters::prelude::*;
use plotters::style::FontTransform;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::Outcome;
use super::plots::{Area, INK, NETWORK, svg};

const TRAIN: RGBColor = RGBColor(185, 198, 216);
const SYNTHETIC: RGBColor = NETWORK;
const FAINT: RGBColor = RGBColor(128, 135, 145);
const RULE: RGBColor = RGBColor(213, 217, 223);

/// Bars of a categorical column; of more levels the rarest are drawn as one.
const MOST_BARS: usize = 24;

type Drawn = Result<(), Box<dyn std::error::Error>>;

/// A picture under construction; coordinates are pixels from the upper left corner.
struct Sheet<'a, 'b> {
    area: &'a Area<'b>,
}

impl Sheet<'_, '_> {
    fn text(&self, text: &str, at: (i32, i32), size: i32, colour: RGBColor, place: (HPos, VPos)) -> Drawn {
        self.turned(text, at, size, colour, place, FontTransform::None)
    }

    fn turned(
        &self,
        text: &str,
        at: (i32, i32),
        size: i32,
        colour: RGBColor,
        place: (HPos, VPos),
        turn: FontTransform,
    ) -> Drawn {
        let style = ("sans-serif", size).into_font().transform(turn).color(&colour).pos(Pos::new(place.0, place.1));
        Ok(self.area.draw(&Text::new(text.to_owned(), at, style))?)
    }

    fn rectangle(&self, from: (i32, i32), to: (i32, i32), style: ShapeStyle) -> Drawn {
        Ok(self.area.draw(&Rectangle::new([from, to], style))?)
    }

    fn line(&self, points: Vec<(i32, i32)>, style: ShapeStyle) -> Drawn {
        Ok(self.area.draw(&PathElement::new(points, style))?)
    }
}

const PANEL: (i32, i32) = (284, 172);
const EDGE: i32 = 22;

/// One panel per column: histogram of the training table, outline of the synthetic one, and the column's Shape error.
pub fn marginals(evaluation: &Evaluation) -> Outcome<String> {
    const HEAD: i32 = 76;
    let columns: Vec<usize> = (0..evaluation.marginals.len()).collect();
    let size = sheet_size(columns.len(), HEAD);
    svg(size, |area| {
        let sheet = &Sheet { area };
        sheet.text("Marginals", (EDGE + 34, 20), 20, INK, (HPos::Left, VPos::Top))?;
        let words = "skewed columns on a square-root axis; the outer bins hold what lies beyond them";
        sheet.text(words, (EDGE + 34, 46), 12, FAINT, (HPos::Left, VPos::Top))?;
        legend(sheet, size.0 as i32 - EDGE - 8)?;
        panel_rows(sheet, evaluation, &columns, HEAD)
    })
}

/// The panels of these columns without a title, four in a row.
pub fn strip(evaluation: &Evaluation, columns: &[usize]) -> Outcome<String> {
    let (_, height) = sheet_size(columns.len(), 0);
    // As wide as a full row, so that all strips of a page have the same scale.
    svg((sheet_size(4, 0).0, height), |area| panel_rows(&Sheet { area }, evaluation, columns, 4))
}

fn sheet_size(count: usize, head: i32) -> (u32, u32) {
    let across = count.clamp(1, 4);
    let down = count.div_ceil(across);
    let size = (across as i32 * PANEL.0 + 2 * EDGE, down as i32 * PANEL.1 + head + EDGE);
    (size.0.max(560) as u32, size.1 as u32)
}

fn panel_rows(sheet: &Sheet<'_, '_>, evaluation: &Evaluation, columns: &[usize], head: i32) -> Drawn {
    for (place, &index) in columns.iter().enumerate() {
        let left = EDGE + (place % 4) as i32 * PANEL.0;
        let top = head + (place / 4) as i32 * PANEL.1;
        let (marginal, score) = (&evaluation.marginals[index], &evaluation.columns[index]);
        panel(sheet, marginal, score, (left, top), (PANEL.0 - 18, PANEL.1 - 16))?;
    }
    Ok(())
}

fn legend(sheet: &Sheet<'_, '_>, right: i32) -> Drawn {
    sheet.rectangle((right - 344, 25), (right - 324, 37), TRAIN.filled())?;
    sheet.text("training", (right - 318, 31), 13, INK, (HPos::Left, VPos::Center))?;
    sheet.rectangle((right - 252, 25), (right - 232, 37), SYNTHETIC.stroke_width(2))?;
    sheet.text("synthetic", (right - 226, 31), 13, INK, (HPos::Left, VPos::Center))?;
    sheet.text("% = Shape error of the column", (right, 31), 12, FAINT, (HPos::Right, VPos::Center))
}

fn panel(sheet: &Sheet<'_, '_>, marginal: &Marginal, score: &ColumnScore, at: (i32, i32), size: (i32, i32)) -> Drawn {
    let (left, right) = (at.0 + 34, at.0 + size.0);
    let (top, bottom) = (at.1 + 24, at.1 + size.1 - 20);
    sheet.text(&shortened(&marginal.name, 24), (left, at.1 + 4), 14, INK, (HPos::Left, VPos::Top))?;
    let error = format!("{:.2} %", 100.0 * (1.0 - score.shape));
    sheet.text(&error, (right, at.1 + 5), 12, FAINT, (HPos::Right, VPos::Top))?;

    let (labels, train, synthetic) = bars(marginal);
    let tallest = train.iter().chain(&synthetic).copied().fold(f64::MIN_POSITIVE, f64::max);
    let height = |share: f64| bottom - (share / tallest * f64::from(bottom - top)).round() as i32;
    let place = |edge: usize| left + (f64::from(right - left) * edge as f64 / train.len() as f64).round() as i32;
    sheet.line(vec![(left - 4, top), (right, top)], RULE.stroke_width(1))?;
    // Bars of categories stand apart; bins of numbers touch.
    let gap = if labels.is_empty() { 0 } else { ((place(1) - place(0)) / 6).max(1) };
    for (bin, share) in train.iter().enumerate() {
        if *share > 0.0 {
            sheet.rectangle((place(bin) + gap, height(*share)), (place(bin + 1) - gap, bottom), TRAIN.filled())?;
        }
    }
    sheet.line(vec![(left, bottom), (right, bottom)], RULE.stroke_width(1))?;
    if labels.is_empty() {
        let mut outline = vec![(left, bottom)];
        for (bin, share) in synthetic.iter().enumerate() {
            outline.extend([(place(bin), height(*share)), (place(bin + 1), height(*share))]);
        }
        outline.push((right, bottom));
        sheet.line(outline, SYNTHETIC.stroke_width(2))?;
    } else {
        for (bin, share) in synthetic.iter().enumerate() {
            if *share > 0.0 {
                let (from, to) = (place(bin) + gap, place(bin + 1) - gap);
                let corners = vec![(from, bottom), (from, height(*share)), (to, height(*share)), (to, bottom)];
                sheet.line(corners, SYNTHETIC.stroke_width(2))?;
            }
        }
    }
    let share =
        if tallest < 0.0995 { format!("{:.1} %", 100.0 * tallest) } else { format!("{:.0} %", 100.0 * tallest) };
    sheet.text(&share, (left - 6, top), 10, FAINT, (HPos::Right, VPos::Center))?;

    let below = bottom + 5;
    if labels.is_empty() {
        number_labels(sheet, &marginal.edges, (left, right), below)
    } else {
        let room = (place(1) - place(0)) as usize;
        let longest = labels.iter().map(|label| shortened(label, 14).chars().count()).max().unwrap_or(0);
        let every = (longest * 7 + 4).div_ceil(room.max(1)).max(1);
        for (bin, label) in labels.iter().enumerate().step_by(every) {
            let middle = (place(bin) + place(bin + 1)) / 2;
            sheet.text(&shortened(label, 14), (middle, below), 11, FAINT, (HPos::Center, VPos::Top))?;
        }
        Ok(())
    }
}

/// Labels (none for numbers), training shares and synthetic shares of a marginal's bars.
fn bars(marginal: &Marginal) -> (Vec<String>, Vec<f64>, Vec<f64>) {
    if marginal.levels.len() <= MOST_BARS {
        return (marginal.levels.clone(), marginal.train.clone(), marginal.synthetic.clone());
    }
    let mut common: Vec<usize> = (0..marginal.levels.len()).collect();
    common.sort_by(|&a, &b| marginal.train[b].total_cmp(&marginal.train[a]));
    let mut kept = common[..MOST_BARS - 1].to_vec();
    kept.sort_unstable();
    let select = |shares: &[f64]| {
        let mut shown: Vec<f64> = kept.iter().map(|&level| shares[level]).collect();
        shown.push(common[MOST_BARS - 1..].iter().map(|&level| shares[level]).sum());
        shown
    };
    let mut labels: Vec<String> = kept.iter().map(|&level| marginal.levels[level].clone()).collect();
    labels.push("others".into());
    (labels, select(&marginal.train), select(&marginal.synthetic))
}

/// Round numbers under the bins, whose edges may be unevenly spaced.
fn number_labels(sheet: &Sheet<'_, '_>, edges: &[f64], (left, right): (i32, i32), below: i32) -> Drawn {
    let bins = edges.len() - 1;
    let place = |value: f64| {
        let bin = edges[1..bins].partition_point(|edge| *edge <= value);
        let along = bin as f64 + (value - edges[bin]) / (edges[bin + 1] - edges[bin]);
        left + (along / bins as f64 * f64::from(right - left)).round() as i32
    };
    for (mark, label) in marks(edges[0], edges[bins], &place) {
        let x = place(mark);
        sheet.line(vec![(x, below - 5), (x, below - 1)], RULE.stroke_width(1))?;
        sheet.text(&label, (x, below), 11, FAINT, (HPos::Center, VPos::Top))?;
    }
    Ok(())
}

/// Round numbers between two values that stand apart once placed: zero if it is there, then steps that grow where the
/// places are dense.
fn marks(first: f64, last: f64, place: &dyn Fn(f64) -> i32) -> Vec<(f64, String)> {
    const APART: i32 = 44;
    if first >= last {
        return Vec::new();
    }
    let smallest = round_step((last - first) / 40.0);
    let steps: Vec<f64> = std::iter::successors(Some(smallest), |step| Some(round_step(1.5 * step))).take(7).collect();
    let multiples = |step: f64| {
        let from = (first / step).ceil();
        let count = ((last / step + 1e-9).floor() - from).max(-1.0) as usize;
        (0..=count).map(move |n| (from + n as f64) * step).filter(move |mark| *mark <= last + 1e-9 * step)
    };
    // One step for all where that shows enough of the axis.
    for &step in &steps {
        let places: Vec<i32> = multiples(step).map(place).collect();
        if places.len() >= 5 && places.windows(2).all(|pair| pair[1] - pair[0] >= APART) {
            return multiples(step).map(|mark| (mark, short_number(mark, step))).collect();
        }
    }
    // Otherwise several, coarse ones first, so that the roundest numbers win the room.
    let mut shown: Vec<(f64, String)> = Vec::new();
    for step in steps.into_iter().rev() {
        for mark in multiples(step) {
            if shown.iter().all(|(other, _)| (place(*other) - place(mark)).abs() >= APART) {
                shown.push((mark, short_number(mark, step)));
            }
        }
    }
    shown
}

/// The smallest of 1, 2, 5 times a power of ten that is at least `least`.
fn round_step(least: f64) -> f64 {
    let power = 10f64.powf(least.log10().floor());
    [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power).into_iter().find(|step| *step >= least).unwrap_or(least)
}

/// A number on an axis with this step, thousands and millions abbreviated.
fn short_number(value: f64, step: f64) -> String {
    let size = value.abs();
    let (scale, unit) = match size {
        _ if size >= 1e6 => (1e6, "M"),
        _ if size >= 1e4 => (1e3, "k"),
        _ => (1.0, ""),
    };
    let decimals = (-(step / scale).log10() - 1e-9).ceil().clamp(0.0, 6.0) as usize;
    let text = format!("{:.decimals$}{unit}", value / scale);
    if text.trim_start_matches('-').chars().all(|c| c == '0' || c == '.') {
        "0".into()
    } else {
        text.replace('-', "\u{2212}")
    }
}

fn shortened(text: &str, longest: usize) -> String {
    if text.chars().count() <= longest {
        return text.to_owned();
    }
    text.chars().take(longest - 1).chain(['\u{2026}']).collect()
}

/// The association matrices of both tables side by side, and their difference.
pub fn associations(evaluation: &Evaluation) -> Outcome<String> {
    let (train, synthetic) = (&evaluation.associations_train, &evaluation.associations_synthetic);
    let count = train.names.len() as i32;
    let cell = (430 / count.max(1)).clamp(5, 30);
    let side = (cell * count).max(96);
    let longest = train.names.iter().map(|name| shortened(name, 16).chars().count()).max().unwrap_or(0) as i32;
    let label = if cell >= 9 { longest * 6 + 20 } else { 20 };
    let (edge, head, gap) = (28, 78 + label, 34);
    let width = 2 * edge + label + 3 * side + 2 * gap;
    let difference: Vec<Vec<f64>> = synthetic
        .matrix
        .iter()
        .zip(&train.matrix)
        .map(|(made, real)| made.iter().zip(real).map(|(made, real)| made - real).collect())
        .collect();
    let largest = difference.iter().flatten().fold(0.0f64, |largest, value| largest.max(value.abs()));
    let scale = round_step(largest.max(0.01)).min(2.0);
    svg((width.max(620) as u32, (head + side + 92) as u32), |area| {
        let sheet = &Sheet { area };
        sheet.text("Associations between columns", (edge, 20), 20, INK, (HPos::Left, VPos::Top))?;
        let words = "Pearson correlation (numbers), correlation ratio (mixed), Cram\u{e9}r's V (categories)";
        sheet.text(words, (edge, 48), 12, FAINT, (HPos::Left, VPos::Top))?;
        let panels = [
            ("training", &train.matrix, 1.0),
            ("synthetic", &synthetic.matrix, 1.0),
            ("synthetic \u{2212} training", &difference, scale),
        ];
        for (index, (title, matrix, scale)) in panels.into_iter().enumerate() {
            let left = edge + label + index as i32 * (side + gap);
            heat_map(sheet, train, matrix, scale, (left, head), cell, index == 0)?;
            sheet.text(title, (left + side / 2, head + cell * count + 12), 14, INK, (HPos::Center, VPos::Top))?;
            colour_bar(sheet, (left + side / 2, head + cell * count + 40), scale)?;
        }
        Ok(())
    })
}

fn heat_map(
    sheet: &Sheet<'_, '_>,
    associations: &Associations,
    matrix: &[Vec<f64>],
    scale: f64,
    (left, top): (i32, i32),
    cell: i32,
    row_names: bool,
) -> Drawn {
    let side = cell * matrix.len() as i32;
    let line = i32::from(cell >= 9);
    for (row, values) in matrix.iter().enumerate() {
        for (column, value) in values.iter().enumerate() {
            let corner = (left + column as i32 * cell, top + row as i32 * cell);
            let other = (corner.0 + cell - line, corner.1 + cell - line);
            sheet.rectangle(corner, other, diverging(value / scale).filled())?;
        }
    }
    sheet.rectangle((left - 1, top - 1), (left + side, top + side), RULE.stroke_width(1))?;
    let boundary = associations.numerical as i32 * cell;
    if boundary > 0 && boundary < side {
        // Numbers before, categories behind.
        sheet.line(vec![(left + boundary - 1, top - 6), (left + boundary - 1, top + side)], FAINT.stroke_width(1))?;
        sheet.line(vec![(left - 6, top + boundary - 1), (left + side, top + boundary - 1)], FAINT.stroke_width(1))?;
    }
    if cell >= 9 {
        let size = (cell - 2).min(12);
        for (index, name) in associations.names.iter().enumerate() {
            let middle = index as i32 * cell + cell / 2;
            let name = shortened(name, 16);
            sheet.turned(
                &name,
                (left + middle, top - 8),
                size,
                INK,
                (HPos::Left, VPos::Center),
                FontTransform::Rotate270,
            )?;
            if row_names {
                sheet.text(&name, (left - 8, top + middle), size, INK, (HPos::Right, VPos::Center))?;
            }
        }
    }
    Ok(())
}

fn colour_bar(sheet: &Sheet<'_, '_>, (middle, top): (i32, i32), scale: f64) -> Drawn {
    const HALF: i32 = 70;
    for step in -HALF..HALF {
        let colour = diverging(f64::from(step) / f64::from(HALF));
        sheet.rectangle((middle + step, top), (middle + step + 1, top + 9), colour.filled())?;
    }
    for (position, value) in [(-HALF, -scale), (0, 0.0), (HALF, scale)] {
        let text = short_number(value, scale);
        sheet.text(&text, (middle + position, top + 13), 11, FAINT, (HPos::Center, VPos::Top))?;
    }
    Ok(())
}

/// Blue for -1 over white for 0 to red for 1, with even steps in lightness.
fn diverging(value: f64) -> RGBColor {
    const STOPS: [[f64; 3]; 9] = [
        [5.0, 48.0, 97.0],
        [33.0, 102.0, 172.0],
        [84.0, 155.0, 199.0],
        [170.0, 208.0, 229.0],
        [250.0, 250.0, 250.0],
        [251.0, 203.0, 178.0],
        [231.0, 130.0, 104.0],
        [188.0, 36.0, 49.0],
        [103.0, 0.0, 31.0],
    ];
    let place = (value.clamp(-1.0, 1.0) + 1.0) / 2.0 * 8.0;
    let below = (place.floor() as usize).min(7);
    let along = place - below as f64;
    let [red, green, blue] = [0, 1, 2].map(|channel| {
        (STOPS[below][channel] + along * (STOPS[below + 1][channel] - STOPS[below][channel])).round() as u8
    });
    RGBColor(red, green, blue)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axis_numbers_are_round_and_short() {
        assert_eq!(round_step(0.3), 0.5);
        assert_eq!(round_step(12_000.0), 20_000.0);
        assert_eq!(round_step(1.0), 1.0);
        assert_eq!(short_number(200_000.0, 100_000.0), "200k");
        assert_eq!(short_number(1_500_000.0, 500_000.0), "1.5M");
        assert_eq!(short_number(-0.25, 0.05), "\u{2212}0.25");
        assert_eq!(short_number(-0.0, 0.05), "0");
        assert_eq!(short_number(40.0, 20.0), "40");
    }

    #[test]
    fn marks_stand_apart_and_are_round() {
        let shown = |first: f64, last: f64| {
            let place = |value: f64| (240.0 * (value - first) / (last - first)).round() as i32;
            let mut marks = marks(first, last, &place);
            marks.sort_by(|a, b| a.0.total_cmp(&b.0));
            assert!(marks.windows(2).all(|pair| place(pair[1].0) - place(pair[0].0) >= 44));
            marks.into_iter().map(|(_, label)| label).collect::<Vec<_>>()
        };
        assert_eq!(shown(0.0, 1.0), ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert!(shown(-3000.0, 45_000.0).contains(&"20k".to_owned()));
        assert!(marks(2.0, 2.0, &|_| 0).is_empty());
    }

    #[test]
    fn colours_run_from_blue_over_white_to_red() {
        let [low, middle, high] = [-2.0, 0.0, 1.0].map(diverging);
        assert!(low.2 > low.0 && high.0 > high.2 && middle.0 == middle.1 && middle.1 == middle.2);
    }

    #[test]
    fn rare_levels_are_drawn_as_one() {
        let many = Marginal {
            name: "town".into(),
            edges: Vec::new(),
            levels: (0..100).map(|level| level.to_string()).collect(),
            train: (0..100).map(|level| f64::from(level) / 4950.0).collect(),
            synthetic: vec![0.01; 100],
        };
        let (labels, train, synthetic) = bars(&many);
        assert_eq!((labels.len(), labels.last().unwrap().as_str()), (MOST_BARS, "others"));
        assert_eq!(labels[0], "77");
        assert!((train.iter().sum::<f64>() - 1.0).abs() < 1e-12 && (synthetic.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert_eq!(shortened("abcdefgh", 5), "abcd\u{2026}");
    }
}
