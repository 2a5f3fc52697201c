//! Which file of a source tree imports from which: a reader of `mod`, `use` and paths, good enough for code that rustfmt formats.
//!
//! An import through a re-export counts as one of the file that it leads to, and a re-export itself (`pub use`) as none: it is a
//! door. Tests do not count.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The importing file and the imported one, as paths within the source tree.
pub type Arrow = (&'static str, &'static str);

/// The roots of the crates in the tree; the first is the library, which the others call by name.
const ROOTS: &[&str] = &["lib.rs", "main.rs", "bin/ntk-profile/main.rs"];
const LIBRARY: &str = "ntk_score";

#[derive(Default)]
struct Module {
    file: String,
    parent: Option<usize>,
    children: BTreeMap<String, usize>,
    /// Names that a `use` brings in, with the path behind each; `true` for re-exports.
    uses: Vec<(String, Vec<String>, bool)>,
    /// Paths written out in the code.
    paths: Vec<Vec<String>>,
}

#[derive(Default)]
struct Tree {
    modules: Vec<Module>,
    roots: Vec<usize>,
}

/// All imports of one file from another.
pub fn arrows(source: &Path) -> BTreeSet<(String, String)> {
    let mut tree = Tree::default();
    for root in ROOTS {
        if source.join(root).exists() {
            let root = tree.read(source, PathBuf::from(root), None);
            tree.roots.push(root);
        }
    }
    let mut arrows = BTreeSet::new();
    for (at, module) in tree.modules.iter().enumerate() {
        let imports = module.uses.iter().filter(|(_, _, exported)| !exported).map(|(_, path, _)| path);
        for path in imports.chain(&module.paths) {
            if let Some(target) = tree.resolve(at, path, 0)
                && tree.modules[target].file != module.file
            {
                arrows.insert((module.file.clone(), tree.modules[target].file.clone()));
            }
        }
    }
    arrows
}

impl Tree {
    fn read(&mut self, source: &Path, file: PathBuf, parent: Option<usize>) -> usize {
        let code = fs::read_to_string(source.join(&file)).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let at = self.modules.len();
        let file_name = file.iter().map(|part| part.to_str().unwrap()).collect::<Vec<_>>().join("/");
        self.modules.push(Module { file: file_name, parent, ..Module::default() });
        let tokens = tokens(&code);
        let children = read_tokens(&tokens, &mut self.modules[at]);
        let stem = file.file_stem().unwrap().to_str().unwrap();
        let folder = file.parent().unwrap();
        let folder = if ["mod", "lib", "main"].contains(&stem) { folder.to_owned() } else { folder.join(stem) };
        for (child, given) in children {
            let mut candidates = vec![folder.join(format!("{child}.rs")), folder.join(&child).join("mod.rs")];
            if let Some(given) = given {
                candidates = vec![within(file.parent().unwrap(), &given)];
            }
            let path = candidates.into_iter().find(|path| source.join(path).exists());
            let path = path.unwrap_or_else(|| panic!("{}: no file for `mod {child};`", file.display()));
            let index = self.read(source, path, Some(at));
            self.modules[at].children.insert(child, index);
        }
        at
    }

    /// The module in which the last name of `path` is defined, if that is one of ours.
    fn resolve(&self, from: usize, path: &[String], depth: usize) -> Option<usize> {
        if depth > 16 {
            return None;
        }
        let root = |mut at: usize| {
            while let Some(parent) = self.modules[at].parent {
                at = parent;
            }
            at
        };
        let mut at = match path.first()?.as_str() {
            "crate" => root(from),
            "super" => self.modules[from].parent?,
            "self" => from,
            LIBRARY if root(from) != self.roots[0] => self.roots[0],
            child => {
                // A child, or a module that a `use` has brought in.
                if !self.modules[from].children.contains_key(child) {
                    return None;
                }
                return self.walk(from, path, depth);
            }
        };
        let mut rest = &path[1..];
        while rest.first().is_some_and(|name| name == "super") {
            at = self.modules[at].parent?;
            rest = &rest[1..];
        }
        self.walk(at, rest, depth)
    }

    fn walk(&self, mut at: usize, path: &[String], depth: usize) -> Option<usize> {
        for (position, name) in path.iter().enumerate() {
            if let Some(child) = self.modules[at].children.get(name) {
                at = *child;
                continue;
            }
            if let Some((_, target, _)) = self.modules[at].uses.iter().find(|(known, _, _)| known == name) {
                let further: Vec<String> = target.iter().chain(&path[position + 1..]).cloned().collect();
                return self.resolve(at, &further, depth + 1).or(Some(at));
            }
            break;
        }
        Some(at)
    }
}

/// `folder` and a path from there, without `..`.
fn within(folder: &Path, path: &str) -> PathBuf {
    let mut found = folder.to_owned();
    for part in path.split('/') {
        if part == ".." {
            found.pop();
        } else {
            found.push(part);
        }
    }
    found
}

/// Identifiers, `::`, strings and single characters, without comments and the tests at the end of the file.
fn tokens(code: &str) -> Vec<String> {
    let code = code.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let mut tokens = Vec::new();
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if first == '"' {
            let escaped = |at: usize| rest[..at].bytes().rev().take_while(|&b| b == b'\\').count() % 2 == 1;
            let end = rest.char_indices().skip(1).find(|&(at, c)| c == '"' && !escaped(at));
            let length = end.map_or(rest.len(), |(at, _)| at + 1);
            tokens.push(rest[..length].to_owned());
            length
        } else if rest.starts_with("'\"'") {
            3
        } else if first.is_alphanumeric() || first == '_' {
            let length = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
            tokens.push(rest[..length].to_owned());
            length
        } else if rest.starts_with("::") {
            tokens.push("::".to_owned());
            2
        } else {
            if !first.is_whitespace() {
                tokens.push(first.to_string());
            }
            first.len_utf8()
        };
        rest = &rest[length..];
    }
    tokens
}

/// Reads imports and paths into `module`, and returns its child files: their names, and their paths where those are given.
fn read_tokens(tokens: &[String], module: &mut Module) -> Vec<(String, Option<String>)> {
    let word = |at: usize| tokens.get(at).map_or("", String::as_str);
    let mut children = Vec::new();
    // How deep braces are, and where modules within the file began: a `super` in them leads to the file itself.
    let (mut depth, mut inner) = (0usize, Vec::new());
    let outward = |mut path: Vec<String>, inner: usize| {
        let skipped = path.iter().take(inner).take_while(|name| *name == "super").count();
        path.drain(..skipped);
        if skipped > 0 && path.first().is_none_or(|name| name != "super") {
            path.insert(0, "self".to_owned());
        }
        path
    };
    let mut at = 0;
    while at < tokens.len() {
        match word(at) {
            "mod" if word(at + 2) == ";" => {
                // `#[cfg(test)] mod tests;`
                if word(at + 1) != "tests" {
                    let given = at > 4 && word(at - 4) == "path";
                    children.push((word(at + 1).to_owned(), given.then(|| word(at - 2).trim_matches('"').to_owned())));
                }
                at += 3;
            }
            "mod" if word(at + 2) == "{" => {
                inner.push(depth);
                depth += 1;
                at += 3;
            }
            brace @ ("{" | "}") => {
                depth = if brace == "{" { depth + 1 } else { depth.saturating_sub(1) };
                inner.retain(|&began| began < depth);
                at += 1;
            }
            "use" => {
                let exported = at > 0 && (word(at - 1) == "pub" || word(at - 1) == ")");
                let mut leaves = Vec::new();
                at = use_tree(tokens, at + 1, &mut Vec::new(), &mut leaves);
                let leaves = leaves.into_iter().map(|(name, path)| (name, outward(path, inner.len()), exported));
                module.uses.extend(leaves);
            }
            _ if word(at + 1) == "::" && (at == 0 || !["::", "$", "in"].contains(&word(at - 1))) => {
                let mut path = vec![word(at).to_owned()];
                while word(at + 1) == "::" && word(at + 2).starts_with(|c: char| c.is_alphabetic() || c == '_') {
                    path.push(word(at + 2).to_owned());
                    at += 2;
                }
                module.paths.push(outward(path, inner.len()));
                at += 1;
            }
            _ => at += 1,
        }
    }
    children
}

/// Reads one branch of a `use` from `at` on; returns where it ends.
fn use_tree(
    tokens: &[String],
    mut at: usize,
    prefix: &mut Vec<String>,
    leaves: &mut Vec<(String, Vec<String>)>,
) -> usize {
    let depth = prefix.len();
    loop {
        match tokens[at].as_str() {
            "{" => {
                at += 1;
                while tokens[at] != "}" {
                    at = use_tree(tokens, at, prefix, leaves);
                    at += usize::from(tokens[at] == ",");
                }
                at += 1;
                break;
            }
            "::" => at += 1,
            "as" => {
                leaves.push((tokens[at + 1].clone(), prefix.clone()));
                at += 2;
                break;
            }
            "," | "}" | ";" => {
                // `a::{self}` brings in `a`.
                if prefix.len() > 1 && prefix.last().is_some_and(|name| name == "self") {
                    prefix.pop();
                }
                leaves.push((prefix.last().cloned().unwrap_or_default(), prefix.clone()));
                break;
            }
            name => {
                prefix.push(name.to_owned());
                at += 1;
            }
        }
    }
    prefix.truncate(depth);
    at
}

/// The sets of files that import each other, directly or around.
pub fn circles(arrows: &BTreeSet<(String, String)>) -> Vec<BTreeSet<String>> {
    let mut next: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (from, to) in arrows {
        next.entry(from).or_default().push(to);
    }
    let reached = |start: &str| {
        let mut reached = BTreeSet::new();
        let mut waiting = vec![start];
        while let Some(file) = waiting.pop() {
            for &to in next.get(file).into_iter().flatten() {
                if reached.insert(to.to_owned()) {
                    waiting.push(to);
                }
            }
        }
        reached
    };
    let reached: BTreeMap<&str, BTreeSet<String>> = next.keys().map(|&file| (file, reached(file))).collect();
    let mut circles: Vec<BTreeSet<String>> = Vec::new();
    for (&file, all) in &reached {
        if all.contains(file) && !circles.iter().any(|circle| circle.contains(file)) {
            let back = |other: &&String| reached.get(other.as_str()).is_some_and(|r| r.contains(file));
            circles.push(all.iter().filter(back).cloned().collect());
        }
    }
    circles
}

#[test]
fn the_reader_reads() {
    let code = "#[path = \"../x.rs\"]\nmod x;\npub(super) mod tile;\npub use a::{B, c::D as E};\nuse crate::x::{self, y::Z};\n// use super::no;\n\
                fn f() -> String { tile::cover(\"use super::no;\"); crate::w::v() }\n\
                mod inner { use super::Here; use super::super::There; }\n#[cfg(test)]\nmod tests {\nuse super::*;\n}\n";
    let mut module = Module::default();
    let children = read_tokens(&tokens(code), &mut module);
    assert_eq!(children, [("x".to_owned(), Some("../x.rs".to_owned())), ("tile".to_owned(), None)]);
    let found: Vec<String> =
        module.uses.iter().map(|(name, path, exported)| format!("{name} {} {exported}", path.join("::"))).collect();
    let outer = ["B a::B true", "E a::c::D true", "x crate::x false", "Z crate::x::y::Z false"];
    assert_eq!(found[..4], outer);
    assert_eq!(found[4..], ["Here self::Here false", "There super::There false"]);
    let paths: Vec<String> = module.paths.iter().map(|path| path.join("::")).collect();
    assert_eq!(paths, ["tile::cover", "crate::w::v"]);
    let arrows = [("a", "b"), ("b", "c"), ("c", "a"), ("c", "d")].map(|(f, t)| (f.to_owned(), t.to_owned()));
    assert_eq!(circles(&arrows.into()), [["a", "b", "c"].map(str::to_owned).into()]);
}
