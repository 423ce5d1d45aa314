//! The events that run the read branch only.

use super::super::classify::classify;
use super::*;
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

/// Its block has three words more in front of it, and the callbacks behind it.
#[test]
#[cfg(target_pointer_width = "64")]
fn a_registration_is_as_small_as_it_was() {
    assert_eq!(size_of::<Registration>(), 72);
}

/// L2, L4, on every state and every readiness: an event that only reads is one for which the long
/// way would run the read branch and nothing else.
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
                fd: 0,
                role,
                interest: interests[interest as usize],
                trigger,
                reasons: reasons_of(reasons),
                no_reader: false,
                unread_before: 0,
                site: Location::caller(),
            };
            let fd = Rc::clone(&end).into();
            let registration = Registration::new(state, Transfer::SOCKET, fd);
            for ready in (0..64).map(Readiness::from_bits) {
                if !registration.takes_only_read(Event::new(0, ready)) {
                    continue;
                }
                found[role as usize] += 1;
                let active = state.active_branches();
                let takes: Vec<Branch> = classify(role, ready).collect();
                let runs = takes.into_iter().filter(|&branch| active.contains(branch));
                assert_eq!(
                    runs.collect::<Vec<_>>(),
                    [Branch::Read],
                    "{role:?} {ready:?}"
                );
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
    assert_eq!((listener, connecting), (0, 0));
    assert!(stream > 0 && datagram > 0, "{found:?}");
}
