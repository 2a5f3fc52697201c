//! What can be chosen on the command line.

use clap::{Parser, ValueEnum};

/// The kernels that can be run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Which {
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
pub enum Precision {
    F32,
    F64,
}

/// Which part of a kernel's work to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
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
pub enum RuleName {
    Descent,
    Nesterov,
    Adam,
}

/// Defaults of the options that not every kernel has.
pub const NEURONS: usize = 4096;
pub const OUTPUTS: usize = 24;
pub const COLUMNS: usize = 24;
pub const ROWS: usize = 8192;

/// Run one kernel and compare its speed with what this machine can do at most.
///
/// Peaks (multiply-adds, streaming stores, loads) are measured in the same run for the same level and threads. The answer
/// is checked against a plain reference in 64 bits, on a part of the rows where the whole would take too long.
#[derive(Debug, Clone, Parser)]
#[command(name = "ntk-profile", version, max_term_width = 110, after_help = EXAMPLES)]
pub struct Settings {
    /// The kernel to run
    #[arg(value_enum)]
    pub kernel: Which,
    /// Samples N
    #[arg(long, value_name = "N", default_value_t = 8192)]
    pub samples: usize,
    /// Features D of a sample (data and time)
    #[arg(long, value_name = "D", default_value_t = 25)]
    pub features: usize,
    /// Neurons m
    #[arg(long, value_name = "M", default_value_t = NEURONS)]
    pub neurons: usize,
    /// Outputs d
    #[arg(long, value_name = "d", default_value_t = OUTPUTS)]
    pub outputs: usize,
    /// Floating-point type
    #[arg(long, value_enum, default_value = "f32")]
    pub precision: Precision,
    /// SIMD level: scalar, v3 (AVX2), v4 (AVX-512), neon or auto [default: NTK_SCORE_SIMD, or the highest there is]
    #[arg(long, value_name = "L")]
    pub level: Option<String>,
    /// Threads
    #[arg(long, value_name = "T", default_value_t = 1)]
    pub threads: usize,
    /// Time to spend on repeats of the kernel; the best one counts
    #[arg(long, value_name = "S", default_value_t = 2.0)]
    pub seconds: f64,
    /// Print one JSON object instead of a table
    #[arg(long)]
    pub json: bool,
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
    pub part: Part,
    /// Rule of the update (descent only)
    #[arg(long, value_enum, default_value = "descent")]
    pub rule: RuleName,
    /// Keep a running average of the weights (descent only)
    #[arg(long)]
    pub average: bool,
    /// A table of shapes instead of one: outputs 1 to 93, neurons 256 to 16384, samples 64 to 27000; --seconds is for each
    /// (descent only)
    #[arg(long, conflicts_with_all = ["samples", "features", "neurons", "outputs"])]
    pub sweep: bool,
    /// What of the analytic kernel to compute (gram only)
    #[arg(long, value_enum, default_value = "whole")]
    pub form: Form,
    /// Columns c of the matrix that the analytic kernel is applied to (gram only, forms product and product-rows)
    #[arg(long, value_name = "c", default_value_t = COLUMNS)]
    pub columns: usize,
    /// Rows computed in the form product-rows, from the middle on (gram only)
    #[arg(long, value_name = "R", default_value_t = ROWS)]
    pub rows: usize,
    /// Memory of the output (gram only); always touched before the clock starts
    #[arg(long, value_enum, default_value = "usual")]
    pub pages: Pages,
}

impl Settings {
    pub fn kernel_name(&self) -> String {
        name_of(self.kernel)
    }

    /// What else was chosen that changes the work.
    pub fn variant(&self) -> Vec<(&'static str, String)> {
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
            Form::Product => variant.push(("columns", self.columns.to_string())),
            Form::ProductRows => {
                variant.push(("columns", self.columns.to_string()));
                variant.push(("rows", self.rows.min(self.samples).to_string()));
            }
            _ => variant.push(("pages", format!("{}, touched", name_of(self.pages)))),
        }
        variant
    }
}

/// The name a value has on the command line.
pub fn name_of(value: impl ValueEnum) -> String {
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

/// What of the kernel to compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// N x N, both triangles written; limit: a streaming fill of them
    Whole,
    /// The lower triangle; limit: a streaming fill of it
    Lower,
    /// The rectangle of N samples with N others; limit: a streaming fill of it
    Cross,
    /// K V for V with c columns, K never formed; limit: 2 D flops a computed entry and 2 c a used one at peak
    Product,
    /// Some rows of K V, for extrapolation where the whole takes hours
    ProductRows,
}

/// Memory of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Pages {
    /// A matrix as any caller has it
    Usual,
    /// The crate's own matrix, in huge pages where the system has them
    Huge,
}

impl Form {
    pub fn is_product(self) -> bool {
        matches!(self, Self::Product | Self::ProductRows)
    }
}
