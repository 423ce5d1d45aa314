//! The house rules that a machine can check: layers, unsafe code, file heads, the index of
//! invariants.
//!
//! Each test reads the sources as text, and reports the file and the line of each violation.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

#[path = "tidy/book.rs"]
mod book;
#[path = "tidy/circles.rs"]
mod circles;
#[path = "tidy/emulated.rs"]
mod emulated;
#[path = "tidy/growth.rs"]
mod growth;
#[path = "tidy/hosting.rs"]
mod hosting;
#[path = "tidy/invariants.rs"]
mod invariants;
#[path = "tidy/mutants.rs"]
mod mutants;
#[path = "tidy/names.rs"]
mod names;
#[path = "tidy/parity.rs"]
mod parity;
#[path = "tidy/paths.rs"]
mod paths;
#[path = "tidy/steps.rs"]
mod steps;
#[path = "tidy/words.rs"]
mod words;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// All Rust files below `folder`, sorted.
fn sources(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root().join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|ending| ending == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "there are sources below {folder}");
    found
}

/// All Rust files of the three crates.
fn library_sources() -> Vec<PathBuf> {
    LIBRARIES
        .iter()
        .flat_map(|folder| sources(folder))
        .collect()
}

/// The source folders of the three crates.
const LIBRARIES: [&str; 3] = ["src", "sys/src", "testing/src"];

/// A path as it is printed.
fn shown(path: &Path) -> String {
    path.strip_prefix(root())
        .unwrap_or(path)
        .display()
        .to_string()
}

/// The lines of a file that are not tests, with their numbers. Tests are at the end of a file.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let end = text.find("\n#[cfg(test)]\nmod tests").unwrap_or(text.len());
    text[..end]
        .lines()
        .enumerate()
        .map(|(n, line)| (n + 1, line))
}

/// Fails with all complaints, not only with the first.
fn none(complaints: Vec<String>) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// The layers, from the lowest. A module may use modules of lower layers only.
const LAYERS: &[&[&str]] = &[
    &["base"],
    &["poll"],
    &["event_loop"],
    &["task"],
    &["blocking"],
    &[
        "time",
        "combine",
        "group",
        "io",
        "sync",
        "signal",
        "transport",
    ],
    &["process", "run", "spi"],
    &["process_pool", "cores"],
    &["lib", "book"],
];

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// The module of the crate that a file belongs to.
fn module(path: &Path) -> String {
    let below = path.strip_prefix(root().join("src")).unwrap();
    let first = below
        .components()
        .next()
        .unwrap()
        .as_os_str()
        .to_string_lossy()
        .into_owned();
    first.trim_end_matches(".rs").to_owned()
}

/// The modules of the crate that are named in a line of code.
fn named(line: &str) -> impl Iterator<Item = &str> {
    line.split("crate::").skip(1).map(|rest| {
        rest.split(|c: char| !c.is_alphanumeric() && c != '_')
            .next()
            .unwrap_or_default()
    })
}

fn wrong_imports(module: &str, path: &str, text: &str) -> Vec<String> {
    let own = layer(module).unwrap_or_else(|| panic!("{path}: {module} has no layer"));
    let mut complaints = Vec::new();
    for (n, line) in code(text) {
        if line.trim_start().starts_with("//") || line.contains("$crate::") {
            continue; // a link may point anywhere; a macro names the root as its user does
        }
        for name in named(line) {
            // Macros and names at the root belong to the root.
            let other = layer(name).unwrap_or(LAYERS.len() - 1);
            let below = other < own || name == module || own == LAYERS.len() - 1;
            if !below {
                complaints.push(format!("{path}:{n}: {module} must not know of {name}"));
            }
        }
    }
    complaints
}

#[test]
fn imports_point_down() {
    let check = |path: &PathBuf| wrong_imports(&module(path), &shown(path), &read(path));
    none(sources("src").iter().flat_map(check).collect());
}

#[test]
fn an_import_that_points_up_or_sideways_is_found() {
    let up = wrong_imports("poll", "x.rs", "use crate::event_loop::Key;\n");
    assert_eq!(up, ["x.rs:1: poll must not know of event_loop"]);
    let sideways = wrong_imports("io", "x.rs", "\nuse crate::time::sleep;\n");
    assert_eq!(sideways, ["x.rs:2: io must not know of time"]);
    assert!(wrong_imports("io", "x.rs", "use crate::task::waiters::Waiters;").is_empty());
}

/// R138: MIPS, PowerPC and older ARM have no 64-bit atomics, so that each use needs a fallback.
#[test]
fn atomics_of_64_bits_stand_in_one_file() {
    let is_wide = |path: &PathBuf| {
        let text = read(path);
        text.contains("AtomicU64") || text.contains("AtomicI64")
    };
    let mut all = library_sources();
    all.retain(is_wide);
    let found: Vec<_> = all.iter().map(|path| shown(path)).collect();
    assert_eq!(found, ["src/base/unique_id.rs"]);
    assert!(read(&all[0]).contains("#[cfg(not(target_has_atomic = \"64\"))]"));
}

/// The lines with `unsafe` in `sys`, and in the files above it that may have any. They may fall
/// without notice; they rise only with a reason in the commit. Three lines are a flag per call for
/// reading and writing, the readiness of one descriptor, and `ppoll(2)`; three are the timer of a
/// host; two are the table of one process that its child does not use, and one is the alarm that
/// ends a child in a test; two are the comparison of open files and the thread that makes it; eighteen are the handler of signals,
/// actions and masks, and the signals that a test raises; seven are the mask that a new thread inherits;
/// nineteen are the status of a child, signals to it, its mask and its descriptor; four are what a worker
/// does to itself; sixteen are the processors of a thread, on three systems;
/// one lends a descriptor to the standard library; nineteen are the descriptors of a message, the credentials of
/// a peer, the lock of a folder and an abstract name; six are datagrams, one or many, and the name of a sender; fifteen are a header and its tail in one block; twenty-one are the queue whose closures are run from
/// their slots. In the
/// cell, two lend a task to its own waker, for the queue of ready tasks, six are a waker in one word,
/// ten release the share of the loop's thread without a locked instruction, six are a waker that is sent
/// to another thread's loop, one is the executor of a header, and two release a share in a test. Beside it
/// are one word for a waiter or a box, the counts of what all tasks share, and the list of all tasks.
const UNSAFE_IN_SYS: usize = 300;
const CELL: &str = "src/task/cell.rs";
const UNSAFE_IN_CELL: [(&str, usize); 4] = [
    (CELL, 71),
    ("src/task/cell/extra.rs", 3),
    ("src/task/cell/loop_ref.rs", 21),
    ("src/task/cell/task_list.rs", 6),
];
/// The test tools: code that makes wakers by hand, and uses descriptors as no program does.
const UNSAFE_IN_KIT: [(&str, usize); 2] = [
    ("testing/src/for_tests.rs", 8),
    ("testing/src/hostile_waker.rs", 13),
];

#[test]
fn unsafe_stands_in_sys_and_in_one_file_and_does_not_spread() {
    let is_unsafe = |line: &str| {
        let line = line.split("//").next().unwrap_or_default();
        line.split(|c: char| !c.is_alphanumeric() && c != '_')
            .any(|word| word == "unsafe")
    };
    let mut complaints = Vec::new();
    let may = |path: &Path| {
        let path = shown(path);
        let mut files = UNSAFE_IN_CELL.iter().chain(&UNSAFE_IN_KIT);
        files.any(|(file, _)| *file == path)
    };
    let places = ["src", "testing/src", "examples"];
    for path in places.iter().flat_map(|place| sources(place)) {
        for (n, line) in read(&path).lines().enumerate() {
            // A line that denies or allows unsafe code has the lint's name, `unsafe_code`.
            if is_unsafe(line) && !may(&path) {
                complaints.push(format!("{}:{}: {line}", shown(&path), n + 1));
            }
        }
    }
    none(complaints);
    for library in ["src/lib.rs", "testing/src/lib.rs"] {
        assert!(read(&root().join(library)).contains("#![deny(unsafe_code)]"));
    }
    let allowed = |path: &PathBuf| read(path).matches("allow(unsafe_code)").count();
    assert_eq!(sources("src").iter().map(allowed).sum::<usize>(), 1);
    let beside = read(&root().join("src/task/mod.rs"));
    assert!(beside.contains("#[allow(unsafe_code)]\nmod cell;"));
    let within = read(&root().join(CELL));
    for file in ["end_waiter", "header", "state", "waker"] {
        assert!(within.contains(&format!("#[forbid(unsafe_code)]\nmod {file};")));
    }
    let count = |path: &PathBuf| {
        let text = read(path);
        text.lines().filter(|line| is_unsafe(line)).count()
    };
    let found: usize = sources("sys/src").iter().map(count).sum();
    for (file, limit) in UNSAFE_IN_CELL.iter().chain(&UNSAFE_IN_KIT) {
        let found = count(&root().join(file));
        println!("lines with unsafe: {found} in {file}");
        assert!(found <= *limit, "{found} in {file}; the limit is {limit}");
    }
    println!("lines with unsafe: {found} in sys");
    assert!(
        found <= UNSAFE_IN_SYS,
        "{found} in sys; the limit is {UNSAFE_IN_SYS}"
    );
}

/// The items that the unsafe code of a task's cell relies on. They must be private to its module,
/// so that the compiler refuses a call from another file of `task`.
const CELL_RESTS_ON: &[(&str, &[&str])] = &[
    (
        "src/task/cell/header.rs",
        &[
            "struct LocalPart {",
            "vtable:",
            "wake_state:",
            "local_part:",
            "links:",
            "previous:",
            "next:",
            "fn inc_ref(",
            "fn dec_ref(",
            "fn new(",
        ],
    ),
    ("src/task/cell/extra.rs", &["struct Extra<R>("]),
    (
        "src/task/cell/loop_ref.rs",
        &["struct LoopPtr<L>(", "fn into_ptr("],
    ),
    ("src/task/cell/task_list.rs", &["fn set("]),
    (
        "src/task/cell/state.rs",
        &[
            "enum Body {",
            "fn new(",
            "fn is(",
            "fn begin_poll(",
            "fn park(",
            "fn end_poll(",
            "fn take_future(",
            "fn take_output(",
            "fn put_output_back(",
        ],
    ),
    (
        "src/task/cell/waker.rs",
        &[
            "struct WakeState {",
            "shared:",
            "ref_count:",
            "struct RefCount(",
            "fn add(",
            "fn release(",
        ],
    ),
];

#[test]
fn what_the_unsafe_code_of_a_task_rests_on_is_private_to_its_module() {
    let mut complaints = Vec::new();
    for (file, items) in CELL_RESTS_ON {
        let text = read(&root().join(file));
        for item in *items {
            let private = text
                .lines()
                .any(|line| line.trim_start().starts_with(&format!("pub(super) {item}")));
            if !private {
                complaints.push(format!("{file}: {item} is not pub(super)"));
            }
        }
    }
    none(complaints);
    let module = read(&root().join(CELL));
    let handed_out: Vec<&str> = module
        .lines()
        .filter(|line| line.starts_with("pub(super) use "))
        .collect();
    assert_eq!(
        handed_out,
        [
            "pub(super) use header::{Header, SpawnInfo};",
            "pub(super) use loop_ref::LoopRef;",
            "pub(super) use poll_cx::{PollCx, error_after_drop};",
            "pub(super) use state::{Cancel, Detach};",
            "pub(super) use task_list::{CurrentTask, TaskList};",
        ]
    );
}

/// Uses of thread-locals that panic at the end of a thread, when a destructor runs (R096): all but
/// `try_with`.
fn wrong_thread_locals(path: &str, text: &str) -> Vec<String> {
    let names: Vec<&str> = text
        .split("thread_local!")
        .skip(1)
        .flat_map(|block| block.split("\n}").next().unwrap_or_default().lines())
        .filter_map(|line| line.split_once("static ")?.1.split(':').next())
        .collect();
    let mut complaints = Vec::new();
    for (n, line) in code(text) {
        for name in &names {
            let called = format!("{name}.");
            let uses = line.match_indices(&called).map(|(at, found)| {
                let is_part = |c: char| c.is_alphanumeric() || c == '_';
                (!line[..at].ends_with(is_part)).then(|| &line[at + found.len()..])
            });
            if uses.flatten().any(|rest| !rest.starts_with("try_with(")) {
                complaints.push(format!("{path}:{n}: {name} is used without try_with"));
            }
        }
    }
    complaints
}

#[test]
fn thread_locals_are_asked_whether_they_are_still_there() {
    let files = library_sources();
    let check = |path: PathBuf| wrong_thread_locals(&shown(&path), &read(&path));
    none(files.into_iter().flat_map(check).collect());
    let text = "thread_local! {\n    static A: Cell<u8> = const { Cell::new(0) };\n}\n\
                fn f() {\n    A.set(1);\n    let _ = A.try_with(Cell::get);\n}\n";
    let found = wrong_thread_locals("x.rs", text);
    assert_eq!(found, ["x.rs:5: A is used without try_with"]);
}

#[test]
fn every_file_says_what_it_is_for() {
    let places = ["src", "sys/src", "testing/src", "examples", "tests"];
    let complaints = places
        .iter()
        .flat_map(|place| sources(place))
        .filter_map(|path| {
            let text = read(&path);
            let header = text
                .lines()
                .take_while(|line| line.starts_with("//!"))
                .count();
            (header == 0).then(|| format!("{}:1: no header", shown(&path)))
        });
    none(complaints.collect());
}

#[test]
fn nothing_is_left_unfinished_or_unwrapped() {
    let words = [
        "todo!(",
        "unimplemented!(",
        "dbg!(",
        ".unwrap()",
        "FIXME",
        "XXX",
        "HACK",
    ];
    let mut complaints = Vec::new();
    for path in library_sources() {
        if path.ends_with("tests.rs") {
            continue;
        }
        for (n, line) in code(&read(&path)) {
            let is_doc = line.trim_start().starts_with("//");
            for word in words.iter().filter(|word| line.contains(*word)) {
                if !(is_doc && *word == ".unwrap()") {
                    complaints.push(format!("{}:{n}: {word}", shown(&path)));
                }
            }
        }
    }
    none(complaints);
}

/// The files that are longer than 320 lines, and the reason.
const LONG: &[(&str, &str)] = &[
    (
        "src/event_loop/loop_handle.rs",
        "the types that are recursive need each other, and stand in one file",
    ),
    (
        "src/task/executor.rs",
        "states, rules and transitions of a task are read together",
    ),
    (
        "src/io/watched.rs",
        "its rules are read with the code that keeps them",
    ),
    (
        "src/event_loop/register.rs",
        "most of it is the public documentation",
    ),
    ("src/poll/mod.rs", "most of it is the public documentation"),
    (
        "src/poll/fd.rs",
        "a method for each operation, each with its documentation",
    ),
    (
        "src/event_loop/event_loop.rs",
        "most of it is the public documentation",
    ),
    ("src/poll/mod.rs", "most of it is the public documentation"),
    ("src/base/timer_heap.rs", "the heap and its tests"),
    (
        "src/event_loop/registry.rs",
        "the state of a registration and the table of them",
    ),
    (
        "src/event_loop/scheduling.rs",
        "most of it is the public documentation",
    ),
    (
        "src/task/cell.rs",
        "all that is unsafe about a task is argued in one place",
    ),
    (
        "testing/src/conformance/hangups.rs",
        "the promises about ends are read together",
    ),
    (
        "testing/src/replay/recorder.rs",
        "a method for each operation of a poller, a clock and a descriptor",
    ),
    (
        "testing/src/replay/replayer.rs",
        "a method for each operation of a poller, a clock and a descriptor",
    ),
    (
        "testing/src/strategies/op.rs",
        "the table of operations and its text",
    ),
    (
        "testing/src/strategies/generate.rs",
        "how a program is chosen, and the operands of each operation",
    ),
    (
        "testing/src/strategies/descriptors.rs",
        "a function for each operation",
    ),
    (
        "testing/src/strategies/streams.rs",
        "a function for each operation",
    ),
    (
        "testing/src/strategies/scripted.rs",
        "callbacks and tasks that run the same scripts",
    ),
    (
        "testing/src/strategies/model.rs",
        "the state of a loop and each of its changes",
    ),
    (
        "src/task/cell/state.rs",
        "the states of a task, and all of its transitions",
    ),
    (
        "testing/src/strategies/checker.rs",
        "the next call, and the comparison with it",
    ),
    (
        "testing/src/strategies/runner.rs",
        "a run of a program, from its first operation to its end",
    ),
];

#[test]
fn a_file_is_a_page_of_ideas() {
    let long = |path: &PathBuf| {
        let text = read(path);
        // Targets of links are at the end of a comment, after a blank line.
        let is_target =
            |line: &str| line.trim_start().starts_with("//") && line.contains("]: crate::");
        let all: Vec<&str> = code(&text).map(|(_, line)| line).collect();
        let blank = |two: &&[&str]| is_target(two[1]) && !is_target(two[0]);
        let targets = all.iter().filter(|line| is_target(line)).count();
        let lines = all.len() - targets - all.windows(2).filter(blank).count();
        let name = shown(path);
        let excused = LONG.iter().any(|(file, _)| *file == name);
        (lines > 320 && !excused).then(|| format!("{name}: {lines} lines"))
    };
    none(library_sources().iter().filter_map(long).collect());
}

fn is_coroutine(line: &str) -> bool {
    let returned = ["-> Sleep {", "-> impl Future<"];
    line.starts_with("pub async fn") || returned.iter().any(|returned| line.contains(returned))
}

/// The documentation of each public future describes what dropping it loses.
#[test]
fn every_public_coroutine_says_what_dropping_it_loses() {
    let mut complaints = Vec::new();
    for path in library_sources() {
        let text = read(&path);
        let mut docs: Vec<&str> = Vec::new();
        for (n, line) in code(&text) {
            let line = line.trim();
            if line.starts_with("///") {
                docs.push(line);
            } else if is_coroutine(line) {
                if line.starts_with("pub") && !docs.contains(&"/// # Cancellation") {
                    complaints.push(format!("{}:{n}: no # Cancellation", shown(&path)));
                }
                docs.clear();
            } else if !line.starts_with("#[") {
                docs.clear();
            }
        }
    }
    none(complaints);
}

/// The numbers of invariants in a text: a letter of the index and one or two digits.
fn numbers(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let is_number = |word: &&str| {
        let (letter, digits) = word.split_at(word.len().min(1));
        "LCWTSPFQGXMD".contains(letter)
            && !letter.is_empty()
            && (1..=2).contains(&digits.len())
            && digits.chars().all(|c| c.is_ascii_digit())
    };
    words.filter(is_number).map(str::to_owned).collect()
}

#[test]
fn the_index_of_invariants_is_honest() {
    let index = read(&root().join("docs/invariants.md"));
    // A row: | **L1** | sentence | where upheld | tests |
    let rows: BTreeMap<String, &str> = index
        .lines()
        .filter(|line| line.starts_with("| **"))
        .map(|line| (line[4..].split("**").next().unwrap().to_owned(), line))
        .collect();
    assert_eq!(rows.len(), 76, "the index has its rows");
    let mut complaints = Vec::new();
    let mut cited = BTreeSet::new();
    for path in sources("src").into_iter().chain(sources("testing/src")) {
        let text = read(&path);
        let comments: String = text
            .lines()
            .filter(|line| line.contains("//"))
            .fold(String::new(), |all, line| {
                all + line.split_once("//").map_or("", |(_, comment)| comment) + "\n"
            });
        for number in numbers(&comments) {
            if !rows.contains_key(&number) {
                complaints.push(format!(
                    "{} cites {number}, which is not there",
                    shown(&path)
                ));
            }
            cited.insert(number);
        }
    }
    for (number, row) in &rows {
        if !cited.contains(number) {
            complaints.push(format!("{number} is cited nowhere in src"));
        }
        complaints.extend(broken_references(number, row));
    }
    none(complaints);
}

/// Whether a function is a test, in a property block too, or in the list of a program with a `main` of its
/// own.
fn is_test(text: &str, name: &str) -> bool {
    let listed = text.split_once("= tests![").map(|(_, list)| list);
    let mut listed = listed.into_iter().flat_map(|list| list.split(']').next());
    if listed.any(|list| list.lines().any(|line| line.trim() == format!("{name},"))) {
        return true;
    }
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    let place = lines
        .iter()
        .position(|line| line.starts_with(&format!("fn {name}(")));
    place.is_some_and(|place| {
        let above = lines[..place]
            .iter()
            .rev()
            .take_while(|line| line.starts_with("#["));
        above.into_iter().any(|line| *line == "#[test]")
    })
}

/// Checks a row: each `file.rs` exists, each `test_name` after it is a function of that file, and
/// the test or its file cites the number, so that a search for the number finds the tests.
fn broken_references(number: &str, row: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let mut text = String::new();
    let mut tests = 0;
    // The cells after the sentence: the code that upholds it, and the tests.
    let cells = row.split(" | ").skip(2);
    for quoted in cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)) {
        if quoted.ends_with(".rs") {
            let path = root().join(quoted);
            if !path.is_file() {
                complaints.push(format!("{number}: there is no {quoted}"));
                continue;
            }
            text = read(&path);
        } else if !text.contains(&format!("fn {quoted}")) {
            complaints.push(format!(
                "{number}: `{quoted}` is not a function of the file before it"
            ));
        } else if is_test(&text, quoted) {
            tests += 1;
            if !invariants::is_cited(number, &text, quoted) {
                complaints.push(format!(
                    "{number}: neither `{quoted}` nor the head of its file cites it"
                ));
            }
        }
    }
    if tests == 0 {
        complaints.push(format!("{number} names no test"));
    }
    complaints
}

/// The catalogue of faults has each number up to this one; later rows are checked too.
const FAULTS: usize = 99;

/// The file of a test that is named `it/x::name`, `alloc::name` or `src/x::name`, or of a promise
/// of a poller that is named `conformance/x::name`.
fn home_of(file: &str) -> PathBuf {
    let folder = match file.split('/').next() {
        Some("src" | "sys") => "",
        Some("testing") if file.contains('/') => "",
        Some("conformance") => "testing/src",
        _ => "tests",
    };
    root().join(folder).join(format!("{file}.rs"))
}

/// Whether `file::name` is a test that is run. A promise is run if it is in the list of promises.
fn is_run(reference: &str) -> bool {
    let Some((file, name)) = reference.split_once("::") else {
        return false;
    };
    let text = fs::read_to_string(home_of(file)).unwrap_or_default();
    if file.starts_with("conformance/") {
        let promises = read(&root().join("testing/src/conformance/mod.rs"));
        text.contains(&format!("fn {name}(")) && promises.contains(&format!(" {name},"))
    } else {
        is_test(&text, name)
    }
}

/// The errors of a page that should have a row for each fault, and in each row a test or a reason:
/// | **R001** and its anchor | what | `file::test`, … or *why there is none* |
fn wrong_rows(page: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let number = |row: &str| row.get(..3)?.parse().ok();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| **R"));
    let mut all: BTreeSet<usize> = rows.filter_map(number).collect();
    all.extend(1..=FAULTS);
    for n in all {
        let head = format!("| {} |", book::numbered(&format!("R{n:03}")));
        let mut rows = page.lines().filter(|line| line.starts_with(&head));
        let (Some(row), None) = (rows.next(), rows.next()) else {
            complaints.push(format!("R{n:03} has not one row"));
            continue;
        };
        let shown_by = row.split(" | ").nth(2).unwrap_or_default();
        let tests: Vec<&str> = shown_by.split('`').skip(1).step_by(2).collect();
        if tests.is_empty() && !shown_by.starts_with('*') {
            complaints.push(format!("R{n:03} has neither a test nor a reason"));
        }
        let lost = tests.iter().filter(|test| !is_run(test));
        complaints.extend(lost.map(|test| format!("R{n:03}: {test} is no test")));
    }
    complaints
}

#[test]
fn the_catalogue_of_faults_is_whole_and_names_tests_that_are_there() {
    none(wrong_rows(&read(&root().join("docs/faults.md"))));
}

#[test]
fn a_fault_without_a_row_or_with_a_test_that_is_not_there_is_found() {
    let row = |n: usize, shown_by: &str| {
        let fault = book::numbered(&format!("R{n:03}"));
        format!("| {fault} | what | {shown_by} |\n")
    };
    let page = |changed: usize, row_of_it: &str| -> String {
        let others = |n| row(n, "*there is none*");
        (1..=FAULTS)
            .map(|n| {
                if n == changed {
                    row_of_it.into()
                } else {
                    others(n)
                }
            })
            .collect()
    };
    let wrong = |row_of_it: &str| wrong_rows(&page(7, row_of_it));
    assert!(wrong(&row(7, "*no reason to*")).is_empty());
    let own = "`tidy::imports_point_down`";
    assert!(wrong(&row(7, own)).is_empty());
    assert_eq!(wrong(""), ["R007 has not one row"]);
    assert_eq!(wrong(&row(7, "")), ["R007 has neither a test nor a reason"]);
    for not_a_test in ["tidy::wrong_rows", "tidy::nothing", "it/nowhere::x", "tidy"] {
        let both = format!("{own}, `{not_a_test}`");
        assert_eq!(
            wrong(&row(7, &both)),
            [format!("R007: {not_a_test} is no test")]
        );
    }
    let beyond = page(7, &row(7, own)) + &row(FAULTS + 20, "`tidy::nothing`");
    let complaint = format!("R{}: tidy::nothing is no test", FAULTS + 20);
    assert_eq!(wrong_rows(&beyond), [complaint]);
    // A promise that is not in the list of promises is not run.
    assert!(is_run(
        "conformance/waits::a_notification_before_the_wait_ends_it"
    ));
    assert!(!is_run("conformance/backends::tcp"));
}

#[test]
fn the_present_version_has_a_heading_in_the_changelog() {
    let heading = format!("## {}", env!("CARGO_PKG_VERSION"));
    let changelog = read(&root().join("CHANGELOG.md"));
    assert!(
        changelog.lines().any(|line| line.starts_with(&heading)),
        "{heading}"
    );
}
