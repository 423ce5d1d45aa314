//! A descriptor of a kernel in memory: owned, closed when dropped, and what can be done with it.
//!
//! The operations are those of the system, by the system's names, with its errors. None waits.

use super::open_files::Body;
use super::streams::State;
use super::{Kernel, os};
use readily_sys::errno::{EAGAIN, EBADF, EEXIST, EINTR, EINVAL, ENOTSOCK};
use readily_sys::socket;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{BorrowedFd, RawFd};
use std::time::Duration;

/// An open descriptor of a [`Kernel`]. Dropping it closes it.
pub struct Fd {
    kernel: Kernel,
    number: RawFd,
}

impl Fd {
    pub(super) fn new(kernel: &Kernel, number: RawFd) -> Self {
        Self {
            kernel: kernel.clone(),
            number,
        }
    }

    /// Its number, to be registered with a poller of its kernel.
    #[must_use]
    pub fn number(&self) -> RawFd {
        self.number
    }

    /// The kernel that it belongs to.
    #[must_use]
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// A descriptor of the system, for who asks for one: a socket that is connected to nobody.
    ///
    /// # Panics
    ///
    /// If the system has none left.
    #[must_use]
    pub fn placeholder(&self) -> BorrowedFd<'_> {
        self.kernel.placeholder.as_fd()
    }

    /// Another descriptor for the same open file (`dup(2)`).
    ///
    /// # Errors
    ///
    /// `EMFILE`.
    pub fn try_clone(&self) -> io::Result<Self> {
        let mut table = self.kernel.table.borrow_mut();
        table.room_for(1)?;
        let file = table.file(self.number)?;
        let number = table.number(file);
        drop(table);
        Ok(Self::new(&self.kernel, number))
    }

    /// Another descriptor for the same open file, under this number, which is free.
    ///
    /// # Errors
    ///
    /// `EBADF` for a number below [`FIRST_NUMBER`](super::FIRST_NUMBER) or beyond the limit, `EEXIST` for one that is
    /// not free: unlike `dup2(2)`, this closes nobody's descriptor behind his back.
    pub fn renumbered(&self, number: RawFd) -> io::Result<Self> {
        let mut table = self.kernel.table.borrow_mut();
        if !table.is_allowed(number) {
            return Err(os(EBADF));
        }
        let file = table.file(self.number)?;
        if table.file(number).is_ok() {
            return Err(os(EEXIST));
        }
        table.give(file, number);
        drop(table);
        Ok(Self::new(&self.kernel, number))
    }

    /// Reads what is there (`read(2)`). Zero is the end.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if there is nothing; a reset, for one.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let now_ns = self.kernel.now_ns();
        let mut table = self.kernel.table.borrow_mut();
        let file = table.file(self.number)?;
        let room = self.troubled(&mut table, file, buffer.len())?;
        table.read(file, &mut buffer[..room], now_ns)
    }

    /// Writes as much as there is room for (`write(2)`).
    ///
    /// # Errors
    ///
    /// `WouldBlock` if there is no room; `BrokenPipe` if nobody will read.
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut table = self.kernel.table.borrow_mut();
        let file = table.file(self.number)?;
        let len = self.troubled(&mut table, file, bytes.len())?;
        table.write(file, &bytes[..len])
    }

    /// Lets the kernel's faults at an operation on `len` bytes; how many are left.
    fn troubled(&self, table: &mut super::Table, file: u64, len: usize) -> io::Result<usize> {
        let faults = &mut table.faults;
        faults.call()?;
        let (interrupted, blocks, short) = (faults.interrupted, faults.would_block, faults.short);
        if faults.strikes(interrupted) {
            return Err(os(EINTR));
        }
        let is_stream = matches!(table.at(file).body, Body::Endpoint(_));
        if is_stream && len > 0 && table.faults.strikes(blocks) {
            Self::notify_again(table, file);
            return Err(os(EAGAIN));
        }
        if is_stream && len > 1 && table.faults.strikes(short) {
            Self::notify_again(table, file);
            return Ok(1 + table.faults.chance().below(len - 1));
        }
        Ok(len)
    }

    /// Less was done than could be, and without a reason. It was no lie of the poller: what holds
    /// now is told again, as a new arrival would be. And who took it for a full buffer is told of
    /// room, even if there is none worth a word just now.
    fn notify_again(table: &mut super::Table, file: u64) {
        table.endpoint(file).wants_room = true;
        table.wake(file, super::open_files::bits::ALL);
    }

    /// Accepts a connection (`accept(2)`), and says whose it is.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if there is none, `EMFILE`.
    pub fn accept(&self) -> io::Result<(Self, Option<SocketAddr>)> {
        let mut table = self.kernel.table.borrow_mut();
        let file = table.file(self.number)?;
        table.faults.call()?;
        let (number, peer) = table.accept(file)?;
        drop(table);
        Ok((Self::new(&self.kernel, number), peer))
    }

    /// Shuts one or both directions down (`shutdown(2)`).
    ///
    /// # Errors
    ///
    /// `ENOTCONN`, `ENOTSOCK`.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        let mut table = self.kernel.table.borrow_mut();
        let file = table.file(self.number)?;
        table.faults.call()?;
        table.shutdown(file, how)
    }

    /// Closes the connection with a reset instead of an end (`SO_LINGER` of zero).
    pub fn reset(self) {
        let mut table = self.kernel.table.borrow_mut();
        if let Ok(file) = table.file(self.number) {
            if let Body::Endpoint(end) = &mut table.at(file).body {
                end.resets = true;
            }
        }
        drop(table);
    }

    /// Sends urgent data (`MSG_OOB`). Only that there is some is modelled.
    ///
    /// # Errors
    ///
    /// `BrokenPipe` if nobody is there, `ENOTSOCK` for what is no stream socket.
    pub fn send_urgent(&self) -> io::Result<()> {
        let mut table = self.kernel.table.borrow_mut();
        let file = table.file(self.number)?;
        table.send_urgent(file)
    }

    /// Lets at most `capacity` bytes lie unread at this end (`SO_RCVBUF`); no byte is lost.
    pub fn set_capacity(&self, capacity: usize) {
        let mut table = self.kernel.table.borrow_mut();
        table.set_capacity(self.number, capacity);
    }

    /// Sets a timer to go off `after` now; `None` stops it.
    ///
    /// # Errors
    ///
    /// `EINVAL` if it is none.
    pub fn set_timer(&self, after: Option<Duration>) -> io::Result<()> {
        let now_ns = self.kernel.now_ns();
        let mut table = self.kernel.table.borrow_mut();
        let file = table.file(self.number)?;
        let due_ns = after.map(|after| now_ns.saturating_add(readily::clock::nanos(after)));
        table.set_timer(file, due_ns)
    }

    /// Takes the pending error (`SO_ERROR`).
    ///
    /// # Errors
    ///
    /// `ENOTSOCK` for what is no socket.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        let mut table = self.kernel.table.borrow_mut();
        let file = table.file(self.number)?;
        match &mut table.at(file).body {
            Body::Endpoint(end) if end.is_socket() => Ok(end.error.take().map(os)),
            Body::Datagrams(datagrams) => Ok(datagrams.error.take().map(os)),
            _ => Err(os(ENOTSOCK)),
        }
    }

    /// Whether it has a peer.
    ///
    /// # Errors
    ///
    /// `ENOTSOCK` for what is no socket.
    pub fn is_connected(&self) -> io::Result<bool> {
        self.with_endpoint(|end| end.state == State::Connected && end.error.is_none())
            .ok_or_else(|| os(ENOTSOCK))
    }

    /// How many bytes could be read (`FIONREAD`).
    #[must_use]
    pub fn unread(&self) -> usize {
        self.with_endpoint(|end| end.input.len()).unwrap_or(0)
    }

    /// What it is, as far as the loop distinguishes.
    #[must_use]
    pub fn kind(&self) -> socket::Kind {
        let mut table = self.kernel.table.borrow_mut();
        let Ok(file) = table.file(self.number) else {
            return socket::Kind::Other;
        };
        match &table.at(file).body {
            Body::Endpoint(end) if end.is_socket() => socket::Kind::Stream,
            Body::Listener(_) => socket::Kind::Listener,
            Body::Datagrams(_) => socket::Kind::Datagram,
            _ => socket::Kind::Other,
        }
    }

    /// Its own address.
    ///
    /// # Errors
    ///
    /// `EINVAL` where there is none.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        let mut table = self.kernel.table.borrow_mut();
        let file = table.file(self.number)?;
        let addr = match &table.at(file).body {
            Body::Endpoint(end) => end.local,
            Body::Listener(listener) => Some(listener.addr),
            _ => None,
        };
        addr.ok_or_else(|| os(EINVAL))
    }

    /// Its peer's address.
    ///
    /// # Errors
    ///
    /// `EINVAL` where there is none.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.with_endpoint(|end| end.remote)
            .flatten()
            .ok_or_else(|| os(EINVAL))
    }

    /// Does something with the end of a stream or pipe; `None` if it is none.
    pub(super) fn with_endpoint<R>(
        &self,
        does: impl FnOnce(&mut super::Endpoint) -> R,
    ) -> Option<R> {
        let mut table = self.kernel.table.borrow_mut();
        let file = table.file(self.number).ok()?;
        match &mut table.at(file).body {
            Body::Endpoint(end) => Some(does(end)),
            _ => None,
        }
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        self.kernel.table.borrow_mut().close(self.number);
    }
}

impl fmt::Debug for Fd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fd({})", self.number)
    }
}

impl Read for &Fd {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Fd::read(self, buffer)
    }
}

impl Write for &Fd {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Fd::write(self, bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
