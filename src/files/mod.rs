//! Files in and out: CSV tables, matrices. Only with the feature `cli`.
//!
//! The edge of the house: beside the command line, the only place that opens files. What is written is complete or not there
//! at all: it goes to a temporary file in the same folder first, which then takes the name.

pub mod csv;
mod dialect;
pub mod input;
pub mod matrix;
pub mod output;
pub mod schema;
