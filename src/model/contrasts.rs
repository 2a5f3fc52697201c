//! Contrasts: signed sums of two or three numbers in the columns' own units, among the inputs of a network.
//!
//! Normal scores hide arithmetic. That a bill is the one before, less what was paid, plus what was bought, is a straight line in money
//! and a bent one, bent differently everywhere, in normal scores. So a network also reads `s = sum_i sign_i q_i(v_i)`, with `q_i` the
//! quantile function of column i in normal scores and `v_i` the denoiser's value so far, as
//!
//! `1.5 tanh(s / (2 sqrt(u^2 + sum_i w_i^2)))`,
//!
//! with three units `u` from small to large, and `w_i` what the noise leaves open of the value in its own units: far from
//! knowing, a contrast says little; close to the data it says on which side of zero a sum lies, and by how much.
//!
//! Which sums say something is found in the data: `contrast_search`.

use crate::kernels::elementary::exp;
use crate::kernels::{Lane64, PANEL};

/// Normal scores, evenly from -`REACH` to `REACH`, at which the values of a column are noted.
pub(crate) const KNOTS: usize = 257;
const REACH: f32 = 4.0;
/// Units of a contrast.
pub(crate) const UNITS: usize = 3;

/// Contrasts kept at most.
pub(crate) const MOST: usize = 24;

/// The score of the `k`-th knot.
pub(crate) fn knot(k: usize) -> f64 {
    f64::from(REACH) * (2.0 * k as f64 / (KNOTS - 1) as f64 - 1.0)
}

/// A signed sum of numbers.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "model-file", derive(serde::Serialize, serde::Deserialize))]
pub struct Contrast {
    /// Columns and their signs, +1 or -1.
    pub terms: Vec<(usize, f64)>,
    /// Units, ascending and positive.
    pub units: [f64; UNITS],
}

/// The contrasts of a table, and what its numbers are in their own units.
#[derive(Debug, Clone, Default, PartialEq)]
#[cfg_attr(feature = "model-file", derive(serde::Serialize, serde::Deserialize))]
pub struct Contrasts {
    /// For each number its values at the knots; empty without contrasts.
    pub quantiles: Vec<f64>,
    /// The sums.
    pub sums: Vec<Contrast>,
}

impl Contrasts {
    /// Inputs of a network.
    pub(in crate::model) fn inputs(&self) -> usize {
        UNITS * self.sums.len()
    }

    /// Whether the parts fit together, for so many numbers.
    pub(in crate::model) fn is_sound(&self, numbers: usize) -> bool {
        let term = |&(i, sign): &(usize, f64)| i < numbers && sign.abs() == 1.0;
        let sum = |sum: &Contrast| {
            !sum.terms.is_empty() && sum.terms.iter().all(term) && sum.units.iter().all(|u| u.is_finite() && *u > 0.0)
        };
        let length = if self.sums.is_empty() { 0 } else { numbers * KNOTS };
        self.quantiles.len() == length && self.quantiles.iter().all(|x| x.is_finite()) && self.sums.iter().all(sum)
    }

    /// The inputs of 64 rows whose numbers have the values `value`, give or take `scale`.
    #[inline(always)]
    pub(in crate::model) fn inputs_into(
        &self,
        value: &[Lane64<f32>],
        scale: &[Lane64<f32>],
        own: &mut [OwnUnits],
        inputs: &mut [Lane64<f32>],
    ) {
        if self.sums.is_empty() {
            return;
        }
        for (((table, value), scale), own) in
            self.quantiles.chunks_exact(KNOTS).zip(value).zip(scale).zip(own.iter_mut())
        {
            own.set(table, value, scale);
        }
        for (sum, inputs) in self.sums.iter().zip(inputs.chunks_exact_mut(UNITS)) {
            sum.inputs_into(own, inputs);
        }
    }
}

impl Contrast {
    #[inline(always)]
    pub(in crate::model) fn inputs_into(&self, own: &[OwnUnits], inputs: &mut [Lane64<f32>]) {
        let (mut total, mut open) = ([0.0f64; PANEL], [0.0f32; PANEL]);
        for &(i, sign) in &self.terms {
            total.iter_mut().zip(&own[i].value).for_each(|(total, &x)| *total += sign * x);
            open.iter_mut().zip(&own[i].open).for_each(|(open, &w)| *open += w * w);
        }
        for (input, &unit) in inputs.iter_mut().zip(&self.units) {
            let unit = unit as f32;
            for l in 0..PANEL {
                input.0[l] = total[l] as f32 / (unit * unit + open[l]).sqrt();
            }
            // tanh(x / 2) = 1 - 2 / (1 + exp(x)).
            exp::<false>(&mut input.0);
            input.0.iter_mut().for_each(|x| *x = 1.5 - 3.0 / (1.0 + *x));
        }
    }
}

/// A number of 64 rows in its own units.
#[derive(Debug, Clone)]
pub(crate) struct OwnUnits {
    pub(in crate::model) value: [f64; PANEL],
    /// What is left open.
    open: [f32; PANEL],
}

impl OwnUnits {
    pub fn new() -> Self {
        Self { value: [0.0; PANEL], open: [0.0; PANEL] }
    }

    #[inline(always)]
    pub(in crate::model) fn set(&mut self, table: &[f64], score: &Lane64<f32>, scale: &Lane64<f32>) {
        for l in 0..PANEL {
            let (v, c) = (score.0[l], scale.0[l]);
            self.value[l] = value_at(table, v);
            self.open[l] = 0.5 * (value_at(table, v + c) - value_at(table, v - c)) as f32;
        }
    }
}

/// The value at a score: straight lines between the knots, level beyond them.
#[inline(always)]
pub(in crate::model) fn value_at(table: &[f64], score: f32) -> f64 {
    let last = (KNOTS - 1) as f32;
    let place = ((score + REACH) * (last / (2.0 * REACH))).clamp(0.0, last);
    let cell = (place as usize).min(KNOTS - 2);
    let share = f64::from(place - cell as f32);
    table[cell] + share * (table[cell + 1] - table[cell])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::{Purpose, normal, stream};

    /// Own units of made-up columns: `z + z^3`.
    fn own(z: f64) -> f64 {
        z + z.powi(3)
    }

    #[test]
    fn inputs_are_those_of_the_formula() {
        let sum = |terms: &[(usize, f64)], units| Contrast { terms: terms.to_vec(), units };
        let sums =
            vec![sum(&[(0, 1.0), (1, -1.0)], [0.1, 1.0, 10.0]), sum(&[(0, 1.0), (1, 1.0), (2, -1.0)], [0.5, 0.6, 9.0])];
        let contrasts = Contrasts { quantiles: (0..3 * KNOTS).map(|k| own(knot(k % KNOTS))).collect(), sums };
        let mut rng = stream(9, Purpose::Data);
        let mut lane = |size: f32| Lane64(std::array::from_fn(|_| size * normal::<f32>(&mut rng)));
        // Far beyond the knots as well.
        let value = [lane(1.0), lane(3.0), lane(0.1)];
        let scale = [lane(0.3), lane(0.01), lane(1.0)].map(|lane| Lane64(lane.0.map(f32::abs)));
        let mut inputs = [Lane64([0.0; PANEL]); 2 * UNITS];
        contrasts.inputs_into(&value, &scale, &mut vec![OwnUnits::new(); 3], &mut inputs);
        let at = |z: f64| {
            let place = ((z.clamp(-4.0, 4.0) + 4.0) * 32.0).min(255.999_999);
            let (low, high) = (own(knot(place as usize)), own(knot(place as usize + 1)));
            low + place.fract() * (high - low)
        };
        for l in 0..PANEL {
            for (s, sum) in contrasts.sums.iter().enumerate() {
                let term = |&(i, sign): &(usize, f64)| {
                    let (v, c) = (f64::from(value[i].0[l]), f64::from(scale[i].0[l]));
                    (sign * at(v), (0.5 * (at(v + c) - at(v - c))).powi(2))
                };
                let (total, open) = sum.terms.iter().map(term).fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
                for (k, unit) in sum.units.iter().enumerate() {
                    let wanted = 1.5 * (0.5 * total / (unit * unit + open).sqrt()).tanh();
                    let error = (f64::from(inputs[s * UNITS + k].0[l]) - wanted).abs();
                    assert!(error < 1e-5, "row {l}, sum {s}, unit {unit}: error {error}");
                }
            }
        }
    }

    #[test]
    fn damaged_parts_are_refused() {
        let sum = Contrast { terms: vec![(0, 1.0), (1, -1.0)], units: [1.0, 2.0, 3.0] };
        let sound = Contrasts { quantiles: vec![0.0; 2 * KNOTS], sums: vec![sum] };
        assert!(sound.is_sound(2) && Contrasts::default().is_sound(2));
        let damages: [fn(&mut Contrasts); 5] = [
            |c| c.sums[0].terms[1].0 = 2,
            |c| c.sums[0].terms[1].1 = 0.5,
            |c| c.sums[0].units[0] = 0.0,
            |c| c.quantiles[3] = f64::NAN,
            |c| c.quantiles.truncate(KNOTS),
        ];
        for damage in damages {
            let mut contrasts = sound.clone();
            damage(&mut contrasts);
            assert!(!contrasts.is_sound(2), "{contrasts:?}");
        }
    }
}
