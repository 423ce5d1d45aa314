//! Imports inside a folder point down, too: files that import each other in a circle can only be read
//! together. In `event_loop` and `task`, whose `mod.rs` declares the files by layer, none imports a layer
//! above.
//!
//! The sources are read as text. A file imports another if a path in its code leads there, in a `use` or
//! written out, also through a re-export. Tests, comments and the `mod.rs` of the folder do not count. A
//! file and the folder of its own modules are one.

use super::paths::{leaves, origin};
use super::{code, none, read, root, sources};
use std::collections::{BTreeMap, BTreeSet};

/// The circles that may stay, with their folder: a stream, its methods and its halves.
const CIRCLES: &[(&str, &[&str])] = &[("io", &["byte_stream", "split", "tcp"])];

/// The attributes of modules that are compiled for tests only.
const FOR_TESTS: [&str; 3] = [
    "#[cfg(test)]",
    "#[cfg(all(loom, test))]",
    "#[cfg(all(test, not(loom)))]",
];

/// The texts of the modules, by their paths without `crate::`.
type Modules = BTreeMap<String, String>;

/// What is imported inside a folder: from which file, by which, with which path.
type Imports = BTreeMap<(String, String), BTreeSet<String>>;

fn modules_of_the_crate() -> Modules {
    let src = root().join("src");
    let files = sources("src").into_iter().map(|path| {
        let below = path.strip_prefix(&src).unwrap().with_extension("");
        let module = below.to_str().unwrap().replace('/', "::");
        let module = module.trim_end_matches("::mod").to_owned();
        (module, read(&path))
    });
    files.collect()
}

/// The path of the module around `module`; empty for the root of the crate.
fn above(module: &str) -> &str {
    module.rsplit_once("::").map_or("", |(above, _)| above)
}

/// Whether `module`, or one around it, is declared for tests only.
fn is_for_tests(module: &str, modules: &Modules) -> bool {
    let (around, name) = module.rsplit_once("::").unwrap_or(("lib", module));
    let is_declared = modules.get(around).is_some_and(|text| {
        let declared = |attribute: &str| {
            let after = text.split(attribute).skip(1);
            let mut lines = after.filter_map(|rest| rest.lines().nth(1));
            lines.any(|line| line.ends_with(&format!("mod {name};")))
        };
        FOR_TESTS.iter().any(|attribute| declared(attribute))
    });
    is_declared || around != "lib" && is_for_tests(around, modules)
}

/// The code of a module, without its tests and comments.
fn without_tests(text: &str) -> String {
    let mut kept = String::new();
    let mut before = "";
    for (_, line) in code(text) {
        if FOR_TESTS.contains(&before) && line.starts_with("mod ") && line.ends_with('{') {
            break;
        }
        before = line;
        kept += line.split("//").next().unwrap_or_default();
        kept.push('\n');
    }
    kept
}

/// The paths that begin with `crate`, `super` or `self`.
fn written_paths(text: &str) -> Vec<String> {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = ["crate::", "super::", "self::"]
        .iter()
        .filter_map(|start| text[from..].find(start))
        .min()
        .map(|at| from + at)
    {
        let mut depth = 0;
        let len = text[at..].find(|c: char| {
            depth += i32::from(c == '{') - i32::from(c == '}');
            depth < 0 || depth == 0 && !(is_part(c) || c == ':' || c == '}')
        });
        let end = len.map_or(text.len(), |len| at + len);
        // A macro names the root as its user does.
        if !text[..at].ends_with(|c: char| is_part(c) || c == '$') {
            found.extend(leaves(&text[at..end]).into_iter().map(|(path, _)| path));
        }
        from = end;
    }
    found
}

/// The modules that a path in `module` leads to: where its item is made, and those that re-export it.
fn targets(module: &str, path: &str, modules: &Modules) -> BTreeSet<String> {
    let (mut at, mut rest) = (module, path);
    if let Some(below) = rest.strip_prefix("crate::") {
        (at, rest) = ("", below);
    }
    while let Some(below) = rest.strip_prefix("super::") {
        (at, rest) = (above(at), below);
    }
    rest = rest.strip_prefix("self::").unwrap_or(rest);
    let mut full = at.to_owned();
    let mut found = BTreeSet::new();
    // To the first name that is no module: a variant or a function of the item does not matter.
    for name in rest.split("::").filter(|name| !name.is_empty()) {
        let is_module = full.is_empty() || modules.contains_key(&full);
        if !is_module {
            break;
        }
        full = match &*full {
            "" => name.to_owned(),
            _ => format!("{full}::{name}"),
        };
    }
    let text = |module: &str| modules.get(module).cloned();
    loop {
        let module = match modules.contains_key(&full) {
            true => &*full,
            false => above(&full),
        };
        found.insert(module.to_owned());
        let next = origin(&full, &text);
        if next == full {
            return found;
        }
        full = next;
    }
}

/// The file or folder of `folder` that has `module`.
fn child<'a>(folder: &str, module: &'a str) -> Option<&'a str> {
    let below = match folder {
        "" => module,
        _ => module.strip_prefix(folder)?.strip_prefix("::")?,
    };
    below.split("::").next()
}

/// The imports inside each folder.
fn imports(modules: &Modules) -> BTreeMap<&str, Imports> {
    let folders = modules.keys().map(|module| above(module));
    let folders: BTreeSet<&str> = folders.filter(|folder| !folder.is_empty()).collect();
    let mut all: BTreeMap<&str, Imports> = BTreeMap::new();
    for (module, text) in modules.iter().filter(|(it, _)| !is_for_tests(it, modules)) {
        for path in written_paths(&without_tests(text)) {
            for target in targets(module, &path, modules) {
                for &folder in &folders {
                    let (by, of) = (child(folder, module), child(folder, &target));
                    if let (true, Some(by), Some(of)) = (by != of, by, of) {
                        let key = (by.to_owned(), of.to_owned());
                        let paths = all.entry(folder).or_default().entry(key).or_default();
                        paths.insert(path.clone());
                    }
                }
            }
        }
    }
    all
}

/// The files that `from` needs, itself or by way of others.
fn reached<'a>(from: &'a str, imports: &'a Imports) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut left = vec![from];
    while let Some(at) = left.pop() {
        let next = imports.keys().filter(|(by, _)| by == at);
        left.extend(next.map(|(_, of)| &**of).filter(|of| found.insert(*of)));
    }
    found
}

/// The circles of imports in one folder.
fn circles(imports: &Imports) -> BTreeSet<BTreeSet<&str>> {
    let files: BTreeSet<&str> = imports.keys().map(|(by, _)| &**by).collect();
    let circle = |file| {
        let all = reached(file, imports);
        let back = |other: &&str| reached(other, imports).contains(file);
        all.into_iter().filter(back).collect::<BTreeSet<_>>()
    };
    files
        .into_iter()
        .map(circle)
        .filter(|it| !it.is_empty())
        .collect()
}

/// The circles that are not `named`, each with its imports, and those that are named and not there.
fn wrong_circles(modules: &Modules, named: &[(&str, &[&str])]) -> Vec<String> {
    let mut complaints = Vec::new();
    let all = imports(modules);
    let mut left: BTreeSet<_> = named
        .iter()
        .map(|&(folder, files)| (folder, files.iter().copied().collect::<BTreeSet<_>>()))
        .collect();
    for (folder, imports) in &all {
        for circle in circles(imports) {
            if left.remove(&(folder, circle.clone())) {
                continue;
            }
            complaints.push(format!("{folder}: these import each other: {circle:?}"));
            let inside =
                |(by, of): &(String, String)| circle.contains(&**by) && circle.contains(&**of);
            for ((by, of), paths) in imports.iter().filter(|(key, _)| inside(key)) {
                let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
                complaints.push(format!("  {by} imports {of}: {}", paths.join(", ")));
            }
        }
    }
    let gone =
        |(folder, circle)| format!("{folder}: {circle:?} is no circle any more: shorten the list");
    complaints.extend(left.into_iter().map(gone));
    complaints
}

#[test]
fn imports_inside_a_folder_point_down() {
    none(wrong_circles(&modules_of_the_crate(), CIRCLES));
}

/// The layers of a folder whose `mod.rs` is `text`: the highest first, with a blank line between two.
fn layers(text: &str) -> BTreeMap<&str, usize> {
    let mut layers = BTreeMap::new();
    for (layer, group) in text.split("\n\n").enumerate() {
        for line in group.lines() {
            let line = line.strip_prefix("pub(crate) ").unwrap_or(line);
            if let Some((name, _)) = line.strip_prefix("mod ").and_then(|it| it.split_once(';')) {
                layers.insert(name, layer);
            }
        }
    }
    layers
}

/// The imports inside `folder` that lead to a layer above.
fn imports_of_a_layer_above(folder: &str, modules: &Modules) -> Vec<String> {
    let layers = layers(&modules[folder]);
    let all = imports(modules);
    let upward = |(by, of): &&(String, String)| layers[&**by] > layers[&**of];
    let found = all[folder].keys().filter(upward);
    found
        .map(|(by, of)| format!("{folder}: {by} imports {of}, of a layer above"))
        .collect()
}

#[test]
fn the_files_of_the_loop_and_of_tasks_import_no_layer_above() {
    let modules = modules_of_the_crate();
    for (folder, ordered) in [
        ("event_loop", ["turn", "scheduling", "loop_handle", "inbox"]),
        ("task", ["handle", "executor", "cell", "tasks"]),
    ] {
        let layers = layers(&modules[folder]);
        assert!(ordered.is_sorted_by(|above, below| layers[above] < layers[below]));
        none(imports_of_a_layer_above(folder, &modules));
    }

    let top = "mod a;\n\n// Parts.\npub(crate) mod b;\nmod c;\n";
    let found = |a, b| {
        let files = [
            ("x", top),
            ("x::a", a),
            ("x::b", b),
            ("x::c", "struct C;\n"),
        ];
        imports_of_a_layer_above("x", &folder(&files))
    };
    let none: [&str; 0] = [];
    assert_eq!(found("use super::b;\n", "use super::c;\n"), none);
    assert_eq!(
        found("struct A;\n", "use super::a::A;\n"),
        ["x: b imports a, of a layer above"]
    );
}

/// The modules of a crate with these files.
fn folder(files: &[(&str, &str)]) -> Modules {
    let all = files
        .iter()
        .map(|&(file, text)| (file.to_owned(), text.to_owned()));
    all.collect()
}

#[test]
fn files_that_import_each_other_are_found() {
    let top = (
        "x",
        "mod a;\nmod b;\nmod c;\npub(crate) use a::A;\npub use c::{C, D as E};\n",
    );
    let wrong = |a: &str, b: &str, c: &str| {
        let below = [("x::a", a), ("x::b", b), ("x::c", c)];
        wrong_circles(&folder(&[[top].as_slice(), &below].concat()), &[])
    };
    let (a, c) = (
        "use super::b::{self, B};\npub struct A;\n",
        "pub struct C;\npub struct D;\n",
    );
    let none: [&str; 0] = [];
    assert_eq!(wrong(a, "pub struct B;\n", c), none);
    assert_eq!(wrong(a, "use super::c::C;\nuse super::E;\n", c), none);
    for back in [
        "use super::a::A;\n",
        "use crate::x::{\n    c::C,\n    a::A,\n};\n",
        "use super::A;\n",
        "fn f() -> super::A {}\n",
        "fn f() {\n    crate::x::a::f::<u8>(super::C)\n}\n",
    ] {
        let found = wrong(a, back, c);
        assert_eq!(found[0], "x: these import each other: {\"a\", \"b\"}");
        assert!(found[1].starts_with("  a imports b: super::b"), "{found:?}");
        assert!(found[2].starts_with("  b imports a: "), "{found:?}");
    }
    let long = wrong(a, "use super::c::C;\n", "use crate::x::a::A;\n");
    assert_eq!(long[0], "x: these import each other: {\"a\", \"b\", \"c\"}");
    for no_import in [
        "// use super::a::A;\n",
        "/// [`A`](super::a::A)\npub struct B;\n",
        "pub struct B;\n\n#[cfg(test)]\nmod tests {\n    use super::super::a::A;\n}\n",
        "pub struct B;\n\n#[cfg(all(test, not(loom)))]\nmod tests {\n    use crate::x::A;\n}\n",
    ] {
        assert_eq!(wrong(a, no_import, c), none, "{no_import}");
    }
    // The models of `b` are a file of their own, for tests only.
    let models = [
        top,
        ("x::a", a),
        ("x::b", "#[cfg(all(loom, test))]\npub(super) mod models;\n"),
        ("x::b::models", "use super::super::a::A;\n"),
    ];
    assert_eq!(wrong_circles(&folder(&models), &[]), none);
    let named: &[(&str, &[&str])] = &[("x", &["a", "b"])];
    let gone = wrong_circles(&folder(&[top, ("x::a", a)]), named);
    assert_eq!(
        gone,
        ["x: {\"a\", \"b\"} is no circle any more: shorten the list"]
    );
    let both = [top, ("x::a", a), ("x::b", "use super::A;\n")];
    assert_eq!(wrong_circles(&folder(&both), named), none);
}
