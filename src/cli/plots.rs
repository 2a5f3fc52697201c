//! What the plots share: sizes, colours, and drawing to an SVG in memory.

use plotters::coord::Shift;
use plotters::prelude::*;

use super::{Failure, Outcome};

/// Ink of axes and text.
pub const INK: RGBColor = RGBColor(40, 44, 52);
/// The truth, or the real data.
pub const TRUTH: RGBColor = RGBColor(60, 66, 74);
/// The network, or the generated data.
pub const NETWORK: RGBColor = RGBColor(196, 78, 28);
/// The kernel regression.
pub const KERNEL: RGBColor = RGBColor(24, 104, 174);

/// A drawing surface in memory.
pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Draws a picture of `width` x `height` pixels and returns it as SVG.
pub fn svg(
    (width, height): (u32, u32),
    draw: impl FnOnce(&Area<'_>) -> Result<(), Box<dyn std::error::Error>>,
) -> Outcome<String> {
    let mut text = String::new();
    let drawn = {
        let area = SVGBackend::with_string(&mut text, (width, height)).into_drawing_area();
        area.fill(&WHITE)
            .map_err(Into::into)
            .and_then(|()| draw(&area))
            .and_then(|()| area.present().map_err(Into::into))
    };
    drawn.map_err(|e| Failure::new(format!("cannot draw a plot: {e}")))?;
    Ok(text)
}

/// White to a light blue-grey, for `share` from 0 to 1: backgrounds that ink stays legible on.
pub fn shade(share: f64) -> RGBColor {
    let mix = |from: f64, to: f64| (from + (to - from) * share.clamp(0.0, 1.0)) as u8;
    RGBColor(mix(255.0, 164.0), mix(255.0, 190.0), mix(255.0, 214.0))
}
