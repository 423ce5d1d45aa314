//! A descriptor of a kernel in memory, and its operations.
//!
//! The operations have the names and the errors of the system calls. None of them waits.

use super::open_files::Body;
use super::streams::State;
use super::{Endpoint, Kernel, Table, os};
use readily_sys::errno::{EAGAIN, EBADF, EEXIST, EINTR, EINVAL, ENOTSOCK};
use readily_sys::socket;
use std::fmt;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{BorrowedFd, RawFd};
use std::time::Duration;

/// An open descriptor of a [`Kernel`], which is closed when it is dropped.
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

    /// Returns the number of the descriptor, for a poller of its kernel.
    #[must_use]
    pub fn number(&self) -> RawFd {
        self.number
    }

    /// Returns the kernel of the descriptor.
    #[must_use]
    pub fn kernel(&self) -> &Kernel {
        &self.kernel
    }

    /// Returns a descriptor of the system, for callers that need one: a socket that is not connected.
    ///
    /// # Panics
    ///
    /// If the system has no descriptor left.
    #[must_use]
    pub fn placeholder(&self) -> BorrowedFd<'_> {
        self.kernel.placeholder.as_fd()
    }

    /// Makes another descriptor for the same open file (`dup(2)`).
    ///
    /// # Errors
    ///
    /// `EMFILE`.
    pub fn try_clone(&self) -> io::Result<Self> {
        let mut table = self.kernel.table.borrow_mut();
        table.check_limit(1)?;
        let file = table.file(self.number)?;
        let number = table.assign_number(file);
        drop(table);
        Ok(Self::new(&self.kernel, number))
    }

    /// Makes another descriptor for the same open file, with a given number, which must be free.
    ///
    /// # Errors
    ///
    /// `EBADF` for a number below [`Kernel::FIRST_NUMBER`] or beyond the limit. `EEXIST` for a
    /// number in use: unlike `dup2(2)`, this does not close another descriptor.
    pub fn renumbered(&self, number: RawFd) -> io::Result<Self> {
        let mut table = self.kernel.table.borrow_mut();
        if !table.is_allowed(number) {
            return Err(os(EBADF));
        }
        let file = table.file(self.number)?;
        if table.file(number).is_ok() {
            return Err(os(EEXIST));
        }
        table.assign(file, number);
        drop(table);
        Ok(Self::new(&self.kernel, number))
    }

    /// Reads the bytes that have arrived (`read(2)`). Returns zero at the end.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if no bytes have arrived; an error of the connection, for instance a reset.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        let now_ns = self.kernel.now_ns();
        let mut table = self.kernel.table.borrow_mut();
        let file = table.file(self.number)?;
        let room = self.apply_faults(&mut table, file, buffer.len())?;
        table.read(file, &mut buffer[..room], now_ns)
    }

    /// Writes as much as there is room for (`write(2)`).
    ///
    /// # Errors
    ///
    /// `WouldBlock` if there is no room; `BrokenPipe` if the reading side is closed.
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let mut table = self.kernel.table.borrow_mut();
        let file = table.file(self.number)?;
        let len = self.apply_faults(&mut table, file, bytes.len())?;
        table.write(file, &bytes[..len])
    }

    /// Applies the faults of the kernel to an operation on `len` bytes. Returns how many bytes it may
    /// move.
    pub(super) fn apply_faults(
        &self,
        table: &mut Table,
        file: u64,
        len: usize,
    ) -> io::Result<usize> {
        let faults = &mut table.faults;
        faults.count_call()?;
        let (interrupted, would_block, short) =
            (faults.interrupted, faults.would_block, faults.short);
        if faults.chance_256(interrupted) {
            return Err(os(EINTR));
        }
        let is_stream = matches!(table.at(file).body, Body::Endpoint(_));
        if is_stream && len > 0 && table.faults.chance_256(would_block) {
            Self::notify_again(table, file);
            return Err(os(EAGAIN));
        }
        if is_stream && len > 1 && table.faults.chance_256(short) {
            Self::notify_again(table, file);
            return Ok(1 + table.faults.rng().below(len - 1));
        }
        Ok(len)
    }

    /// Wakes the watchers of `file` after a fault has cut an operation short. The readiness that the
    /// poller reported still holds, so it reports it again, as after a new arrival. A writer that took the
    /// fault for a full buffer also gets a report of room.
    fn notify_again(table: &mut Table, file: u64) {
        table.endpoint(file).no_space = true;
        table.wake(file, super::open_files::bits::ALL);
    }

    /// Accepts a connection (`accept(2)`), and returns it with the address of its peer.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if no connection waits; `EMFILE`.
    pub fn accept(&self) -> io::Result<(Self, Option<SocketAddr>)> {
        let mut table = self.kernel.table.borrow_mut();
        let file = table.file(self.number)?;
        table.faults.count_call()?;
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
        table.faults.count_call()?;
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

    /// Sends urgent data (`MSG_OOB`), which is modelled as a flag and not as a byte.
    ///
    /// # Errors
    ///
    /// `BrokenPipe` if there is no peer; `ENOTSOCK` if this is not a stream socket.
    pub fn send_urgent(&self) -> io::Result<()> {
        let mut table = self.kernel.table.borrow_mut();
        let file = table.file(self.number)?;
        table.send_urgent(file)
    }

    /// Sets how many unread bytes this end can hold (`SO_RCVBUF`). Bytes beyond that are kept, too.
    pub fn set_capacity(&self, capacity: usize) {
        let mut table = self.kernel.table.borrow_mut();
        table.set_capacity(self.number, capacity);
    }

    /// Sets a timer to expire `after` this time; `None` stops it.
    ///
    /// # Errors
    ///
    /// `EINVAL` if this is not a timer.
    pub fn set_timer(&self, after: Option<Duration>) -> io::Result<()> {
        let now_ns = self.kernel.now_ns();
        let mut table = self.kernel.table.borrow_mut();
        let file = table.file(self.number)?;
        let due_ns = after.map(|after| now_ns.saturating_add(readily::clock::nanos(after)));
        table.set_timer(file, due_ns)
    }

    /// Returns the pending error, and clears it (`SO_ERROR`).
    ///
    /// # Errors
    ///
    /// `ENOTSOCK` if this is not a socket.
    pub fn take_error(&self) -> io::Result<Option<io::Error>> {
        let mut table = self.kernel.table.borrow_mut();
        let file = table.file(self.number)?;
        match &mut table.at(file).body {
            Body::Endpoint(end) if end.is_socket() => Ok(end.error.take().map(os)),
            Body::Datagrams(datagrams) => Ok(datagrams.error.take().map(os)),
            _ => Err(os(ENOTSOCK)),
        }
    }

    /// Whether the socket is connected.
    ///
    /// # Errors
    ///
    /// `ENOTSOCK` if this is not a stream socket.
    pub fn is_connected(&self) -> io::Result<bool> {
        self.with_endpoint(|end| end.state == State::Connected && end.error.is_none())
            .ok_or_else(|| os(ENOTSOCK))
    }

    /// Returns how many bytes can be read (`FIONREAD`).
    #[must_use]
    pub fn bytes_available(&self) -> usize {
        self.with_endpoint(|end| end.input.len()).unwrap_or(0)
    }

    /// Returns the kind of the descriptor, as far as the loop distinguishes it.
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

    /// Returns the local address.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there is none.
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

    /// Returns the address of the peer.
    ///
    /// # Errors
    ///
    /// `EINVAL` if there is none.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.with_endpoint(|end| end.remote)
            .flatten()
            .ok_or_else(|| os(EINVAL))
    }

    /// Calls `f` with the end of a stream or pipe; `None` if the descriptor is neither.
    pub(super) fn with_endpoint<R>(&self, f: impl FnOnce(&mut Endpoint) -> R) -> Option<R> {
        let mut table = self.kernel.table.borrow_mut();
        let file = table.file(self.number).ok()?;
        match &mut table.at(file).body {
            Body::Endpoint(end) => Some(f(end)),
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
