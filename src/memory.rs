//! How much memory the machine has, so that what cannot fit is refused in words before it is asked for.

use std::fs;
use std::path::Path;

#[cfg(feature = "cli")]
pub use crate::error::in_words;
use crate::{Error, Result};

/// Bytes that programs can still be given, where the system says so: the smallest of what is free or can be freed at once, what
/// is left of the limits of the control groups that this process is in (a container's memory), and what is left of its own
/// limits (`ulimit -v` and `-d`).
pub fn available() -> Option<u64> {
    let left = limits(Path::new("/")).into_iter().map(|limit| limit.most.saturating_sub(limit.used));
    meminfo("MemAvailable:").into_iter().chain(left).min()
}

/// Checks that `bytes` more can be had; where the system does not say, that they can be addressed.
///
/// # Errors
/// [`Error::Memory`], naming `what` would be too large.
pub fn check(what: &'static str, bytes: u128) -> Result<()> {
    let free = available().map_or(isize::MAX as u128, u128::from);
    if bytes > free { Err(Error::Memory { what, bytes }) } else { Ok(()) }
}

/// Checks that all of `needs`, each with its name, can be had at the same time.
///
/// # Errors
/// [`Error::Memory`], naming the one that is too large, or `whole` if it is their sum.
pub fn check_together(whole: &'static str, needs: &[(&'static str, u128)]) -> Result<()> {
    needs.iter().try_for_each(|&(what, bytes)| check(what, bytes))?;
    check(whole, needs.iter().map(|(_, bytes)| bytes).sum())
}

/// Bytes of memory there are, where the system says so, again bounded by the limits.
#[cfg(feature = "cli")]
pub fn total() -> Option<u64> {
    let limits = limits(Path::new("/")).into_iter().map(|limit| limit.most);
    meminfo("MemTotal:").map(|all| limits.fold(all, u64::min))
}

fn meminfo(key: &str) -> Option<u64> {
    kilobytes(&fs::read_to_string("/proc/meminfo").ok()?, key)
}

/// The number behind `key` in lines such as `VmSize:  1234 kB`, in bytes.
fn kilobytes(text: &str, key: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(key))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kilobytes| kilobytes * 1024)
}

/// A limit, and how much of it is used.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Limit {
    most: u64,
    used: u64,
}

/// All limits on the memory of this process; `root` is where the system's files are.
fn limits(root: &Path) -> Vec<Limit> {
    let mut found = own_limits(root);
    for line in fs::read_to_string(root.join("proc/self/cgroup")).unwrap_or_default().lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (parts.next(), parts.next()) else { continue };
        // Version 2 has one hierarchy, on its own or beside those of version 1, which has one for memory.
        if controllers.is_empty() {
            for mount in ["sys/fs/cgroup", "sys/fs/cgroup/unified"] {
                let names = ["memory.max", "memory.current", "inactive_file "];
                found.extend(control_groups(&root.join(mount), group, names));
            }
        } else if controllers.split(',').any(|name| name == "memory") {
            let names = ["memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file "];
            found.extend(control_groups(&root.join("sys/fs/cgroup/memory"), group, names));
        }
    }
    found
}

/// Limits of a control group and of all that it is in, as far as they can be seen. File pages that can be dropped do not count as
/// used.
fn control_groups(mount: &Path, group: &str, [limit, usage, droppable]: [&str; 3]) -> Vec<Limit> {
    let one = |group: &Path| {
        let folder = mount.join(group);
        let number = |name: &str| fs::read_to_string(folder.join(name)).ok()?.trim().parse::<u64>().ok();
        let (most, used) = (number(limit)?, number(usage).unwrap_or(0));
        let statistics = fs::read_to_string(folder.join("memory.stat")).unwrap_or_default();
        let dropped = statistics.lines().find_map(|line| line.strip_prefix(droppable)?.trim().parse::<u64>().ok());
        Some(Limit { most, used: used.saturating_sub(dropped.unwrap_or(0)) })
    };
    Path::new(group.trim_start_matches('/')).ancestors().filter_map(one).collect()
}

/// The limits that a process has by itself.
fn own_limits(root: &Path) -> Vec<Limit> {
    let limits = fs::read_to_string(root.join("proc/self/limits")).unwrap_or_default();
    let status = fs::read_to_string(root.join("proc/self/status")).unwrap_or_default();
    let kinds = [("Max address space", "VmSize:"), ("Max data size", "VmData:")];
    let one = |(name, used): (&str, &str)| {
        let line = limits.lines().find_map(|line| line.strip_prefix(name))?;
        // The soft limit comes first; where there is none, it is a word.
        let most = line.split_whitespace().next()?.parse().ok()?;
        Some(Limit { most, used: kilobytes(&status, used).unwrap_or(0) })
    };
    kinds.into_iter().filter_map(one).collect()
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

    #[test]
    fn limits_of_nested_groups_and_of_the_process_are_seen() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let write = |path: &str, text: &str| {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        assert_eq!(limits(root), []);
        write("proc/self/cgroup", "4:cpu,memory:/outer/inner\n0::/user/one\n");
        write("sys/fs/cgroup/user/one/memory.max", "max\n");
        write("sys/fs/cgroup/user/memory.max", "5000\n");
        write("sys/fs/cgroup/user/memory.current", "3000\n");
        write("sys/fs/cgroup/user/memory.stat", "anon 10\ninactive_file 1000\n");
        write("sys/fs/cgroup/memory/outer/memory.limit_in_bytes", "7000\n");
        write("sys/fs/cgroup/memory/outer/memory.usage_in_bytes", "600\n");
        write("sys/fs/cgroup/memory/outer/memory.stat", "inactive_file 1\ntotal_inactive_file 100\n");
        let groups = vec![Limit { most: 7000, used: 500 }, Limit { most: 5000, used: 2000 }];
        assert_eq!(limits(root), groups);
        write(
            "proc/self/limits",
            "Limit Soft Limit Hard Limit Units\nMax data size unlimited unlimited bytes\nMax address space 9000 unlimited bytes\n",
        );
        write("proc/self/status", "Name:\tx\nVmSize:\t   2 kB\n");
        assert_eq!(limits(root), [vec![Limit { most: 9000, used: 2048 }], groups].concat());
    }

    #[test]
    fn what_is_needed_together_is_checked_together() {
        let most = available().map_or(isize::MAX as u128, u128::from);
        let named = |needs: &[(&'static str, u128)]| match check_together("everything", needs) {
            Err(Error::Memory { what, bytes }) => (what, bytes),
            found => panic!("{found:?}"),
        };
        assert_eq!(named(&[("one", 1), ("two", u128::MAX / 4)]).0, "two");
        assert_eq!(named(&[("one", most * 3 / 4), ("two", most * 3 / 4)]).0, "everything");
        assert!(check_together("everything", &[("one", 1), ("two", 2)]).is_ok());
    }
}
