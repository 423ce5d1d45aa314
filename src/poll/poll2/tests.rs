//! The unit tests of `poll2.rs`.

use super::*;
use crate::poll::Readiness;
use std::os::unix::net::UnixStream;

const NOW: Option<Duration> = Some(Duration::ZERO);

fn waited(poller: &mut PollPoller) -> Vec<Event> {
    let mut events = Vec::new();
    poller.wait(&mut events, NOW).unwrap();
    events
}

#[test]
fn every_combination_of_bits_is_the_sum_of_its_bits() {
    let all = [
        poll::IN,
        poll::PRI,
        poll::OUT,
        poll::RDHUP,
        poll::HUP,
        poll::ERR,
        poll::NVAL,
    ];
    for mask in 0..1u32 << all.len() {
        let chosen = || {
            (0..all.len())
                .filter(|n| mask & (1 << n) != 0)
                .map(|n| all[n])
        };
        let sum = chosen().fold(Readiness::NONE, |sum, bit| sum | from_poll(bit));
        assert_eq!(from_poll(chosen().fold(0, |bits, bit| bits | bit)), sum);
    }
}

#[test]
fn what_is_reported_agrees_with_epoll_bit_by_bit() {
    let (read, write) = (Readiness::READ, Readiness::WRITE);
    let closed = Readiness::READ_CLOSED | Readiness::WRITE_CLOSED;
    assert_eq!(from_poll(poll::IN), read);
    assert_eq!(from_poll(poll::OUT), write);
    assert_eq!(from_poll(poll::HUP), read | write | closed);
    assert_eq!(from_poll(poll::ERR), read | write | Readiness::ERROR);
    assert_eq!(
        from_poll(poll::NVAL),
        read | write | closed | Readiness::ERROR
    );
}

#[test]
fn a_descriptor_closed_behind_our_back_is_reported_once() {
    let mut poller = PollPoller::new().unwrap();
    let (reader, _writer) = UnixStream::pair().unwrap();
    let fd = reader.as_raw_fd();
    poller
        .register(fd, 1, Interest::READ, Trigger::Level)
        .unwrap();
    // A number that is not open, whatever other tests open meanwhile.
    poller.set.set(1, RawFd::MAX, poll::IN);
    let events = waited(&mut poller);
    assert_eq!(events.len(), 1);
    assert!(events[0].ready().is_hangup());
    assert_eq!(waited(&mut poller), []);
    // And the number may be registered again, as if it were new.
    poller
        .register(fd, 2, Interest::READ, Trigger::Level)
        .unwrap();
}

#[test]
fn an_edge_that_has_reported_a_hangup_leaves_the_kernels_list() {
    let mut poller = PollPoller::new().unwrap();
    let (reader, writer) = UnixStream::pair().unwrap();
    let interest = Interest::READ | Interest::PRIORITY;
    poller
        .register(reader.as_raw_fd(), 1, interest, Trigger::Edge)
        .unwrap();
    drop(writer);
    assert_eq!(waited(&mut poller).len(), 1);
    assert_eq!(waited(&mut poller), []);
    poller.rearm(reader.as_raw_fd(), 1, Interest::READ).unwrap();
    assert_eq!(waited(&mut poller).len(), 1);
}

#[test]
fn removing_one_leaves_the_others_in_their_places() {
    let mut poller = PollPoller::new().unwrap();
    let pairs: Vec<_> = (0..5).map(|_| UnixStream::pair().unwrap()).collect();
    for (token, (_, writer)) in (0..).zip(&pairs) {
        poller
            .register(writer.as_raw_fd(), token, Interest::WRITE, Trigger::Level)
            .unwrap();
    }
    for (gone, left) in [(1, vec![0, 4, 2, 3]), (4, vec![0, 3, 2]), (0, vec![2, 3])] {
        poller.remove(pairs[gone].1.as_raw_fd()).unwrap();
        assert_eq!(
            waited(&mut poller)
                .iter()
                .map(|e| e.token())
                .collect::<Vec<_>>(),
            left
        );
    }
}

/// What epoll says of a number that stands for another file than the one that was registered.
#[test]
fn a_number_that_is_another_files_by_now_is_not_modified() {
    let mut poller = PollPoller::new().unwrap();
    let ((one, _keep), (other, _keep_too)) =
        (UnixStream::pair().unwrap(), UnixStream::pair().unwrap());
    let fd = one.as_raw_fd();
    poller
        .register(fd, 1, Interest::READ, Trigger::Level)
        .unwrap();
    // As if the number had been closed and opened again, which other tests must not meet.
    poller.entries[0].id = poll::pollable_id(other.as_raw_fd()).unwrap();
    let modified = poller.modify(fd, 1, Interest::BOTH, Trigger::Level);
    assert_eq!(modified.unwrap_err().raw_os_error(), Some(errno::ENOENT));
    poller
        .register(fd, 2, Interest::WRITE, Trigger::Level)
        .unwrap();
    assert_eq!(waited(&mut poller).len(), 1);
    poller
        .modify(fd, 2, Interest::NONE, Trigger::Level)
        .unwrap();
}

/// R134.
#[test]
fn the_notifiers_token_is_no_users() {
    let mut poller = PollPoller::new().unwrap();
    let (reader, _writer) = UnixStream::pair().unwrap();
    let (fd, token) = (reader.as_raw_fd(), crate::poll::NOTIFIER);
    let refused = poller.register(fd, token, Interest::READ, Trigger::Level);
    assert_eq!(refused.unwrap_err().raw_os_error(), Some(errno::EINVAL));
    poller
        .register(fd, token - 1, Interest::READ, Trigger::Level)
        .unwrap();
}

#[test]
fn a_wait_that_cannot_report_all_is_continued_by_the_next() {
    let mut poller = PollPoller::new().unwrap();
    let pairs: Vec<_> = (0..5).map(|_| UnixStream::pair().unwrap()).collect();
    for (token, (_, writer)) in (0..).zip(&pairs) {
        poller
            .register(writer.as_raw_fd(), token, Interest::WRITE, Trigger::Level)
            .unwrap();
    }
    let mut bounded = || {
        let ready = poller.set.wait(NOW).unwrap();
        let mut events = Vec::new();
        poller.collect(&mut events, ready, 2);
        events.iter().map(|e| e.token()).collect::<Vec<_>>()
    };
    assert_eq!(bounded(), [0, 1]);
    assert_eq!(bounded(), [2, 3]);
    assert_eq!(bounded(), [4, 0]);
    assert_eq!(bounded(), [1, 2]);
}
