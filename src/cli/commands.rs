//! What `ntk-score` can be asked for, and what it answers with.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use super::{
    Failure, Outcome, arguments, demo, dimension, evaluate, fit, impute, info, kernel, sample, signals, verify,
};

/// Score models by two-layer networks and neural tangent kernels: fit a table, generate a table, see how good it is
#[derive(Debug, Parser)]
#[command(
    version,
    after_help = "The environment variable NTK_SCORE_SIMD forces a SIMD level: scalar, v3, v4, neon or auto."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Demo(demo::DemoArgs),
    Fit(fit::FitArgs),
    Sample(sample::SampleArgs),
    Impute(impute::ImputeArgs),
    Evaluate(evaluate::EvaluateArgs),
    Verify(verify::VerifyArgs),
    Dimension(dimension::DimensionArgs),
    Kernel(kernel::KernelArgs),
    Info(info::InfoArgs),
}

/// Does what the arguments of this program ask for; returns its exit code: 0, or another with one sentence on standard
/// error, which is 2 for what cannot be done, 3 for a model without training, and 128 and the signal's number for a program that was
/// interrupted.
pub fn main() -> ExitCode {
    match arguments::parse().map_err(Failure::new).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.say(),
    }
}

fn run(arguments: Arguments) -> Outcome {
    // A level that is not there is said before anything is done.
    crate::simd::Level::from_env()?;
    signals::watch()?;
    match arguments.command {
        Command::Demo(args) => demo::run(args),
        Command::Fit(args) => fit::run(args),
        Command::Sample(args) => sample::run(args),
        Command::Impute(args) => impute::run(args),
        Command::Evaluate(args) => evaluate::run(args),
        Command::Verify(args) => verify::run(args),
        Command::Dimension(args) => dimension::run(args),
        Command::Kernel(args) => kernel::run(args),
        Command::Info(args) => info::run(args),
    }
}
