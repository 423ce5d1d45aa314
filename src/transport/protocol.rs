//! What a program does with a connection.
//!
//! In asyncio: `Protocol` and `BufferedProtocol`.

use super::handle::Transport;
use std::io;

/// The methods of a connection, which the loop calls one at a time.
///
/// They are called in this order: [`connection_made`](Self::connection_made) once;
/// [`data_received`](Self::data_received) any number of times; [`eof_received`](Self::eof_received) at most once;
/// [`connection_lost`](Self::connection_lost) once, and then none. In between, `pause_writing` and
/// `resume_writing` take turns. A connection that could not be established is only lost.
///
/// Each may call every method of its transport, which then calls no method of the protocol before this one
/// has returned. A method that panics ends the connection; the protocol is then dropped without
/// `connection_lost`. The same holds if the loop is closed, or the registration is removed by its key.
pub trait Protocol {
    /// The connection is established.
    fn connection_made(&mut self, transport: &Transport) {
        let _ = transport;
    }

    /// Bytes have arrived. They are as many as one `read(2)` has returned, not what the peer has written at once.
    fn data_received(&mut self, transport: &Transport, data: &[u8]);

    /// Returns the place for the next bytes, which are then passed to
    /// [`buffer_updated`](Self::buffer_updated). With `None`, as by default, bytes are read into a buffer of 64 KiB that
    /// all transports of a loop share, and passed to [`data_received`](Self::data_received). An empty place ends
    /// the connection with an error (`InvalidInput`), because a read into it would look like the end of the data.
    fn get_buffer(&mut self, transport: &Transport) -> Option<&mut [u8]> {
        let _ = transport;
        None
    }

    /// So many bytes are in the place that [`get_buffer`](Self::get_buffer) has returned.
    fn buffer_updated(&mut self, transport: &Transport, count: usize) {
        let _ = (transport, count);
    }

    /// The peer has ended its side, and sends no more. The default closes the transport, once its buffer
    /// is written; one that still has something to say does not call [`Transport::close`] here.
    fn eof_received(&mut self, transport: &Transport) {
        transport.close();
    }

    /// The buffer of the transport has risen above its high mark: the peer reads more slowly than the program
    /// writes. [`resume_writing`](Self::resume_writing) follows, unless the connection ends.
    ///
    /// The default reads no more from this peer until [`resume_writing`](Self::resume_writing), so that a peer that
    /// sends requests and reads no answers costs no more than the mark and one answer. A protocol that writes
    /// what comes from elsewhere stops that instead, for instance by [`Transport::pause_reading`] of the
    /// other transport.
    fn pause_writing(&mut self, transport: &Transport) {
        transport.hold_reading(true);
    }

    /// The buffer has come down to its low mark. The default reads on.
    fn resume_writing(&mut self, transport: &Transport) {
        transport.hold_reading(false);
    }

    /// The deadline that [`Transport::set_deadline`] has set has passed. The default ends the connection, with an
    /// error of the kind `TimedOut`, and what is in the buffer is lost.
    fn timed_out(&mut self, transport: &Transport) {
        transport.fail(io::ErrorKind::TimedOut.into());
    }

    /// The server of this connection is to end: [`Server::drain`](super::Server::drain). The default closes the transport,
    /// once its buffer is written. A protocol that owes an answer remembers this, and closes when it has
    /// written the answer.
    fn server_draining(&mut self, transport: &Transport) {
        transport.close();
    }

    /// The connection has ended, or could not be established: with the error, if there was one. Without one,
    /// this side has closed or aborted it, or both sides have ended. Nothing can be written any more.
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
