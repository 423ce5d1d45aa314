//! The states of a registration: changes, activations and reports.

use super::*;
use Personality::{Apple, FreeBsd, NetBsd};

const SYSTEMS: [Personality; 3] = [Apple, FreeBsd, NetBsd];
const NAME: Name = (7, Filter::Read);

fn change(name: Name, flags: u32, udata: u64) -> Kevent {
    Kevent {
        ident: name.0.unsigned_abs() as usize,
        filter: name.1,
        flags,
        fflags: 0,
        data: 0,
        udata,
    }
}

fn ready(_: Name, _: &Knote) -> Option<FilterOutput> {
    Some(FilterOutput {
        holds: true,
        data: 3,
        ..FilterOutput::default()
    })
}

fn nothing(_: Name, _: &Knote) -> Option<FilterOutput> {
    Some(FilterOutput::default())
}

/// Returns a table with one registration, whose condition holds.
fn with(system: Personality, flags: u32) -> Knotes {
    let mut knotes = Knotes::new(system);
    add(&mut knotes, NAME, flags);
    knotes
}

fn add(knotes: &mut Knotes, name: Name, flags: u32) {
    let change = change(name, EV_ADD | flags, 1);
    knotes.insert(name, Knote::new(knotes.system, &change, File::Other, 1));
    knotes.update(name, &change);
    knotes.activate(name);
}

fn events(knotes: &mut Knotes) -> usize {
    let mut out = Vec::new();
    for name in knotes.collect(&mut out, 8, ready).one_shots {
        knotes.remove(name);
    }
    out.len()
}

#[test]
fn a_level_repeats_and_is_evaluated_each_time() {
    for system in SYSTEMS {
        let mut knotes = with(system, 0);
        assert_eq!([(); 3].map(|()| events(&mut knotes)), [1; 3]);
        let mut out = Vec::new();
        knotes.collect(&mut out, 8, nothing);
        assert!(
            out.is_empty() && !knotes.is_ready(),
            "the condition does not hold any more"
        );
    }
}

#[test]
fn an_edge_is_reported_once_for_each_activation() {
    for system in SYSTEMS {
        let mut knotes = with(system, EV_CLEAR);
        assert_eq!([(); 2].map(|()| events(&mut knotes)), [1, 0]);
        knotes.activate(NAME);
        knotes.activate(NAME);
        assert_eq!([(); 2].map(|()| events(&mut knotes)), [1, 0]);
    }
}

#[test]
fn a_one_shot_goes_with_its_event_and_only_a_mac_evaluates_it_again() {
    for system in SYSTEMS {
        let mut knotes = with(system, EV_ONESHOT);
        let mut out = Vec::new();
        let removals = knotes.collect(&mut out, 8, nothing);
        let reported = usize::from(system != Apple);
        assert_eq!(
            (out.len(), removals.one_shots.len()),
            (reported, reported),
            "{system:?}"
        );
    }
    let mut knotes = with(FreeBsd, EV_ONESHOT);
    assert_eq!(events(&mut knotes), 1);
    assert!(knotes.get(NAME).is_none());
}

#[test]
fn a_dispatched_registration_is_disabled_until_it_is_enabled_and_an_addition_does_not_enable_it() {
    for system in SYSTEMS {
        let mut knotes = with(system, EV_DISPATCH);
        assert_eq!(events(&mut knotes), 1);
        knotes.activate(NAME);
        assert_eq!(events(&mut knotes), 0);
        assert!(knotes.update(NAME, &change(NAME, EV_ADD, 2)));
        assert_eq!(events(&mut knotes), 0);
        // It was activated while it was disabled, so it is reported without an evaluation.
        knotes.update(NAME, &change(NAME, EV_ENABLE, 3));
        assert_eq!(events(&mut knotes), 1);
    }
}

#[test]
fn an_enabled_registration_is_evaluated_again_but_on_netbsd() {
    for system in SYSTEMS {
        let mut knotes = with(system, EV_DISPATCH);
        assert_eq!(events(&mut knotes), 1);
        let evaluates = knotes.update(NAME, &change(NAME, EV_ENABLE, 2));
        assert_eq!(evaluates, system != NetBsd);
        assert_eq!(events(&mut knotes), 0, "nothing has activated it");
    }
}

#[test]
fn of_dispatch_and_clear_netbsd_applies_the_edge() {
    for system in SYSTEMS {
        let mut knotes = with(system, EV_DISPATCH | EV_CLEAR);
        assert_eq!(events(&mut knotes), 1);
        knotes.activate(NAME);
        assert_eq!(events(&mut knotes), usize::from(system == NetBsd));
    }
}

#[test]
fn the_mode_is_that_of_the_first_addition() {
    let mut knotes = with(FreeBsd, 0);
    knotes.update(NAME, &change(NAME, EV_ADD | EV_CLEAR, 1));
    assert_eq!([(); 2].map(|()| events(&mut knotes)), [1; 2]);
}

#[test]
fn an_activation_of_a_disabled_registration_is_kept_until_it_is_enabled() {
    for system in SYSTEMS {
        let mut knotes = with(system, EV_CLEAR);
        knotes.update(NAME, &change(NAME, EV_DISABLE, 1));
        assert_eq!(events(&mut knotes), 0);
        knotes.update(NAME, &change(NAME, EV_ENABLE, 1));
        assert_eq!([(); 2].map(|()| events(&mut knotes)), [1, 0]);
        // Added as disabled, it is not reported at all.
        assert_eq!(events(&mut with(system, EV_CLEAR | EV_DISABLE)), 0);
    }
}

#[test]
fn the_token_is_that_of_the_last_change_or_on_netbsd_of_the_last_addition() {
    for system in SYSTEMS {
        let mut knotes = with(system, 0);
        knotes.update(NAME, &change(NAME, 0, 9));
        let expected = if system == NetBsd { 1 } else { 9 };
        assert_eq!(knotes.get(NAME).unwrap().udata, expected, "{system:?}");
        knotes.update(NAME, &change(NAME, EV_ADD, 5));
        assert_eq!(knotes.get(NAME).unwrap().udata, 5);
    }
}

#[test]
fn an_event_repeats_the_flags_of_its_addition_without_those_of_reports() {
    let flags = EV_CLEAR | EV_RECEIPT | EV_EOF | readily_sys::kq_abi::EV_ERROR;
    for system in SYSTEMS {
        let mut out = Vec::new();
        with(system, flags).collect(&mut out, 8, ready);
        let added = if system == FreeBsd { 0 } else { EV_ADD };
        assert_eq!(out[0].flags, EV_CLEAR | EV_RECEIPT | added, "{system:?}");
    }
}

#[test]
fn a_short_batch_reports_all_registrations_in_turn() {
    let mut knotes = with(FreeBsd, 0);
    add(&mut knotes, (7, Filter::Write), 0);
    add(&mut knotes, (8, Filter::Read), 0);
    let mut order = Vec::new();
    for _ in 0..6 {
        let mut out = Vec::new();
        knotes.collect(&mut out, 1, ready);
        order.push((out[0].ident, out[0].filter));
    }
    let three = [(7, Filter::Read), (7, Filter::Write), (8, Filter::Read)];
    assert_eq!(order, [three, three].concat());
    let mut out = Vec::new();
    knotes.collect(&mut out, 8, ready);
    assert_eq!(out.len(), 3, "each once");
}

#[test]
fn an_end_that_is_reported_once_removes_the_registration() {
    let mut knotes = with(FreeBsd, 0);
    let mut out = Vec::new();
    let removals = knotes.collect(&mut out, 8, |_, _| {
        Some(FilterOutput {
            holds: true,
            eof: true,
            once: true,
            ..FilterOutput::default()
        })
    });
    assert_eq!(out[0].flags, EV_EOF | EV_ONESHOT);
    assert_eq!(removals.one_shots, [NAME]);
}

#[test]
fn a_closed_number_is_not_reported() {
    let mut knotes = with(FreeBsd, EV_ONESHOT);
    let mut out = Vec::new();
    let removals = knotes.collect(&mut out, 8, |_, _| None);
    assert!(out.is_empty());
    assert_eq!(removals.closed, [NAME]);
}
