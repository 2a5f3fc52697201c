//! `ntk-score info`: its keys are a promise, and the level it reports is the one in use.

use std::process::{Command, Output};

use ntk_score::simd::Level;
use serde_json::Value;

fn info(arguments: &[&str], level: Option<&str>) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ntk-score"));
    command.arg("info").args(arguments);
    match level {
        Some(level) => command.env("NTK_SCORE_SIMD", level),
        None => command.env_remove("NTK_SCORE_SIMD"),
    };
    command.output().unwrap()
}

fn object(level: Option<&str>) -> Value {
    let output = info(&["--json"], level);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
fn the_object_has_its_keys() {
    let facts = object(None);
    let mut keys: Vec<&str> = facts.as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    let expected =
        ["cache_bytes", "features", "huge_pages", "memory_bytes", "processor", "simd", "target", "threads", "version"];
    assert_eq!(keys, expected);
    assert_eq!(facts["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(facts["simd"]["used"], Level::detect().name());
    assert!(facts["threads"].as_u64().unwrap() > 0);
    for key in ["l1d", "l2", "l3"] {
        assert!(facts["cache_bytes"].get(key).is_some());
    }
    for key in ["total", "available"] {
        assert!(facts["memory_bytes"].get(key).is_some());
    }
}

#[test]
fn a_forced_level_is_the_one_in_use() {
    for level in Level::available() {
        let facts = object(Some(level.name()));
        assert_eq!(facts["simd"]["used"], level.name());
        assert_eq!(facts["simd"]["reason"], format!("NTK_SCORE_SIMD={level}"));
        let output = info(&[], Some(level.name()));
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(&format!("{level}: NTK_SCORE_SIMD={level}")), "{text}");
    }
}

#[test]
fn a_level_that_is_not_there_is_refused() {
    let output = info(&[], Some("v9"));
    let message = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        message.contains("v9") && message.contains("scalar") && message.trim_end().lines().count() == 1,
        "{message}"
    );
}
