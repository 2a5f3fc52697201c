//! One module per subject; `cli` runs the program from the outside.

mod allocation;
mod checkpoints;
#[cfg(feature = "cli")]
mod cli;
mod codec;
mod early_stopping;
#[cfg(feature = "cli")]
mod given;
mod gradient_descent;
mod gram_properties;
mod house;
mod kernel_regression;
mod metrics;
mod mixture;
#[cfg(feature = "model-file")]
mod model_files;
mod planted;
mod quadrature;
#[cfg(feature = "cli")]
mod table_cases;
#[cfg(target_arch = "x86_64")]
mod vector_state;
mod watch;
