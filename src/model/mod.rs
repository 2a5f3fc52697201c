//! The score model of a table's rows: base denoiser, links, network, and their training on noisy rows.

pub mod preconditioner;
pub mod score_model;
pub mod training;
