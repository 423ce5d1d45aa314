//! What each poller says in each situation: the tables of `docs/platforms.md`, made anew.
//!
//! The differences between systems are not papered over, they are written down; and what is
//! written down is tried. A situation is set up, registered by each trigger, and what the next
//! waits report stands in the tables, with the systems that report otherwise. Equal answers are folded,
//! for nothing is learnt from six times the same.
//!
//! `READILY_REGENERATE=1 cargo test --test platforms` writes the tables of this system.
//! In the notes: epoll on Linux, kqueue on macOS, and so on for others (N2).

#![cfg(any(target_os = "linux", target_os = "android"))]

#[path = "platforms/scenes.rs"]
mod scenes;

use readily::poll::{Event, default_poller, poll2};
use readily::{Interest, Readiness, Trigger};
use readily_testing::conformance::Fixture;
use readily_testing::sim::{Kernel, Personality};
use scenes::{Deed, SCENES, STORIES, Setup};
use std::time::Duration;

const TRIGGERS: [Trigger; 3] = [Trigger::Level, Trigger::Edge, Trigger::OneShot];

/// In the order of the columns.
const INTERESTS: [Interest; 4] = [
    Interest::BOTH,
    Interest::READ,
    Interest::WRITE,
    Interest::NONE,
];

/// The facts in short, in the order of their bits: small for ready, large for over.
const LETTERS: [char; 6] = ['r', 'w', 'R', 'W', 'E', 'P'];

fn in_short(ready: Readiness) -> String {
    let letters = LETTERS.iter().enumerate();
    let said = letters.filter(|(bit, _)| ready.bits() & (1 << bit) != 0);
    match said.map(|(_, letter)| letter).collect::<String>() {
        nothing if nothing.is_empty() => "–".to_owned(),
        said => format!("`{said}`"),
    }
}

/// What three waits say of the only registration.
fn three_waits(fixture: &mut Fixture) -> [Readiness; 3] {
    settle(fixture);
    [(); 3].map(|()| {
        let mut events: Vec<Event> = Vec::new();
        fixture.wait(&mut events, Some(Duration::ZERO));
        assert!(events.len() <= 1, "one event for each registration");
        events.first().map_or(Readiness::NONE, |event| event.ready)
    })
}

/// What travels through the loopback may take a moment; in memory all is there at once.
fn settle(fixture: &Fixture) {
    if fixture.backend().is_the_systems() {
        let mut empty = Fixture::new(poll2::PollPoller::new().unwrap());
        empty.wait(&mut Vec::new(), Some(Duration::from_millis(1)));
    }
}

/// What three waits say where this is the case, by this trigger.
fn usual(ready: Readiness, trigger: Trigger) -> [Readiness; 3] {
    match trigger {
        Trigger::Level => [ready; 3],
        Trigger::Edge | Trigger::OneShot => [ready, Readiness::NONE, Readiness::NONE],
    }
}

/// What the waits say; only the first where it goes on as the trigger has it.
fn in_turn(waits: [Readiness; 3], trigger: Trigger) -> String {
    match waits == usual(waits[0], trigger) {
        true => in_short(waits[0]),
        false => waits.map(in_short).join(" "),
    }
}

/// The same where one thing is said first, and more from then on: in the next wait, or of a
/// one-shot when it is modified.
fn in_two_steps(waits: [Readiness; 3], again: [Readiness; 3], trigger: Trigger) -> Option<String> {
    let (first, then) = (waits[0], again[0]);
    let steps = match trigger {
        Trigger::Level => [first, then, then],
        Trigger::Edge => [first, then, Readiness::NONE],
        Trigger::OneShot => [first, Readiness::NONE, Readiness::NONE],
    };
    let fits = waits == steps && again == usual(then, trigger) && first != then;
    fits.then(|| format!("{} → {}", in_short(first), in_short(then)))
}

/// What is said of a scene, and again after a modification that changes nothing.
fn of_a_scene(mut fixture: Fixture, setup: Setup, interest: Interest, trigger: Trigger) -> String {
    let scene = setup(&fixture);
    settle(&fixture);
    fixture.register(scene.here.number(), 1, interest, trigger);
    let waits = three_waits(&mut fixture);
    fixture.modify(scene.here.number(), 1, interest, trigger);
    let again = three_waits(&mut fixture);
    if let Some(steps) = in_two_steps(waits, again, trigger) {
        return steps;
    }
    let (first, again) = (in_turn(waits, trigger), in_turn(again, trigger));
    match first == again {
        true => first,
        false => format!("{first}, modified {again}"),
    }
}

/// What is said after a deed, of a scene that has been told of.
fn of_a_story(mut fixture: Fixture, setup: Setup, deed: Deed, trigger: Trigger) -> String {
    let mut scene = setup(&fixture);
    settle(&fixture);
    fixture.register(scene.here.number(), 1, Interest::BOTH, trigger);
    three_waits(&mut fixture);
    deed(&mut fixture, &mut scene);
    in_turn(three_waits(&mut fixture), trigger)
}

/// What all pollers say, which is what epoll says; and who says otherwise.
fn all_say(tell: impl Fn(Fixture) -> String) -> String {
    let all = tell(Fixture::new(default_poller::EpollPoller::new().unwrap()));
    let poll = tell(Fixture::new(poll2::PollPoller::new().unwrap()));
    let kernel = Kernel::new();
    let model = tell(Fixture::on(kernel.clone(), kernel.poller()));
    let mut others = vec![("`poll(2)`", poll), ("in memory", model)];
    let kqueues = [
        ("kqueue of FreeBSD", Personality::FreeBsd),
        ("kqueue of macOS", Personality::Apple),
        ("kqueue of NetBSD", Personality::NetBsd),
    ];
    let kqueues = kqueues.map(|(name, personality)| {
        let kernel = Kernel::new();
        let fixture = Fixture::on(kernel.clone(), kernel.kqueue(personality));
        (name, tell(fixture))
    });
    match &kqueues {
        [one, rest @ ..] if rest.iter().all(|other| other.1 == one.1) => {
            others.push(("kqueue", one.1.clone()));
        }
        _ => others.extend(kqueues),
    }
    others.retain(|(_, says)| *says != all);
    let mut cell = all;
    while let Some((_, says)) = others.first().cloned() {
        let (same, rest): (Vec<_>, Vec<_>) = others.into_iter().partition(|it| it.1 == says);
        others = rest;
        let names: Vec<_> = same.into_iter().map(|(name, _)| name).collect();
        cell += &format!("; {} {says}", names.join(" and "));
    }
    cell
}

/// One row, or one for each trigger whose answers are not those of the level.
fn scene_rows(name: &str, setup: Setup) -> String {
    let cells = TRIGGERS.map(|trigger| {
        let tell = |interest| all_say(|fixture| of_a_scene(fixture, setup, interest, trigger));
        INTERESTS.map(tell).join(" | ")
    });
    let mut rows = format!("| {name} | {} |\n", cells[0]);
    for (trigger, cells_of_it) in TRIGGERS.iter().zip(&cells) {
        if *cells_of_it != cells[0] {
            rows += &format!("| {name}, {trigger:?} | {cells_of_it} |\n");
        }
    }
    rows
}

fn story_row(name: &str, setup: Setup, deed: Deed) -> String {
    let tell = |trigger| all_say(|fixture| of_a_story(fixture, setup, deed, trigger));
    format!("| {name} | {} |\n", TRIGGERS.map(tell).join(" | "))
}

/// The rows, made again while they are not in `expected` and there is hope: on a machine under
/// load, what travels through the loopback may take its time.
fn with_patience(expected: &str, tries: u32, make: impl Fn() -> String) -> String {
    let mut tries = (0..tries).map(|_| make());
    let rows = tries.find(|rows| expected.contains(rows));
    rows.unwrap_or_else(&make)
}

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/platforms.md");
const END: &str = "<!-- end -->\n";

/// Puts what `make` makes in the place of the table of this name.
fn replace(page: &str, name: &str, make: impl FnOnce(&str) -> String) -> String {
    let begin = format!("<!-- begin: {name}, made by tests/platforms.rs -->\n");
    let (before, rest) = page.split_once(&begin).expect("a place for the table");
    let (expected, after) = rest.split_once(END).expect("the end of the table");
    [before, &begin, &make(expected), END, after].concat()
}

#[test]
fn the_tables_of_platforms_say_what_the_pollers_say() {
    let regenerate = std::env::var_os("READILY_REGENERATE").is_some();
    let tries = if regenerate { 0 } else { 100 };
    let page = std::fs::read_to_string(FILE).unwrap();
    let made = replace(&page, "scenes", |expected| {
        let mut table =
            "| scene | asked for both | for reading | for writing | for nothing |\n|---|---|---|---|---|\n"
                .to_owned();
        for (name, setup) in SCENES {
            table += &with_patience(expected, tries, || scene_rows(name, *setup));
        }
        table
    });
    let made = replace(&made, "stories", |expected| {
        let mut table =
            "| what happens | level | edge | one-shot |\n|---|---|---|---|\n".to_owned();
        for (name, setup, deed) in STORIES {
            table += &with_patience(expected, tries, || story_row(name, *setup, *deed));
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
