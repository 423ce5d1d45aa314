//! Taking a descriptor back from the loop: the end of a registration, without the close.
//!
//! In asyncio: `Transport.get_extra_info("socket")` with a `dup`; `loop.remove_reader`.

use super::async_fd::{Async, System};
use super::listening::Listening;
use super::pipe::{PipeReader, PipeWriter};
use super::pipe_end::PipeEnd;
use super::socket::Socket;
use super::tcp::TcpStream;
use super::tcp_listener::TcpListener;
use super::udp::UdpSocket;
use super::unix::UnixStream;
use super::unix_datagram::UnixDatagram;
use super::unix_listener::UnixListener;
use super::watched::{Io, Watched};
use crate::poll::FdRef;
use std::io;
use std::net;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net as unix;

/// The error of taking a descriptor back from its loop, with the value that owns it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IntoInnerError<S> {
    /// The loop is calling a waker of it, and the caller runs inside that call.
    #[error("the loop is dispatching an event of this descriptor")]
    Dispatching(S),
    /// It is a descriptor of another kernel ([`Poller::kernel`](crate::poll::Poller::kernel)), which the system does
    /// not know.
    #[error("this is a descriptor of another kernel than the system's")]
    OtherKernel(S),
}

impl<S> IntoInnerError<S> {
    /// What was to give its descriptor away: it is as it was before.
    pub fn into_inner(self) -> S {
        match self {
            Self::Dispatching(held) | Self::OtherKernel(held) => held,
        }
    }

    fn map<R>(self, f: impl FnOnce(S) -> R) -> IntoInnerError<R> {
        match self {
            Self::Dispatching(held) => IntoInnerError::Dispatching(f(held)),
            Self::OtherKernel(held) => IntoInnerError::OtherKernel(f(held)),
        }
    }
}

impl<S> From<IntoInnerError<S>> for io::Error {
    fn from(error: IntoInnerError<S>) -> Self {
        let kind = match error {
            IntoInnerError::Dispatching(_) => io::ErrorKind::ResourceBusy,
            IntoInnerError::OtherKernel(_) => io::ErrorKind::Unsupported,
        };
        Self::new(kind, error.map(drop))
    }
}

/// Takes the system's descriptor out of `watched`.
fn system<T: Io, R>(
    watched: Watched<T>,
    take: impl FnOnce(T) -> Option<R>,
) -> Result<R, IntoInnerError<Watched<T>>> {
    if matches!(watched.fd_ref(), FdRef::Virtual(_)) {
        return Err(IntoInnerError::OtherKernel(watched));
    }
    let io = watched.into_inner().map_err(IntoInnerError::Dispatching)?;
    Ok(take(io).expect("it is the system's"))
}

/// Takes a socket out of `watched`, as the standard library's; `back` makes what holds it.
fn socket<T: Io + Into<Socket>, S: From<OwnedFd>, H>(
    watched: Watched<T>,
    back: impl FnOnce(Watched<T>) -> H,
) -> Result<S, IntoInnerError<H>> {
    match system(watched, |io| io.into().into_system()) {
        Ok(fd) => Ok(fd.into()),
        Err(error) => Err(error.map(back)),
    }
}

impl Listening {
    /// Ends the registration.
    fn into_std<S: From<OwnedFd>>(self) -> Result<S, IntoInnerError<Self>> {
        socket(self.source, |source| Self { source, ..self })
    }
}

impl TcpStream {
    /// Ends the registration, and returns the connection as the standard library's. One that the loop has
    /// made, or that was non-blocking when [`from_std`](TcpStream::from_std) took it over, is non-blocking:
    /// [`set_nonblocking`](net::TcpStream::set_nonblocking) changes that.
    ///
    /// # Errors
    ///
    /// [`IntoInnerError`], with the stream.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::io::{TcpListener, TcpStream};
    /// use std::io::{Read, Write};
    ///
    /// let (mut here, mut there) = readily::run(async {
    ///     let listener = TcpListener::bind(([127, 0, 0, 1], 0))?;
    ///     let here = TcpStream::connect(listener.local_addr()?).await?;
    ///     let (there, _) = listener.accept().await?;
    ///     std::io::Result::Ok((here.into_std()?, there.into_std()?))
    /// })??;
    /// here.set_nonblocking(false)?;
    /// there.write_all(b"hello")?;
    /// let mut greeting = [0; 5];
    /// here.read_exact(&mut greeting)?;
    /// assert_eq!(&greeting, b"hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn into_std(self) -> Result<net::TcpStream, IntoInnerError<Self>> {
        socket(self.source, |source| Self { source })
    }
}

impl TcpListener {
    /// Ends the registration, and returns the listener as the standard library's, in the mode that
    /// [`TcpStream::into_std`] describes. Connections that were not accepted stay in its queue.
    ///
    /// # Errors
    ///
    /// [`IntoInnerError`], with the listener.
    pub fn into_std(self) -> Result<net::TcpListener, IntoInnerError<Self>> {
        let taken = self.listening.into_std();
        taken.map_err(|error| error.map(|listening| Self { listening }))
    }
}

/// Implements the method of a socket.
macro_rules! into_std {
    ($($of:ty: $std:ty),*) => {$(
        impl $of {
            /// Ends the registration, and returns the socket as the standard library's, in the mode that
            /// [`TcpStream::into_std`] describes.
            ///
            /// # Errors
            ///
            /// [`IntoInnerError`], with the socket.
            pub fn into_std(self) -> Result<$std, IntoInnerError<Self>> {
                socket(self.source, |source| Self { source })
            }
        }
    )*};
}

into_std!(UnixStream: unix::UnixStream, UnixDatagram: unix::UnixDatagram, UdpSocket: net::UdpSocket);

impl UnixListener {
    /// Ends the registration, and returns the listener as the standard library's, in the mode that
    /// [`TcpStream::into_std`] describes. Its path stays. Connections that were not accepted stay in its queue.
    ///
    /// # Errors
    ///
    /// [`IntoInnerError`], with the listener.
    pub fn into_std(self) -> Result<unix::UnixListener, IntoInnerError<Self>> {
        let Self {
            mut file,
            listening,
        } = self;
        match listening.into_std() {
            Ok(taken) => {
                file.0 = None;
                Ok(taken)
            }
            Err(error) => Err(error.map(|listening| Self { file, listening })),
        }
    }
}

impl<T: AsFd + 'static> Async<T> {
    /// Ends the registration, and returns what was waited for. If its descriptor was blocking, it is
    /// blocking again.
    ///
    /// # Errors
    ///
    /// [`IntoInnerError`], with the source.
    pub fn into_inner(self) -> Result<T, IntoInnerError<Self>> {
        match self.source.into_inner() {
            Ok(System(io)) => Ok(io),
            Err(source) => Err(IntoInnerError::Dispatching(Self { source })),
        }
    }
}

/// Implements the conversion to a descriptor by one of the types' own methods.
macro_rules! into_owned_fd {
    ($($of:ty: $take:ident),*) => {$(
        impl TryFrom<$of> for OwnedFd {
            type Error = IntoInnerError<$of>;

            /// Ends the registration; the descriptor stays open.
            fn try_from(held: $of) -> Result<Self, Self::Error> {
                held.$take().map(Self::from)
            }
        }
    )*};
}

into_owned_fd!(TcpStream: into_std, TcpListener: into_std);
into_owned_fd!(UnixStream: into_std, UnixListener: into_std, UnixDatagram: into_std);
into_owned_fd!(UdpSocket: into_std);
into_owned_fd!(PipeReader: into_fd, PipeWriter: into_fd);

/// Implements the method of an end of a pipe.
macro_rules! pipe_into_fd {
    ($($end:ty),*) => {$(
        impl $end {
            /// Ends the registration, and returns the descriptor. If it was blocking when it was taken over,
            /// it is blocking again.
            ///
            /// # Errors
            ///
            /// [`IntoInnerError`], with the end.
            pub fn into_fd(self) -> Result<OwnedFd, IntoInnerError<Self>> {
                let taken = system(self.end, PipeEnd::into_system);
                taken.map_err(|error| error.map(|end| Self { end }))
            }
        }
    )*};
}

pipe_into_fd!(PipeReader, PipeWriter);
