//! Makes and checks the tables of `docs/platforms.md`: the events of each poller in each situation.
//!
//! The differences between systems are documented, and this test checks the documentation. It sets
//! up a situation, registers its descriptor with each trigger, and compares the events of the next
//! waits with the tables, for epoll and for each poller that differs. Equal results share a row or
//! a cell.
//!
//! `READILY_REGENERATE=1 cargo test --test platforms` writes the tables of this system. In the
//! notes: epoll on Linux, kqueue on macOS, and so on for other systems (N2).

#![cfg(any(target_os = "linux", target_os = "android"))]

#[path = "platforms/scenes.rs"]
mod scenes;

use readily::poll::{Event, default_poller, poll2};
use readily::{Interest, Readiness, Trigger};
use readily_testing::conformance::Fixture;
use readily_testing::{Kernel, Personality};
use scenes::{Action, SCENES, SEQUENCES, Setup};
use std::time::Duration;

const TRIGGERS: [Trigger; 3] = [Trigger::Level, Trigger::Edge, Trigger::OneShot];

/// The interests, in the order of the columns.
const INTERESTS: [Interest; 4] = [
    Interest::BOTH,
    Interest::READ,
    Interest::WRITE,
    Interest::NONE,
];

/// The letters of the facts, in the order of their bits: small for ready, capital for closed, error
/// and priority.
const LETTERS: [char; 6] = ['r', 'w', 'R', 'W', 'E', 'P'];

fn letters_of(ready: Readiness) -> String {
    let letters = LETTERS.iter().enumerate();
    let set = letters.filter(|(bit, _)| ready.bits() & (1 << bit) != 0);
    match set.map(|(_, letter)| letter).collect::<String>() {
        nothing if nothing.is_empty() => "–".to_owned(),
        set => format!("`{set}`"),
    }
}

/// The readiness that three waits report for the only registration.
fn three_waits(fixture: &mut Fixture) -> [Readiness; 3] {
    settle(fixture);
    [(); 3].map(|()| {
        let mut events: Vec<Event> = Vec::new();
        fixture.wait(&mut events, Some(Duration::ZERO));
        assert!(events.len() <= 1, "one event for each registration");
        events
            .first()
            .map_or(Readiness::NONE, |event| event.ready())
    })
}

/// Waits a millisecond for the loopback; in the simulated kernel bytes arrive at once.
fn settle(fixture: &Fixture) {
    if fixture.backend().is_the_systems() {
        let mut empty = Fixture::new(poll2::PollPoller::new().unwrap());
        empty.wait(&mut Vec::new(), Some(Duration::from_millis(1)));
    }
}

/// What three waits report for a constant readiness, by trigger.
fn expected_waits(ready: Readiness, trigger: Trigger) -> [Readiness; 3] {
    match trigger {
        Trigger::Level => [ready; 3],
        Trigger::Edge | Trigger::OneShot => [ready, Readiness::NONE, Readiness::NONE],
    }
}

/// The readiness of three waits; only the first one if the others follow from the trigger.
fn text_of(waits: [Readiness; 3], trigger: Trigger) -> String {
    match waits == expected_waits(waits[0], trigger) {
        true => letters_of(waits[0]),
        false => waits.map(letters_of).join(" "),
    }
}

/// The text for a fact that is reported later than the first one: by the next wait, or for a
/// one-shot after a modification.
fn in_two_steps(waits: [Readiness; 3], again: [Readiness; 3], trigger: Trigger) -> Option<String> {
    let (first, then) = (waits[0], again[0]);
    let steps = match trigger {
        Trigger::Level => [first, then, then],
        Trigger::Edge => [first, then, Readiness::NONE],
        Trigger::OneShot => [first, Readiness::NONE, Readiness::NONE],
    };
    let fits = waits == steps && again == expected_waits(then, trigger) && first != then;
    fits.then(|| format!("{} → {}", letters_of(first), letters_of(then)))
}

/// The events of a scene, and those after a modification that changes nothing.
fn of_scene(mut fixture: Fixture, setup: Setup, interest: Interest, trigger: Trigger) -> String {
    let scene = setup(&fixture);
    settle(&fixture);
    fixture.register(scene.here.number(), 1, interest, trigger);
    let waits = three_waits(&mut fixture);
    fixture.modify(scene.here.number(), 1, interest, trigger);
    let again = three_waits(&mut fixture);
    if let Some(steps) = in_two_steps(waits, again, trigger) {
        return steps;
    }
    let (first, again) = (text_of(waits, trigger), text_of(again, trigger));
    match first == again {
        true => first,
        false => format!("{first}, modified {again}"),
    }
}

/// The events after an action, of a scene whose events have been reported before.
fn of_a_sequence(mut fixture: Fixture, setup: Setup, action: Action, trigger: Trigger) -> String {
    let mut scene = setup(&fixture);
    settle(&fixture);
    fixture.register(scene.here.number(), 1, Interest::BOTH, trigger);
    three_waits(&mut fixture);
    action(&mut fixture, &mut scene);
    text_of(three_waits(&mut fixture), trigger)
}

/// The events of all pollers: those of epoll, then each different result with its pollers.
fn of_all_pollers(events: impl Fn(Fixture) -> String) -> String {
    let all = events(Fixture::new(default_poller::EpollPoller::new().unwrap()));
    let poll = events(Fixture::new(poll2::PollPoller::new().unwrap()));
    let kernel = Kernel::new();
    let model = events(Fixture::on(kernel.clone(), kernel.poller()));
    let mut others = vec![("`poll(2)`", poll), ("in memory", model)];
    let kqueues = [
        ("kqueue of FreeBSD", Personality::FreeBsd),
        ("kqueue of macOS", Personality::Apple),
        ("kqueue of NetBSD", Personality::NetBsd),
    ];
    let kqueues = kqueues.map(|(name, personality)| {
        let kernel = Kernel::new();
        let fixture = Fixture::on(kernel.clone(), kernel.kqueue(personality));
        (name, events(fixture))
    });
    match &kqueues {
        [one, rest @ ..] if rest.iter().all(|other| other.1 == one.1) => {
            others.push(("kqueue", one.1.clone()));
        }
        _ => others.extend(kqueues),
    }
    others.retain(|(_, text)| *text != all);
    let mut cell = all;
    while let Some((_, text)) = others.first().cloned() {
        let (same, rest): (Vec<_>, Vec<_>) = others.into_iter().partition(|it| it.1 == text);
        others = rest;
        let names: Vec<_> = same.into_iter().map(|(name, _)| name).collect();
        cell += &format!("; {} {text}", names.join(" and "));
    }
    cell
}

/// The rows of a scene: one, and one more for each trigger whose cells differ from level.
fn scene_rows(name: &str, setup: Setup) -> String {
    let cells = TRIGGERS.map(|trigger| {
        let events =
            |interest| of_all_pollers(|fixture| of_scene(fixture, setup, interest, trigger));
        INTERESTS.map(events).join(" | ")
    });
    let mut rows = format!("| {name} | {} |\n", cells[0]);
    for (trigger, cells_of_it) in TRIGGERS.iter().zip(&cells) {
        if *cells_of_it != cells[0] {
            rows += &format!("| {name}, {trigger:?} | {cells_of_it} |\n");
        }
    }
    rows
}

fn sequence_row(name: &str, setup: Setup, action: Action) -> String {
    let events = |trigger| of_all_pollers(|fixture| of_a_sequence(fixture, setup, action, trigger));
    format!("| {name} | {} |\n", TRIGGERS.map(events).join(" | "))
}

/// Makes the rows again, up to `tries` times, until they are in `expected`: on a machine under
/// load, bytes may be late on the loopback.
fn retry(expected: &str, tries: u32, make: impl Fn() -> String) -> String {
    let mut tries = (0..tries).map(|_| make());
    let rows = tries.find(|rows| expected.contains(rows));
    rows.unwrap_or_else(&make)
}

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/platforms.md");
const END: &str = "<!-- end -->\n";

/// Replaces the table of this name by the text that `make` returns.
fn replace(page: &str, name: &str, make: impl FnOnce(&str) -> String) -> String {
    let begin = format!("<!-- begin: {name}, made by tests/platforms.rs -->\n");
    let (before, rest) = page
        .split_once(&begin)
        .expect("the page has the begin of the table");
    let (expected, after) = rest
        .split_once(END)
        .expect("the page has the end of the table");
    [before, &begin, &make(expected), END, after].concat()
}

#[test]
fn the_tables_of_platforms_are_what_the_pollers_report() {
    let regenerate = std::env::var_os("READILY_REGENERATE").is_some();
    let tries = if regenerate { 0 } else { 100 };
    let page = std::fs::read_to_string(FILE).unwrap();
    let made = replace(&page, "scenes", |expected| {
        let mut table =
            "| scene | asked for both | for reading | for writing | for nothing |\n|---|---|---|---|---|\n"
                .to_owned();
        for (name, setup) in SCENES {
            table += &retry(expected, tries, || scene_rows(name, *setup));
        }
        table
    });
    let made = replace(&made, "stories", |expected| {
        let mut table =
            "| what happens | level | edge | one-shot |\n|---|---|---|---|\n".to_owned();
        for (name, setup, action) in SEQUENCES {
            table += &retry(expected, tries, || sequence_row(name, *setup, *action));
        }
        table
    });
    if regenerate {
        std::fs::write(FILE, made).unwrap();
    } else {
        let lines = made.lines().filter(|line| !page.contains(line));
        let news = lines.collect::<Vec<_>>().join("\n");
        assert!(page == made, "READILY_REGENERATE=1 writes this:\n{news}");
    }
}
