//! What this machine can do at most, measured: multiply-adds per second, bytes written and read per second.
//!
//! A kernel's speed means something only beside the limit of the same processor, level, thread count and hour. Each measurement
//! here is the best of several short repeats, because everything that can disturb one makes it slower. Nothing here is needed by
//! the kernels; the profiler and the benchmarks compare with it.

use std::hint::black_box;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::kernels::cache::Caches;
use crate::simd::{Kernel, Lanes, Level, Popcount, Scalar};

/// Multiply-adds of a level, in 10^9 floating-point operations per second, over all threads (a multiply-add counts as two).
///
/// Twelve independent accumulators in registers, no memory: enough to hide a latency of up to six cycles on two ports. Bursts of
/// about a tenth of a millisecond, repeated for `duration`, which should be long enough for the clock rate to rise and, on a
/// machine that does other work too, for all threads to run undisturbed once.
pub fn fma_gflops<T: Scalar>(level: Level, threads: usize, duration: Duration) -> f64 {
    let multiply_adds = AtomicUsize::new(0);
    let best = best_time(&mut vec![(); threads.max(1)], duration, |()| {
        let done = level.run(MultiplyAdds::<T> { steps: 20_000, start: T::ONE });
        multiply_adds.store(done, Ordering::Relaxed);
    });
    (multiply_adds.into_inner() * 2 * threads.max(1)) as f64 / best.as_secs_f64() / 1e9
}

/// Pairs of bits that the bare and, count and add instructions of a way of counting get through, in 10^9 per second, over all
/// threads.
pub fn bit_pairs_g_s(way: Popcount, threads: usize, duration: Duration) -> f64 {
    let pairs = AtomicU64::new(0);
    let best = best_time(&mut vec![(); threads.max(1)], duration, |()| {
        pairs.store(black_box(way.bare(20_000)), Ordering::Relaxed);
    });
    (pairs.into_inner() * threads.max(1) as u64) as f64 / best.as_secs_f64() / 1e9
}

/// Bytes written and read per second, in 10^9.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bandwidth {
    /// Non-temporal stores that fill memory.
    pub write_gb_s: f64,
    /// Plain loads.
    pub read_gb_s: f64,
}

/// Bandwidth of main memory at a level, over all threads.
///
/// Each thread owns a part of a buffer of four times the last-level cache, but of 256 to 512 MB, touched before the clock starts;
/// a repeat writes, or reads, all of it. At least five repeats, more while `duration` lasts.
pub fn bandwidth(level: Level, threads: usize, duration: Duration) -> Bandwidth {
    let threads = threads.max(1);
    // More than a virtual machine's share of any cache; what it reports may be hundreds of megabytes, and that of other machines.
    let vectors_of_64 = (4 * Caches::get().last()).clamp(256 << 20, 512 << 20) / size_of::<Line>() / threads;
    let mut parts: Vec<Vec<Line>> = (0..threads).map(|_| vec![Line([1.0; 16]); vectors_of_64]).collect();
    let bytes = (threads * vectors_of_64 * size_of::<Line>()) as f64;
    let write = best_time(&mut parts, duration / 2, |part| level.run(Fill { to: part }));
    let read = best_time(&mut parts, duration / 2, |part| {
        black_box(level.run(Sum { from: part }));
    });
    Bandwidth { write_gb_s: bytes / write.as_secs_f64() / 1e9, read_gb_s: bytes / read.as_secs_f64() / 1e9 }
}

/// Processor time this process has used so far, over all its threads; `None` where the system does not tell.
pub fn process_cpu_time() -> Option<Duration> {
    #[cfg(unix)]
    {
        let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: `time` is a timespec the call may write.
        if unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) } == 0 {
            return Some(Duration::new(time.tv_sec as u64, time.tv_nsec as u32));
        }
    }
    None
}

/// Shortest time in which all threads finish `body` when they start together: at least five repeats, more while `duration` lasts.
fn best_time<W: Send>(parts: &mut [W], duration: Duration, body: impl Fn(&mut W) + Sync) -> Duration {
    const REPEATS: usize = 5;
    let begin = Instant::now();
    let threads = parts.len();
    let arrived = AtomicUsize::new(0);
    let last = AtomicUsize::new(usize::MAX);
    let work = |part: &mut W, leads: bool| {
        let mut spans = Vec::new();
        loop {
            // All threads wait here for the last; spinning, because waking a sleeping thread takes longer than a burst may.
            let round = spans.len() + 1;
            if leads && round > REPEATS && begin.elapsed() >= duration {
                last.store(round, Ordering::Release);
            }
            arrived.fetch_add(1, Ordering::AcqRel);
            let mut waits = 0u32;
            while arrived.load(Ordering::Acquire) < round * threads {
                waits = waits.wrapping_add(1);
                if waits.is_multiple_of(1024) { std::thread::yield_now() } else { std::hint::spin_loop() }
            }
            // The leader names the round before it arrives in it, so every thread stops in the same round.
            if round >= last.load(Ordering::Acquire) {
                return spans;
            }
            let start = begin.elapsed();
            body(part);
            spans.push((start, begin.elapsed()));
        }
    };
    let spans: Vec<Vec<(Duration, Duration)>> = std::thread::scope(|scope| {
        let (first, rest) = parts.split_first_mut().expect("at least one thread");
        let work = &work;
        let others: Vec<_> = rest.iter_mut().map(|part| scope.spawn(move || work(part, false))).collect();
        let first = work(first, true);
        let others = others.into_iter().map(|thread| thread.join().expect("measuring does not panic"));
        std::iter::once(first).chain(others).collect()
    });
    let span_of = |round: usize| {
        let start = spans.iter().map(|s| s[round].0).min().unwrap_or_default();
        let end = spans.iter().map(|s| s[round].1).max().unwrap_or_default();
        end.saturating_sub(start)
    };
    (0..spans[0].len()).map(span_of).min().unwrap_or_default().max(Duration::from_nanos(1))
}

/// One cache line.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; 16]);

/// Chains of multiply-adds that nothing but the processor's arithmetic holds up; returns how many were made.
struct MultiplyAdds<T> {
    steps: usize,
    start: T,
}

impl<T: Scalar> Kernel for MultiplyAdds<T> {
    type Output = usize;

    #[inline(always)]
    fn run<S: Lanes>(self, s: S) -> usize {
        if S::FUSED {
            self.chains::<S, 12>(s)
        } else if size_of::<T>() == 4 {
            self.portable::<48>()
        } else {
            self.portable::<24>()
        }
    }
}

impl<T: Scalar> MultiplyAdds<T> {
    #[inline(always)]
    fn chains<S: Lanes, const CHAINS: usize>(self, s: S) -> usize {
        // Values the compiler cannot see, so that it neither merges the chains nor computes them beforehand.
        let mut acc = black_box([self.start; CHAINS]).map(|x| T::vsplat(s, x));
        let factor = T::vsplat(s, black_box(T::from_f64(0.5)));
        for _ in 0..self.steps {
            for x in &mut acc {
                *x = T::vmul_add(s, *x, factor, factor);
            }
        }
        let total = acc.into_iter().fold(factor, |a, b| T::vadd(s, a, b));
        let mut out = [T::ZERO; 16];
        // SAFETY: no level has vectors of more than 64 bytes.
        unsafe { T::vstore(s, out.as_mut_ptr(), total) };
        black_box(out);
        self.steps * CHAINS * T::lanes::<S>()
    }

    /// The same in plain arrays, which the compiler turns into vectors of whatever the target has.
    #[inline(always)]
    fn portable<const VALUES: usize>(self) -> usize {
        let mut acc = black_box([self.start; VALUES]);
        let factor = black_box(T::from_f64(0.5));
        for _ in 0..self.steps {
            acc = std::array::from_fn(|i| acc[i] * factor + factor);
        }
        black_box(acc);
        self.steps * VALUES
    }
}

struct Fill<'a> {
    to: &'a mut [Line],
}

impl Kernel for Fill<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Lanes>(self, s: S) {
        let value = f32::vsplat(s, black_box(1.0));
        for line in self.to {
            for lane in (0..16).step_by(f32::lanes::<S>()) {
                // SAFETY: a line is 64 bytes, aligned to 64, and vectors of at most 64 bytes divide it; the fence follows.
                unsafe { f32::vstream(s, line.0.as_mut_ptr().add(lane), value) };
            }
        }
        s.fence();
    }
}

struct Sum<'a> {
    from: &'a [Line],
}

impl Kernel for Sum<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Lanes>(self, s: S) -> f32 {
        if !S::FUSED {
            // Portable code: exclusive or, which every target does to whole vectors.
            let mut acc = [0; 16];
            for line in self.from {
                acc = std::array::from_fn(|i| acc[i] ^ line.0[i].to_bits());
            }
            return acc.map(f32::from_bits)[0];
        }
        // Eight chains, so that the loads and not the additions take the time.
        let mut acc = [f32::vsplat(s, 0.0); 8];
        for group in self.from.as_chunks::<8>().0 {
            for lane in (0..16).step_by(f32::lanes::<S>()) {
                for (line, acc) in group.iter().zip(&mut acc) {
                    // SAFETY: a line holds 16 values and vectors of at most 16 divide it.
                    *acc = f32::vadd(s, *acc, unsafe { f32::vload(s, line.0.as_ptr().add(lane)) });
                }
            }
        }
        let mut out = [0.0; 16];
        let total = acc.into_iter().fold(f32::vsplat(s, 0.0), |a, b| f32::vadd(s, a, b));
        // SAFETY: no level has vectors of more than 64 bytes.
        unsafe { f32::vstore(s, out.as_mut_ptr(), total) };
        out[0]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peaks_are_positive_at_every_level_and_thread_count() {
        for level in Level::available() {
            for threads in [1, 3] {
                assert!(fma_gflops::<f32>(level, threads, Duration::ZERO) > 0.0);
                assert!(fma_gflops::<f64>(level, threads, Duration::ZERO) > 0.0);
            }
        }
    }

    #[test]
    fn every_way_of_counting_has_a_peak() {
        for way in Popcount::available() {
            assert!(bit_pairs_g_s(way, 2, Duration::ZERO) > 0.0, "{}", way.name());
        }
    }

    #[test]
    fn bandwidth_is_positive() {
        let found = bandwidth(Level::detect(), 2, Duration::ZERO);
        assert!(found.write_gb_s > 0.0 && found.read_gb_s > 0.0, "{found:?}");
    }

    #[test]
    fn processor_time_only_grows() {
        if let Some(before) = process_cpu_time() {
            black_box((0..100_000u64).fold(0, |a, b| black_box(a ^ b)));
            assert!(process_cpu_time().is_some_and(|after| after >= before));
        }
    }
}
