//! The unit tests of `epoll.rs`.

use super::*;

#[test]
fn the_half_close_is_asked_for_with_reading_only() {
    for trigger in [Trigger::Level, Trigger::Edge, Trigger::OneShot] {
        assert_eq!(
            to_epoll(Interest::NONE | Interest::WRITE, trigger) & epoll::RDHUP,
            0
        );
        assert_ne!(to_epoll(Interest::READ, trigger) & epoll::RDHUP, 0);
    }
}

#[test]
fn every_interest_and_trigger_has_its_bits() {
    let half = epoll::IN | epoll::RDHUP;
    assert_eq!(to_epoll(Interest::NONE, Trigger::Level), 0);
    assert_eq!(
        to_epoll(Interest::BOTH, Trigger::Edge),
        half | epoll::OUT | epoll::ET
    );
    assert_eq!(
        to_epoll(Interest::PRIORITY, Trigger::OneShot),
        epoll::PRI | epoll::ONESHOT
    );
}

#[test]
fn a_wait_says_whether_it_was_notified() {
    let mut poller = EpollPoller::new().unwrap();
    let notifier = poller.notifier();
    let mut waited = || poller.wait(&mut Vec::new(), Some(Duration::ZERO)).unwrap();
    assert!(!waited().notified());
    notifier.notify();
    assert!(waited().notified());
    assert!(!waited().notified(), "a notification is for one wait");
}

#[test]
fn a_notification_behind_more_events_than_a_wait_reports_is_reported_at_once_and_once() {
    let mut poller = EpollPoller::new().unwrap();
    let (here, there) = std::os::unix::net::UnixStream::pair().unwrap();
    io::Write::write_all(&mut &there, b"a").unwrap();
    let all: Vec<_> = (0..100).map(|_| here.try_clone().unwrap()).collect();
    for (token, one) in (0..).zip(&all) {
        let (read, level) = (Interest::READ, Trigger::Level);
        poller
            .register(one.as_raw_fd(), token, read, level)
            .unwrap();
    }
    let mut events = Vec::new();
    poller.notifier().notify();
    let mut look = || {
        let zero = Some(Duration::ZERO);
        poller.wait(&mut events, zero).unwrap().notified()
    };
    assert!(look());
    for _ in 0..4 {
        assert!(!look());
    }
    assert!(events.iter().all(|event| event.token() != NOTIFIER));
}

#[test]
fn a_new_epoll_reports_no_notification_that_came_before() {
    let mut poller = EpollPoller::new().unwrap();
    let notified = |poller: &mut EpollPoller| {
        let zero = Some(Duration::ZERO);
        poller.wait(&mut Vec::new(), zero).unwrap().notified()
    };
    poller.notifier().notify();
    assert!(notified(&mut poller));
    assert!(poller.rebuild(&[]).unwrap());
    assert!(!notified(&mut poller), "it was reported before");
    poller.notifier().notify();
    assert!(poller.rebuild(&[]).unwrap());
    assert!(notified(&mut poller), "it had not been reported");
    assert!(!notified(&mut poller));
}

#[test]
fn a_new_epoll_has_no_event_of_a_notification_that_was_reported() {
    let mut poller = EpollPoller::new().unwrap();
    poller.notifier().notify();
    let zero = Some(Duration::ZERO);
    assert!(poller.wait(&mut Vec::new(), zero).unwrap().notified());
    assert!(poller.rebuild(&[]).unwrap());
    assert_eq!(poller.epoll.wait(&mut Vec::new(), zero).unwrap(), 0);
}

#[test]
fn a_list_with_the_notifiers_token_is_refused_and_changes_nothing() {
    let mut poller = EpollPoller::new().unwrap();
    let (here, there) = std::os::unix::net::UnixStream::pair().unwrap();
    io::Write::write_all(&mut &there, b"a").unwrap();
    let (fd, interest, trigger) = (here.as_raw_fd(), Interest::READ, Trigger::Level);
    poller.register(fd, 1, interest, trigger).unwrap();
    let token = NOTIFIER;
    let watched = Watched {
        fd,
        token,
        interest,
        trigger,
    };
    let refused = poller.rebuild(&[watched]).unwrap_err();
    assert_eq!(refused.raw_os_error(), Some(errno::EINVAL));
    let mut events = Vec::new();
    poller.wait(&mut events, Some(Duration::ZERO)).unwrap();
    assert_eq!(events.len(), 1);
}
