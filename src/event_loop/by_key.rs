//! Writing to the descriptor of another registration, by its key.
//!
//! What a callback reads is often for another connection: a proxy's, or that of everyone in a room. The key names
//! it, and stays the name of no other.
//!
//! In asyncio a callback keeps the other's transport.

use super::error::Error;
use super::loop_handle::{LoopHandle, RegistrationRc};
use super::registry::Key;
use crate::poll::FdRef;
use readily_sys::socket;
use std::io;
use std::net::Shutdown;

impl LoopHandle {
    /// Writes to the descriptor of `key`, as much as there is room for, without waiting: as
    /// [`Cx::write`](crate::Cx::write) does to that of the callback. Returns the number of bytes.
    ///
    /// What there is no room for, the caller keeps until `on_write` of that registration:
    /// [`set_interest_of`](Self::set_interest_of) asks for it. A [`Transport`](crate::transport::Transport) does both.
    /// With the key of a transport, the bytes overtake those in its buffer: use
    /// [`Transport::write`](crate::transport::Transport::write).
    ///
    /// # Errors
    ///
    /// As `send(2)` or `write(2)`; `WouldBlock` if there is no room at all; `NotFound` if the registration was
    /// removed, or is not one with callbacks; [`Error::Forked`] as an `io::Error`.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::{Closures, EventLoop, Interest};
    /// use std::io::{Read, Write};
    /// use std::os::unix::net::UnixStream;
    ///
    /// let mut event_loop = EventLoop::new()?;
    /// # event_loop.set_panic_policy(readily::PanicPolicy::Propagate);
    /// let (mut from, source) = UnixStream::pair()?;
    /// let (sink, mut to) = UnixStream::pair()?;
    /// let key = event_loop.register(sink, Interest::NONE, Closures::new())?;
    /// let forward = Closures::new().on_read(move |cx| {
    ///     let mut buffer = [0; 64];
    ///     let n = cx.read(&mut buffer).unwrap();
    ///     assert_eq!(cx.write_to(key, &buffer[..n]).unwrap(), n);
    ///     cx.stop();
    /// });
    /// event_loop.register(source, Interest::READ, forward)?;
    /// from.write_all(b"pass it on")?;
    /// event_loop.run()?;
    /// let mut buffer = [0; 10];
    /// to.read_exact(&mut buffer)?;
    /// assert_eq!(&buffer, b"pass it on");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn write_to(&self, key: Key, bytes: &[u8]) -> io::Result<usize> {
        let registration = self.usable_registration_of(key)?;
        match registration.socket() {
            Some(socket) => socket::send(socket, bytes),
            None => registration
                .fd_ref()
                .try_write(bytes, &registration.transfer),
        }
    }

    /// Shuts down one or both directions of the socket of `key`.
    ///
    /// # Errors
    ///
    /// As `shutdown(2)`; `NotFound` and [`Error::Forked`] as in [`write_to`](Self::write_to).
    pub fn shutdown_of(&self, key: Key, how: Shutdown) -> io::Result<()> {
        self.usable_registration_of(key)?.fd_ref().shutdown(how)
    }

    /// Calls `f`, which is not user code, with the descriptor of `key`.
    pub(crate) fn with_fd_of<R>(
        &self,
        key: Key,
        f: impl FnOnce(FdRef<'_>) -> io::Result<R>,
    ) -> io::Result<R> {
        f(self.registration_of(key)?.fd_ref())
    }

    /// The same for what changes the connection, which a forked child shares with its parent.
    fn usable_registration_of(&self, key: Key) -> io::Result<RegistrationRc> {
        let registration = self.registration_of(key)?;
        self.ensure_usable().map_err(Error::into_io)?;
        Ok(registration)
    }

    /// A reference of its own: it is never the last one while a callback of the registration runs.
    fn registration_of(&self, key: Key) -> io::Result<RegistrationRc> {
        let unknown = || Error::UnknownKey(key).into_io();
        self.registration_state(key).map_err(|_| unknown())?;
        self.registry.get(key.slot).ok_or_else(unknown)
    }
}
