//! What a fit can be told.

use std::time::Duration;

use faer::Par;

use crate::kernels::descent::Rule;
use crate::model::times::{Recoverable, TimeDensity};
use crate::regression::early_stopping::{Noise, StoppingRule};
use crate::table::{self, schema::SchemaOptions};
use crate::{Error, Result};

/// A whole way of fitting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "model-file", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "lowercase"))]
pub enum Preset {
    /// Whatever makes the best tables: relations between columns, a mixture under the networks, softmax links, fresh noise in
    /// every batch, Adam, averaged weights.
    Best,
    /// The theory's training of what the best linear denoiser leaves: identity links, the dense start of the NTK, gradient descent on
    /// fresh noise in every batch, stopped by the rule; relations, codec and sampler are those of [`Preset::Best`].
    Ntk,
    /// The system as HRX have it: zero base, identity links, full-batch gradient descent on a fixed regression set, stopped
    /// by the rule.
    Paper,
}

impl Preset {
    /// "best", "ntk" or "paper".
    pub fn name(self) -> &'static str {
        match self {
            Preset::Best => "best",
            Preset::Ntk => "ntk",
            Preset::Paper => "paper",
        }
    }
}

/// An optimizer by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OptimizerKind {
    /// Plain gradient descent.
    Descent,
    /// Nesterov's accelerated gradient, momentum 0.9.
    Nesterov,
    /// Adam with its authors' settings.
    Adam,
}

impl OptimizerKind {
    const MOMENTUM: f64 = 0.9;

    pub(super) fn rule(self) -> Rule {
        match self {
            OptimizerKind::Descent => Rule::Descent,
            OptimizerKind::Nesterov => Rule::Nesterov { momentum: Self::MOMENTUM },
            OptimizerKind::Adam => Rule::ADAM,
        }
    }

    /// How much effective time one step of this size is. Each step's gradient acts `1 / (1 - momentum)` times in all; Adam has no
    /// effective time, because its steps do not follow the size of the gradient.
    pub(super) fn effective(self, step: f64) -> Option<f64> {
        match self {
            OptimizerKind::Descent => Some(step),
            OptimizerKind::Nesterov => Some(step / (1.0 - Self::MOMENTUM)),
            OptimizerKind::Adam => None,
        }
    }
}

/// How long to train.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Length {
    /// At most this long, everything [`fit`](super::fit) does included; how far it gets depends on the machine.
    Budget(Duration),
    /// This many iterations; the same seed then gives the same bytes.
    Iterations(usize),
}

/// What ends training before its iterations or its time are used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "model-file", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "lowercase"))]
pub enum Stopping {
    /// The stopping rule with the constant of the theory, 2e.
    Theory,
    /// The stopping rule with constant 1, noise estimated on the way and the function's norm taken to be one.
    Sharp,
    /// Rows are held out; training stops after twice as many iterations as predicted them best, and the weights of that best
    /// iteration are kept.
    HoldOut,
    /// Nothing.
    None,
}

impl Stopping {
    /// What a preset does unless told otherwise.
    pub(super) fn default_of(preset: Preset, optimizer: OptimizerKind) -> Self {
        match preset {
            Preset::Ntk | Preset::Paper if optimizer != OptimizerKind::Adam => Stopping::Theory,
            Preset::Best | Preset::Ntk => Stopping::HoldOut,
            Preset::Paper => Stopping::None,
        }
    }

    /// "theory", "sharp", "holdout" or "none".
    pub fn name(self) -> &'static str {
        match self {
            Stopping::Theory => "theory",
            Stopping::Sharp => "sharp",
            Stopping::HoldOut => "holdout",
            Stopping::None => "none",
        }
    }

    /// The rule, if it is one.
    ///
    /// # Errors
    /// [`Error::Setting`] for an optimizer without effective time.
    pub(super) fn rule(self, optimizer: OptimizerKind) -> Result<Option<StoppingRule>> {
        let constant = match self {
            Stopping::Theory => StoppingRule::THEORY,
            Stopping::Sharp => StoppingRule::SHARP.constant,
            Stopping::HoldOut | Stopping::None => return Ok(None),
        };
        if optimizer == OptimizerKind::Adam {
            let requirement =
                "the rule needs gradient descent, plain or Nesterov's: take one of these, or stop by holdout";
            return Err(Error::Setting {
                name: "the optimizer under a stopping rule",
                value: "adam".into(),
                requirement,
            });
        }
        // Not relative to the function's norm, which takes iterations beyond the stop to estimate.
        Ok(Some(StoppingRule { constant, noise: Noise::Estimated }))
    }
}

/// How training draws diffusion times. The density of the times is also a weight of the loss: errors at times that are drawn often count
/// for more. Rows held out have even times under all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    /// Evenly over the log signal-to-noise ratio.
    Even,
    /// A quarter evenly, three quarters by a logistic law around where tables have most to learn.
    Fixed,
    /// A quarter evenly, three quarters in proportion to the error that training can still remove, times the root of the share of the
    /// clean row that the noisy one still tells; both are measured as training goes on, on rows held out if there are any. A
    /// stopping rule takes its spectrum from the times of the start, which are even.
    Recoverable,
}

impl Times {
    pub(super) fn density(self) -> TimeDensity {
        match self {
            Times::Even => TimeDensity::Even,
            Times::Fixed => TimeDensity::TABLES,
            Times::Recoverable => TimeDensity::Recoverable(Recoverable::new()),
        }
    }
}

/// Settings of [`fit`](super::fit): begin with [`FitSettings::new`] and change what should differ.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FitSettings {
    /// The way of fitting.
    pub preset: Preset,
    /// How the table's columns are read.
    pub schema: SchemaOptions,
    /// Rules between columns that every row of the table obeys, to be kept in what is generated.
    pub rules: Vec<table::Rule>,
    /// Neurons m of each network; even.
    pub width: usize,
    /// Networks, each reading what those before it made of a row, at most; [`Preset::Best`] only.
    pub stages: usize,
    /// The optimizer; the preset's own if there is none.
    pub optimizer: Option<OptimizerKind>,
    /// How long to train.
    pub length: Length,
    /// What ends training before that; the preset's own if there is none: [`Stopping::HoldOut`] for [`Preset::Best`],
    /// [`Stopping::Theory`] for the others unless the optimizer is Adam.
    pub stop: Option<Stopping>,
    /// Rows in a batch, except with [`Preset::Paper`].
    pub batch: usize,
    /// How diffusion times are drawn for batches, except with [`Preset::Paper`].
    pub times: Times,
    /// Noisy samples of each row in the regression set of [`Preset::Paper`], 1 or more. Draws of a row share its label, and with
    /// it the label's error: the stopping rule counts them as if they did not.
    pub draws: usize,
    /// Seed of everything that is drawn.
    pub seed: u64,
    /// How parallel to be; the result does not depend on it.
    pub par: Par,
}

impl FitSettings {
    /// What a preset uses unless told otherwise.
    pub fn new(preset: Preset, length: Length) -> Self {
        Self {
            preset,
            schema: SchemaOptions::default(),
            rules: Vec::new(),
            width: 4096,
            stages: 1,
            optimizer: None,
            length,
            stop: None,
            batch: 1024,
            times: Times::Fixed,
            draws: 1,
            seed: 0,
            par: Par::rayon(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn momentum_carries_steps_on_and_adam_has_no_time() {
        assert_eq!(OptimizerKind::Descent.effective(0.3), Some(0.3));
        assert!((OptimizerKind::Nesterov.effective(0.3).unwrap() - 3.0).abs() < 1e-12);
        assert_eq!(OptimizerKind::Adam.effective(0.3), None);
        assert!(Stopping::Sharp.rule(OptimizerKind::Adam).is_err());
        assert_eq!(Stopping::Theory.rule(OptimizerKind::Nesterov).unwrap().unwrap().constant, StoppingRule::THEORY);
        assert_eq!(Stopping::HoldOut.rule(OptimizerKind::Adam).unwrap(), None);
        assert_eq!(Stopping::default_of(Preset::Paper, OptimizerKind::Descent), Stopping::Theory);
        assert_eq!(Stopping::default_of(Preset::Best, OptimizerKind::Descent), Stopping::HoldOut);
    }
}
