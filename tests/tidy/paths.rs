//! Each public name has one public path: it is at the root of the crate, or in its module.
//!
//! With two paths to one name, two programs spell it differently, and the documentation lists it twice.
//! The root has what nearly every program uses. The sources are read as text: from `lib.rs` through the
//! public modules, with each `pub use` followed to the file of its item.

use super::{code, none, root};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;

/// The names that have a second one, and why.
const ALIASES: &[(&str, &str)] = &[(
    "task::handle::spawn",
    "the notes and asyncio call it create_task (N18)",
)];

/// At most so many names are at the root.
const AT_THE_ROOT: usize = 50;

/// The text of a module, by its path without `crate::`; the root is the empty path.
pub(super) type Sources<'a> = &'a dyn Fn(&str) -> Option<String>;

fn of_the_crate(module: &str) -> Option<String> {
    source_in("src", module)
}

fn of_the_kit(module: &str) -> Option<String> {
    source_in("testing/src", module)
}

fn source_in(src: &str, module: &str) -> Option<String> {
    let at = match module {
        "" => "lib".to_owned(),
        _ => module.replace("::", "/"),
    };
    let src = root().join(src);
    let files = [format!("{at}.rs"), format!("{at}/mod.rs")];
    files
        .iter()
        .find_map(|file| fs::read_to_string(src.join(file)).ok())
}

fn join(module: &str, name: &str) -> String {
    match module {
        "" => name.to_owned(),
        _ => format!("{module}::{name}"),
    }
}

/// The paths in a tree of `use`, without aliases: `a::{b, c::d as e}` has `a::b` and `a::c::d`, under
/// the names `b` and `e`.
pub(super) fn leaves(tree: &str) -> Vec<(String, String)> {
    let tree = tree.trim();
    let Some(open) = tree.find('{') else {
        let (path, alias) = tree.split_once(" as ").unwrap_or((tree, ""));
        let last = path.rsplit("::").next().unwrap_or(path);
        let name = if alias.is_empty() { last } else { alias };
        return vec![(path.trim().to_owned(), name.trim().to_owned())];
    };
    let (prefix, inner) = (&tree[..open], &tree[open + 1..tree.rfind('}').unwrap()]);
    let (mut depth, mut parts) = (0, vec![String::new()]);
    for c in inner.chars() {
        depth += i32::from(c == '{') - i32::from(c == '}');
        match c {
            ',' if depth == 0 => parts.push(String::new()),
            _ => parts.last_mut().unwrap().push(c),
        }
    }
    let parts = parts.iter().filter(|part| !part.trim().is_empty());
    let below = parts.flat_map(|part| leaves(part));
    below
        .map(|(path, name)| (format!("{prefix}{path}"), name))
        .collect()
}

/// The `use` declarations of a module that begin with one of `starts`, as leaves with full paths.
fn uses(module: &str, text: &str, starts: &[&str]) -> Vec<(String, String)> {
    let lines: Vec<&str> = code(text).map(|(_, line)| line).collect();
    let text = format!("\n{}", lines.join("\n"));
    let mut found = Vec::new();
    for start in starts {
        for rest in text.split(&format!("\n{start}use ")).skip(1) {
            let tree = rest.split(';').next().unwrap_or_default();
            for (path, name) in leaves(&tree.replace('\n', " ")) {
                let above = module.rsplit_once("::").map_or("", |(above, _)| above);
                let full = if let Some(path) = path.strip_prefix("crate::") {
                    path.to_owned()
                } else if let Some(path) = path.strip_prefix("super::") {
                    join(above, path)
                } else {
                    join(module, path.strip_prefix("self::").unwrap_or(&path))
                };
                found.push((full, name));
            }
        }
    }
    found
}

/// Where an item is made that is at `path`, maybe because its module uses it from another.
pub(super) fn origin(path: &str, sources: Sources<'_>) -> String {
    let (module, name) = path.rsplit_once("::").unwrap_or(("", path));
    let all = ["", "pub ", "pub(crate) ", "pub(super) "];
    let text = sources(module).unwrap_or_default();
    let from = uses(module, &text, &all)
        .into_iter()
        .find(|(full, as_name)| as_name == name && full != path);
    from.map_or_else(|| path.to_owned(), |(full, _)| origin(&full, sources))
}

/// What a line at the left margin makes public: `pub fn sleep(` and its like.
fn made(line: &str) -> Option<&str> {
    let rest = line.strip_prefix("pub ")?;
    let rest = ["unsafe ", "async ", "const "]
        .iter()
        .fold(rest, |rest, word| match rest.strip_prefix(word) {
            Some(more) if more.starts_with("fn ") || more.starts_with("unsafe ") => more,
            _ => rest,
        });
    let kinds = [
        "struct ", "enum ", "trait ", "fn ", "const ", "static ", "type ",
    ];
    let rest = kinds.iter().find_map(|kind| rest.strip_prefix(kind))?;
    rest.split(|c: char| !c.is_alphanumeric() && c != '_')
        .next()
}

/// All public paths below `module`, which is public as `shown`, by the place where each item is made.
fn walk(
    module: &str,
    shown: &str,
    sources: Sources<'_>,
    paths: &mut BTreeMap<String, BTreeSet<String>>,
) {
    let text = sources(module).unwrap_or_default();
    let mut is_hidden = false;
    for (_, line) in code(&text) {
        if let Some(name) = made(line) {
            let item = join(module, name);
            paths.entry(item).or_default().insert(join(shown, name));
        }
        if let Some(name) = line
            .strip_prefix("pub mod ")
            .and_then(|it| it.strip_suffix(';'))
        {
            if !is_hidden {
                walk(&join(module, name), &join(shown, name), sources, paths);
            }
        }
        let is_attribute = line.starts_with("#[") || line.starts_with("//");
        let hides = line.contains("doc(hidden)") || line.contains("cfg(doc)");
        is_hidden = is_attribute && (is_hidden || hides);
    }
    for (full, name) in uses(module, &text, &["pub "]) {
        match sources(&full) {
            // `combine::gather` is a file and, in `pub use combine::gather::gather`, its function.
            Some(_) => walk(&full, &join(shown, &name), sources, paths),
            None => {
                let item = origin(&full, sources);
                paths.entry(item).or_default().insert(join(shown, &name));
            }
        }
    }
}

fn public_paths(sources: Sources<'_>) -> BTreeMap<String, BTreeSet<String>> {
    let mut paths = BTreeMap::new();
    walk("", "", sources, &mut paths);
    paths
}

/// The public paths of the crate.
pub(super) fn all_public_paths() -> BTreeSet<String> {
    public_paths(&of_the_crate)
        .into_values()
        .flatten()
        .collect()
}

fn with_two_paths(paths: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let is_excused = |item: &str| ALIASES.iter().any(|(alias, _)| *alias == item);
    let twice = paths
        .iter()
        .filter(|(item, all)| all.len() > 1 + usize::from(is_excused(item)));
    twice
        .map(|(item, all)| {
            let all: Vec<&str> = all.iter().map(String::as_str).collect();
            format!("{item} has more than one public path: {}", all.join(", "))
        })
        .collect()
}

#[test]
fn each_public_name_has_one_path() {
    let paths = public_paths(&of_the_crate);
    for (item, path) in [
        ("task::handle::Task", "Task"),
        ("task::future::Future", "task::Future"),
        ("base::clock::Manual", "clock::Manual"),
        ("event_loop::report::Unhandled", "Unhandled"),
    ] {
        let found = paths.get(item);
        assert!(found.is_some_and(|all| all.contains(path)), "{item}");
    }
    assert!(paths.len() > 150, "public items: {}", paths.len());
    let all = paths.values().flatten();
    let at_the_root = all.filter(|path| !path.contains("::")).count();
    assert!(at_the_root <= AT_THE_ROOT, "at the root: {at_the_root}");
    none(with_two_paths(&paths));
}

#[test]
fn each_public_name_of_the_kit_has_one_path() {
    let paths = public_paths(&of_the_kit);
    let kernel = paths.get("sim::Kernel");
    assert!(kernel.is_some_and(|all| all.contains("Kernel")));
    assert!(paths.len() > 30, "public items: {}", paths.len());
    none(with_two_paths(&paths));
}

#[test]
fn a_name_with_two_paths_is_found() {
    let tree = |module: &str| {
        let text = match module {
            "" => {
                "pub mod task;\n#[cfg(doc)]\npub mod book;\nmod run;\npub use run::{Runner, run};\n\
                 pub use task::{handle::{Task, spawn},\n    other::Other as Another};\n\
                 pub use task::handle::spawn as create_task;\n"
            }
            "run" => "pub struct Runner;\npub fn run() {}\n",
            "task" => {
                "pub(crate) mod handle;\nmod other;\npub(crate) use handle::spawn;\n\
                 pub use handle::Task;\npub use self::other::Other;\npub fn own() {}\n"
            }
            "task::handle" => "pub const fn spawn() {}\npub struct Task;\n",
            "task::other" => "pub enum Other {}\npub(crate) struct Private;\n",
            "book" => "pub fn run() {}",
            _ => return None,
        };
        Some(text.to_owned())
    };
    let paths = public_paths(&tree);
    let expected = [
        "task::handle::Task has more than one public path: Task, task::Task",
        "task::other::Other has more than one public path: Another, task::Other",
    ];
    assert_eq!(with_two_paths(&paths), expected);
    assert_eq!(paths.len(), 6, "{paths:?}");
}
