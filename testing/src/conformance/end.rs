//! An open descriptor, and what a promise does with it.
//!
//! What has to succeed panics here otherwise, with the line of the promise, so that a promise is
//! left with what it is about.

use super::ground::Descriptor;
use readily::poll::FdRef;
use std::io;
use std::net::Shutdown;
use std::os::fd::RawFd;

/// An open descriptor of any kernel, closed when it is dropped. Nothing done with it ever waits.
///
/// # Panics
///
/// All methods that return no `Result`, where the kernel refuses.
#[derive(Debug)]
pub struct End(Box<dyn Descriptor>);

impl End {
    /// Of a descriptor, which is non-blocking.
    #[must_use]
    pub fn new(fd: impl Descriptor + 'static) -> Self {
        Self(Box::new(fd))
    }

    /// It, borrowed, for operations that are not here.
    #[must_use]
    pub fn any(&self) -> FdRef<'_> {
        self.0.any()
    }

    /// Its number, by which pollers know it.
    #[must_use]
    pub fn number(&self) -> RawFd {
        self.any().raw()
    }

    /// Another descriptor for the same open file.
    #[must_use]
    #[track_caller]
    pub fn twin(&self) -> Self {
        self.0.twin().expect("there is a number left")
    }

    /// Another descriptor for the same open file, under this number, which is free: see
    /// [`World::free_number`](super::World::free_number).
    #[must_use]
    #[track_caller]
    pub fn renumbered(&self, number: RawFd) -> Self {
        let made = self.0.renumbered(number);
        made.expect("the number is free, and not beyond the limit")
    }

    /// Accepts a connection.
    ///
    /// # Errors
    ///
    /// `WouldBlock` if there is none.
    pub fn accept(&self) -> io::Result<Self> {
        self.0.accept()
    }

    /// Writes all of `bytes`, for which there is room.
    #[track_caller]
    pub fn put(&self, bytes: &[u8]) {
        let n = self.write(bytes).expect("there is room to write");
        assert_eq!(n, bytes.len(), "there is room for all of it");
    }

    /// Reads `len` bytes, which are there.
    #[track_caller]
    pub fn take(&self, len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        let n = self.read(&mut bytes).expect("there is something to read");
        assert_eq!(n, len, "all of it is there");
        bytes
    }

    /// Whether a read finds the end.
    #[must_use]
    #[track_caller]
    pub fn is_at_its_end(&self) -> bool {
        self.read(&mut [0]).expect("a read does not fail") == 0
    }

    /// Reads once.
    ///
    /// # Errors
    ///
    /// As `read(2)`; `WouldBlock` if there is nothing.
    pub fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        self.any().read(buffer)
    }

    /// Writes once.
    ///
    /// # Errors
    ///
    /// As `write(2)`; `WouldBlock` if there is no room.
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.any().write(bytes)
    }

    /// Reads until `WouldBlock` or the end, and says how much that was.
    pub fn drain(&self) -> usize {
        let (mut buffer, mut sum) = (vec![0; 65_536], 0);
        while let Ok(n @ 1..) = self.read(&mut buffer) {
            sum += n;
        }
        sum
    }

    /// Writes until `WouldBlock`, and says how much that was.
    pub fn fill(&self) -> usize {
        let (bytes, mut sum) = (vec![0; 65_536], 0);
        while let Ok(n @ 1..) = self.write(&bytes) {
            sum += n;
        }
        sum
    }

    /// Shuts one or both directions down.
    #[track_caller]
    pub fn shutdown(&self, how: Shutdown) {
        self.any().shutdown(how).expect("it is connected");
    }

    /// Takes the pending error of a socket.
    #[must_use]
    #[track_caller]
    pub fn take_error(&self) -> Option<io::Error> {
        self.any().take_error().expect("it is a socket")
    }

    /// Whether a socket has a peer.
    #[must_use]
    #[track_caller]
    pub fn is_connected(&self) -> bool {
        self.any().is_connected().expect("it is a socket")
    }

    /// Closes a connection with a reset instead of an end.
    #[track_caller]
    pub fn reset(self) {
        self.0.reset().expect("it is a socket");
    }

    /// Sends one byte out of band.
    #[track_caller]
    pub fn send_urgent(&self) {
        self.0.send_urgent().expect("the peer is there");
    }
}
