//! What stops training by itself: the rule of early stopping, or rows that were held out.
//!
//! The rule speaks of gradient descent with constant steps `s` on the mean loss. What decides is the effective time, the sum of
//! the steps; a batch counts like all rows, whose mean loss it estimates.

use rand::seq::SliceRandom;

use crate::model::training::Run;
use crate::network::Network;
use crate::random::{Purpose, stream};
use crate::regression::early_stopping::StoppingRule;
use crate::regression::operator::MatrixFree;
use crate::regression::quadrature::Quadrature;
use crate::regression::spectrum::Spectrum;
use crate::{Error, Result};

/// The rule, watching a training run by its effective time.
pub(super) struct RuleWatch {
    rule: StoppingRule,
    pub spectrum: Spectrum,
    /// Scale of the noise when last asked.
    pub noise: f64,
}

impl RuleWatch {
    pub fn new(rule: StoppingRule, spectrum: Spectrum) -> Self {
        Self { rule, spectrum, noise: f64::NAN }
    }

    /// Whether the next step, ending at effective time `next`, is one too many.
    pub fn exceeded(&self, next: f64) -> bool {
        self.noise > 0.0 && self.rule.crossing(&self.spectrum, next, 0, self.noise).exceeded()
    }

    pub fn critical_radius(&self) -> f64 {
        self.spectrum.critical_radius(self.rule.constant, self.noise)
    }
}

/// Rows that the spectrum of a kernel is estimated from where new ones are drawn for every batch.
const SPECTRUM_ROWS: usize = 4096;

/// The spectrum of K/N for as many samples as the table has rows, from a few batches of a run.
pub(super) fn spectrum_of_run(run: &mut Run<'_>, rows: usize, seed: u64, par: faer::Par) -> Result<Spectrum> {
    let mut features = run.draw_features()?;
    while features.nrows() < SPECTRUM_ROWS.min(rows) {
        let more = run.draw_features()?;
        let (n, columns) = (features.nrows(), features.ncols());
        features.resize_with(n + more.nrows(), columns, |j, k| more[(j - n, k)]);
    }
    let drawn = features.nrows().min(rows);
    let mut operator = MatrixFree::new(features.subrows(0, drawn), par)?;
    let few = Quadrature { seed, par, ..Quadrature::SHORT }.run(&mut operator)?.spectrum()?;
    // The eigenvalues of K/N approach those of the integral operator; what a sample cannot show of them is next to nothing.
    let mut nodes: Vec<(f64, f64)> = few.values().iter().copied().zip(few.weights().iter().copied()).collect();
    nodes.push((0.0, (rows - drawn) as f64));
    Spectrum::from_nodes(nodes, rows)
}

/// The share of rows that is held out, and how many at most.
const HELD_OUT: f64 = 0.1;
const MOST_HELD_OUT: usize = 2048;
/// Iterations before which hold-out does not stop: about as many as the first rise of the step size takes.
const AT_LEAST: usize = 300;
/// The first iteration after which the held-out rows are asked: a look costs as much as a few steps.
const FIRST_LOOK: usize = 20;

/// Cuts `rows` rows into those to train on and those to hold out, each rising.
///
/// # Errors
/// [`Error::Table`] if there are too few to hold any out.
pub(super) fn hold_out(rows: usize, seed: u64) -> Result<[Vec<usize>; 2]> {
    let held = ((HELD_OUT * rows as f64).round() as usize).min(MOST_HELD_OUT);
    if held < 1 || held == rows {
        return Err(Error::Table(format!("{rows} rows are too few to hold some out; stop in another way")));
    }
    let mut order: Vec<usize> = (0..rows).collect();
    order.shuffle(&mut stream(seed, Purpose::HoldOut));
    let mut parts = [order.split_off(held), order];
    parts.iter_mut().for_each(|part| part.sort_unstable());
    Ok(parts)
}

/// Hold-out, watching a training run: the best network so far, when it was looked at last, and when to look again.
pub(super) struct HeldWatch {
    looked: usize,
    next: usize,
    best: Option<(usize, f64, Network<f32>)>,
}

/// The same in plain data: weights in the order of memory.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "model-file", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct HeldState {
    looked: usize,
    next: usize,
    best: Option<(usize, f64, Vec<f32>)>,
}

impl HeldWatch {
    pub fn new() -> Self {
        Self { looked: 0, next: FIRST_LOOK, best: None }
    }

    pub fn state(&self) -> HeldState {
        let best = self.best.as_ref().map(|(at, loss, network)| (*at, *loss, network.w().values().to_vec()));
        HeldState { looked: self.looked, next: self.next, best }
    }

    /// The watch in this state; `network` is one of those it compares.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] if the state is of a network of another size.
    pub fn from_state(state: HeldState, network: &Network<f32>) -> Result<Self> {
        let best = match state.best {
            Some((at, loss, weights)) => Some((at, loss, network.clone().with_values(&weights)?)),
            None => None,
        };
        Ok(Self { looked: state.looked, next: state.next, best })
    }

    /// Whether it is time to look.
    pub fn due(&self, iteration: usize) -> bool {
        iteration >= self.next
    }

    /// Notes the loss on the held-out rows.
    pub fn tell(&mut self, iteration: usize, loss: f64, network: impl FnOnce() -> Network<f32>) {
        self.looked = iteration;
        self.next = iteration + (iteration / 8).max(1);
        if self.best.as_ref().is_none_or(|best| loss < best.1) {
            self.best = Some((iteration, loss, network()));
        }
    }

    /// Whether to stop after this iteration.
    pub fn exceeded(&self, iteration: usize) -> bool {
        let best = self.best.as_ref().map_or(iteration, |best| best.0);
        self.looked == iteration && iteration >= AT_LEAST && iteration >= 2 * best
    }

    /// Iteration and network that were best.
    pub fn best(self) -> Option<(usize, Network<f32>)> {
        self.best.map(|(iteration, _, network)| (iteration, network))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hold_out_keeps_the_best_and_stops_at_twice_its_iteration() {
        let network = |seed| Network::<f32>::symmetric(2, 1, 2, seed).unwrap();
        let mut watch = HeldWatch::new();
        let mut stopped = None;
        for iteration in 1..2000 {
            if watch.due(iteration) {
                let loss = (iteration as f64 - 370.0).abs();
                watch.tell(iteration, loss, || network(iteration as u64));
                if watch.exceeded(iteration) {
                    stopped = Some(iteration);
                    break;
                }
            }
        }
        let (best, kept) = watch.best().unwrap();
        assert!(best.abs_diff(370) <= 20, "{best}");
        assert_eq!(kept, network(best as u64));
        assert!(stopped.is_some_and(|at| (2 * best..=2 * best + 80).contains(&at)), "{stopped:?}");
    }

    #[test]
    fn rows_are_held_out_once() {
        let [train, held] = hold_out(57, 3).unwrap();
        assert_eq!((train.len(), held.len()), (51, 6));
        let mut all = [train.clone(), held].concat();
        all.sort_unstable();
        assert!(all.into_iter().eq(0..57) && train.is_sorted());
        assert_ne!(hold_out(57, 4).unwrap()[0], train);
        assert!(matches!(hold_out(4, 0), Err(Error::Table(_))));
    }
}
