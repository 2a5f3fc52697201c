//! The two-layer ReLU network, its training by gradient descent, and its linearisation at the start of training.

#[cfg(feature = "cli")]
pub(crate) mod linearised;
#[allow(clippy::module_inception)]
mod network;
mod trainer;

pub use network::Network;
pub(crate) use network::{ALWAYS, SparseStart};
pub(crate) use trainer::TrainerState;
pub use trainer::{Trainer, least_squares};
