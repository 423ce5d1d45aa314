//! The parity table does not promise what is not there: each name of ours is public, and each test
//! is run.
//!
//! A row of docs/asyncio.md is asyncio's names, ours, the difference, and the tests. A row without a
//! name of ours says why, in italics.

use super::paths::all_public_paths;
use super::{code, is_run, none, read, root, sources};
use std::collections::BTreeSet;
use std::sync::OnceLock;

/// Whether `text` has `word` by itself.
fn has_word(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        !text[..at].ends_with(is_part) && !text[at + word.len()..].starts_with(is_part)
    })
}

/// Whether a name is public: at the root, or in `module`.
fn is_exported(module: Option<&str>, name: &str) -> bool {
    static PATHS: OnceLock<BTreeSet<String>> = OnceLock::new();
    let paths = PATHS.get_or_init(all_public_paths);
    let path = module.map_or_else(|| name.to_owned(), |module| format!("{module}::{name}"));
    let is_macro = || {
        sources("src")
            .iter()
            .any(|path| read(path).contains(&format!("macro_rules! {name} ")))
    };
    let is_module = || {
        paths
            .iter()
            .any(|other| other.starts_with(&format!("{path}::")))
    };
    paths.contains(&path) || is_module() || is_macro()
}

/// The types for which the macros of a file are called, each as the first of several arguments.
pub(super) fn made_for(text: &str) -> BTreeSet<String> {
    let names = text.split("macro_rules! ").skip(1);
    let names = names.filter_map(|rest| rest.split(' ').next());
    let calls: Vec<String> = names.map(|name| format!("\n{name}!(")).collect();
    let mut owners = BTreeSet::new();
    if calls.is_empty() {
        return owners;
    }
    for path in sources("src") {
        let user = read(&path);
        for call in &calls {
            let first = |arguments: &str| {
                arguments
                    .split(',')
                    .next()
                    .map(str::trim)
                    .map(str::to_owned)
            };
            owners.extend(user.split(call).skip(1).filter_map(first));
        }
    }
    owners
}

/// Whether a file has an `impl` of this type, or its trait, or a macro for it, and a function of this name
/// in it.
fn has_method(owner: &str, method: &str) -> bool {
    sources("src").iter().any(|path| {
        let text = read(path);
        let is_its = |line: &str| {
            (line.starts_with("impl") || line.contains("trait ")) && has_word(line, owner)
        };
        text.contains(&format!("fn {method}"))
            && (code(&text).any(|(_, line)| is_its(line)) || made_for(&text).contains(owner))
            && [format!("fn {method}("), format!("fn {method}<")]
                .iter()
                .any(|start| text.contains(start))
    })
}

/// Whether `name`, as the table has it, is there: `run`, `Task::cancel`, `sync::Lock`,
/// `sync::Lock::acquire`, `task_local!`.
fn is_there(name: &str) -> bool {
    let name = name.trim_end_matches('!').trim_end_matches("()");
    let parts: Vec<&str> = name.split("::").collect();
    let is_module = |part: &str| part.starts_with(char::is_lowercase);
    match parts[..] {
        [name] => is_exported(None, name),
        [module, name] if is_module(module) => is_exported(Some(module), name),
        [owner, method] => is_exported(None, owner) && has_method(owner, method),
        [module, owner, method] => is_exported(Some(module), owner) && has_method(owner, method),
        _ => false,
    }
}

fn is_row(line: &str) -> bool {
    line.starts_with("| ") && !line.starts_with("| asyncio |")
}

fn wrong_rows(page: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for row in page.lines().filter(|line| is_row(line)) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let ["", theirs, ours, _why, shown_by, ""] = cells[..] else {
            complaints.push(format!("{row}: not four cells"));
            continue;
        };
        let quoted = |cell: &str| -> Vec<String> {
            cell.split('`')
                .skip(1)
                .step_by(2)
                .map(str::to_owned)
                .collect()
        };
        let (names, tests) = (quoted(ours), quoted(shown_by));
        let left_out = ours.starts_with('*');
        if left_out {
            continue;
        }
        if names.is_empty() || tests.is_empty() {
            complaints.push(format!("{theirs}: has no name of ours, or no test"));
        }
        let lost = names.iter().filter(|name| !is_there(name));
        complaints.extend(lost.map(|name| format!("{theirs}: there is no {name}")));
        let lost = tests.iter().filter(|test| !is_run(test));
        complaints.extend(lost.map(|test| format!("{theirs}: {test} is no test")));
    }
    complaints
}

#[test]
fn the_parity_table_names_what_is_there() {
    let page = read(&root().join("docs/asyncio.md"));
    let rows = page.lines().filter(|line| is_row(line)).count();
    assert!(rows >= 60, "the table has its rows: {rows}");
    none(wrong_rows(&page));
}

/// What a search of the documentation finds: names of items, and their aliases. (`await` is in the language.)
fn searchable() -> BTreeSet<String> {
    let mut found = BTreeSet::from(["await".to_owned()]);
    for path in all_public_paths() {
        found.extend(path.split("::").map(str::to_owned));
    }
    for text in sources("src").iter().map(|path| read(path)) {
        for (_, line) in code(&text) {
            let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
            while let Some(word) = words.next() {
                if ["fn", "struct", "enum", "trait", "mod", "macro_rules"].contains(&word) {
                    found.extend(words.find(|word| !word.is_empty()).map(str::to_owned));
                }
            }
            let alias = line.trim().strip_prefix("#[doc(alias = \"");
            found.extend(
                alias
                    .and_then(|alias| alias.split('"').next())
                    .map(str::to_owned),
            );
        }
    }
    found
}

/// asyncio's names in the first cells of rows that have a name of ours, without those that `found` has. Programs, which
/// have spaces or brackets, are no names.
fn not_found(page: &str, found: &BTreeSet<String>) -> Vec<String> {
    let rows = page.lines().filter(|line| is_row(line));
    let theirs = rows.filter_map(|row| {
        let mut cells = row.split('|').map(str::trim).skip(1);
        let theirs = cells.next()?;
        (!cells.next()?.starts_with('*')).then_some(theirs)
    });
    let names = theirs.flat_map(|cell| cell.split('`').skip(1).step_by(2));
    names
        .filter(|name| {
            name.chars()
                .all(|c| c.is_alphanumeric() || c == '_' || c == '.')
        })
        .filter_map(|name| name.rsplit('.').next())
        .filter(|name| !found.contains(*name))
        .map(|name| format!("a search finds nothing for asyncio's {name}"))
        .collect()
}

#[test]
fn a_search_for_a_name_of_asyncio_finds_what_it_is_called_here() {
    none(not_found(
        &read(&root().join("docs/asyncio.md")),
        &searchable(),
    ));
}

#[test]
fn a_name_of_asyncio_that_a_search_does_not_find_is_found() {
    let page = "
| `run`, `loop.run_for_ever` | `run` | | |
| `with x()`, `loop.run_until_complete` | `run` | | |
| `loop.sock_nothing` | *left out* | | |
";
    let expected = ["a search finds nothing for asyncio's run_for_ever"];
    assert_eq!(not_found(page, &searchable()), expected);
}

#[test]
fn a_name_or_a_test_that_is_not_there_is_found() {
    let page = "
| `run` | `run` | | `it/tasks::nobody` |
| `x` | `Task::nothing` | | `src/base/slab::an_old_key_finds_nothing_after_its_slot_was_reused` |
| `y` | `nothing`, `sync::nothing`, `io::TcpStream` | | |
| `z` | *left out* | because | |
";
    let expected = [
        "`run`: it/tasks::nobody is no test",
        "`x`: there is no Task::nothing",
        "`y`: has no name of ours, or no test",
        "`y`: there is no nothing",
        "`y`: there is no sync::nothing",
    ];
    assert_eq!(wrong_rows(page), expected);
}
