//! The size of the last-level cache, beyond which an output is better written past the caches.

use std::sync::OnceLock;

/// What is assumed where the processor does not say.
const USUAL: usize = 32 << 20;

/// Bytes of the largest cache this processor reports.
pub(super) fn last_level() -> usize {
    static SIZE: OnceLock<usize> = OnceLock::new();
    *SIZE.get_or_init(|| reported().filter(|&size| size > 0).unwrap_or(USUAL))
}

#[cfg(target_arch = "x86_64")]
fn reported() -> Option<usize> {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    // The same table under two numbers: Intel's and AMD's.
    let has = |leaf: u32| __cpuid(leaf & 0x8000_0000).eax >= leaf;
    let sizes = |leaf: u32| {
        (0..16).map_while(move |index| {
            let table = __cpuid_count(leaf, index);
            let ways = (table.ebx >> 22) as usize + 1;
            let partitions = (table.ebx >> 12 & 0x3ff) as usize + 1;
            let line = (table.ebx & 0xfff) as usize + 1;
            let sets = table.ecx as usize + 1;
            (table.eax & 0x1f != 0).then_some(ways * partitions * line * sets)
        })
    };
    [0x4, 0x8000_001d].into_iter().filter(|&leaf| has(leaf)).flat_map(sizes).max()
}

#[cfg(not(target_arch = "x86_64"))]
fn reported() -> Option<usize> {
    None
}
