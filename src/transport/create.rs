//! Making transports: from a descriptor, or by connecting.
//!
//! In asyncio: `create_connection`, `create_unix_connection`, `connect_accepted_socket`, `connect_read_pipe`.

use super::connection::Connection;
use super::handle::Transport;
use super::protocol::Protocol;
use super::state::Start;
use crate::event_loop::{Descriptor, Error, LoopHandle, RegisterError};
use crate::poll::{Interest, Trigger};
use readily_sys::socket;
use std::net::SocketAddr;
use std::panic::Location;

/// The error of a connection, with its protocol in place of its callbacks.
fn with_protocol<P>(refused: RegisterError<Connection<P>>) -> RegisterError<P> {
    RegisterError {
        error: refused.error,
        descriptor: refused.descriptor,
        callbacks: refused.callbacks.protocol,
    }
}

impl LoopHandle {
    /// Begins to connect to `addr`, and returns the transport. When the connection is established,
    /// [`Protocol::connection_made`] is called. If it cannot be established, [`Protocol::connection_lost`] is called
    /// with the error. Bytes that are written before are kept, and sent when the connection is established.
    ///
    /// To connect to a host by its name, first look up its addresses with [`LoopHandle::lookup_host_with`].
    ///
    /// # Errors
    ///
    /// As [`LoopHandle::connect`], with the protocol.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::EventLoop;
    /// use readily::transport::{Protocol, Transport};
    /// use std::io::Write;
    ///
    /// #[derive(Default)]
    /// struct Collect(Vec<u8>);
    ///
    /// impl Protocol for Collect {
    ///     fn data_received(&mut self, _transport: &Transport, data: &[u8]) {
    ///         self.0.extend_from_slice(data);
    ///     }
    ///
    ///     fn connection_lost(&mut self, _transport: &Transport, error: Option<std::io::Error>) {
    ///         assert!(error.is_none());
    ///         assert_eq!(self.0, b"welcome");
    ///     }
    /// }
    ///
    /// let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    /// let mut event_loop = EventLoop::new()?;
    /// # event_loop.set_panic_policy(readily::PanicPolicy::Propagate);
    /// event_loop.create_connection(listener.local_addr()?, Collect::default())?;
    /// listener.accept()?.0.write_all(b"welcome")?;
    /// event_loop.run()?;
    /// # Ok::<(), readily::Error>(())
    /// ```
    #[doc(alias = "open_connection")]
    #[track_caller]
    pub fn create_connection<P: Protocol + 'static>(
        &self,
        addr: SocketAddr,
        protocol: P,
    ) -> Result<Transport, RegisterError<P>> {
        let transport = Transport::new(self, Start::Connecting, Some(addr), Location::caller());
        let connection = Connection::new(self, protocol, &transport, None);
        let key = self.connect(addr, connection).map_err(with_protocol)?;
        transport.shared.key.set(Some(key));
        Ok(transport)
    }

    /// Makes a transport from a connected socket, an end of a pipe, or a terminal. The loop owns the descriptor
    /// from now on, as with [`LoopHandle::register`]. [`Protocol::connection_made`] is called soon, before
    /// the other methods.
    ///
    /// # Errors
    ///
    /// As [`LoopHandle::register`], with the protocol; [`Error::NotStream`] for a listener and for a datagram
    /// socket.
    #[doc(alias = "connect_accepted_socket")]
    #[doc(alias = "connect_read_pipe")]
    #[doc(alias = "connect_write_pipe")]
    #[track_caller]
    pub fn create_transport<P: Protocol + 'static>(
        &self,
        descriptor: impl Into<Descriptor>,
        protocol: P,
    ) -> Result<Transport, RegisterError<P>> {
        let descriptor = descriptor.into();
        let kind = descriptor.fd_ref().kind();
        if let socket::Kind::Listener | socket::Kind::Datagram = kind {
            let fd = descriptor.fd_ref().raw();
            return Err(RegisterError {
                error: Error::NotStream { fd },
                descriptor: Some(descriptor),
                callbacks: protocol,
            });
        }
        let peer = match kind {
            // An error: it has no internet address, or the peer has gone.
            socket::Kind::Stream => descriptor.fd_ref().peer_addr().ok(),
            _ => None,
        };
        let site = Location::caller();
        let transport = Transport::new(self, Start::New, peer, site);
        let connection = Connection::new(self, protocol, &transport, None);
        let key = self
            .register_with(descriptor, Interest::NONE, Trigger::Level, connection)
            .map_err(with_protocol)?;
        transport.shared.key.set(Some(key));
        transport.shared.step_soon();
        Ok(transport)
    }
}
