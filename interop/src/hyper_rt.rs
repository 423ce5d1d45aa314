//! What hyper asks of a runtime: streams, an executor and a timer.

use super::io::{Io, write_methods};
use super::stream::Stream;
use hyper::rt;
use send_wrapper::SendWrapper;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

impl<S: Stream> rt::Read for Io<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: rt::ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        // SAFETY: nothing but the read writes to it, and it writes bytes that are initialized.
        let room = unsafe { buffer.as_mut() };
        let n = ready!(self.get_ref().poll_read_uninit(cx, room))?;
        // SAFETY: the read says that the first `n` bytes are initialized.
        unsafe { buffer.advance(n) };
        Poll::Ready(Ok(()))
    }
}

impl<S: Stream> rt::Write for Io<S> {
    write_methods!();
}

/// Spawns on the loop that runs here: hyper's executor, which HTTP/2 needs.
///
/// A panic of a task that was spawned so is reported as that of any other whose handle was dropped.
///
/// # Panics
///
/// When it executes outside a loop.
#[derive(Clone, Copy, Debug, Default)]
pub struct LocalExecutor;

impl<F> rt::Executor<F> for LocalExecutor
where
    F: Future<Output: 'static> + 'static,
{
    fn execute(&self, future: F) {
        drop(readily::spawn(future));
    }
}

/// The clock and the timers of the loop that runs here: hyper's timer, which its time limits need. On a loop
/// in memory the time is virtual.
///
/// # Panics
///
/// When it is asked for the time outside a loop, and when one of its sleeps is polled there or is used on
/// another thread.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoopTimer;

impl rt::Timer for LoopTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn rt::Sleep>> {
        let sleep = readily::sleep(duration);
        Box::pin(LoopSleep(SendWrapper::new(sleep)))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn rt::Sleep>> {
        let sleep = readily::time::sleep_until(deadline);
        Box::pin(LoopSleep(SendWrapper::new(sleep)))
    }

    fn now(&self) -> Instant {
        readily::time::fresh_now()
    }
}

/// hyper demands `Send` and `Sync` of a sleep; it polls and drops it in the task of its connection.
struct LoopSleep(SendWrapper<readily::time::Sleep>);

impl rt::Sleep for LoopSleep {}

impl Future for LoopSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut *self.0).poll(cx)
    }
}
