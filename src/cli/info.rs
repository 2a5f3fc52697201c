//! `ntk-score info`: what this build is and what it finds on this machine.

use std::fs;

use crate::internals::cache_bytes;
use crate::memory;
use crate::simd::Level;
use clap::Args;
use serde_json::{Value, json};

use super::{Outcome, print};

/// Show the version, the SIMD level in use and what else decides speed on this machine
#[derive(Debug, Args)]
pub struct InfoArgs {
    /// Print one JSON object: version, target, features, processor, simd (available, used, reason, vpopcntdq), threads,
    /// cache_bytes (l1d, l2, l3), huge_pages, memory_bytes (total, available); what is not known is null
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: InfoArgs) -> Outcome {
    let used = Level::from_env()?;
    let asked = std::env::var("NTK_SCORE_SIMD").ok().filter(|name| !name.is_empty() && name != "auto");
    let reason = match &asked {
        Some(name) => format!("NTK_SCORE_SIMD={name}"),
        None => "the highest that this processor has".into(),
    };
    let available: Vec<&str> = Level::available().iter().map(|level| level.name()).collect();
    let [l1d, l2, l3] = cache_bytes();
    let facts = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "target": format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
        "features": ["cli"],
        "processor": processor(),
        "simd": { "available": available, "used": used.name(), "reason": reason, "vpopcntdq": vpopcntdq() },
        "threads": rayon::current_num_threads(),
        "cache_bytes": { "l1d": l1d, "l2": l2, "l3": l3 },
        "huge_pages": huge_pages(),
        "memory_bytes": { "total": memory::total(), "available": memory::available() },
    });
    if args.json {
        return print(&format!("{facts:#}\n"));
    }
    let known = |value: &Value| value.as_str().unwrap_or("not known").to_owned();
    let size = |value: &Value| value.as_u64().map_or("not known".into(), |bytes| memory::in_words(bytes.into()));
    let cache_size = |value: &Value| value.as_u64().map_or("not known".into(), |bytes| format!("{} KiB", bytes / 1024));
    let lines = [
        ("version", format!("ntk-score {} ({})", env!("CARGO_PKG_VERSION"), known(&facts["target"]))),
        ("processor", known(&facts["processor"])),
        ("SIMD levels", format!("{} (set NTK_SCORE_SIMD to force one)", available.join(", "))),
        ("in use", format!("{used}: {reason}")),
        ("VPOPCNTDQ", if vpopcntdq() { "yes" } else { "no" }.into()),
        ("threads", facts["threads"].to_string()),
        (
            "caches",
            format!("L1 {}, L2 {}, L3 {}", cache_size(&json!(l1d)), cache_size(&json!(l2)), cache_size(&json!(l3))),
        ),
        ("huge pages", known(&facts["huge_pages"])),
        (
            "memory",
            format!(
                "{}, of which {} available",
                size(&facts["memory_bytes"]["total"]),
                size(&facts["memory_bytes"]["available"])
            ),
        ),
        ("features", "cli".into()),
    ];
    let lines = lines.map(|(name, value)| format!("{name:<12} {value}\n"));
    print(&lines.concat())
}

/// Whether the processor counts the bits of a whole vector in one instruction, which the finite-width kernel uses.
fn vpopcntdq() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        std::arch::is_x86_feature_detected!("avx512vpopcntdq")
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        false
    }
}

fn processor() -> Option<String> {
    let text = fs::read_to_string("/proc/cpuinfo").ok()?;
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The system's policy for transparent huge pages: "always", "madvise" or "never".
fn huge_pages() -> Option<String> {
    let text = fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").ok()?;
    let (_, rest) = text.split_once('[')?;
    Some(rest.split_once(']')?.0.to_owned())
}
