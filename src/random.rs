//! Random numbers that do not depend on the number of threads: one seeded stream per purpose and per chunk of rows.
//!
//! A seed gives one xoshiro256++ sequence; each [`Purpose`] starts `2^192` numbers further along it, and each chunk of
//! [`CHUNK`] rows `2^128` numbers further along its purpose's. So no two draws share numbers, and who computes a chunk never
//! changes what it holds.

use faer::Par;
use rand::SeedableRng;
use rand_distr::{Distribution, StandardNormal};
use rand_xoshiro::Xoshiro256PlusPlus;
use rayon::prelude::*;

use crate::kernels::Real;
use crate::kernels::{Lane64, PANEL, Panels, workers};

/// Rows that share one stream; a multiple of `PANEL`.
pub const CHUNK: usize = 1024;

/// What random numbers are for; every purpose has its own stream of the same seed. A purpose keeps its number for ever, so that
/// a new one changes no result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Purpose {
    /// Drawing data from a known distribution.
    Data = 0,
    /// Diffusion times and noise of a regression set.
    Regression = 1,
    /// Initial weights and output signs.
    Weights = 2,
    /// The order in which samples are visited.
    Order = 3,
    /// Starting points and noise of the samplers.
    Sampling = 4,
    /// Monte-Carlo estimates of an error.
    Estimate = 5,
    /// Probe vectors of spectral estimates.
    Probes = 6,
    /// Rows and noise from which the base denoiser is fitted.
    Base = 7,
    /// Times, noise and redrawn ties of training batches.
    Training = 8,
    /// Which rows are held out.
    HoldOut = 9,
    /// Rows that begin where something is known of them, and values drawn to meet a condition.
    Conditions = 10,
}

/// The first stream of `purpose` under `seed`.
pub fn stream(seed: u64, purpose: Purpose) -> Xoshiro256PlusPlus {
    let mut stream = Xoshiro256PlusPlus::seed_from_u64(seed);
    for _ in 0..purpose as usize {
        stream.long_jump();
    }
    stream
}

/// The streams of chunks `from..from + chunks` of `purpose` under `seed`.
pub fn chunk_streams(seed: u64, purpose: Purpose, from: usize, chunks: usize) -> Vec<Xoshiro256PlusPlus> {
    let mut next = stream(seed, purpose);
    for _ in 0..from {
        next.jump();
    }
    (0..chunks)
        .map(|_| {
            let this = next.clone();
            next.jump();
            this
        })
        .collect()
}

/// Runs `body(chunk, blocks, stream)` for every chunk of rows of `panels`: `blocks` are the lanes of its blocks of 64 rows.
///
/// # Panics
/// If there are fewer streams than chunks.
pub fn for_each_chunk<T: Real>(
    panels: &mut Panels<T>,
    streams: &mut [Xoshiro256PlusPlus],
    par: Par,
    body: impl Fn(usize, &mut [Lane64<T>], &mut Xoshiro256PlusPlus) + Sync,
) {
    let (chunks, columns) = (panels.rows().div_ceil(CHUNK), panels.columns());
    assert!(streams.len() >= chunks, "every chunk of rows needs its stream");
    if columns == 0 {
        return;
    }
    let length = CHUNK / PANEL * columns;
    if workers(par) == 1 {
        let lanes = panels.lanes_mut().chunks_mut(length);
        lanes.zip(streams).enumerate().for_each(|(chunk, (lanes, stream))| body(chunk, lanes, stream));
    } else {
        let lanes = panels.lanes_mut().par_chunks_mut(length);
        lanes.zip(streams).enumerate().for_each(|(chunk, (lanes, stream))| body(chunk, lanes, stream));
    }
}

/// Overwrites `panels` with independent standard normals, zero in the padding rows.
///
/// # Panics
/// If there are fewer streams than chunks.
pub fn fill_normal<T: Real>(panels: &mut Panels<T>, streams: &mut [Xoshiro256PlusPlus], par: Par) {
    let (rows, columns) = (panels.rows(), panels.columns());
    for_each_chunk(panels, streams, par, |chunk, lanes, stream| {
        for (block, lanes) in lanes.chunks_mut(columns).enumerate() {
            let used = rows_in(rows, chunk * (CHUNK / PANEL) + block);
            for lane in lanes {
                for x in &mut lane.0[..used] {
                    *x = normal(stream);
                }
                lane.0[used..].fill(T::ZERO);
            }
        }
    });
}

/// Rows of block `block` that are not padding, in a matrix of `rows` rows.
pub(crate) fn rows_in(rows: usize, block: usize) -> usize {
    rows.saturating_sub(block * PANEL).min(PANEL)
}

/// One standard normal.
#[inline]
pub(crate) fn normal<T: Real>(stream: &mut Xoshiro256PlusPlus) -> T {
    let x: f64 = StandardNormal.sample(stream);
    T::from_f64(x)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::Rng;

    #[test]
    fn streams_differ_by_seed_purpose_and_chunk() {
        let mut firsts = Vec::new();
        for seed in [0, 1] {
            for purpose in [Purpose::Data, Purpose::Sampling] {
                let streams = chunk_streams(seed, purpose, 0, 3);
                let later = chunk_streams(seed, purpose, 2, 1);
                assert_eq!(streams[2].clone().next_u64(), later[0].clone().next_u64());
                firsts.extend(streams.into_iter().map(|mut s| s.next_u64()));
            }
        }
        let all = firsts.len();
        firsts.sort_unstable();
        firsts.dedup();
        assert_eq!(firsts.len(), all);
    }

    #[test]
    fn normals_do_not_depend_on_threads_and_leave_padding_zero() {
        let rows = 2 * CHUNK + 70;
        let fill = |par| {
            let mut panels = Panels::<f32>::zeros(rows, 3);
            panels.lanes_mut().iter_mut().for_each(|l| l.0.fill(7.0));
            fill_normal(&mut panels, &mut chunk_streams(5, Purpose::Sampling, 0, 3), par);
            panels
        };
        let one = fill(Par::Seq);
        assert_eq!(one, fill(Par::rayon(3)));
        let last = one.block(one.blocks() - 1);
        assert!(last.iter().all(|l| l.0[70 - 64..].iter().all(|&x| x == 0.0) && l.0[0] != 0.0));
        let all: Vec<f64> = one.lanes().iter().flat_map(|l| l.0).map(f64::from).filter(|&x| x != 0.0).collect();
        assert_eq!(all.len(), rows * 3);
        let mean = all.iter().sum::<f64>() / all.len() as f64;
        let variance = all.iter().map(|x| x * x).sum::<f64>() / all.len() as f64;
        assert!(mean.abs() < 0.05 && (variance - 1.0).abs() < 0.06, "{mean} {variance}");
    }
}
