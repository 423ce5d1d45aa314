//! The steps of a turn have the same numbers in ARCHITECTURE.md and in the doc comments.

use super::{none, read, root, shown, sources};
use std::collections::BTreeSet;

/// The number in a doc comment that begins with `Step 4` or `Step 4.`.
fn step_of(line: &str) -> Option<usize> {
    let rest = line.trim_start().strip_prefix("/// Step ")?;
    let end = rest.find(|c: char| !c.is_ascii_digit())?;
    rest[..end].parse().ok()
}

/// The steps of the list, from 1: item by item, as text.
fn listed(page: &str) -> Vec<&str> {
    let section = page.split("\n## A turn\n").nth(1).unwrap_or_default();
    let section = section.split("\n## ").next().unwrap_or_default();
    let item = |n: usize| {
        let from = section.find(&format!("\n{n}. "))? + 1;
        let len = section[from..].find("\n\n").unwrap_or(section.len() - from);
        let item = &section[from..from + len];
        Some(item.split(&format!("\n{}. ", n + 1)).next().unwrap_or(item))
    };
    (1..).map_while(item).collect()
}

/// Functions whose comment has another number than the list, and the numbers of the comments.
fn wrong(text: &str, steps: &[&str]) -> (Vec<String>, BTreeSet<usize>) {
    let (mut complaints, mut found) = (Vec::new(), BTreeSet::new());
    let lines: Vec<&str> = text.lines().collect();
    for (n, line) in lines.iter().enumerate() {
        let Some(step) = step_of(line) else { continue };
        let name = lines[n..].iter().find_map(|line| {
            let rest = line.split_once("fn ").filter(|_| !line.contains("//"))?.1;
            rest.split(['(', '<']).next()
        });
        let name = name.unwrap_or_default();
        let fits = |item: &&str| item.contains(&format!("`{name}`"));
        if !step
            .checked_sub(1)
            .and_then(|at| steps.get(at))
            .is_some_and(fits)
        {
            complaints.push(format!("{}: `{name}` is not in step {step}", n + 1));
        }
        found.insert(step);
    }
    (complaints, found)
}

#[test]
fn the_steps_of_a_turn_have_the_numbers_of_the_page() {
    let page = read(&root().join("ARCHITECTURE.md"));
    let steps = listed(&page);
    assert!(steps.len() > 3, "the page has the steps: {steps:?}");
    let (mut complaints, mut found) = (Vec::new(), BTreeSet::new());
    for path in sources("src/event_loop") {
        let (wrong, numbers) = wrong(&read(&path), &steps);
        complaints.extend(
            wrong
                .iter()
                .map(|wrong| format!("{}:{wrong}", shown(&path))),
        );
        found.extend(numbers);
    }
    none(complaints);
    assert!(found.len() > 3, "the comments have numbers: {found:?}");
}

#[test]
fn a_step_with_the_number_of_another_is_found() {
    let page = "\n## A turn\n\n1. `checks` it.\n2. `wait`s,\n   and `sleep` more.\n\nAfter it.\n\n## Next\n3. `no`\n";
    let steps = listed(page);
    assert_eq!(
        steps,
        ["1. `checks` it.", "2. `wait`s,\n   and `sleep` more."]
    );
    let text =
        "/// Step 2. Sleeps.\n#[inline]\nfn sleep(&self) {}\n/// Step 1 of it.\nfn sleep<T>() {}\n";
    let (complaints, found) = wrong(text, &steps);
    assert_eq!(complaints, ["4: `sleep` is not in step 1"]);
    assert_eq!(found.len(), 2);
}
