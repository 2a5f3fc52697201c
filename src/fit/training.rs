//! The one loop of training: something that steps, watched by what may stop it.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::record::{Ended, Progress};
use super::watch::{HeldWatch, RuleWatch};
use crate::Result;
use crate::network::Network;

/// A network in training, as the loop sees it.
pub(super) trait Steps {
    /// One step when `share` of the run is over. Returns the losses before it, per row and column of their kind.
    fn step(&mut self, share: f64) -> Result<[f64; 2]>;
    /// Effective time that the next step adds, when `share` of the run is over; none if the optimizer has none.
    fn time_of_step(&self, share: f64) -> Option<f64>;
    /// Scale of the label noise at effective time `time`, where the loss is `loss`.
    fn noise(&self, watch: &RuleWatch, time: f64, loss: f64) -> f64;
    /// Loss on the rows held out.
    fn held_out_loss(&mut self) -> Result<f64>;
    /// The network as it stands, and as it was before the latest step.
    fn network(&self) -> Network<f32>;
    /// The network before the latest step.
    fn previous(&self) -> Network<f32>;
}

/// How long one network trains.
#[derive(Debug, Clone, Copy)]
pub(super) enum Span {
    Iterations(usize),
    Time { begun: Instant, length: Duration },
}

impl Span {
    /// The share that is over after `steps` steps, and why training ends if it does.
    fn over(self, steps: usize) -> (f64, Option<Ended>) {
        match self {
            Span::Iterations(all) if steps >= all => (1.0, Some(Ended::Iterations)),
            Span::Iterations(all) => (steps as f64 / all as f64, None),
            Span::Time { begun, length } => {
                let used = begun.elapsed();
                let share = used.as_secs_f64() / length.as_secs_f64().max(1e-9);
                (share.min(1.0), (used >= length).then_some(Ended::Budget))
            }
        }
    }
}

/// What may stop training early.
pub(super) struct Watches {
    pub rule: Option<RuleWatch>,
    pub held: Option<HeldWatch>,
    /// Whether losses are of rows that the weights have not seen, and so are averaged over the latest steps.
    pub smooth: bool,
}

/// What came of training.
pub(super) struct Trained {
    pub network: Network<f32>,
    pub ended: Ended,
    /// Steps made.
    pub steps: usize,
    /// The step whose weights the network has.
    pub iteration: usize,
    /// Effective time until that step, if the optimizer has one; of an earlier step than the last it is not kept.
    pub time: Option<f64>,
    pub losses: [f64; 2],
}

/// Trains until `span` is over, a watch stops, or `observe` breaks.
pub(super) fn train(
    steps: &mut dyn Steps,
    span: Span,
    watches: &mut Watches,
    observe: &mut dyn FnMut(&Progress) -> ControlFlow<()>,
) -> Result<Trained> {
    let mut made = 0;
    let mut time = steps.time_of_step(0.0).map(|_| 0.0);
    let mut losses = [0.0; 2];
    let ended = loop {
        let (share, over) = span.over(made);
        if let Some(ended) = over {
            break ended;
        }
        let next = time.zip(steps.time_of_step(share)).map(|(time, step)| time + step);
        let fresh = steps.step(share)?;
        // A running mean over the last hundred or so steps, of what there is at first.
        let weight = if watches.smooth { (1.0 / (made + 1) as f64).max(0.01) } else { 1.0 };
        losses.iter_mut().zip(fresh).for_each(|(smooth, fresh)| *smooth += weight * (fresh - *smooth));
        // The losses are those before the step, so the rule is asked about the weights before it.
        if let (Some(rule), Some(now), Some(next), true) = (&mut watches.rule, time, next, made > 0) {
            rule.noise = steps.noise(rule, now, losses[0]);
            if rule.exceeded(next) {
                let network = steps.previous();
                return Ok(Trained { network, ended: Ended::Rule, steps: made + 1, iteration: made, time, losses });
            }
        }
        made += 1;
        time = next;
        let progress = Progress { share, iteration: made, squared: losses[0], entropy: losses[1] };
        if observe(&progress).is_break() {
            break Ended::Cancelled;
        }
        if let Some(held) = watches.held.as_mut().filter(|held| held.due(made)) {
            let loss = steps.held_out_loss()?;
            if held.tell(made, loss, || steps.network()) {
                break Ended::HoldOut;
            }
        }
    };
    if let Some(held) = &mut watches.held
        && made > 0
    {
        let loss = steps.held_out_loss()?;
        held.tell(made, loss, || steps.network());
    }
    let best = watches.held.take().and_then(HeldWatch::best);
    let (iteration, network) = best.unwrap_or_else(|| (made, steps.network()));
    let time = time.filter(|_| iteration == made);
    Ok(Trained { network, ended, steps: made, iteration, time, losses })
}

/// By how much the largest eigenvalue of a network's kernel may exceed the limit kernel's, because the signs of two outputs
/// agree by chance on more than half of the neurons: the norm of a random matrix of signs' correlations.
pub(super) fn overlap(outputs: usize, neurons: usize) -> f64 {
    1.0 + 2.0 * (outputs as f64 / neurons as f64).sqrt() + outputs as f64 / neurons as f64
}
