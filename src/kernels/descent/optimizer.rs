//! What is done with a gradient: plain, Nesterov and Adam steps and the running average of the weights, fused into the
//! backward pass so that weights, gradient and state are touched once, while they are in cache.

use std::ops::Range;

use super::Step;
use crate::kernels::{Lane64, PANEL, Panels};
use crate::simd::{Lanes, Scalar};
use crate::{Error, Result};

/// How a gradient changes the weights.
#[derive(Debug, Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum Rule {
    /// `w -= rate g`: gradient descent, the rule theory speaks of.
    Descent,
    /// `v = momentum v + g; w -= rate (g + momentum v)`: Nesterov's accelerated gradient.
    Nesterov {
        /// Share of the old velocity that is kept, in [0, 1).
        momentum: f64,
    },
    /// Adam (Kingma and Ba 2015): steps divided by a running root mean square; a heuristic outside the theory.
    Adam {
        /// Decay of the mean of the gradient.
        beta1: f64,
        /// Decay of the mean of its square.
        beta2: f64,
        /// Added to the root.
        epsilon: f64,
    },
}

impl Rule {
    /// Adam with its authors' settings.
    pub const ADAM: Rule = Rule::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
}

/// A rule with its state: velocities, and the running average of the weights where it is kept.
#[derive(Debug, Clone)]
pub struct Optimizer<T> {
    rule: Rule,
    iteration: u64,
    first: Option<Panels<T>>,
    second: Option<Panels<T>>,
    average: Option<Panels<T>>,
}

impl<T: Scalar> Optimizer<T> {
    /// State for weights of the shape of `w`; `averaged` keeps an exponential moving average that starts at `w`.
    ///
    /// # Errors
    /// [`Error::Setting`] if a decay is outside [0, 1).
    pub fn new(rule: Rule, w: &Panels<T>, averaged: bool) -> Result<Self> {
        let decays = match rule {
            Rule::Descent => [0.0, 0.0],
            Rule::Nesterov { momentum } => [momentum, 0.0],
            Rule::Adam { beta1, beta2, .. } => [beta1, beta2],
        };
        if let Some(bad) = decays.into_iter().find(|d| !(0.0..1.0).contains(d)) {
            return Err(Error::Setting {
                name: "a decay of the optimizer",
                value: bad.to_string(),
                requirement: "it must be at least 0 and below 1",
            });
        }
        let state = |wanted: bool| wanted.then(|| Panels::zeros(w.rows(), w.columns()));
        Ok(Self {
            rule,
            iteration: 0,
            first: state(rule != Rule::Descent),
            second: state(matches!(rule, Rule::Adam { .. })),
            average: averaged.then(|| w.clone()),
        })
    }

    /// Forgets velocities and the count of updates; an average that is kept becomes `average`.
    ///
    /// # Panics
    /// If `average` has another shape than the one that is kept.
    pub fn restart(&mut self, average: Option<&Panels<T>>) {
        self.iteration = 0;
        for state in [&mut self.first, &mut self.second].into_iter().flatten() {
            state.lanes_mut().fill(Lane64([T::ZERO; PANEL]));
        }
        if let (Some(kept), Some(average)) = (&mut self.average, average) {
            kept.lanes_mut().copy_from_slice(average.lanes());
        }
    }

    /// The averaged weights, if an average is kept.
    pub fn average(&self) -> Option<&Panels<T>> {
        self.average.as_ref()
    }

    /// Updates made so far.
    pub fn iterations(&self) -> u64 {
        self.iteration
    }

    /// Everything the next updates depend on; what is not kept is empty.
    pub(crate) fn state(&self) -> OptimizerState<T> {
        let values = |panels: &Option<Panels<T>>| panels.as_ref().map_or_else(Vec::new, |p| p.values().to_vec());
        OptimizerState { iteration: self.iteration, panels: [&self.first, &self.second, &self.average].map(values) }
    }

    /// Takes up a state; whether it fits.
    #[must_use]
    pub(crate) fn restore(&mut self, state: &OptimizerState<T>) -> bool {
        self.iteration = state.iteration;
        let kept = [&mut self.first, &mut self.second, &mut self.average];
        kept.into_iter().zip(&state.panels).all(|(panels, values)| match panels {
            Some(panels) => panels.take_values(values),
            None => values.is_empty(),
        })
    }

    /// Counts an update and fixes its numbers.
    pub(super) fn begin(&mut self, step: Step) -> Numbers<T> {
        let Step { rate, decay } = step;
        self.iteration += 1;
        let t = self.iteration.min(i32::MAX as u64) as i32;
        let (rate, b1, b2, epsilon) = match self.rule {
            Rule::Descent => (rate, 0.0, 0.0, 0.0),
            Rule::Nesterov { momentum } => (rate, momentum, 0.0, 0.0),
            Rule::Adam { beta1, beta2, epsilon } => {
                // Both bias corrections go into the rate; epsilon is scaled to stay what the authors mean by it.
                let root = (1.0 - beta2.powi(t)).sqrt();
                (rate * root / (1.0 - beta1.powi(t)), beta1, beta2, epsilon * root)
            }
        };
        let r = T::from_f64;
        Numbers { rule: self.rule, rate: r(rate), b1: r(b1), b2: r(b2), epsilon: r(epsilon), fresh: r(1.0 - decay) }
    }

    /// The state's storage: first, second, average; empty where not kept.
    pub(super) fn storage(&mut self) -> [&mut [Lane64<T>]; 3] {
        [&mut self.first, &mut self.second, &mut self.average]
            .map(|p| p.as_mut().map_or(&mut [][..], |p| p.lanes_mut()))
    }

    pub(super) fn check(&self, w: &Panels<T>) -> Result<()> {
        [&self.first, &self.second, &self.average]
            .into_iter()
            .flatten()
            .try_for_each(|p| p.expect_shape("the optimizer's state", w.rows(), w.columns()))
    }
}

/// An optimizer's state in plain data: how many updates were made; velocities and average in the order of memory.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "model-file", derive(serde::Serialize, serde::Deserialize))]
pub(crate) struct OptimizerState<T> {
    iteration: u64,
    panels: [Vec<T>; 3],
}

/// The numbers of one update.
#[derive(Clone, Copy)]
pub(super) struct Numbers<T> {
    rule: Rule,
    rate: T,
    b1: T,
    b2: T,
    epsilon: T,
    fresh: T,
}

/// Blocks of the state, each of the length of the weights' or empty.
pub(super) struct StateBlocks<'a, T> {
    pub first: &'a mut [Lane64<T>],
    pub second: &'a mut [Lane64<T>],
    pub average: &'a mut [Lane64<T>],
}

/// Blocks of weights and what an update does to them.
pub(super) struct Update<'a, T> {
    pub numbers: Numbers<T>,
    pub w: &'a mut [Lane64<T>],
    pub state: StateBlocks<'a, T>,
}

impl<T: Scalar> Update<'_, T> {
    /// Updates the given part of the weights by its gradient.
    #[inline(always)]
    pub(super) fn apply<S: Lanes>(&mut self, s: S, part: Range<usize>, gradient: &[Lane64<T>]) {
        let StateBlocks { first, second, average } = &mut self.state;
        let [first, second, average] =
            [first, second, average].map(|state| state.get_mut(part.clone()).unwrap_or_default());
        self.numbers.apply(s, &mut self.w[part], gradient, StateBlocks { first, second, average });
    }
}

impl<T: Scalar> Numbers<T> {
    /// Updates a block of weights.
    #[inline(always)]
    fn apply<S: Lanes>(self, s: S, w: &mut [Lane64<T>], gradient: &[Lane64<T>], state: StateBlocks<'_, T>) {
        let StateBlocks { first, second, average } = state;
        let (rate, b1, b2) = (T::vsplat(s, self.rate), T::vsplat(s, self.b1), T::vsplat(s, self.b2));
        let (c1, c2) = (T::vsplat(s, T::ONE - self.b1), T::vsplat(s, T::ONE - self.b2));
        let (epsilon, fresh) = (T::vsplat(s, self.epsilon), T::vsplat(s, self.fresh));
        let lanes = T::lanes::<S>();
        for k in 0..w.len() {
            for lane in (0..PANEL).step_by(lanes) {
                // SAFETY: a Lane64 holds PANEL values and `lane` is the start of a whole vector among them.
                unsafe {
                    let at = w[k].0.as_mut_ptr().add(lane);
                    let g = T::vload(s, gradient[k].0.as_ptr().add(lane));
                    let step = match self.rule {
                        Rule::Descent => g,
                        Rule::Nesterov { .. } => {
                            let v = first[k].0.as_mut_ptr().add(lane);
                            let velocity = T::vmul_add(s, b1, T::vload(s, v), g);
                            T::vstore(s, v, velocity);
                            T::vmul_add(s, b1, velocity, g)
                        }
                        Rule::Adam { .. } => {
                            let (m, v) = (first[k].0.as_mut_ptr().add(lane), second[k].0.as_mut_ptr().add(lane));
                            let mean = T::vmul_add(s, b1, T::vload(s, m), T::vmul(s, c1, g));
                            let square = T::vmul_add(s, b2, T::vload(s, v), T::vmul(s, T::vmul(s, c2, g), g));
                            T::vstore(s, m, mean);
                            T::vstore(s, v, square);
                            T::vdiv(s, mean, T::vadd(s, T::vsqrt(s, square), epsilon))
                        }
                    };
                    let moved = T::vsub(s, T::vload(s, at), T::vmul(s, rate, step));
                    T::vstore(s, at, moved);
                    if let Some(average) = average.get_mut(k) {
                        let at = average.0.as_mut_ptr().add(lane);
                        let old = T::vload(s, at);
                        T::vstore(s, at, T::vmul_add(s, fresh, T::vsub(s, moved, old), old));
                    }
                }
            }
        }
    }
}

/// [`Error::Setting`] unless the rate is a finite number.
pub(super) fn check_step(step: Step) -> Result<()> {
    let Step { rate, decay } = step;
    if !rate.is_finite() || rate < 0.0 {
        let value = rate.to_string();
        return Err(Error::Setting { name: "the step size", value, requirement: "it must be finite and not negative" });
    }
    if !(0.0..=1.0).contains(&decay) {
        let value = decay.to_string();
        return Err(Error::Setting { name: "the averaging decay", value, requirement: "it must lie between 0 and 1" });
    }
    Ok(())
}
