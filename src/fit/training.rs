//! The one loop of training: something that steps, watched by what may stop it.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::record::{Ended, Progress};
use super::watch::{HeldState, HeldWatch, RuleWatch};
use crate::Result;
use crate::model::training::RunState;
use crate::network::{Network, TrainerState};

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
    /// Everything the next steps depend on.
    fn state(&self) -> StepsState;
    /// Takes up the state of the same steps.
    fn restore(&mut self, state: StepsState) -> Result<()>;
}

/// The state of what steps: of batches that are drawn, or of a fixed set.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "model-file", derive(serde::Serialize, serde::Deserialize))]
pub(super) enum StepsState {
    Batches(RunState),
    FixedSet(TrainerState<f32>),
}

/// How long one network trains.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "model-file", derive(serde::Serialize, serde::Deserialize))]
pub(super) enum Span {
    Iterations(usize),
    Time(Duration),
}

impl Span {
    /// The share that is over after `steps` steps and this time, and why training ends if it does.
    fn over(self, steps: usize, used: Duration) -> (f64, Option<Ended>) {
        match self {
            Span::Iterations(all) if steps >= all => (1.0, Some(Ended::Iterations)),
            Span::Iterations(all) => (steps as f64 / all as f64, None),
            Span::Time(length) => {
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

/// Where the loop stands between two steps.
#[derive(Debug, Clone, Copy, PartialEq)]
#[cfg_attr(feature = "model-file", derive(serde::Serialize, serde::Deserialize))]
struct Position {
    span: Span,
    used: Duration,
    made: usize,
    time: Option<f64>,
    losses: [f64; 2],
}

impl Position {
    /// The share that is over, and why training ends if it does.
    fn over(&self, watches: &Watches) -> (f64, Option<Ended>) {
        match &watches.held {
            Some(held) if held.exceeded(self.made) => (1.0, Some(Ended::HoldOut)),
            _ => self.span.over(self.made, self.used),
        }
    }
}

/// A training between two steps: what it needs to go on, in plain data.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "model-file", derive(serde::Serialize, serde::Deserialize))]
pub(super) struct Going {
    position: Position,
    noise: Option<f64>,
    held: Option<HeldState>,
    steps: StepsState,
}

impl Going {
    fn of(position: Position, watches: &Watches, steps: &dyn Steps) -> Self {
        let noise = watches.rule.as_ref().map(|rule| rule.noise);
        Self { position, noise, held: watches.held.as_ref().map(HeldWatch::state), steps: steps.state() }
    }

    /// Puts everything back; returns where the loop stands.
    fn restore(self, watches: &mut Watches, steps: &mut dyn Steps) -> Result<Position> {
        steps.restore(self.steps)?;
        if let (Some(rule), Some(noise)) = (&mut watches.rule, self.noise) {
            rule.noise = noise;
        }
        watches.held = self.held.map(|held| HeldWatch::from_state(held, &steps.network())).transpose()?;
        Ok(self.position)
    }
}

/// What came of training.
pub(super) struct Trained {
    pub network: Network<f32>,
    pub ended: Ended,
    /// Steps made.
    pub steps: usize,
    /// Time that they took.
    pub used: Duration,
    /// The step whose weights the network has.
    pub iteration: usize,
    /// Effective time until that step, if the optimizer has one; of an earlier step than the last it is not kept.
    pub time: Option<f64>,
    pub losses: [f64; 2],
}

/// Sees the progress of training, and takes its state where it wants to keep it.
type Look<'a> = &'a mut dyn FnMut(&Progress, &dyn Fn() -> Going) -> Result<ControlFlow<()>>;

/// Trains until `span` is over, a watch stops, or `observe` breaks; goes on where `from` stood, if it is given.
pub(super) fn train(
    steps: &mut dyn Steps,
    span: Span,
    watches: &mut Watches,
    from: Option<Going>,
    observe: Look<'_>,
) -> Result<Trained> {
    let mut at = match from {
        Some(going) => going.restore(watches, steps)?,
        None => {
            let time = steps.time_of_step(0.0).map(|_| 0.0);
            Position { span, used: Duration::ZERO, made: 0, time, losses: [0.0; 2] }
        }
    };
    let (begun, before) = (Instant::now(), at.used);
    let (mut share, mut over) = at.over(watches);
    let ended = loop {
        if let Some(ended) = over {
            break ended;
        }
        let next = at.time.zip(steps.time_of_step(share)).map(|(time, step)| time + step);
        let fresh = steps.step(share)?;
        // A running mean over the last hundred or so steps, of what there is at first.
        let weight = if watches.smooth { (1.0 / (at.made + 1) as f64).max(0.01) } else { 1.0 };
        at.losses.iter_mut().zip(fresh).for_each(|(smooth, fresh)| *smooth += weight * (fresh - *smooth));
        at.used = before + begun.elapsed();
        // The losses are those before the step, so the rule is asked about the weights before it.
        if let (Some(rule), Some(now), Some(next), true) = (&mut watches.rule, at.time, next, at.made > 0) {
            rule.noise = steps.noise(rule, now, at.losses[0]);
            if rule.exceeded(next) {
                let Position { used, made, time, losses, .. } = at;
                let network = steps.previous();
                return Ok(Trained {
                    network,
                    ended: Ended::Rule,
                    steps: made + 1,
                    used,
                    iteration: made,
                    time,
                    losses,
                });
            }
        }
        at.made += 1;
        at.time = next;
        if let Some(held) = watches.held.as_mut().filter(|held| held.due(at.made)) {
            let loss = steps.held_out_loss()?;
            held.tell(at.made, loss, || steps.network());
        }
        (share, over) = at.over(watches);
        let progress = Progress { share, iteration: at.made, squared: at.losses[0], entropy: at.losses[1] };
        if observe(&progress, &|| Going::of(at, watches, steps))?.is_break() {
            over = Some(Ended::Cancelled);
        }
    };
    let Position { used, made, time, losses, .. } = at;
    if let Some(held) = &mut watches.held
        && made > 0
    {
        let loss = steps.held_out_loss()?;
        held.tell(made, loss, || steps.network());
    }
    let best = watches.held.take().and_then(HeldWatch::best);
    let (iteration, network) = best.unwrap_or_else(|| (made, steps.network()));
    let time = time.filter(|_| iteration == made);
    Ok(Trained { network, ended, steps: made, used, iteration, time, losses })
}

/// By how much the largest eigenvalue of a network's kernel may exceed the limit kernel's, because the signs of two outputs
/// agree by chance on more than half of the neurons: the norm of a random matrix of signs' correlations.
pub(super) fn overlap(outputs: usize, neurons: usize) -> f64 {
    1.0 + 2.0 * (outputs as f64 / neurons as f64).sqrt() + outputs as f64 / neurons as f64
}
