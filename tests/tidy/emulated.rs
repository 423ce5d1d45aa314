//! The tests that may fail over an emulated kqueue: each is there, and so is the row that says why.

use super::{is_run, none, read, root};

/// What is wrong with the list in `.ci/kqueue-on-linux`: lines of `system | binary | test | row`.
/// `tables` are the pages that have the rows.
fn wrong_entries(list: &str, tables: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for entry in list.lines() {
        let cells: Vec<&str> = entry.split('|').map(str::trim).collect();
        let [_system, binary, test, row] = cells[..] else {
            complaints.push(format!("{entry}: not four cells"));
            continue;
        };
        // A test of a module, or of the binary's own file.
        let between = if test.contains("::") { "/" } else { "::" };
        if !is_run(&format!("{binary}{between}{test}")) {
            complaints.push(format!("there is no test {binary}{between}{test}"));
        }
        let begins = [format!("| {row} |"), format!("| `{row}` |")];
        if !tables
            .lines()
            .any(|line| begins.iter().any(|begin| line.starts_with(begin)))
        {
            complaints.push(format!("{test}: no table has a row: {row}"));
        }
    }
    complaints
}

#[test]
fn each_test_that_may_fail_over_an_emulated_kqueue_has_a_row_that_says_why() {
    let script = read(&root().join(".ci/kqueue-on-linux"));
    let list = script.split("cat <<'END'\n").nth(1).unwrap();
    let list = list.split("\nEND\n").next().unwrap();
    assert!(list.lines().count() > 5, "the script has its list");
    let pages = ["docs/11-testing.md", "docs/platforms.md"].map(|page| read(&root().join(page)));
    none(wrong_entries(list, &pages.concat()));
}

#[test]
fn a_test_or_a_row_that_is_not_there_is_found() {
    let tables = "| urgent data | yes |\n| `a name` | no |\n";
    let test = "descriptors::what_fails_for_want_of_descriptors_leaves_none_behind";
    let wrong = |entry: &str| wrong_entries(entry, tables);
    assert!(wrong(&format!("all | it | {test} | urgent data")).is_empty());
    assert!(wrong(&format!("all | it | {test} | a name")).is_empty());
    let reworded = format!("{test}: no table has a row: urgent");
    assert_eq!(wrong(&format!("all | it | {test} | urgent")), [reworded]);
    let lost = ["there is no test it/descriptors::nothing"];
    assert_eq!(wrong("all | it | descriptors::nothing | a name"), lost);
    assert_eq!(wrong("it | x | y"), ["it | x | y: not four cells"]);
}
