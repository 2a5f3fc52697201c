//! What the crate's own benchmarks, profiler, fuzzers and integration tests need and a program does not. Nothing here is stable: it
//! may change or vanish in any version.

use crate::kernels::cache::Caches;

pub mod angles;
pub mod peaks;

/// The kernels in plain loops, which tests and fuzzers hold them against.
pub mod reference {
    /// The gradient-descent step.
    pub mod descent {
        pub use crate::kernels::descent::reference::{forward, gradient};
    }

    /// The analytic kernel.
    pub mod gram {
        pub use crate::kernels::gram::reference::{cross_gram, gram, kernel};
    }

    /// The finite-width kernel.
    pub mod tangent {
        pub use crate::kernels::tangent::reference::{block, full, limit, product, signed_count};
    }
}

/// Bytes of a core's first-level data cache, its second level and its third, where the processor tells.
pub fn cache_bytes() -> [Option<u64>; 3] {
    let Caches { first, second, third, .. } = Caches::get();
    [first, second, third].map(|bytes| (bytes > 0).then_some(bytes as u64))
}

/// How often all neurons of all ordered pairs of samples are counted for the whole finite-width kernel of `outputs` outputs.
pub fn counting_passes(outputs: usize) -> usize {
    crate::kernels::tangent::counting_passes(outputs)
}

pub use crate::memory::check as check_memory;
pub use crate::table::codec::CodecParts;
pub use crate::table::normal::normal_quantile;
