//! The unit tests of `kqueue.rs`; those about filters that come and go are in `apply/tests.rs`.

use super::events::MOST_OVER;
use super::filters::OVER;
use super::*;
use crate::poll::{NOTIFIER, Readiness};
use readily_sys::kq_abi::{EV_ADD, EV_DELETE, EV_EOF, Filter, NOTE_LOWAT};

/// A queue with scripted answers, which records the requests.
pub(super) struct Script {
    pub(super) kind: FileKind,
    pub(super) asked: Vec<(Filter, u32)>,
    /// Refuses what is to be watched from any amount on, as macOS does with `/dev/tty`.
    pub(super) by_the_byte: bool,
    /// For the coming changes, one each; then zeroes.
    pub(super) errors: Vec<i32>,
    pub(super) batches: Vec<Vec<Kevent>>,
    pub(super) last_timeout: Option<Duration>,
    heard: u32,
}

struct Mute;
impl Notify for Mute {
    fn notify(&self) {}
}

impl KqueueSys for Script {
    fn change(&mut self, changes: &[Kevent], errors: &mut [i32]) -> io::Result<()> {
        for (change, error) in changes.iter().zip(errors) {
            self.asked
                .push((change.filter, change.flags & (EV_ADD | EV_DELETE)));
            *error = if self.errors.is_empty() {
                0
            } else {
                self.errors.remove(0)
            };
            let fits = change.fflags == NOTE_LOWAT && change.data == 1;
            if self.by_the_byte && change.flags & EV_ADD != 0 && !fits {
                *error = errno::EINVAL;
            }
        }
        Ok(())
    }

    fn wait(&mut self, out: &mut Vec<Kevent>, timeout: Option<Duration>) -> io::Result<()> {
        self.last_timeout = timeout;
        if !self.batches.is_empty() {
            out.append(&mut self.batches.remove(0));
        }
        Ok(())
    }

    fn clear_notification(&mut self) {
        self.heard += 1;
    }

    fn notifier(&self) -> Arc<dyn Notify> {
        Arc::new(Mute)
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn file_kind(&self, _fd: RawFd) -> io::Result<FileKind> {
        Ok(self.kind)
    }
}

pub(super) fn poller() -> KqueuePoller<Script> {
    watching(FileKind::Socket)
}

/// A poller whose descriptors are all of this kind.
pub(super) fn watching(kind: FileKind) -> KqueuePoller<Script> {
    KqueuePoller::with(Script {
        kind,
        asked: Vec::new(),
        by_the_byte: false,
        errors: Vec::new(),
        batches: Vec::new(),
        last_timeout: None,
        heard: 0,
    })
}

pub(super) fn said(fd: usize, filter: Filter, flags: u32) -> Kevent {
    Kevent {
        ident: fd,
        filter,
        flags,
        fflags: 0,
        data: 0,
        udata: 0,
    }
}

pub(super) fn waited(poller: &mut KqueuePoller<Script>) -> Vec<Event> {
    let mut events = Vec::new();
    poller.wait(&mut events, None).unwrap();
    events
}

pub(super) fn code<T: fmt::Debug>(answer: io::Result<T>) -> i32 {
    answer.unwrap_err().raw_os_error().unwrap()
}

#[test]
fn two_filters_of_one_descriptor_become_one_event() {
    let mut poller = poller();
    poller
        .register(7, 70, Interest::BOTH, Trigger::Level)
        .unwrap();
    poller
        .register(8, 80, Interest::BOTH, Trigger::Level)
        .unwrap();
    let (read, write) = (Filter::Read, Filter::Write);
    poller.queue.batches = vec![vec![
        said(7, read, EV_EOF),
        said(8, write, 0),
        said(7, write, EV_EOF),
        Kevent {
            udata: NOTIFIER,
            ..said(0, Filter::User, 0)
        },
    ]];
    let closed = Readiness::READ_CLOSED | Readiness::WRITE_CLOSED;
    let seven = Event::new(70, Readiness::READ | Readiness::WRITE | closed);
    let eight = Event::new(80, Readiness::WRITE);
    assert_eq!(waited(&mut poller), [seven, eight]);
    assert_eq!(poller.queue.heard, 1);
}

#[test]
fn an_event_of_another_wait_is_an_event_of_its_own() {
    let mut poller = poller();
    poller
        .register(7, 70, Interest::READ, Trigger::Level)
        .unwrap();
    poller.queue.batches = vec![vec![said(7, Filter::Read, 0)]; 2];
    assert_eq!(waited(&mut poller).len(), 1);
    assert_eq!(waited(&mut poller).len(), 1);
}

#[test]
fn a_one_shot_swallows_what_its_other_filter_says_later() {
    let mut poller = poller();
    poller
        .register(7, 70, Interest::BOTH, Trigger::OneShot)
        .unwrap();
    poller.queue.batches = vec![
        vec![said(7, Filter::Read, 0)],
        vec![said(7, Filter::Write, 0)],
    ];
    assert_eq!(waited(&mut poller).len(), 1);
    assert_eq!(waited(&mut poller), []);
    poller
        .modify(7, 71, Interest::WRITE, Trigger::OneShot)
        .unwrap();
    poller.queue.batches = vec![vec![said(7, Filter::Write, 0)]];
    assert_eq!(waited(&mut poller), [Event::new(71, Readiness::WRITE)]);
}

#[test]
fn a_failing_second_filter_takes_the_first_one_out_again() {
    let mut poller = poller();
    poller.queue.errors = vec![0, errno::EINVAL];
    assert_eq!(
        code(poller.register(7, 70, Interest::BOTH, Trigger::Level)),
        errno::EINVAL
    );
    let expected = [
        (Filter::Read, EV_ADD),
        (Filter::Write, EV_ADD),
        (Filter::Read, EV_DELETE),
        (Filter::Write, EV_DELETE),
    ];
    assert_eq!(poller.queue.asked, expected);
    assert_eq!(code(poller.remove(7)), errno::ENOENT);
}

#[test]
fn a_failed_change_leaves_what_was() {
    let mut poller = poller();
    poller
        .register(7, 70, Interest::READ, Trigger::Level)
        .unwrap();
    poller.queue.errors = vec![0, errno::EINVAL];
    assert!(
        poller
            .modify(7, 71, Interest::BOTH, Trigger::Level)
            .is_err()
    );
    poller.queue.batches = vec![vec![said(7, Filter::Read, 0)]];
    assert_eq!(waited(&mut poller), [Event::new(70, Readiness::READ)]);
}

#[test]
fn a_pipe_without_a_reader_is_reported_although_the_kernel_will_not_watch_it() {
    for (trigger, again) in [
        (Trigger::Level, 1),
        (Trigger::Edge, 0),
        (Trigger::OneShot, 0),
    ] {
        let mut poller = poller();
        poller.queue.errors = vec![errno::EPIPE];
        poller.register(7, 70, Interest::WRITE, trigger).unwrap();
        assert_eq!(waited(&mut poller), [Event::new(70, OVER)]);
        assert_eq!(poller.queue.last_timeout, Some(Duration::ZERO));
        assert_eq!(waited(&mut poller).len(), again, "{trigger:?}");
        poller.remove(7).unwrap();
        assert_eq!(waited(&mut poller), []);
        assert_eq!(poller.queue.last_timeout, None);
    }
}

#[test]
fn a_second_registration_is_refused_unless_the_kernel_has_lost_the_first() {
    let mut poller = poller();
    poller
        .register(7, 70, Interest::READ, Trigger::Level)
        .unwrap();
    assert_eq!(
        code(poller.register(7, 71, Interest::READ, Trigger::Level)),
        errno::EEXIST
    );
    // Closed behind our back, and the number used again: the kernel knows nothing of it.
    poller.queue.errors = vec![errno::ENOENT];
    poller
        .register(7, 72, Interest::READ, Trigger::Level)
        .unwrap();
    poller.queue.batches = vec![vec![said(7, Filter::Read, 0)]];
    assert_eq!(waited(&mut poller), [Event::new(72, Readiness::READ)]);
}

#[test]
fn what_is_not_registered_is_neither_changed_nor_reported() {
    let mut poller = poller();
    assert_eq!(
        code(poller.modify(7, 70, Interest::READ, Trigger::Level)),
        errno::ENOENT
    );
    assert_eq!(code(poller.rearm(7, 70, Interest::READ)), errno::ENOENT);
    assert_eq!(code(poller.remove(7)), errno::ENOENT);
    poller.queue.batches = vec![vec![said(7, Filter::Read, 0)]];
    assert_eq!(waited(&mut poller), []);
}

#[test]
fn rearming_asks_for_what_is_registered_by_the_edge_only() {
    let mut poller = poller();
    poller
        .register(7, 70, Interest::WRITE, Trigger::Edge)
        .unwrap();
    poller
        .register(8, 80, Interest::BOTH, Trigger::OneShot)
        .unwrap();
    poller.queue.asked.clear();
    poller.rearm(7, 70, Interest::BOTH).unwrap();
    poller.rearm(8, 80, Interest::BOTH).unwrap();
    assert_eq!(poller.queue.asked, [(Filter::Write, EV_ADD)]);
}

/// Their filters are silent after the end, so the poller repeats it (see `filters::repeats`).
#[test]
fn more_ends_than_a_wait_may_report_are_reported_in_turn() {
    const ENDED: u64 = 1500;
    let mut poller = poller();
    let mut batch = Vec::new();
    for fd in 0..ENDED {
        poller
            .register(fd as RawFd, fd, Interest::NONE, Trigger::Level)
            .unwrap();
        batch.extend([Filter::Read, Filter::Write].map(|filter| said(fd as usize, filter, EV_EOF)));
    }
    poller.queue.batches = vec![batch];
    waited(&mut poller);
    let mut reported = [0; 1500];
    for _ in 0..6 {
        let events = waited(&mut poller);
        assert_eq!(events.len(), MOST_OVER);
        for event in events {
            reported[event.token() as usize] += 1;
        }
    }
    let turns = 6 * MOST_OVER / 1500;
    assert!(reported.iter().all(|&n| n >= turns), "{reported:?}");
}
