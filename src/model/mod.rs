//! The score model of a table's rows: base denoiser, links, networks, and their training on noisy rows.

pub mod conditional;
pub mod contrast_search;
pub mod contrasts;
pub mod layout;
pub mod mixture;
mod noise_level;
mod parts;
pub mod preconditioner;
mod row_block;
pub mod score_model;
pub mod times;
pub mod training;
