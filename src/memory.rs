//! How much memory the machine has, so that what cannot fit is refused in words before it is asked for.

use std::fs;

#[cfg(feature = "cli")]
pub use crate::error::in_words;
use crate::{Error, Result};

/// Bytes that programs can still be given, where the system says so: the smaller of what is free or can be freed at once and
/// what is left of the limit of the control group (a container's memory).
pub fn available() -> Option<u64> {
    let free = meminfo("MemAvailable:");
    let left = control_group().map(|(limit, used)| limit.saturating_sub(used));
    match (free, left) {
        (Some(free), Some(left)) => Some(free.min(left)),
        (free, left) => free.or(left),
    }
}

/// Checks that `bytes` more can be had; where the system does not say, that they can be addressed.
///
/// # Errors
/// [`Error::Memory`], naming `what` would be too large.
pub fn check(what: &'static str, bytes: u128) -> Result<()> {
    let free = available().map_or(isize::MAX as u128, u128::from);
    if bytes > free { Err(Error::Memory { what, bytes }) } else { Ok(()) }
}

#[cfg(feature = "cli")]
/// Bytes of memory there are, where the system says so, again bounded by the control group.
pub fn total() -> Option<u64> {
    let all = meminfo("MemTotal:")?;
    Some(control_group().map_or(all, |(limit, _)| all.min(limit)))
}

fn meminfo(key: &str) -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

/// Limit and use of the control group, if it has a limit. File pages that can be dropped do not count as used.
fn control_group() -> Option<(u64, u64)> {
    let number = |name: &str| {
        let text = fs::read_to_string(format!("/sys/fs/cgroup/{name}")).ok()?;
        text.trim().parse::<u64>().ok()
    };
    let (limit, used) = (number("memory.max")?, number("memory.current").unwrap_or(0));
    let statistics = fs::read_to_string("/sys/fs/cgroup/memory.stat").unwrap_or_default();
    let droppable = statistics.lines().find_map(|line| line.strip_prefix("inactive_file "));
    let droppable = droppable.and_then(|text| text.trim().parse::<u64>().ok()).unwrap_or(0);
    Some((limit, used.saturating_sub(droppable)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_in_words() {
        let cases = [
            (0, "0 bytes"),
            (999, "999 bytes"),
            (1000, "1.0 KB"),
            (268_435_456, "268 MB"),
            (6_200_000_000_000, "6.2 TB"),
        ];
        for (bytes, words) in cases {
            assert_eq!(in_words(bytes), words);
        }
        assert_eq!(in_words(999_960), "1.0 MB");
        assert!(in_words(u128::MAX).ends_with("EB"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_running_program_has_memory() {
        let (available, total) = (available().unwrap(), total().unwrap());
        assert!(available > 1 << 20 && available <= total, "{available} of {total}");
    }
}
