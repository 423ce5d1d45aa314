//! The events that run the read branch only.

use super::super::classify::classify;
use super::*;
use readily_sys::tail_rc::NewTailRc;
use std::rc::Rc;

fn reasons_of(bits: u8) -> Reasons {
    let all = [
        Reasons::SUSPENDED,
        Reasons::ACCEPT_PAUSED,
        Reasons::BY_EDGE,
        Reasons::AWAY,
        Reasons::LOST,
        Reasons::REMOVED,
    ];
    let holds = |at: usize| bits & (1 << at) != 0;
    let with = |reasons: Reasons, at| reasons.with(all[at], holds(at));
    (0..all.len()).fold(Reasons::NONE, with)
}

/// With callbacks of one word it is 56 bytes, to which `malloc` adds the eight that fill a cache line.
#[test]
#[cfg(target_pointer_width = "64")]
fn a_registration_is_as_small_as_it_was() {
    assert_eq!(size_of::<Registration>(), 40);
    assert_eq!(NewTailRc::<Registration, dyn Send, usize>::SIZE, 56);
}

/// L2, L4, on every state and every readiness: an event that only reads is one for which the long
/// way would run the read branch and nothing else. The same for the end of the data, and for a listener that
/// accepts.
#[test]
fn an_event_that_only_reads_is_one_for_which_the_long_way_would_only_read() {
    let (end, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    let end = Rc::new(end);
    let roles = [
        Role::Listener,
        Role::Connecting,
        Role::Stream,
        Role::Datagram,
    ];
    let triggers = [Trigger::Level, Trigger::Edge, Trigger::OneShot];
    let all = [Interest::READ, Interest::WRITE, Interest::PRIORITY];
    let mut interests = vec![Interest::NONE];
    for one in all {
        interests.extend(interests.clone().into_iter().map(|others| others | one));
    }
    let mut found = [0; 4];
    for (role, trigger) in roles
        .into_iter()
        .flat_map(|role| triggers.map(|t| (role, t)))
    {
        for (interest, reasons) in (0..8 * 64_u16).map(|n| (n % 8, (n / 8) as u8)) {
            let state = RegistrationState {
                role,
                interest: interests[interest as usize],
                trigger,
                reasons: reasons_of(reasons),
            };
            let fd = Rc::clone(&end).into();
            let site = Location::caller();
            let registration = Registration::new(state, Transfer::SOCKET, (fd, 0), site);
            let runs_for = |ready| -> Vec<Branch> {
                let active = state.active_branches();
                let taken = classify(role, ready).filter(|&branch| active.contains(branch));
                taken.collect()
            };
            if registration.accepts() {
                found[role as usize] += 1;
                assert_eq!(runs_for(Readiness::READ), [Branch::Connect]);
                assert_ne!(trigger, Trigger::OneShot);
                assert!(!reasons_of(reasons).any_of(Reasons::BY_EDGE_OR_REMOVED));
            }
            if registration.only_reads.get() {
                let end_of_data = Readiness::READ | Readiness::READ_CLOSED;
                assert!(!end_of_data.is_hangup(), "it would be looked at afterwards");
                assert_eq!(runs_for(end_of_data), [Branch::Read]);
            }
            for ready in (0..64).map(Readiness::from_bits) {
                if !registration.takes_only_read(Event::new(0, ready)) {
                    continue;
                }
                found[role as usize] += 1;
                assert_eq!(runs_for(ready), [Branch::Read], "{role:?} {ready:?}");
                assert!(
                    ready.without(FLOW).is_empty(),
                    "{ready:?} is looked at afterwards"
                );
                assert_ne!(
                    trigger,
                    Trigger::OneShot,
                    "a report is noted before the branches"
                );
                let after = Reasons::BY_EDGE_OR_REMOVED;
                assert!(!reasons_of(reasons).any_of(after), "{reasons:#x}");
            }
        }
    }
    let [listener, connecting, stream, datagram] = found;
    assert_eq!(connecting, 0);
    assert!(listener > 0 && stream > 0 && datagram > 0, "{found:?}");
}
