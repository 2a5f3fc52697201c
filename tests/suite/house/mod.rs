//! The rules that no compiler checks: imports run one way, files stay short, and pages tell the truth.

mod imports;
mod pages;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use imports::{Arrow, arrows, circles};

/// The layers of `src`, lowest first: a file imports from its own line and from those above it. A path stands for a file or a
/// folder, and the longest path that fits a file counts.
const LAYERS: &[&[&str]] = &[
    // What every file may use: the error type, its words for sizes, and the front page that re-exports it.
    &["error.rs", "memory.rs", "lib.rs"],
    // SIMD levels and vectors; then the kernels, which know matrices and nothing of what they mean.
    &["simd"],
    &["kernels"],
    // Checks of input and random streams.
    &["checks.rs", "random.rs"],
    // Diffusion: processes, true scores, samplers. Then what is trained on it.
    &["diffusion"],
    &["network", "regression"],
    &["model"],
    // Tables know nothing of models, and models nothing of tables.
    &["table"],
    &["evaluate", "files"],
    // Fitting brings the two together; a fitted table can be stored.
    &["fit"],
    &["store.rs"],
    &["theory"],
    // What only the crate's own benchmarks, fuzzers and programs use.
    &["internals", "internals.rs"],
    // The programs.
    &["cli"],
    &["main.rs", "bin"],
];

/// Arrows that break a rule today. The list may only shrink: an entry that no longer breaks one fails the test.
const KNOWN: &[Arrow] = &[
    // Each kernel is generic over the type, and the type names the compiled instance of each kernel: that is how a dependent crate
    // compiles none of them.
    ("kernels/real.rs", "kernels/descent/mod.rs"),
    ("kernels/real.rs", "kernels/descent/optimizer.rs"),
    ("kernels/real.rs", "kernels/tangent/drift.rs"),
    ("kernels/real.rs", "kernels/gram/arccos.rs"),
    ("kernels/real.rs", "kernels/gram/mod.rs"),
    ("kernels/real.rs", "kernels/gram/owned.rs"),
    ("kernels/real.rs", "kernels/gram/product.rs"),
    ("kernels/real.rs", "kernels/patterns/mod.rs"),
    ("kernels/real.rs", "kernels/tangent/mod.rs"),
];

/// Files beyond the limit today, which may only shrink as well.
const KNOWN_LONG: &[&str] = &[];
const LONGEST: usize = 500;

/// Files with a function of more than seven arguments, which may only shrink as well.
const KNOWN_WIDE: &[&str] = &[];

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// All Rust files below `folder`, in order.
fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut entries: Vec<PathBuf> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files
}

/// The path within `src`, with slashes.
fn name(path: &Path) -> String {
    let parts: Vec<_> = path.strip_prefix(source()).unwrap().iter().map(|part| part.to_str().unwrap()).collect();
    parts.join("/")
}

fn layer(file: &str) -> usize {
    let fits = |path: &str| file == path || file.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
    let all = LAYERS.iter().enumerate().flat_map(|(layer, paths)| paths.iter().map(move |path| (path, layer)));
    let (_, layer) = all
        .filter(|(path, _)| fits(path))
        .max_by_key(|(path, _)| path.len())
        .unwrap_or_else(|| panic!("{file} has no layer: add it to LAYERS"));
    layer
}

/// What a circle is looked for among: files, and folders within the folders of `src`.
fn unit(file: &str) -> String {
    match file.split('/').collect::<Vec<_>>()[..] {
        [top, folder, _, ..] => format!("{top}/{folder}"),
        _ => file.to_owned(),
    }
}

/// The circles among files, and those among folders.
fn all_circles(arrows: &BTreeSet<(String, String)>) -> Vec<BTreeSet<String>> {
    let units = arrows.iter().map(|(from, to)| (unit(from), unit(to))).filter(|(from, to)| from != to).collect();
    let mut found = circles(arrows);
    found.extend(circles(&units));
    found
}

fn rises((from, to): &(String, String)) -> bool {
    layer(to) > layer(from)
}

#[test]
fn imports_run_one_way() {
    let all = arrows(&source());
    assert!(all.len() > 200, "only {} imports were found", all.len());
    let known: BTreeSet<(String, String)> = KNOWN.iter().map(|(from, to)| (from.to_string(), to.to_string())).collect();
    let clean: BTreeSet<_> = all.difference(&known).cloned().collect();
    let upward: Vec<_> = clean.iter().filter(|arrow| rises(arrow)).collect();
    assert!(upward.is_empty(), "these imports run upwards: {upward:#?}");
    let circles = all_circles(&clean);
    assert!(circles.is_empty(), "these files import each other: {circles:#?}");
}

#[test]
fn known_violations_are_still_there() {
    let all = arrows(&source());
    let circles = all_circles(&all);
    for (from, to) in KNOWN {
        let arrow = (from.to_string(), to.to_string());
        let (near, far) = (unit(from), unit(to));
        let in_circle = circles.iter().any(|circle| {
            circle.contains(*from) && circle.contains(*to)
                || near != far && circle.contains(&near) && circle.contains(&far)
        });
        assert!(all.contains(&arrow) && (rises(&arrow) || in_circle), "{from} -> {to} is mended: remove it from KNOWN");
    }
}

/// Fails unless exactly the files in `known` are `found`.
fn assert_known(found: &[String], known: &[&str], rule: &str) {
    for file in found {
        assert!(known.contains(&file.as_str()), "{file} {rule}");
    }
    for file in known {
        assert!(found.iter().any(|f| f == file), "{file} is mended: remove it from its list");
    }
}

#[test]
fn files_are_short() {
    let files = rust_files(&source());
    assert!(files.len() > 50);
    let long = files.iter().filter(|path| fs::read_to_string(path).unwrap().lines().count() > LONGEST);
    assert_known(&long.map(|path| name(path)).collect::<Vec<_>>(), KNOWN_LONG, "has more than 500 lines");
}

#[test]
fn functions_take_seven_arguments_at_most() {
    let files = rust_files(&source());
    let wide = files.iter().filter(|path| fs::read_to_string(path).unwrap().contains("clippy::too_many_arguments"));
    assert_known(&wide.map(|path| name(path)).collect::<Vec<_>>(), KNOWN_WIDE, "allows too many arguments");
}
