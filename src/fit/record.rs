//! What a fit did: what it says on the way, and what is stored with the model.

use super::settings::{Preset, Stopping};

/// Where a fit stands.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Progress {
    /// Share of the work that is done, in [0, 1].
    pub share: f64,
    /// Iterations made, over all networks.
    pub iteration: usize,
    /// Half the mean squared error of numbers, in units of the base denoiser's residual; smoothed.
    pub squared: f64,
    /// Mean cross-entropy of categories in nats; smoothed. Zero without categories or with identity links.
    pub entropy: f64,
}

/// Why training ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "model-file", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
pub enum Ended {
    /// All iterations were made.
    Iterations,
    /// The time was used.
    Budget,
    /// The stopping rule applied.
    Rule,
    /// Half as many iterations had predicted the rows held out better.
    HoldOut,
    /// The observer ended it.
    Cancelled,
}

impl Ended {
    /// For people.
    pub fn in_words(self) -> &'static str {
        match self {
            Ended::Iterations => "all iterations were made",
            Ended::Budget => "the time budget was used",
            Ended::Rule => "the stopping rule applied",
            Ended::HoldOut => "half as many iterations had predicted the rows held out better",
            Ended::Cancelled => "it was cancelled",
        }
    }
}

/// What a fit did: stored with the model.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "model-file", derive(serde::Serialize, serde::Deserialize))]
pub struct Record {
    /// Rows of the training table.
    pub rows: usize,
    /// The way of fitting.
    pub preset: Preset,
    /// Iterations made, over all networks.
    pub iterations: usize,
    /// Seed.
    pub seed: u64,
    /// Last smoothed losses: squared error and cross-entropy, as in [`Progress`].
    pub losses: [f64; 2],
    /// The same on the rows held out, with the base alone and after each network; empty if none were.
    pub held_out_losses: Vec<[f64; 2]>,
    /// Why training of the last network ended.
    pub ended: Ended,
    /// How it was stopped.
    pub stop: StopRecord,
}

/// How the last network's training was stopped.
#[derive(Debug, Clone, PartialEq)]
#[cfg_attr(feature = "model-file", derive(serde::Serialize, serde::Deserialize))]
pub struct StopRecord {
    /// What could have ended training.
    pub rule: Stopping,
    /// The iteration whose weights the network has.
    pub iteration: usize,
    /// Effective time until then: the sum of the steps on the mean loss, over 1 - momentum; none with Adam.
    pub effective_time: Option<f64>,
    /// Scale of the label noise, estimated; of a rule only.
    pub noise: Option<f64>,
    /// The critical radius; of a rule only.
    pub critical_radius: Option<f64>,
    /// Rows held out.
    pub held_out: usize,
    /// Radius of the domain that the regression was restricted to, where it was.
    pub radius: Option<f64>,
    /// Samples outside the domain, which were dropped.
    pub dropped: usize,
}
