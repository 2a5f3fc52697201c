//! Which SIMD levels exist, which this processor has, and running a kernel at one of them.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

use super::Lanes;
use crate::{Error, Result};

/// A SIMD instruction-set level, after the x86-64 microarchitecture levels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Level {
    /// Portable code for the baseline target; 256 bits of lanes, no fused multiply-add.
    Scalar,
    /// AArch64 NEON: 128-bit vectors.
    Neon,
    /// x86-64-v3: AVX2 and FMA, 256-bit vectors.
    V3,
    /// x86-64-v4: AVX-512 F, BW, CD, DQ and VL, 512-bit vectors and bit masks.
    V4,
}

/// A computation written once for every SIMD level.
///
/// `run` must be `#[inline(always)]`, and so must everything hot that it calls: only what is inlined into the
/// dispatching function is compiled with the level's instructions.
pub trait Kernel {
    /// What the computation returns.
    type Output;

    /// Runs the computation with the lanes of one level.
    fn run<S: Lanes>(self, lanes: S) -> Self::Output;
}

impl Level {
    /// Every level this crate knows, lowest first.
    pub const ALL: [Level; 4] = [Level::Scalar, Level::Neon, Level::V3, Level::V4];

    /// The name used on the command line and in `NTK_SCORE_SIMD`.
    pub fn name(self) -> &'static str {
        match self {
            Level::Scalar => "scalar",
            Level::Neon => "neon",
            Level::V3 => "v3",
            Level::V4 => "v4",
        }
    }

    /// Whether this processor can run the level.
    pub fn is_available(self) -> bool {
        match self {
            Level::Scalar => true,
            #[cfg(target_arch = "x86_64")]
            Level::V3 => pulp::x86::V3::is_available(),
            #[cfg(target_arch = "x86_64")]
            Level::V4 => pulp::x86::V4::is_available(),
            #[cfg(target_arch = "aarch64")]
            Level::Neon => pulp::aarch64::Neon::is_available(),
            #[allow(unreachable_patterns)] // which arms are left depends on the target
            _ => false,
        }
    }

    /// The levels this processor can run, lowest first.
    pub fn available() -> Vec<Level> {
        Self::ALL.into_iter().filter(|l| l.is_available()).collect()
    }

    /// The highest level this processor can run.
    pub fn detect() -> Level {
        let best = Self::ALL.into_iter().rev().find(|l| l.is_available());
        best.unwrap_or(Level::Scalar)
    }

    /// The level that the environment variable `NTK_SCORE_SIMD` asks for; unset, empty and `auto` mean [`Level::detect`].
    ///
    /// # Errors
    /// [`Error::Level`] if the variable names no level, or one that this processor does not have.
    pub fn from_env() -> Result<Level> {
        match std::env::var("NTK_SCORE_SIMD") {
            Ok(name) => name.parse(),
            Err(_) => Ok(Self::detect()),
        }
    }

    /// The level that functions without a level argument use: [`Level::from_env`], read once, falling back to
    /// [`Level::detect`] if the variable is wrong (the binaries check it before they start).
    pub fn current() -> Level {
        static CURRENT: OnceLock<Level> = OnceLock::new();
        *CURRENT.get_or_init(|| Self::from_env().unwrap_or_else(|_| Self::detect()))
    }

    /// Runs a kernel at this level.
    ///
    /// # Panics
    /// If the level is not available; levels that come from [`Level::from_str`], [`Level::available`], [`Level::detect`]
    /// and [`Level::current`] are.
    #[inline]
    pub(crate) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        #[cfg(target_arch = "x86_64")]
        {
            match self {
                Level::V4 => {
                    let lanes = pulp::x86::V4::try_new().expect("the AVX-512 level was not checked");
                    return lanes.vectorize(Bound { lanes, kernel });
                }
                Level::V3 => {
                    let lanes = pulp::x86::V3::try_new().expect("the AVX2 level was not checked");
                    return lanes.vectorize(Bound { lanes, kernel });
                }
                _ => {}
            }
        }
        #[cfg(target_arch = "aarch64")]
        if self == Level::Neon {
            let lanes = pulp::aarch64::Neon::try_new().expect("the NEON level was not checked");
            return lanes.vectorize(Bound { lanes, kernel });
        }
        assert!(self == Level::Scalar, "SIMD level {self} is not available on this target");
        kernel.run(pulp::Scalar256b)
    }
}

/// A kernel together with the lanes it will run with, as pulp's dispatch wants it.
struct Bound<S, K> {
    lanes: S,
    kernel: K,
}

impl<S: Lanes, K: Kernel> pulp::NullaryFnOnce for Bound<S, K> {
    type Output = K::Output;

    #[inline(always)]
    fn call(self) -> K::Output {
        self.kernel.run(self.lanes)
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Level {
    type Err = Error;

    /// Reads `scalar`, `v3`, `v4`, `neon` or `auto` (also empty), and checks that the level is available.
    fn from_str(name: &str) -> Result<Level> {
        if name.is_empty() || name == "auto" {
            return Ok(Self::detect());
        }
        let found = Self::ALL.into_iter().find(|l| l.name() == name && l.is_available());
        found.ok_or_else(|| Error::Level {
            name: name.to_owned(),
            available: Self::available().iter().map(|l| l.name()).chain(["auto"]).collect::<Vec<_>>().join(", "),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails when a forced level is silently not the one under test.
    #[test]
    fn forced_level_is_the_current_one() {
        match std::env::var("NTK_SCORE_SIMD") {
            Ok(name) if !name.is_empty() && name != "auto" => assert_eq!(Level::current().name(), name),
            _ => assert_eq!(Level::current(), Level::detect()),
        }
    }

    #[test]
    fn names_round_trip_and_unknown_ones_are_refused() {
        for level in Level::available() {
            assert_eq!(level.name().parse::<Level>().unwrap(), level);
        }
        assert_eq!("auto".parse::<Level>().unwrap(), Level::detect());
        let message = "v9".parse::<Level>().unwrap_err().to_string();
        assert!(message.contains("v9") && message.contains("scalar"), "{message}");
    }
}
