//! What is printed: one table for people, one JSON object for programs.

use std::fmt::Write;

use ntk_score::kernels::Real;
use ntk_score::simd::Level;
use serde_json::json;

use crate::measure::{Peaks, Time};
use crate::settings::Settings;
use crate::work::{Limit, Work};

/// One measured kernel beside its limit.
#[derive(Debug)]
pub struct Report {
    kernel: String,
    variant: Vec<(&'static str, String)>,
    level: &'static str,
    threads: usize,
    precision: &'static str,
    shape: [(&'static str, usize); 4],
    wall_ms: f64,
    cpu_ms: Option<f64>,
    gflops: f64,
    bytes: f64,
    peaks: Peaks,
    limit_name: &'static str,
    limit_ms: f64,
    max_error: f64,
    repeats: usize,
    beside: Option<(&'static str, Time)>,
}

impl Report {
    pub fn new<T: Real>(settings: &Settings, level: Level, work: &Work<'_>, time: Time, peaks: Peaks) -> Self {
        let seconds = time.wall.as_secs_f64();
        let (limit_name, limit) = match work.limit {
            Limit::Fill => ("streaming fill of the output", work.bytes / (peaks.bandwidth.write_gb_s * 1e9)),
            Limit::Bits(pairs) => ("bare and-popcount-add instructions", pairs / (peaks.bit_pairs_g_s * 1e9)),
            Limit::BitsAndFill(pairs) => (
                "bare and-popcount-add instructions, then a streaming fill",
                pairs / (peaks.bit_pairs_g_s * 1e9) + work.bytes / (peaks.bandwidth.write_gb_s * 1e9),
            ),
            Limit::Read => ("reading both sets", work.bytes / (peaks.bandwidth.read_gb_s * 1e9)),
            Limit::Arithmetic => ("arithmetic at multiply-add peak", work.flops / (peaks.fma_gflops * 1e9)),
        };
        Self {
            kernel: settings.kernel_name(),
            variant: settings.variant(),
            level: level.name(),
            threads: settings.threads,
            precision: T::NAME,
            shape: [
                ("samples", settings.samples),
                ("features", settings.features),
                ("neurons", settings.neurons),
                ("outputs", settings.outputs),
            ],
            wall_ms: seconds * 1e3,
            cpu_ms: time.cpu.map(|t| t.as_secs_f64() * 1e3),
            gflops: work.flops / seconds / 1e9,
            bytes: work.bytes,
            peaks,
            limit_name,
            limit_ms: limit * 1e3,
            max_error: work.max_error,
            repeats: time.repeats,
            beside: None,
        }
    }

    /// With another computation that was timed in turn with the kernel.
    pub fn with_beside(self, beside: Option<(&'static str, Time)>) -> Self {
        Self { beside, ..self }
    }

    /// Processor time, or elapsed time where that is not known, in units of that of the computation beside.
    fn times_beside(&self, beside: Time) -> f64 {
        let of_beside = beside.cpu.map(|cpu| cpu.as_secs_f64() * 1e3);
        match (self.cpu_ms, of_beside) {
            (Some(cpu), Some(of_beside)) => cpu / of_beside,
            _ => self.wall_ms / (beside.wall.as_secs_f64() * 1e3),
        }
    }

    /// One JSON object in one line.
    pub fn json(&self) -> String {
        let shape: serde_json::Map<_, _> = self.shape.iter().map(|&(name, n)| (name.to_owned(), json!(n))).collect();
        let mut object = json!({
            "kernel": self.kernel,
            "level": self.level,
            "threads": self.threads,
            "precision": self.precision,
            "shape": shape,
            "wall_ms": self.wall_ms,
            "cpu_ms": self.cpu_ms,
            "gflops": self.gflops,
            "bytes": self.bytes,
            "fma_peak_gflops": self.peaks.fma_gflops,
            "write_gb_s": self.peaks.bandwidth.write_gb_s,
            "read_gb_s": self.peaks.bandwidth.read_gb_s,
            "limit_ms": self.limit_ms,
            "fraction_of_limit": self.limit_ms / self.wall_ms,
            "max_error": self.max_error,
            "repeats": self.repeats,
        });
        for (name, value) in &self.variant {
            object[*name] = json!(value);
        }
        if let Some((name, time)) = self.beside {
            object["beside"] = json!(name);
            object["beside_ms"] = json!(time.wall.as_secs_f64() * 1e3);
            object["beside_cpu_ms"] = json!(time.cpu.map(|cpu| cpu.as_secs_f64() * 1e3));
            object["times_beside"] = json!(self.times_beside(time));
        }
        format!("{object}\n")
    }

    /// One line of a table of shapes.
    pub fn line(&self) -> String {
        let shape: Vec<String> = self.shape.iter().map(|(name, n)| format!("{n:>6} {name}")).collect();
        let share = 100.0 * self.limit_ms / self.wall_ms;
        let (time, error) = (self.wall_ms, self.max_error);
        format!("{}  {time:>10.3} ms  {share:>5.1} % of the limit  error {error:.1e}\n", shape.join(" "))
    }

    /// A table for people.
    pub fn table(&self) -> String {
        let shape: Vec<String> = self.shape.iter().map(|(name, n)| format!("{n} {name}")).collect();
        let threads = if self.threads == 1 { "thread" } else { "threads" };
        let cpu = self.cpu_ms.map_or(String::from("not known here"), |t| format!("{t:.3} ms"));
        let variant: String = self.variant.iter().map(|(name, value)| format!(" ({name} {value})")).collect();
        let (kernel, precision) = (&self.kernel, self.precision);
        let mut rows = vec![
            ("kernel", format!("{kernel}{variant}, {precision}, level {}, {} {threads}", self.level, self.threads)),
            ("shape", shape.join(", ")),
            ("elapsed time", format!("{:.3} ms (best of {})", self.wall_ms, self.repeats)),
            ("processor time", cpu),
            ("arithmetic", format!("{:.1} GFLOPS", self.gflops)),
            ("least traffic", format!("{:.1} MB", self.bytes / 1e6)),
            ("peak arithmetic", format!("{:.1} GFLOPS", self.peaks.fma_gflops)),
            ("peak fill", format!("{:.1} GB/s", self.peaks.bandwidth.write_gb_s)),
            ("peak read", format!("{:.1} GB/s", self.peaks.bandwidth.read_gb_s)),
            ("limit", format!("{:.3} ms ({})", self.limit_ms, self.limit_name)),
            ("of the limit", format!("{:.1} %", 100.0 * self.limit_ms / self.wall_ms)),
            ("largest error", format!("{:.1e} (relative to the largest entry)", self.max_error)),
        ];
        if let Some((name, time)) = self.beside {
            let times = self.times_beside(time);
            rows.push(("beside", format!("{times:.3} times {name} ({:.3} ms)", time.wall.as_secs_f64() * 1e3)));
        }
        rows.into_iter().fold(String::new(), |mut text, (name, value)| {
            let _ = writeln!(text, "{name:<16} {value}");
            text
        })
    }
}
