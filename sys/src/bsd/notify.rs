//! The notifier that ends a wait: the queue's own trigger, or a pipe. The twin of `linux/notify.rs`.
//!
//! `EVFILT_USER` costs no descriptor. Two rules keep it portable: it is *created* without a
//! trigger (FreeBSD ignores one then), and *triggered* without any flag (there, `EV_CLEAR`
//! would take the trigger back). Where the filter is missing, a pipe takes its place.
//!
//! In the notes: N1's callbacks from other threads.

use std::io;
use std::sync::Arc;

use super::ffi;
use super::kqueue::Kqueue;
use crate::kq_abi::{EV_ADD, EV_CLEAR, Filter, Kevent, NOTE_TRIGGER};

/// Makes a queue's wait return, from any thread.
#[derive(Debug)]
pub struct Notifier(Way);

#[derive(Debug)]
enum Way {
    /// The notifier owns its queue: after the poller is dropped, the number may be another file's.
    User(Arc<Kqueue>, u64),
    Pipe(ffi::Pipe),
}

impl Notifier {
    /// Makes one for `queue`; its events carry `token`.
    ///
    /// # Errors
    ///
    /// The system has neither the filter nor a pipe.
    pub fn new(queue: &Arc<Kqueue>, token: u64) -> io::Result<Self> {
        let mut error = [0];
        queue.change(&[user(token, EV_ADD | EV_CLEAR, 0)], &mut error)?;
        if error == [0] {
            return Ok(Self(Way::User(Arc::clone(queue), token)));
        }
        let pipe = ffi::pipe()?;
        let ident = pipe.number() as usize;
        let (filter, flags) = (Filter::Read, EV_ADD | EV_CLEAR);
        let read = Kevent {
            ident,
            filter,
            flags,
            fflags: 0,
            data: 0,
            udata: token,
        };
        queue.change(&[read], &mut error)?;
        match error[0] {
            0 => Ok(Self(Way::Pipe(pipe))),
            code => Err(io::Error::from_raw_os_error(code)),
        }
    }

    /// Notifies, from any thread. Never blocks.
    pub fn notify(&self) {
        match &self.0 {
            // This fails only in a child, where no thread waits on this queue.
            Way::User(queue, token) => {
                let _ = queue.change(&[user(*token, 0, NOTE_TRIGGER)], &mut [0]);
            }
            Way::Pipe(pipe) => pipe.notify(),
        }
    }

    /// Consumes all notifications so far, after one of them was reported.
    pub fn drain(&self) {
        match &self.0 {
            // `EV_CLEAR` has done it.
            Way::User(..) => {}
            Way::Pipe(pipe) => {
                pipe.drain();
            }
        }
    }
}

fn user(udata: u64, flags: u32, fflags: u32) -> Kevent {
    Kevent {
        ident: 0,
        filter: Filter::User,
        flags,
        fflags,
        data: 0,
        udata,
    }
}
