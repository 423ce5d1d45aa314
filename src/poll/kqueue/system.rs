//! The system's own kqueue: the part of the poller that only a BSD can run.
//!
//! This file decides nothing, and is small, because the tests cannot run it: each change is only
//! type-checked for the real systems. See `kqueue.rs` for the tested part.
//!
//! In the notes this is the *selector* of macOS (N2).

use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::sync::Arc;
use std::time::Duration;

use readily_sys::kq_abi::Kevent;
use readily_sys::kqueue::{Buffer, Kqueue, Notifier};
use readily_sys::poll::FileKind;

use crate::poll::kqueue::{KqueuePoller, KqueueSys};
use crate::poll::{NOTIFIER, Notify};

/// The system's kqueue.
#[derive(Debug)]
pub struct SystemKqueue {
    queue: Arc<Kqueue>,
    buffer: Buffer,
    notifier: Arc<SharedNotifier>,
}

#[derive(Debug)]
struct SharedNotifier(Notifier);

impl Notify for SharedNotifier {
    fn notify(&self) {
        self.0.notify();
    }
}

impl KqueuePoller<SystemKqueue> {
    /// Makes a poller that watches nothing yet.
    ///
    /// # Errors
    ///
    /// Too many descriptors, or no memory.
    pub fn new() -> io::Result<Self> {
        let queue = Arc::new(Kqueue::new()?);
        let notifier = Arc::new(SharedNotifier(Notifier::new(&queue, NOTIFIER)?));
        Ok(Self::with(SystemKqueue {
            queue,
            buffer: Buffer::new(),
            notifier,
        }))
    }
}

impl KqueueSys for SystemKqueue {
    fn change(&mut self, changes: &[Kevent], errors: &mut [i32]) -> io::Result<()> {
        self.queue.change(changes, errors)
    }

    fn wait(&mut self, out: &mut Vec<Kevent>, timeout: Option<Duration>) -> io::Result<()> {
        self.queue.wait(&mut self.buffer, out, timeout)
    }

    fn clear_notification(&mut self) {
        self.notifier.0.drain();
    }

    fn notifier(&self) -> Arc<dyn Notify> {
        Arc::clone(&self.notifier) as Arc<dyn Notify>
    }

    fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.queue.as_fd()
    }

    fn file_kind(&self, fd: RawFd) -> io::Result<FileKind> {
        self.queue.file_kind(fd)
    }
}
