//! The diffusion times of 64 rows and everything that depends on them alone.

use crate::diffusion::process::ForwardProcess;
use crate::kernels::{Lane64, PANEL};

/// Times at which residual scales are measured; between them they are interpolated.
pub(crate) const GRID: usize = 49;
/// The golden ratio less one: fractional parts of its multiples spread evenly, all of them and any run of them.
pub(crate) const GOLDEN: f64 = 0.618_033_988_749_894_9;
/// Inputs that depend on time alone.
pub(crate) const TIME_INPUTS: usize = 4;

/// What depends on the time of each of 64 rows.
#[derive(Debug, Clone)]
pub(crate) struct NoiseLevels {
    pub alpha: Lane64<f32>,
    pub h: Lane64<f32>,
    /// `sqrt(h)`.
    pub deviation: Lane64<f32>,
    /// `t - T0`.
    pub elapsed: Lane64<f32>,
    /// Cell of the grid of times, and the place in it.
    pub cell: [u8; PANEL],
    pub share: Lane64<f32>,
    /// Inputs that say the time.
    pub waves: [Lane64<f32>; TIME_INPUTS],
}

impl NoiseLevels {
    pub fn new() -> Self {
        let zero = Lane64([0.0; PANEL]);
        let waves = [zero; TIME_INPUTS];
        // Rows without a time get one all the same, so that nothing is divided by zero: pure noise.
        let one = Lane64([1.0; PANEL]);
        Self { alpha: zero, h: one, deviation: one, elapsed: zero, cell: [0; PANEL], share: zero, waves }
    }

    /// Sets the time of row `row`.
    pub fn set(&mut self, row: usize, process: &ForwardProcess, t: f64) {
        let (start, end) = (process.start(), process.end());
        let share = ((t - start) / (end - start)).clamp(0.0, 1.0);
        let place = share * (GRID - 1) as f64;
        let cell = (place as usize).min(GRID - 2);
        let angle = std::f64::consts::PI * share;
        self.alpha.0[row] = process.alpha(t) as f32;
        self.h.0[row] = process.h(t) as f32;
        self.deviation.0[row] = process.h(t).sqrt() as f32;
        self.elapsed.0[row] = (t - start) as f32;
        self.cell[row] = cell as u8;
        self.share.0[row] = (place - cell as f64) as f32;
        let waves = [1.0, 4.0 * share - 2.0, 2.0 * angle.cos(), 2.0 * angle.sin()];
        self.waves.iter_mut().zip(waves).for_each(|(lane, wave)| lane.0[row] = wave as f32);
    }

    /// Sets the time of all rows.
    pub fn set_all(&mut self, process: &ForwardProcess, t: f64) {
        self.set(0, process, t);
        let spread = |lane: &mut Lane64<f32>| lane.0 = [lane.0[0]; PANEL];
        [&mut self.alpha, &mut self.h, &mut self.deviation, &mut self.elapsed, &mut self.share]
            .into_iter()
            .for_each(spread);
        self.waves.iter_mut().for_each(spread);
        self.cell = [self.cell[0]; PANEL];
    }
}
