//! The pages lead somewhere: in the repository, on docs.rs, and in the package.
//!
//! A page of the book links by labels (see src/book.rs). A label is the name of the page that it
//! leads to, and an anchor in it, if any. Pages that are not in the book are read as files only.

use super::{none, read, root, shown, sources};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The pages that are modules of `readily::book`.
fn pages() -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join("docs")).unwrap();
    let mut pages: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    pages.push(root().join("ARCHITECTURE.md"));
    pages.sort();
    pages
}

/// What other pages call this one: `04-timers`; `book` for the first page.
fn label_of(page: &Path) -> String {
    let stem = page.file_stem().unwrap().to_string_lossy().to_lowercase();
    match stem.as_str() {
        "readme" => "book".to_owned(),
        _ => stem,
    }
}

/// Where rustdoc has the page of a label: `crate::book::ch04_timers`.
fn module_of(label: &str) -> String {
    let name = label.replace('-', "_");
    match name.chars().next() {
        _ if label == "book" => "crate::book".to_owned(),
        Some('0'..='9') => format!("crate::book::ch{name}"),
        _ => format!("crate::book::{name}"),
    }
}

/// The lines of a page that are prose, with their numbers: no programs, and no quoted names.
fn prose(page: &str) -> Vec<(usize, String)> {
    let mut is_program = false;
    let mut lines = Vec::new();
    for (n, line) in page.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            is_program = !is_program;
        } else if !is_program {
            lines.push((n + 1, line.split('`').step_by(2).collect()));
        }
    }
    lines
}

/// The definitions of labels, `[label]: target`.
fn definitions(page: &str) -> BTreeMap<&str, &str> {
    let lines = page.lines().filter(|line| line.starts_with('['));
    let defined = lines.filter_map(|line| line[1..].split_once("]: "));
    defined.collect()
}

/// The id that both GitHub and rustdoc give to a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter_map(|c| match c {
        ' ' => Some('-'),
        '-' | '_' => Some(c),
        _ => c.is_alphanumeric().then(|| c.to_ascii_lowercase()),
    });
    kept.collect()
}

fn has_anchor(page: &str, wanted: &str) -> bool {
    let heading =
        |line: &str| line.starts_with('#') && anchor(line.trim_start_matches('#')) == wanted;
    page.contains(&format!("<a id=\"{wanted}\"></a>")) || page.lines().any(heading)
}

/// How the row of a table begins that says what a number such as `L1` stands for.
pub(super) fn numbered(number: &str) -> String {
    let id = number.to_ascii_lowercase();
    format!("**{number}**<a id=\"{id}\"></a>")
}

#[test]
fn a_link_can_lead_to_each_numbered_row() {
    let mut complaints = Vec::new();
    for path in pages() {
        let page = read(&path);
        let mut numbers = BTreeSet::new();
        for row in page.lines().filter_map(|line| line.strip_prefix("| **")) {
            let number = row.split("**").next().unwrap();
            let is_number = number.len() <= 4 && number[1..].parse::<u16>().is_ok();
            let begins = format!("| {} |", numbered(number));
            if is_number && !format!("| **{row}").starts_with(&begins) {
                complaints.push(format!(
                    "{}: the row of {number} should begin {begins}",
                    shown(&path)
                ));
            }
            if is_number && !numbers.insert(number) {
                complaints.push(format!("{}: {number} has two rows", shown(&path)));
            }
        }
    }
    none(complaints);
}

/// Whether a word is a number with a row of its own, such as `L2` or `N7`.
fn is_number(word: &str) -> bool {
    let Some((letter, digits)) = word.split_at_checked(1) else {
        return false;
    };
    "LCWTSPFQGXNR".contains(letter)
        && (1..=3).contains(&digits.len())
        && digits.bytes().all(|c| c.is_ascii_digit())
}

/// The numbers in a line that are not in brackets by themselves.
fn bare_numbers(line: &str) -> Vec<&str> {
    let mut bare = Vec::new();
    for piece in line.split('`').step_by(2) {
        for word in piece.split(|c: char| !c.is_alphanumeric() && !"[]".contains(c)) {
            let is_link = word.starts_with('[') && word.ends_with(']');
            let parts = word.split(['[', ']']);
            bare.extend(parts.filter(|part| !is_link && is_number(part)));
        }
    }
    bare
}

/// What is wrong with the numbers in the documentation of what is public. In a crate beside `readily`,
/// which cannot name its book, they lead to docs.rs.
fn wrong_numbers(path: &str, text: &str, rows: &BTreeMap<String, String>) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut bare = Vec::new();
    let mut is_program = false;
    for (n, line) in text.lines().enumerate() {
        let line = line.trim_start();
        let Some(doc) = line
            .strip_prefix("///")
            .or_else(|| line.strip_prefix("//!"))
        else {
            if line.starts_with("pub ") {
                complaints.append(&mut bare);
            } else if !line.starts_with("#[") {
                bare.clear();
            }
            continue;
        };
        is_program ^= doc.trim_start().starts_with("```");
        if is_program {
            continue;
        }
        if let Some((number, target)) = doc
            .trim_start()
            .strip_prefix('[')
            .and_then(|doc| doc.split_once("]: "))
        {
            let row = rows.get(number).map(String::as_str);
            if is_number(number)
                && row.is_some_and(|row| target != row && target != on_docs_rs(row))
            {
                complaints.push(format!(
                    "{path}:{}: [{number}] should lead to {}",
                    n + 1,
                    row.unwrap()
                ));
            }
            continue;
        }
        let found = bare_numbers(doc);
        bare.extend(
            found
                .iter()
                .map(|number| format!("{path}:{}: {number} should be a link, [{number}]", n + 1)),
        );
    }
    complaints
}

/// Where docs.rs has `crate::book::invariants#l2`.
fn on_docs_rs(row: &str) -> String {
    let (module, anchor) = row.split_once('#').unwrap();
    let page = module.trim_start_matches("crate::").replace("::", "/");
    format!("https://docs.rs/readily/latest/readily/{page}/index.html#{anchor}")
}

/// What each number stands for, as rustdoc names it.
fn rows() -> BTreeMap<String, String> {
    let mut rows = BTreeMap::new();
    for path in pages() {
        let page = read(&path);
        let numbers = page
            .lines()
            .filter_map(|line| line.strip_prefix("| **")?.split("**").next());
        for number in numbers.filter(|number| is_number(number)) {
            let module = module_of(&label_of(&path));
            let row = format!("{module}#{}", number.to_ascii_lowercase());
            rows.insert(number.to_owned(), row);
        }
    }
    rows
}

#[test]
fn the_numbers_in_public_documentation_are_links_to_their_rows() {
    let rows = rows();
    assert_eq!(rows["L2"], "crate::book::invariants#l2");
    assert_eq!(rows["N7"], "crate::book#n7");
    // Layer 1 is hidden from readers of the documentation.
    let shown_to_users = |path: &PathBuf| !path.starts_with(root().join("src/base"));
    let files = sources("src").into_iter().chain(sources("testing/src"));
    let files = files.filter(shown_to_users);
    none(
        files
            .flat_map(|path| wrong_numbers(&shown(&path), &read(&path), &rows))
            .collect(),
    );
}

#[test]
fn a_number_that_is_no_link_is_found() {
    let rows = rows();
    let wrong = |text: &str| wrong_numbers("x.rs", text, &rows);
    let link = "/// [`Elapsed`] holds ([L2], `L3`).\n///\n/// [L2]: crate::book::invariants#l2\npub fn x() {}\n";
    assert!(wrong(link).is_empty());
    let far = "//! [L2]\n//!\n//! [L2]: https://docs.rs/readily/latest/readily/book/invariants/index.html#l2\n";
    assert!(wrong(far).is_empty());
    assert!(
        wrong("/// L2.\npub(crate) fn x() {}\n/// ```\n/// L2\n/// ```\npub fn y() {}").is_empty()
    );
    assert_eq!(
        wrong("/// Of L2.\n#[must_use]\npub fn x() {}\n"),
        ["x.rs:1: L2 should be a link, [L2]"]
    );
    let other = wrong("/// [L2]\n///\n/// [L2]: crate::book#l2\npub fn x() {}");
    assert_eq!(
        other,
        ["x.rs:3: [L2] should lead to crate::book::invariants#l2"]
    );
}

/// What is wrong with where a link leads, seen from the folder of its page.
fn wrong_target(folder: &Path, target: &str) -> Option<String> {
    let (file, fragment) = target.split_once('#').unwrap_or((target, ""));
    let path = folder.join(file);
    if !path.exists() {
        return Some(format!("there is no {target}"));
    }
    let is_lost = !fragment.is_empty() && !has_anchor(&read(&path), fragment);
    is_lost.then(|| format!("there is no #{fragment} in {file}"))
}

/// The targets of inline links in a line: `[text](target)`.
fn inline(line: &str) -> impl Iterator<Item = &str> {
    let targets = line.split("](").skip(1);
    targets.filter_map(|rest| rest.split(')').next())
}

/// The labels in a text: `[label]`, and the second half of `[text][label]`.
fn bracketed(text: &str) -> impl Iterator<Item = &str> {
    let mut parts = text.split('[').skip(1).peekable();
    std::iter::from_fn(move || {
        let part = parts.next()?;
        let (inner, after) = part.split_once(']').unwrap_or_default();
        let has_label = after.is_empty() && parts.peek().is_some();
        Some(if has_label { "" } else { inner })
    })
}

/// What is wrong with the links of a page of the book; `links` are the definitions for rustdoc.
fn wrong_links(path: &Path, page: &str, links: &BTreeMap<&str, &str>) -> Vec<String> {
    let name = shown(path);
    let folder = path.parent().unwrap();
    let mut complaints = Vec::new();
    let mut text = String::new();
    for (n, line) in prose(page) {
        let leads_nowhere = inline(&line).filter(|to| !to.contains("://") && !to.starts_with('#'));
        complaints.extend(leads_nowhere.map(|to| {
            format!("{name}:{n}: on docs.rs ({to}) leads nowhere: write [text][page], and define it at the end")
        }));
        if !line.contains("]: ") || !line.starts_with('[') {
            text += &line;
            text += " ";
        }
    }
    let defined = definitions(page);
    for (label, target) in &defined {
        let wrong = |what: String| format!("{name}: [{label}]: {what}");
        complaints.extend(wrong_target(folder, target).map(wrong));
        let (file, fragment) = target.split_once('#').unwrap_or((target, ""));
        let hash = if fragment.is_empty() { "" } else { "#" };
        let of_page = label_of(Path::new(file));
        let expected = format!("{of_page}{hash}{fragment}");
        if *label != expected {
            complaints.push(wrong(format!("this label should be {expected}")));
        }
        let path = format!("{}{hash}{fragment}", module_of(&of_page));
        if links.get(label) != Some(&path.as_str()) {
            complaints.push(format!("src/book/links.md: there is no [{label}]: {path}"));
        }
        if !bracketed(&text).any(|inner| inner == *label) {
            complaints.push(wrong("nothing uses it".to_owned()));
        }
    }
    let used = bracketed(&text).filter(|inner| links.contains_key(inner));
    let lost = used.filter(|label| !defined.contains_key(label));
    complaints.extend(lost.map(|label| format!("{name}: [{label}] is not defined at its end")));
    complaints
}

#[test]
fn the_links_of_the_book_lead_to_the_same_page_in_the_repository_and_on_docs_rs() {
    let for_rustdoc = read(&root().join("src/book/links.md"));
    let links = definitions(&for_rustdoc);
    let check = |path: &PathBuf| wrong_links(path, &read(path), &links);
    let mut complaints: Vec<String> = pages().iter().flat_map(check).collect();
    let all: Vec<String> = pages().iter().map(|path| read(path)).collect();
    let unused = links.keys().filter(|label| {
        let is_page = pages().iter().any(|page| label_of(page) == **label);
        !is_page
            && !all
                .iter()
                .any(|page| definitions(page).contains_key(*label))
    });
    complaints.extend(unused.map(|label| format!("src/book/links.md: nothing uses [{label}]")));
    none(complaints);
}

#[test]
fn every_page_is_a_module_of_the_book_and_its_programs_are_compiled() {
    let book = read(&root().join("src/book.rs"));
    let mut complaints = Vec::new();
    for path in pages() {
        let module = module_of(&label_of(&path));
        let opened = match module.rsplit("::").next().unwrap() {
            "book" => "\n".to_owned(),
            name => format!("\npub mod {name} {{}}"),
        };
        let included = format!(
            "(doc, doc = include_str!(\"../{}\"))]{opened}",
            shown(&path)
        );
        if !book.contains(&included) {
            complaints.push(format!(
                "src/book.rs has no {module} that includes {}",
                shown(&path)
            ));
        }
    }
    let pages = book.matches("(doc, doc = include_str!(\"../").count();
    let linked = book
        .matches("(all(doc, not(doctest)), doc = include_str!(\"book/links.md\"))]")
        .count();
    assert_eq!(pages, linked, "each page has the links before it");
    none(complaints);
}

#[test]
fn every_chapter_leads_to_the_same_in_asyncio() {
    let is_chapter = |path: &&PathBuf| {
        let label = label_of(path);
        label == "production" || label.starts_with(|c: char| c.is_ascii_digit())
    };
    let leads = |path: &PathBuf| read(path).contains("\nThe same in asyncio:");
    let pages = pages();
    let lost = pages.iter().filter(is_chapter).filter(|path| !leads(path));
    none(
        lost.map(|path| format!("{}: where is the same in asyncio?", shown(path)))
            .collect(),
    );
}

/// The folders and files that the package has, from its manifest.
fn is_packed(path: &Path) -> bool {
    let manifest = read(&root().join("Cargo.toml"));
    let list = manifest.split("\ninclude = [").nth(1).unwrap();
    let list = list.split(']').next().unwrap();
    let below = path.strip_prefix(root()).unwrap();
    list.split('"')
        .skip(1)
        .step_by(2)
        .any(|entry| match entry.strip_suffix("/**") {
            Some(folder) => below.starts_with(folder),
            None => below == Path::new(entry),
        })
}

/// What is wrong with the links of a page that is read as a file of the package.
fn wrong_file_links(path: &Path, page: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if !is_packed(path) {
        complaints.push(format!("Cargo.toml does not include {}", shown(path)));
    }
    for (n, line) in prose(page) {
        let inside = inline(&line).filter(|to| !to.contains("://") && !to.starts_with('#'));
        for target in inside {
            let file = root().join(target.split('#').next().unwrap());
            let wrong = match wrong_target(root(), target) {
                None if !is_packed(&file) => Some(format!("{target} is not in the package")),
                wrong => wrong,
            };
            complaints.extend(wrong.map(|wrong| format!("{}:{n}: {wrong}", shown(path))));
        }
    }
    complaints
}

const FILES: &[&str] = &[
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
];

#[test]
fn the_links_of_the_readme_lead_to_what_is_in_the_package() {
    let check = |file: &&str| {
        let path = root().join(file);
        wrong_file_links(&path, &read(&path))
    };
    none(FILES.iter().flat_map(check).collect());
    assert!(
        pages().iter().all(|page| is_packed(page)),
        "the book is in the package"
    );
}

#[test]
fn a_link_that_leads_nowhere_is_found() {
    let path = root().join("docs/x.md");
    let links = definitions(
        "[faults]: crate::book::faults\n[invariants]: crate::book::faults\n[04-timers#x]: crate::book::ch04_timers#x",
    );
    let wrong = |page: &str| wrong_links(&path, page, &links);
    assert!(wrong("See [the faults][faults].\n\n[faults]: faults.md\n").is_empty());
    assert!(wrong("See [this](https://docs.rs/x), `[faults](x)` and `[faults]`.").is_empty());
    let inline = "docs/x.md:1: on docs.rs (faults.md) leads nowhere: write [text][page], and define it at the end";
    assert_eq!(wrong("See [it](faults.md)."), [inline]);
    assert_eq!(
        wrong("See [it][faults]."),
        ["docs/x.md: [faults] is not defined at its end"]
    );
    let unused = "docs/x.md: [faults]: nothing uses it";
    assert_eq!(wrong("See.\n\n[faults]: faults.md\n"), [unused]);
    let other = "src/book/links.md: there is no [invariants]: crate::book::invariants";
    assert_eq!(
        wrong("See [invariants].\n\n[invariants]: invariants.md\n"),
        [other]
    );
    let expected = [
        "docs/x.md: [04-timers#x]: there is no #x in 04-timers.md",
        "docs/x.md: [faults]: there is no ../faults.md",
    ];
    let page = "[04-timers#x] [faults]\n\n[04-timers#x]: 04-timers.md#x\n[faults]: ../faults.md\n";
    assert_eq!(wrong(page), expected);
    let label = "docs/x.md: [faults]: this label should be 04-timers";
    assert_eq!(wrong("[faults]\n\n[faults]: 04-timers.md\n")[0], label);
    let readme = root().join("README.md");
    let page = "[a](docs/nothing.md) [b](tests/tidy.rs) [c](docs/README.md#nothing) [d](docs/README.md#the-notes)";
    let expected = [
        "README.md:1: there is no docs/nothing.md",
        "README.md:1: tests/tidy.rs is not in the package",
        "README.md:1: there is no #nothing in docs/README.md",
    ];
    assert_eq!(wrong_file_links(&readme, page), expected);
}
