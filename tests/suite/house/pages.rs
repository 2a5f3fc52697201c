//! Pages: what they link to and name exists, and the code that they show is code that runs.

use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The pages of the repository, with their text.
fn pages() -> Vec<(PathBuf, String)> {
    let mut pages = Vec::new();
    for folder in [".", "docs", "tests/data"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "md") {
                let text = fs::read_to_string(&path).unwrap();
                pages.push((path, text));
            }
        }
    }
    assert!(pages.len() > 10, "{} pages", pages.len());
    pages
}

/// What stands between `open` and `close`, wherever that is on one line.
fn between<'a>(text: &'a str, open: &str, close: &str) -> Vec<&'a str> {
    let parts = text.lines().flat_map(|line| line.split(open).skip(1));
    parts.filter_map(|part| part.split_once(close).map(|(inner, _)| inner)).collect()
}

#[test]
fn links_lead_somewhere() {
    for (page, text) in pages() {
        for link in between(&text, "](", ")") {
            let target = link.split('#').next().unwrap_or_default();
            if !target.is_empty() && !target.contains("://") {
                assert!(page.parent().unwrap().join(target).exists(), "{}: {link}", page.display());
            }
        }
    }
}

#[test]
fn files_that_pages_name_exist() {
    for (page, text) in pages() {
        for name in text.split('`').skip(1).step_by(2) {
            let folders = ["src/", "docs/", "tests/", "examples/", "benches/"];
            let is_path = !name.contains(char::is_whitespace) && folders.iter().any(|folder| name.starts_with(folder));
            assert!(!is_path || root().join(name).exists(), "{}: there is no {name}", page.display());
        }
    }
}

#[test]
fn code_on_pages_is_from_the_examples() {
    let lines = |text: &str| -> Vec<String> {
        text.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned).collect()
    };
    let examples: Vec<Vec<String>> = fs::read_dir(root().join("examples"))
        .unwrap()
        .map(|entry| lines(&fs::read_to_string(entry.unwrap().path()).unwrap()))
        .collect();
    assert_eq!(examples.len(), 4);
    let mut blocks = 0;
    for (page, text) in pages() {
        // The front page is compiled with the documentation.
        if page.ends_with("README.md") {
            continue;
        }
        for block in text.split("```rust\n").skip(1) {
            let block = lines(block.split("```").next().unwrap_or_default());
            let found = examples.iter().any(|example| example.windows(block.len()).any(|window| window == block));
            assert!(found, "{}: no example has {block:#?}", page.display());
            blocks += 1;
        }
    }
    assert!(blocks >= 4, "{blocks} blocks");
}

#[test]
fn the_front_page_needs_no_pictures() {
    let text = fs::read_to_string(root().join("README.md")).unwrap();
    assert!(
        !text.contains("![") && !text.contains("<img"),
        "a picture is shown only where the repository's address is known"
    );
    assert!(text.contains("cargo run --release -- demo\ncargo test\n"), "the two commands");
}
