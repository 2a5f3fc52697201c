//! From which size on an output is written past the caches: one policy for all kernels, and the only probe of the caches.
//!
//! A store through the caches first reads the line that it will overwrite and later writes it back; a streaming store only writes.
//! Through the caches pays where a later reader still finds the output there, so the question is how much cache a core really has.
//! What a processor reports does not always answer it: a virtual machine passes on the last-level cache of the whole package
//! (hundreds of megabytes, shared with strangers), and a cache that all cores of a server share over a mesh takes writes more
//! slowly than a streaming store does. So the two kinds of processors are told apart by the table that they report in.

use std::sync::OnceLock;

/// How many times the second-level cache an output is streamed from, where that is the last cache a core has to itself.
///
/// Measured with the analytic kernel of 25 inputs, one thread, on Intel Sapphire Rapids in a virtual machine (2 MB second level, 480 MB
/// said to be the third), milliseconds streamed / through the caches:
///
/// | output | f32 | f64 |
/// |---|---|---|
/// | 2 MB | 0.256 / 0.214 | 0.261 / 0.239 |
/// | 4 MB | 0.50 / 0.45 | 0.42 / 0.47 |
/// | 8 MB | | 0.87 / 1.13 |
/// | 16 MB | 2.0 / 19.6 | |
/// | 32 MB | | 3.4 / 19.4 |
const SECOND_LEVELS: usize = 2;

/// Most that a core's share of a last-level cache is believed to be. On AMD Zen 4 and Zen 5, whose complexes of eight cores have
/// 32 MB, an output below it was faster to write through the caches.
const MOST: usize = 32 << 20;

/// Where the processor tells nothing.
const USUAL: usize = 16 << 20;

/// Bytes of one core's caches; 0 where there is none or the processor does not tell.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Caches {
    /// Data cache of the first level.
    pub first: usize,
    /// The second level.
    pub second: usize,
    /// The third level, as reported: of a core complex (AMD), or of a whole package.
    pub third: usize,
    /// Whether the third level is reported by core complex, in AMD's table.
    by_complex: bool,
}

impl Caches {
    /// What the processor reports, read once.
    pub fn get() -> Self {
        static CACHES: OnceLock<Caches> = OnceLock::new();
        *CACHES.get_or_init(reported)
    }

    /// The largest.
    pub fn last(self) -> usize {
        self.first.max(self.second).max(self.third)
    }

    /// Bytes of output beyond which stores go past these caches.
    fn stream_beyond(self) -> usize {
        if self.by_complex && self.third > 0 {
            self.third.min(MOST)
        } else if self.second > 0 {
            SECOND_LEVELS * self.second
        } else {
            USUAL
        }
    }
}

/// Whether an output of `rows` x `columns` values of `T` is better written past the caches.
pub(crate) fn streams<T>(rows: usize, columns: usize) -> bool {
    let bytes = rows.saturating_mul(columns).saturating_mul(size_of::<T>());
    bytes > Caches::get().stream_beyond()
}

#[cfg(target_arch = "x86_64")]
fn reported() -> Caches {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    // Every x86-64 processor has CPUID. Its functions became safe after Rust 1.89, hence the permission.
    #[allow(unused_unsafe)]
    // SAFETY: as above.
    let leaf = |leaf: u32, index: u32| unsafe { __cpuid_count(leaf, index) };
    #[allow(unused_unsafe)]
    // SAFETY: as above.
    let has = |leaf: u32| unsafe { __cpuid(leaf & 0x8000_0000) }.eax >= leaf;
    // The same table under two numbers, AMD's and Intel's; where the first is not filled in, its first entry says so.
    for (number, by_complex) in [(0x8000_001d, true), (0x4, false)] {
        if !has(number) {
            continue;
        }
        let mut caches = Caches { by_complex, ..Caches::default() };
        for index in 0..16 {
            let table = leaf(number, index);
            let (kind, level) = (table.eax & 0x1f, table.eax >> 5 & 0x7);
            let ways = (table.ebx >> 22) as usize + 1;
            let partitions = (table.ebx >> 12 & 0x3ff) as usize + 1;
            let line = (table.ebx & 0xfff) as usize + 1;
            let sets = table.ecx as usize + 1;
            const INSTRUCTIONS: u32 = 2;
            match (kind, level) {
                (0, _) => break,
                (INSTRUCTIONS, _) => {}
                (_, 1) => caches.first = ways * partitions * line * sets,
                (_, 2) => caches.second = ways * partitions * line * sets,
                (_, 3) => caches.third = ways * partitions * line * sets,
                _ => {}
            }
        }
        if caches.last() > 0 {
            return caches;
        }
    }
    Caches::default()
}

#[cfg(not(target_arch = "x86_64"))]
fn reported() -> Caches {
    Caches::default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_third_level_of_a_package_is_not_believed() {
        let machine = Caches { first: 48 << 10, second: 2 << 20, third: 480 << 20, by_complex: false };
        assert_eq!(machine.stream_beyond(), 4 << 20);
        assert_eq!(Caches { by_complex: true, ..machine }.stream_beyond(), MOST);
        assert_eq!(Caches { by_complex: true, third: 16 << 20, ..machine }.stream_beyond(), 16 << 20);
        assert_eq!(Caches::default().stream_beyond(), USUAL);
    }

    #[test]
    fn small_outputs_stay_in_the_caches() {
        assert!(!streams::<f64>(64, 64));
        assert!(streams::<f64>(usize::MAX, 2));
    }
}
