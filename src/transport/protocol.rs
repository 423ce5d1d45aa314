//! What a program does with a connection.
//!
//! In asyncio: `Protocol` and `BufferedProtocol`.

use super::handle::Transport;
use std::io;

/// The callbacks of a connection: data, the end of the data, a full write buffer, the end of the connection.
///
/// The loop calls the methods one at a time, in this order: [`connection_made`](Self::connection_made) once;
/// [`data_received`](Self::data_received) any number of times; [`eof_received`](Self::eof_received) at most once;
/// [`connection_lost`](Self::connection_lost) once, as the last one. Between `connection_made` and `connection_lost`,
/// calls of `pause_writing` and `resume_writing` alternate. If the connection cannot be established, or is ended by
/// the program before that, only `connection_lost` is called.
///
/// A method may call every method of its transport; no other method of the protocol is called before it has
/// returned. A method that panics ends the connection, and the protocol is dropped without a call of
/// `connection_lost`. The same happens if the loop is closed, or the registration is removed by its key.
pub trait Protocol {
    /// The connection is established. It may have ended already: the transport may be closing, and have no key.
    fn connection_made(&mut self, transport: &Transport) {
        let _ = transport;
    }

    /// Bytes have arrived. `data` has the bytes that one `read(2)` has returned; they may be a part of what the peer
    /// has written, or several of its writes.
    fn data_received(&mut self, transport: &Transport, data: &[u8]);

    /// Returns the buffer for the next read, after which [`buffer_updated`](Self::buffer_updated) is called. If this
    /// returns `None`, as by default, bytes are read into a buffer of 64 KiB that all transports of a loop share, and
    /// passed to [`data_received`](Self::data_received). An empty buffer ends the connection with an error
    /// (`InvalidInput`), because a read into it would look like the end of the data.
    fn get_buffer(&mut self, transport: &Transport) -> Option<&mut [u8]> {
        let _ = transport;
        None
    }

    /// `count` bytes were read into the buffer that [`get_buffer`](Self::get_buffer) has returned.
    fn buffer_updated(&mut self, transport: &Transport, count: usize) {
        let _ = (transport, count);
    }

    /// The peer has ended its side, and sends no more bytes. The default calls [`Transport::close`], which closes the
    /// connection when the write buffer has been sent. A protocol that has more to write overrides this, and calls
    /// `close` later.
    fn eof_received(&mut self, transport: &Transport) {
        transport.close();
    }

    /// The write buffer has risen above its high mark: the peer reads more slowly than the program
    /// writes. [`resume_writing`](Self::resume_writing) follows, unless the connection ends.
    ///
    /// The default reads no more from this peer until [`resume_writing`](Self::resume_writing). So for a peer that
    /// sends requests and reads no answers, the buffer holds no more than the high mark and the answers to the bytes of
    /// one read. A protocol that writes bytes of another connection pauses that one instead
    /// ([`Transport::pause_reading`]).
    fn pause_writing(&mut self, transport: &Transport) {
        transport.hold_reading(true);
    }

    /// The write buffer has come down to its low mark. The default goes on reading. If this fills the buffer again, the
    /// next call comes in a later turn, also if the socket accepts everything at once.
    fn resume_writing(&mut self, transport: &Transport) {
        transport.hold_reading(false);
    }

    /// The deadline of [`Transport::set_deadline`] has passed. The default ends the connection at once, with an
    /// error of the kind `TimedOut`; bytes in the write buffer are lost.
    fn timed_out(&mut self, transport: &Transport) {
        transport.fail(io::ErrorKind::TimedOut.into());
    }

    /// The server of this connection shuts down: [`Server::drain`](super::Server::drain) was called. The default
    /// calls [`Transport::close`]. A protocol that is in the middle of a request overrides this, and calls `close`
    /// when it has written the answer.
    fn server_draining(&mut self, transport: &Transport) {
        transport.close();
    }

    /// The connection has ended, or could not be established. If `error` is `None`, this side has closed or aborted
    /// the connection, or both sides have ended. For the writing end of a pipe whose reader has gone the error is of
    /// the kind `BrokenPipe`. Nothing can be written any more.
    fn connection_lost(&mut self, transport: &Transport, error: Option<io::Error>) {
        let _ = (transport, error);
    }
}

impl<P: Protocol + ?Sized> Protocol for Box<P> {
    fn connection_made(&mut self, transport: &Transport) {
        (**self).connection_made(transport);
    }

    fn data_received(&mut self, transport: &Transport, data: &[u8]) {
        (**self).data_received(transport, data);
    }

    fn get_buffer(&mut self, transport: &Transport) -> Option<&mut [u8]> {
        (**self).get_buffer(transport)
    }

    fn buffer_updated(&mut self, transport: &Transport, count: usize) {
        (**self).buffer_updated(transport, count);
    }

    fn eof_received(&mut self, transport: &Transport) {
        (**self).eof_received(transport);
    }

    fn pause_writing(&mut self, transport: &Transport) {
        (**self).pause_writing(transport);
    }

    fn resume_writing(&mut self, transport: &Transport) {
        (**self).resume_writing(transport);
    }

    fn timed_out(&mut self, transport: &Transport) {
        (**self).timed_out(transport);
    }

    fn server_draining(&mut self, transport: &Transport) {
        (**self).server_draining(transport);
    }

    fn connection_lost(&mut self, transport: &Transport, error: Option<io::Error>) {
        (**self).connection_lost(transport, error);
    }
}
