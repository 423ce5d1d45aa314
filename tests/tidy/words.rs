//! Words that are not used any more, each with the better one; and pronouns that are for people.
//!
//! A name of the field is found by a reader who has never seen this project; one made up at home has
//! to be learnt. What was renamed once must not come back by habit.

use super::{none, read, root, shown, sources};
use std::collections::BTreeMap;
use std::fs;

/// Identifiers that were renamed throughout, and what to write instead.
const RETIRED: &[(&str, &str)] = &[
    ("Admitted", "PutOutcome"),
    ("Afar", "CrossLoopWait"),
    ("Alarm", "LazyTimer"),
    ("Allowance", "BudgetGuard"),
    ("AnyFd", "FdRef"),
    ("AnyKernel", "VirtualKernel"),
    ("Birth", "SpawnInfo"),
    ("BrokenBarrier", "BrokenBarrierError"),
    ("CellRef", "TaskPtr"),
    ("Chance", "Rng"),
    ("Coro", "CoroutineInfo"),
    ("DECIDED", "TABLE"),
    ("DoneKey", "DoneCallbackKey"),
    ("DoneTooOften", "TaskDoneError"),
    ("Expiry", "Action"),
    ("FreedKey", "FdWaitKey"),
    ("Ghost", "StaleDescriptor"),
    ("GiveWay", "Yield"),
    ("InvalidState", "InvalidStateError"),
    ("Jobs", "Scheduler"),
    ("Joined", "TypedTask"),
    ("Keeper", "SourceCallbacks"),
    ("KernelFd", "VirtualFd"),
    ("Kinds", "Branches"),
    ("LOOK_AFTER", "EVENT_INTERVAL"),
    ("Letter", "Message"),
    ("MAIN_JOB", "MAIN_TASK"),
    ("Mailbox", "ThreadQueue"),
    ("NOBODY", "NO_TASK"),
    ("Nascent", "NewTask"),
    ("NewFd", "FdOwned"),
    ("NoValue", "ChildFailed"),
    ("NumberHasher", "IntHasher"),
    ("NumberMap", "FdTable"),
    ("PlaceNumber", "TicketId"),
    ("PutBack", "RestoreOnDrop"),
    ("RUNG", "NOTIFIED"),
    ("ReleasedTooOften", "ReleaseError"),
    ("ScopeOver", "ScopeEnded"),
    ("Serves", "MatchOnDrop"),
    ("Shelf", "QueueState"),
    ("Standing", "State"),
    ("Stuck", "Deadlock"),
    ("SystemQueue", "SystemKqueue"),
    ("Tape", "Recording"),
    ("UNCOUNTED", "UNLIMITED"),
    ("Untold", "UnclaimedPanic"),
    ("Verdict", "HangupAction"),
    ("WORN", "RETIRED_SOON"),
    ("Wakes", "WakeBatch"),
    ("Wakeup", "WakeState"),
    ("await_ring", "await_notification"),
    ("be_current", "enter_if_needed"),
    ("blame", "report_call_panic"),
    ("by_chance", "shuffle"),
    ("call_when_freed", "call_on_fd_close"),
    ("came_round", "completed_round"),
    ("descriptor_freed", "notify_fd_waiters"),
    ("disown", "drop_unclaimed"),
    ("end_ghosts", "remove_stale"),
    ("get_job", "get_work_item"),
    ("get_job_nowait", "try_get_work_item"),
    ("get_job_owned", "get_work_item_owned"),
    ("get_nowait", "try_get"),
    ("ghosts", "stale_turns"),
    ("goes_anywhere", "check_send"),
    ("has_letters", "has_messages"),
    ("is_at_home", "is_own_thread"),
    ("is_awaited_afar", "has_cross_loop_waits"),
    ("is_called", "consume_notification"),
    ("is_elsewhere", "is_other_loop"),
    ("is_owed", "has_untaken_result"),
    ("is_taped", "is_recording"),
    ("last_look", "final_poll"),
    ("look_next", "poll_next"),
    ("lots", "fair_rng"),
    ("must_be_at_home", "assert_own_loop"),
    ("must_not_be_current", "assert_not_current"),
    ("must_not_wait_in_vain", "assert_can_complete"),
    ("nest_later", "run_bounded_later"),
    ("next_among", "next_in"),
    ("next_job", "next_in_batch"),
    ("put_nowait", "try_put"),
    ("queue_letters", "queue_messages"),
    ("queue_new_job", "schedule_new"),
    ("queue_woken_job", "schedule_woken"),
    ("read_letters", "receive_messages"),
    ("reads_nothing", "ignore_reads"),
    ("reel", "cursor"),
    ("reserve_nowait", "try_reserve"),
    ("room_told", "room_reported"),
    ("run_fenced", "run_ready"),
    ("run_turns", "turn"),
    ("run_up_to_fence", "run_batch"),
    ("shelf", "state"),
    ("take_promised", "take_reserved"),
    ("tape", "recording"),
    ("taped", "recording"),
    ("tell_all", "wake_all_reporting"),
    ("tell_futurelocks", "report_futurelocks"),
    ("tell_panic", "report_panic"),
    ("tell_the_loop", "report_to_loop"),
    ("tell_what_is_left", "report_pending_panic"),
    ("unbudgeted", "unconstrained"),
    ("uncounted", "with_unlimited"),
    ("unlooked", "calls_left"),
    ("wake_from_afar", "wake_remote"),
    ("wake_job", "wake_task"),
    ("wake_when_freed", "wake_on_fd_close"),
    ("watch_for_ghosts", "detect_stale_spin"),
];

/// Words in the texts of errors and reports that were names once, and what they are called now.
const RETIRED_IN_TEXTS: &[(&str, &str)] = &[
    ("Bell", "notifier"),
    ("Shut", "Closed"),
    ("World", "Fixture"),
    ("rings", "notifications"),
    ("rung", "notified"),
];

/// Parts of identifiers that are pronouns for people: a waiter, a caller or a thread is an *it*.
const IN_NAMES: &[(&str, &str)] = &[
    ("whoever", "the waiter, the caller or the owner"),
    ("whom", "what, which"),
    ("he", "it"),
    ("him", "it"),
    ("his", "its"),
    ("nobody", "none, no_task, no_waiter"),
    ("somebody", "another task, the owner"),
];

/// The same in sentences.
const PRONOUNS: &[(&str, &str)] = &[
    ("whoever", "the waiter, the caller, the owner"),
    ("whom", "the waiter, the callback"),
    ("he", "it, or the name of the thing"),
    ("him", "it, or the name of the thing"),
    ("his", "its"),
    ("nobody", "no task, no thread, none"),
    ("somebody", "another task, another thread, the owner"),
];

/// A line of a source.
#[derive(Default)]
struct Line {
    code: String,
    comment: String,
    /// What stands between quotes.
    texts: String,
}

/// The code of a source, its comments and its strings, line by line.
fn parts(text: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut in_string: Option<String> = None;
    for line in text.lines() {
        let mut parts = Line::default();
        let mut rest = line;
        while !rest.is_empty() {
            if let Some(end) = &in_string {
                let escaped = end == "\"" && rest.starts_with('\\');
                match rest.strip_prefix(end.as_str()) {
                    Some(after) => {
                        rest = after;
                        in_string = None;
                        continue;
                    }
                    None if escaped => rest = rest.get(2..).unwrap_or_default(),
                    None => {
                        parts.texts.extend(rest.chars().next());
                        rest = skip(rest);
                    }
                }
                continue;
            }
            if rest.starts_with("//") {
                parts.comment = rest.to_owned();
                break;
            }
            if let Some((after, end)) = opened(rest) {
                in_string = Some(end);
                parts.texts.push(' ');
                rest = after;
                continue;
            }
            if let Some(after) = past_char(rest) {
                rest = after;
                continue;
            }
            parts.code.extend(rest.chars().next());
            rest = skip(rest);
        }
        lines.push(parts);
    }
    lines
}

fn skip(text: &str) -> &str {
    let mut chars = text.chars();
    chars.next();
    chars.as_str()
}

/// What follows an opening quote, and how the string ends.
fn opened(text: &str) -> Option<(&str, String)> {
    if let Some(after) = text.strip_prefix('"') {
        return Some((after, "\"".to_owned()));
    }
    let raw = text.strip_prefix('r')?;
    let after = raw.trim_start_matches('#');
    let hashes = &raw[..raw.len() - after.len()];
    let after = after.strip_prefix('"')?;
    Some((after, format!("\"{hashes}")))
}

/// What follows a character between quotes; `None` for a lifetime.
fn past_char(text: &str) -> Option<&str> {
    let inner = text.strip_prefix('\'')?;
    let escaped = inner.starts_with('\\');
    let after = skip(inner);
    let after = if escaped { skip(after) } else { after };
    after.strip_prefix('\'')
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_')
        .filter(|word| !word.is_empty())
}

/// What is wrong with the names in a source.
fn wrong_names(path: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let retired: BTreeMap<&str, &str> = RETIRED.iter().copied().collect();
    for (n, line) in parts(text).iter().enumerate() {
        for word in words(&line.code) {
            let mut complain = |better| {
                complaints.push(format!("{path}:{}: not {word}: {better}", n + 1));
            };
            if let Some(better) = retired.get(word) {
                complain(better);
            }
            for (pronoun, better) in IN_NAMES {
                if word.split('_').any(|part| part == *pronoun) {
                    complain(better);
                }
            }
        }
    }
    complaints
}

/// What is wrong in the strings of a source: what it prints, or says when it panics.
fn wrong_texts(path: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    let lines = parts(text);
    // An alias is a name of asyncio or of another crate.
    let said = lines
        .iter()
        .enumerate()
        .filter(|(_, line)| !line.code.contains("doc(alias"));
    for (n, line) in said {
        for word in words(&line.texts) {
            // A lower-case name may be an English word.
            let is_name = word.contains(|c: char| c.is_uppercase() || c == '_');
            let names = RETIRED.iter().filter(|_| is_name);
            let mut all = names.chain(RETIRED_IN_TEXTS);
            if let Some((_, better)) = all.find(|(retired, _)| *retired == word) {
                complaints.push(format!("{path}:{}: not {word:?}: {better}", n + 1));
            }
        }
    }
    complaints
}

/// What is wrong with the names that the `Debug` of a source prints: that of the type, or of a variant.
fn wrong_debug_names(path: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for block in text.split("fmt::Debug for ").skip(1) {
        let block = block.split("\n}").next().unwrap_or_default();
        let name = words(block).next().unwrap_or_default();
        for call in [
            "debug_struct(\"",
            "debug_tuple(\"",
            "write_str(\"",
            "write!(f, \"",
        ] {
            for printed in block.split(call).skip(1) {
                let before = printed
                    .split(char::is_alphanumeric)
                    .next()
                    .unwrap_or_default();
                let printed = words(printed).next().unwrap_or_default();
                let is_variant = block.contains(&format!("Self::{printed}"));
                let is_name = before.is_empty() && printed.starts_with(char::is_uppercase);
                if is_name && printed != name && !is_variant {
                    complaints.push(format!("{path}: {name} prints itself as {printed}"));
                }
            }
        }
    }
    complaints
}

/// Prose without what stands between backquotes, and without single words in italics, which are
/// spoken about.
fn spoken(line: &str) -> String {
    let prose = line.split('`').step_by(2).collect::<Vec<_>>().join(" ");
    let mut out = Vec::new();
    for (at, piece) in prose.split('*').enumerate() {
        let is_word = at % 2 == 1
            && piece
                .chars()
                .all(|c| c.is_alphanumeric() || ", ".contains(c));
        out.push(if is_word { "" } else { piece });
    }
    out.join(" ")
}

/// What is wrong with sentences: the lines of a page, or the comments of a source.
fn wrong_sentences<'a>(path: &str, lines: impl Iterator<Item = &'a str>) -> Vec<String> {
    let mut complaints = Vec::new();
    for (n, line) in lines.enumerate() {
        let prose = spoken(line).to_lowercase();
        for word in words(&prose) {
            if let Some((_, better)) = PRONOUNS.iter().find(|(pronoun, _)| *pronoun == word) {
                complaints.push(format!("{path}:{}: not *{word}*: {better}", n + 1));
            }
        }
    }
    complaints
}

const FOLDERS: &[&str] = &[
    "src", "sys/src", "testing", "tests", "examples", "bench", "fuzz",
];

fn all_sources() -> Vec<(String, String)> {
    let paths = FOLDERS.iter().flat_map(|folder| sources(folder));
    let all = paths.map(|path| (shown(&path), read(&path)));
    // This file names what it forbids.
    all.filter(|(path, _)| path != "tests/tidy/words.rs")
        .collect()
}

fn all_pages() -> Vec<(String, String)> {
    let folders = ["", "docs", "bench", "tests"];
    let mut paths = Vec::new();
    for folder in folders {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|ending| ending == "md") {
                paths.push(path);
            }
        }
    }
    paths.sort();
    paths.iter().map(|path| (shown(path), read(path))).collect()
}

#[test]
fn names_are_in_the_words_of_the_field() {
    let all = all_sources();
    none(
        all.iter()
            .flat_map(|(path, text)| wrong_names(path, text))
            .collect(),
    );
}

#[test]
fn texts_are_in_the_present_words() {
    let products = ["src/", "sys/src/", "testing/src/"];
    let all = all_sources();
    let all = all
        .iter()
        .filter(|(path, _)| products.iter().any(|product| path.starts_with(product)));
    none(
        all.flat_map(|(path, text)| {
            let mut complaints = wrong_texts(path, text);
            complaints.extend(wrong_debug_names(path, text));
            complaints
        })
        .collect(),
    );
}

/// The published package has the sources, and cannot depend on the kit.
#[test]
fn the_sources_and_their_unit_tests_use_nothing_of_the_kit() {
    let mut complaints = Vec::new();
    for path in ["src", "sys/src"].iter().flat_map(|folder| sources(folder)) {
        for (n, line) in parts(&read(&path)).iter().enumerate() {
            if words(&line.code).any(|word| word == "readily_testing") {
                complaints.push(format!("{}:{}: not in the package", shown(&path), n + 1));
            }
        }
    }
    none(complaints);
}

#[test]
fn an_old_name_in_a_text_is_found() {
    let text = "
impl fmt::Debug for Closed { fn fmt() { f.write_str(\"Shut(..)\") } // a Letter
}
impl fmt::Debug for Way { fn fmt() { match self { Self::One => f.write_str(\"One\"), _ => f.debug_struct(\"Way\") } }
}
";
    let shut = ["x.rs:2: not \"Shut\": Closed".to_owned()];
    assert_eq!(wrong_texts("x.rs", text), shut);
    let named = ["x.rs: Closed prints itself as Shut".to_owned()];
    assert_eq!(wrong_debug_names("x.rs", text), named);
}

#[test]
fn sentences_do_not_speak_of_code_as_of_people() {
    let mut complaints = Vec::new();
    for (path, text) in all_sources() {
        let comments: Vec<String> = parts(&text).into_iter().map(|line| line.comment).collect();
        complaints.extend(wrong_sentences(&path, comments.iter().map(String::as_str)));
    }
    for (path, text) in all_pages() {
        complaints.extend(wrong_sentences(&path, text.lines()));
    }
    none(complaints);
}

#[test]
fn a_retired_word_and_a_pronoun_are_found_where_they_stand() {
    let text = "
fn told(letter: Letter) {} // He who sends a `Letter` is not *whoever*, nor 'x' nobody's.
const TEXT: &str = \"a Letter \\\" to Nobody\"; fn to_whom(mut a: &'static str, _: char) { a = r#\"Letter\"#; '\"'; Letter }
";
    let names = wrong_names("x.rs", text);
    let expected = [
        "x.rs:2: not Letter: Message",
        "x.rs:3: not to_whom: what, which",
        "x.rs:3: not Letter: Message",
    ];
    assert_eq!(names, expected);
    let comments = parts(text);
    let sentences = wrong_sentences("x.rs", comments.iter().map(|line| line.comment.as_str()));
    let expected = [
        "x.rs:2: not *he*: it, or the name of the thing",
        "x.rs:2: not *nobody*: no task, no thread, none",
    ];
    assert_eq!(sentences, expected);
}

#[test]
fn no_better_word_is_retired_itself() {
    let is_retired = |word: &str| RETIRED.iter().any(|(old, _)| *old == word);
    let wrong = RETIRED
        .iter()
        .filter(|(_, better)| words(better).any(is_retired));
    none(
        wrong
            .map(|(old, better)| format!("{old}: {better}"))
            .collect(),
    );
}
