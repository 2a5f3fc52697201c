//! Timing: the least elapsed and processor time of many repeats, and the peaks of the machine.

use std::time::{Duration, Instant};

use ntk_score::Result;
use ntk_score::internals::peaks::{self, Bandwidth};
use ntk_score::kernels::Real;
use ntk_score::simd::{Level, Popcount};

/// The least times of some repeats.
#[derive(Debug, Clone, Copy)]
pub struct Time {
    pub wall: Duration,
    pub cpu: Option<Duration>,
    pub repeats: usize,
}

impl Time {
    const NONE: Self = Self { wall: Duration::MAX, cpu: None, repeats: 0 };

    /// Runs `work` once more and keeps the shorter times.
    fn add(&mut self, work: &mut impl FnMut() -> Result<()>) -> Result<()> {
        let (cpu, start) = (peaks::process_cpu_time(), Instant::now());
        work()?;
        let wall = start.elapsed();
        let cpu = peaks::process_cpu_time().zip(cpu).map(|(after, before)| after.saturating_sub(before));
        self.repeats += 1;
        self.wall = self.wall.min(wall);
        self.cpu = self.cpu.map_or(cpu, |best| cpu.map(|cpu| cpu.min(best)));
        Ok(())
    }
}

/// Runs `work` once to warm up and then for `duration`, three times at least; keeps the least elapsed and the least processor
/// time.
pub fn repeat(duration: Duration, mut work: impl FnMut() -> Result<()>) -> Result<Time> {
    work()?;
    let (begin, mut best) = (Instant::now(), Time::NONE);
    while best.repeats < 3 || begin.elapsed() < duration {
        best.add(&mut work)?;
    }
    Ok(best)
}

/// [`repeat`] of two computations in turn, so that whatever else the machine does meets both.
pub fn alternate(
    duration: Duration,
    mut one: impl FnMut() -> Result<()>,
    mut other: impl FnMut() -> Result<()>,
) -> Result<(Time, Time)> {
    one()?;
    other()?;
    let (begin, mut best) = (Instant::now(), (Time::NONE, Time::NONE));
    while best.0.repeats < 3 || begin.elapsed() < duration {
        best.0.add(&mut one)?;
        best.1.add(&mut other)?;
    }
    Ok(best)
}

/// What the machine can do at most.
#[derive(Debug, Clone, Copy)]
pub struct Peaks {
    pub fma_gflops: f64,
    /// Pairs of bits counted, 10^9 per second; zero where not asked for.
    pub bit_pairs_g_s: f64,
    pub bandwidth: Bandwidth,
}

impl Peaks {
    /// The larger of each figure.
    pub fn best_with(self, other: Self) -> Self {
        let (a, b) = (self.bandwidth, other.bandwidth);
        let bandwidth =
            Bandwidth { write_gb_s: a.write_gb_s.max(b.write_gb_s), read_gb_s: a.read_gb_s.max(b.read_gb_s) };
        Self {
            fma_gflops: self.fma_gflops.max(other.fma_gflops),
            bit_pairs_g_s: self.bit_pairs_g_s.max(other.bit_pairs_g_s),
            bandwidth,
        }
    }
}

/// Measures the peaks, that of counting bits only where it is wanted; takes a second or two.
pub fn peaks<T: Real>(level: Level, threads: usize, counting: bool) -> Peaks {
    let count = || peaks::bit_pairs_g_s(Popcount::at(level), threads, Duration::from_millis(400));
    Peaks {
        bit_pairs_g_s: if counting { count() } else { 0.0 },
        fma_gflops: fma_peak::<T>(level, threads, Duration::from_millis(400)),
        bandwidth: peaks::bandwidth(level, threads, Duration::from_millis(600)),
    }
}

/// The multiply-add peak alone.
pub fn fma_peak<T: Real>(level: Level, threads: usize, duration: Duration) -> f64 {
    peaks::fma_gflops::<T>(level, threads, duration)
}
