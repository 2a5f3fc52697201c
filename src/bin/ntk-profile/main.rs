//! Runs one kernel at a chosen size, level and thread count, and sets its speed beside limits measured in the same run.
//!
//! A figure without its limit, its error and the state of the machine says little; so the peaks are measured before and after
//! the kernel with the same level and threads, the answer is checked against the plain reference, and processor time stands
//! beside elapsed time, which other work on the machine lengthens.

mod descent;
mod gram;
mod measure;
mod patterns;
mod report;
mod tangent;
mod work;

use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use ntk_score::kernels::Real;
use ntk_score::simd::Level;
use ntk_score::{Error, Result};

use report::Report;

/// The kernels that can be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Which {
    /// Analytic tangent kernel, N x N, both triangles written; limit: a streaming fill of the output
    Gram,
    /// Activation patterns, N x m bits; limit: the arithmetic at multiply-add peak, or reading two sets
    Patterns,
    /// Finite-width tangent kernel; limit: the bare and-popcount-add instructions (and a streaming fill after them, for all
    /// blocks), or the arithmetic at multiply-add peak
    Tangent,
    /// Gradient-descent step, forward and backward; limit: the arithmetic at multiply-add peak
    Descent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Precision {
    F32,
    F64,
}

/// Which part of a kernel's work to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Outputs, errors, and the update of the weights
    Step,
    /// Outputs and activation patterns
    Forward,
    /// Outputs only, as in prediction and sampling
    Predict,
    /// The gradient, into memory
    Gradient,
    /// Patterns: packing them from weights and samples
    Pack,
    /// Patterns: counting the flips between two sets
    Flips,
    /// Patterns: counting the flips of every sample
    FlipsBySample,
    /// Tangent: one block between two different outputs, timed beside a block of one output
    Block,
    /// Tangent: one block of one output, timed beside the fastest way of counting if another was asked for
    Same,
    /// Tangent: all blocks, dN x dN
    All,
    /// Tangent: product with the whole kernel without forming it
    Product,
}

/// The rule of the update in a gradient-descent step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RuleName {
    Descent,
    Nesterov,
    Adam,
}

/// Defaults of the options that not every kernel has.
const NEURONS: usize = 4096;
const OUTPUTS: usize = 24;
const COLUMNS: usize = 24;
const ROWS: usize = 8192;

/// Run one kernel and compare its speed with what this machine can do at most.
///
/// Peaks (multiply-adds, streaming stores, loads) are measured in the same run for the same level and threads. The answer
/// is checked against a plain reference in 64 bits, on a part of the rows where the whole would take too long.
#[derive(Debug, Clone, Parser)]
#[command(name = "ntk-profile", version, max_term_width = 110, after_help = EXAMPLES)]
struct Settings {
    /// The kernel to run
    #[arg(value_enum)]
    kernel: Which,
    /// Samples N
    #[arg(long, value_name = "N", default_value_t = 8192)]
    samples: usize,
    /// Features D of a sample (data and time)
    #[arg(long, value_name = "D", default_value_t = 25)]
    features: usize,
    /// Neurons m
    #[arg(long, value_name = "M", default_value_t = NEURONS)]
    neurons: usize,
    /// Outputs d
    #[arg(long, value_name = "d", default_value_t = OUTPUTS)]
    outputs: usize,
    /// Floating-point type
    #[arg(long, value_enum, default_value = "f32")]
    precision: Precision,
    /// SIMD level: scalar, v3 (AVX2), v4 (AVX-512), neon or auto [default: NTK_SCORE_SIMD, or the highest there is]
    #[arg(long, value_name = "L")]
    level: Option<String>,
    /// Threads
    #[arg(long, value_name = "T", default_value_t = 1)]
    threads: usize,
    /// Time to spend on repeats of the kernel; the best one counts
    #[arg(long, value_name = "S", default_value_t = 2.0)]
    seconds: f64,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
    /// Part of the kernel's work: step, forward, predict, gradient (descent); pack, flips, flips-by-sample (patterns); block,
    /// same, all, product (tangent) [default: the first]
    #[arg(
        long,
        value_enum,
        hide_possible_values = true,
        hide_default_value = true,
        default_value = "step",
        default_value_ifs = [("kernel", "patterns", "pack"), ("kernel", "tangent", "block")]
    )]
    part: Part,
    /// Rule of the update (descent only)
    #[arg(long, value_enum, default_value = "descent")]
    rule: RuleName,
    /// Keep a running average of the weights (descent only)
    #[arg(long)]
    average: bool,
    /// A table of shapes instead of one: outputs 1 to 93, neurons 256 to 16384, samples 64 to 27000; --seconds is for each
    /// (descent only)
    #[arg(long, conflicts_with_all = ["samples", "features", "neurons", "outputs"])]
    sweep: bool,
    /// What of the analytic kernel to compute (gram only)
    #[arg(long, value_enum, default_value = "whole")]
    form: gram::Form,
    /// Columns c of the matrix that the analytic kernel is applied to (gram only, forms product and product-rows)
    #[arg(long, value_name = "c", default_value_t = COLUMNS)]
    columns: usize,
    /// Rows computed in the form product-rows, from the middle on (gram only)
    #[arg(long, value_name = "R", default_value_t = ROWS)]
    rows: usize,
    /// Memory of the output (gram only); always touched before the clock starts
    #[arg(long, value_enum, default_value = "usual")]
    pages: gram::Pages,
}

impl Settings {
    fn kernel_name(&self) -> String {
        name_of(self.kernel)
    }

    /// What else was chosen that changes the work.
    fn variant(&self) -> Vec<(&'static str, String)> {
        match (self.kernel, self.part) {
            (Which::Descent, Part::Step) => vec![
                ("part", name_of(self.part)),
                ("rule", name_of(self.rule)),
                ("average", if self.average { "kept" } else { "none" }.to_owned()),
            ],
            (Which::Gram, _) => self.gram_variant(),
            _ => vec![("part", name_of(self.part))],
        }
    }
}

impl Settings {
    fn gram_variant(&self) -> Vec<(&'static str, String)> {
        let mut variant = vec![("form", name_of(self.form))];
        match self.form {
            gram::Form::Product => variant.push(("columns", self.columns.to_string())),
            gram::Form::ProductRows => {
                variant.push(("columns", self.columns.to_string()));
                variant.push(("rows", self.rows.min(self.samples).to_string()));
            }
            _ => variant.push(("pages", format!("{}, touched", name_of(self.pages)))),
        }
        variant
    }
}

/// The name a value has on the command line.
fn name_of(value: impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |v| v.get_name().to_owned())
}

const EXAMPLES: &str = "\
Examples:
  ntk-profile descent                              one step at N = 8192, D = 25, m = 4096, d = 24
  ntk-profile descent --rule adam --average --samples 1024 --features 188 --outputs 93 --threads 2
  ntk-profile descent --sweep --seconds 0.2        the same at 108 shapes, a line for each
  ntk-profile gram --precision f64 --level v3      the kernel matrix in 64 bits on AVX2
  ntk-profile gram --form product --columns 24     the kernel times a matrix, without forming it
  ntk-profile tangent --json --seconds 5           one JSON object, five seconds of repeats
  ntk-profile tangent --part same --level v3       one block by AVX2, beside the fastest way of counting
  ntk-profile tangent --part all --samples 512     all blocks
  ntk-profile patterns --part flips --samples 262144   flips between two sets larger than the caches

JSON keys: kernel, level, threads, precision, shape (samples, features, neurons, outputs), wall_ms and cpu_ms (of the
fastest repeat), gflops, bytes (least traffic to and from memory), fma_peak_gflops, write_gb_s, read_gb_s, limit_ms,
fraction_of_limit (limit_ms / wall_ms), max_error (against the reference, relative to its largest entry), repeats;
for patterns, tangent and descent also part, for descent rule and average; for gram form, and columns and rows or pages;
where another computation was timed in turn with the kernel, beside (its name), beside_ms, beside_cpu_ms, and times_beside
(cpu_ms / beside_cpu_ms).";

fn main() -> ExitCode {
    let outcome = ntk_score::cli::arguments::parse::<Settings>().and_then(|settings| {
        let done = match settings.precision {
            Precision::F32 => run::<f32>(&settings),
            Precision::F64 => run::<f64>(&settings),
        };
        done.map_err(|e| e.to_string())
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("error: {sentence}");
            ExitCode::from(2)
        }
    }
}

fn run<T: Real>(settings: &Settings) -> Result<()> {
    let level = match &settings.level {
        Some(name) => name.parse()?,
        None => Level::from_env()?,
    };
    check(settings)?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(settings.threads).build();
    let pool = pool.map_err(|_| setting("--threads", settings.threads, "this system cannot start as many threads"))?;
    if settings.sweep {
        let show = |report: &Report| print!("{}", if settings.json { report.json() } else { report.line() });
        return pool.install(|| descent::sweep::<T>(settings, level, show));
    }
    work::check_memory::<T>(settings)?;
    pool.install(|| {
        let mut work = work::prepare::<T>(settings, level)?;
        let peaks = || measure::peaks::<T>(level, settings.threads, settings.kernel == Which::Tangent);
        let before = peaks();
        let duration = Duration::from_secs_f64(settings.seconds);
        let beside = work::prepare_beside::<T>(settings, level)?;
        let (time, beside) = match beside {
            None => (measure::repeat(duration, &mut work.run)?, None),
            Some((name, mut other)) => {
                let (time, other) = measure::alternate(duration, &mut work.run, &mut other)?;
                (time, Some((name, other)))
            }
        };
        let peaks = before.best_with(peaks());
        let report = Report::new::<T>(settings, level, &work, time, peaks).with_beside(beside);
        print!("{}", if settings.json { report.json() } else { report.table() });
        Ok(())
    })
}

fn check(settings: &Settings) -> Result<()> {
    let kernel = match settings.part {
        Part::Step | Part::Forward | Part::Predict | Part::Gradient => Which::Descent,
        Part::Pack | Part::Flips | Part::FlipsBySample => Which::Patterns,
        Part::Block | Part::Same | Part::All | Part::Product => Which::Tangent,
    };
    let is_gram = settings.kernel == Which::Gram;
    if kernel != settings.kernel && !(is_gram && settings.part == Part::Step) {
        return Err(setting("--part", name_of(settings.part), "it is not a part of this kernel's work"));
    }
    // What is left at its default says nothing, whether it was given or not.
    let has_outputs = matches!(settings.kernel, Which::Descent | Which::Tangent);
    let is_descent = settings.kernel == Which::Descent;
    for (name, chosen, belongs, requirement) in [
        ("--neurons", settings.neurons != NEURONS, !is_gram, "the kernel gram has no neurons"),
        ("--outputs", settings.outputs != OUTPUTS, has_outputs, "only the kernels descent and tangent have outputs"),
        ("--rule", settings.rule != RuleName::Descent, is_descent, "only the kernel descent has it"),
        ("--average", settings.average, is_descent, "only the kernel descent has it"),
        ("--sweep", settings.sweep, is_descent, "only the kernel descent has a table of shapes"),
        ("--form", settings.form != gram::Form::Whole, is_gram, "only the kernel gram has forms"),
        ("--columns", settings.columns != COLUMNS, is_gram, "only the kernel gram has it"),
        ("--rows", settings.rows != ROWS, is_gram, "only the kernel gram has it"),
        ("--pages", settings.pages != gram::Pages::Usual, is_gram, "only the kernel gram has it"),
    ] {
        if chosen && !belongs {
            return Err(setting(name, "given", requirement));
        }
    }
    for (name, value, most) in [
        ("--samples", settings.samples, 1 << 32),
        ("--features", settings.features, 1 << 20),
        ("--neurons", settings.neurons, 1 << 32),
        ("--outputs", settings.outputs, 1 << 20),
        ("--columns", settings.columns, 1 << 20),
        ("--rows", settings.rows, 1 << 32),
        ("--threads", settings.threads, 1024),
    ] {
        if value == 0 {
            return Err(setting(name, value, "it must be at least 1"));
        }
        if value > most {
            return Err(setting(name, value, "that is more than this program is made for"));
        }
    }
    if !(settings.seconds.is_finite() && (0.0..=86_400.0).contains(&settings.seconds)) {
        return Err(setting("--seconds", settings.seconds, "it must lie between 0 and 86400"));
    }
    Ok(())
}

fn setting(name: &'static str, value: impl ToString, requirement: &'static str) -> Error {
    Error::Setting { name, value: value.to_string(), requirement }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_other_kernels_are_refused_by_name() {
        let checked =
            |arguments: &str| check(&Settings::parse_from(["ntk-profile"].into_iter().chain(arguments.split(' '))));
        for fine in [
            "gram --form product --columns 3 --rows 5 --pages huge",
            "tangent --outputs 3 --neurons 5 --part all",
            "descent --rule adam --average --part step",
            "patterns --neurons 9 --part flips",
        ] {
            checked(fine).unwrap();
        }
        for (arguments, name) in [
            ("gram --neurons 5", "--neurons"),
            ("gram --part pack", "--part"),
            ("patterns --outputs 3", "--outputs"),
            ("tangent --rule adam", "--rule"),
            ("patterns --average", "--average"),
            ("gram --sweep", "--sweep"),
            ("descent --form lower", "--form"),
            ("tangent --columns 3", "--columns"),
            ("patterns --rows 3", "--rows"),
            ("descent --pages huge", "--pages"),
        ] {
            let found = checked(arguments).unwrap_err();
            assert!(matches!(found, Error::Setting { name: found, .. } if found == name), "{arguments}: {found}");
        }
    }
}
