//! `ntk-score`: fit a score model to a table, generate a table from it, see how good it is.

mod cli;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use cli::{Failure, Outcome, arguments};

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
    Demo(cli::demo::DemoArgs),
    Fit(cli::fit::FitArgs),
    Sample(cli::sample::SampleArgs),
    Evaluate(cli::evaluate::EvaluateArgs),
    Verify(cli::verify::VerifyArgs),
    Kernel(cli::kernel::KernelArgs),
    Info(cli::info::InfoArgs),
}

fn main() -> ExitCode {
    match arguments::parse().map_err(Failure::new).and_then(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            cli::remark(format_args!("error: {failure}"));
            ExitCode::from(2)
        }
    }
}

fn run(arguments: Arguments) -> Outcome {
    // A level that is not there is said before anything is done.
    ntk_score::simd::Level::from_env()?;
    match arguments.command {
        Command::Demo(args) => cli::demo::run(args),
        Command::Fit(args) => cli::fit::run(args),
        Command::Sample(args) => cli::sample::run(args),
        Command::Evaluate(args) => cli::evaluate::run(args),
        Command::Verify(args) => cli::verify::run(args),
        Command::Kernel(args) => cli::kernel::run(args),
        Command::Info(args) => cli::info::run(args),
    }
}
