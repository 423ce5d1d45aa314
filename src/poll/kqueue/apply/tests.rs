//! The unit tests of `apply.rs`: which filters come and go, and what that lets the poller report.

use crate::poll::kqueue::KqueuePoller;
use crate::poll::kqueue::filters::OVER;
use crate::poll::kqueue::tests::{Script, code, poller, said, waited, watching};
use crate::poll::{Event, Interest, Poller, Readiness, Trigger};
use readily_sys::errno;
use readily_sys::kq_abi::{EV_ADD, EV_DELETE, EV_EOF, EV_ONESHOT, Filter};
use readily_sys::poll::FileKind;
use std::time::Duration;

/// A registration for reading whose other side is over, with half of that reported.
fn half_reported(trigger: Trigger) -> KqueuePoller<Script> {
    let mut poller = poller();
    poller.register(7, 70, Interest::READ, trigger).unwrap();
    poller.queue.batches = vec![vec![said(7, Filter::Read, EV_EOF)]];
    let half = Readiness::READ | Readiness::READ_CLOSED;
    assert_eq!(waited(&mut poller)[0].ready(), half);
    poller.queue.asked.clear();
    poller
}

#[test]
fn where_reading_has_ended_the_next_wait_asks_about_writing_and_passes_on_its_end_only() {
    for trigger in [Trigger::Level, Trigger::Edge] {
        let mut poller = half_reported(trigger);
        let write = Filter::Write;
        poller.queue.batches = vec![
            vec![said(7, write, 0)],
            vec![],
            vec![said(7, write, EV_EOF)],
        ];
        assert_eq!(waited(&mut poller), [], "room is of no interest");
        assert_eq!(poller.queue.asked, [(write, EV_ADD)]);
        assert_eq!(waited(&mut poller), []);
        let over = Event::new(70, OVER);
        assert_eq!(waited(&mut poller), [over]);
        assert_eq!(poller.queue.asked.len(), 1, "it is asked once");
        poller.remove(7).unwrap();
        let removed = [(Filter::Read, EV_DELETE), (write, EV_DELETE)];
        assert_eq!(poller.queue.asked[1..], removed);
    }
}

/// The common end of a connection: it is read, and closed, in the turn that reports it.
#[test]
fn removing_a_registration_after_its_end_of_file_costs_no_change_but_the_removal() {
    let mut poller = half_reported(Trigger::Level);
    poller.remove(7).unwrap();
    assert_eq!(waited(&mut poller), []);
    assert_eq!(poller.queue.asked, [(Filter::Read, EV_DELETE)]);
}

#[test]
fn a_one_shot_that_has_reported_one_end_reports_both_when_it_is_rearmed() {
    let mut poller = half_reported(Trigger::OneShot);
    poller.queue.batches = vec![vec![said(7, Filter::Write, EV_EOF)]];
    assert_eq!(waited(&mut poller), [], "it has spoken");
    let (interest, trigger) = (Interest::READ, Trigger::OneShot);
    poller.modify(7, 71, interest, trigger).unwrap();
    poller.queue.batches = vec![vec![said(7, Filter::Read, EV_EOF)]];
    let over = Event::new(71, OVER);
    assert_eq!(waited(&mut poller), [over]);
}

/// The filter of room that was reported is disabled, and hides the end.
#[test]
fn by_the_edge_the_other_side_is_watched_where_room_was_reported_and_not_asked_for_again() {
    let mut poller = poller();
    let (read, write) = (Filter::Read, Filter::Write);
    poller
        .register(7, 70, Interest::BOTH, Trigger::Edge)
        .unwrap();
    poller.queue.batches = vec![vec![said(7, write, 0)], vec![said(7, read, EV_EOF)]];
    waited(&mut poller);
    waited(&mut poller);
    poller.queue.asked.clear();
    poller.queue.batches = vec![vec![said(7, write, 0)], vec![said(7, write, EV_EOF)]];
    assert_eq!(waited(&mut poller), [], "room that was reported already");
    let instead = [(write, EV_DELETE), (write, EV_ADD)];
    assert_eq!(poller.queue.asked, instead);
    assert_eq!(waited(&mut poller)[0].ready(), OVER);
    // Asked for again, it reports room again.
    poller.queue.asked.clear();
    poller.rearm(7, 70, Interest::WRITE).unwrap();
    assert_eq!(poller.queue.asked, instead);
}

/// R172: what FreeBSD does with a filter that asks a pipe for room, when the reader goes.
#[test]
fn a_filter_that_the_kernel_has_dropped_is_a_registration_all_the_same() {
    for (kind, first) in [
        (FileKind::Pipe, OVER),
        // If nothing shows that it is a pipe, the next wait does.
        (FileKind::Other, Readiness::WRITE | Readiness::WRITE_CLOSED),
    ] {
        let mut poller = watching(kind);
        let (interest, trigger) = (Interest::WRITE, Trigger::Level);
        poller.register(7, 70, interest, trigger).unwrap();
        poller.queue.batches = vec![vec![said(7, Filter::Write, EV_EOF | EV_ONESHOT)]];
        assert_eq!(waited(&mut poller)[0].ready(), first);
        if kind == FileKind::Other {
            poller.queue.errors = vec![0, errno::EPIPE];
        }
        for _ in 0..3 {
            assert_eq!(
                waited(&mut poller)[0].ready(),
                OVER,
                "{kind:?}: by the level"
            );
        }
        assert_eq!(poller.queue.last_timeout, Some(Duration::ZERO));
        let again = poller.register(7, 71, interest, trigger);
        assert_eq!(code(again), errno::EEXIST, "{kind:?}");
    }
}

/// R171: what NetBSD does: nothing comes of the filter that asks for room.
#[test]
fn the_writer_of_a_pipe_hears_by_its_reading_side_that_the_reader_has_gone() {
    let mut poller = watching(FileKind::Pipe);
    poller
        .register(7, 70, Interest::WRITE, Trigger::Level)
        .unwrap();
    let both = [(Filter::Read, EV_ADD), (Filter::Write, EV_ADD)];
    assert_eq!(poller.queue.asked, both);
    poller.queue.batches = vec![vec![said(7, Filter::Read, EV_EOF)]];
    for _ in 0..3 {
        assert_eq!(waited(&mut poller)[0].ready(), OVER, "by the level");
    }
}

/// For want of memory another time, and else not again.
#[test]
fn a_filter_for_an_end_that_is_refused_is_nobodys_error() {
    for (refused, times) in [(errno::ENOMEM, 2), (errno::EINVAL, 1)] {
        let mut poller = half_reported(Trigger::Level);
        poller.queue.errors = vec![refused];
        for _ in 0..3 {
            waited(&mut poller);
        }
        let asked = vec![(Filter::Write, EV_ADD); times];
        let added = poller.queue.asked.iter().filter(|asked| asked.1 == EV_ADD);
        assert!(added.eq(&asked), "{refused}: {:?}", poller.queue.asked);
    }
}

/// R174: `/dev/tty` and `/dev/null` of macOS.
#[test]
fn a_device_that_is_watched_from_one_byte_on_only_is_registered_so() {
    let (interest, trigger) = (Interest::BOTH, Trigger::Level);
    for (kind, error) in [
        (FileKind::Device, None),
        (FileKind::Socket, Some(errno::EINVAL)),
    ] {
        let mut poller = watching(kind);
        poller.queue.by_the_byte = true;
        let registered = poller.register(7, 70, interest, trigger);
        assert_eq!(registered.err().and_then(|e| e.raw_os_error()), error);
        let modified = poller.modify(7, 70, Interest::READ, Trigger::Edge);
        let not_there = error.map(|_| errno::ENOENT);
        assert_eq!(modified.err().and_then(|e| e.raw_os_error()), not_there);
    }
}
