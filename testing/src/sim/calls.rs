//! Reading, writing, shutting down and making room, by what is open. Streams and pipes are in
//! `ends.rs`.

use super::files::{Body, Datagrams, bits};
use super::os;
use super::table::Table;
use readily_sys::errno::{EAGAIN, ECONNREFUSED, EINVAL, ENOTCONN, ENOTSOCK, EPIPE};
use std::io;
use std::net::Shutdown;

impl Table {
    pub(super) fn read(&mut self, file: u64, buffer: &mut [u8], now_ns: u64) -> io::Result<usize> {
        match &mut self.at(file).body {
            Body::End(_) => self.read_end(file, buffer),
            Body::Listener(_) => Err(os(ENOTCONN)),
            Body::Datagrams(here) => {
                if let Some(error) = here.error.take() {
                    return Err(os(error));
                }
                let datagram = here.input.pop_front().ok_or_else(|| os(EAGAIN))?;
                let n = datagram.len().min(buffer.len());
                buffer[..n].copy_from_slice(&datagram[..n]);
                if let Some(peer) = here.peer {
                    self.wake(peer, bits::OUT);
                }
                Ok(n)
            }
            Body::Regular { content, at } => {
                let rest = &content[(*at).min(content.len())..];
                let n = rest.len().min(buffer.len());
                buffer[..n].copy_from_slice(&rest[..n]);
                *at += n;
                Ok(n)
            }
            Body::Timer { due_ns } => match due_ns {
                Some(due) if *due <= now_ns => {
                    *due_ns = None;
                    number_into(1, buffer)
                }
                _ => Err(os(EAGAIN)),
            },
            Body::Notifier { count: 0 } => Err(os(EAGAIN)),
            Body::Notifier { count } => {
                let n = std::mem::take(count);
                self.wake(file, bits::OUT);
                number_into(n, buffer)
            }
        }
    }

    pub(super) fn write(&mut self, file: u64, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.at(file).body {
            Body::End(_) => self.write_end(file, bytes),
            Body::Listener(_) => Err(os(EPIPE)),
            Body::Datagrams(here) => {
                if let Some(error) = here.error.take() {
                    return Err(os(error));
                }
                if here.gone {
                    // It is sent, and an answer comes that nobody is there.
                    here.error = Some(ECONNREFUSED);
                    self.wake(file, bits::ALL);
                    return Ok(bytes.len());
                }
                let peer = here.peer.ok_or_else(|| os(ECONNREFUSED))?;
                let there = self.datagrams(peer);
                if there.input.len() >= Datagrams::ROOM {
                    return Err(os(EAGAIN));
                }
                there.input.push_back(bytes.to_vec());
                self.wake(peer, bits::IN);
                Ok(bytes.len())
            }
            Body::Regular { content, at } => {
                content.truncate(*at);
                content.extend_from_slice(bytes);
                *at = content.len();
                Ok(bytes.len())
            }
            Body::Timer { .. } => Err(os(EINVAL)),
            Body::Notifier { count } => {
                let eight = bytes.first_chunk::<8>().ok_or_else(|| os(EINVAL))?;
                *count = count.saturating_add(u64::from_ne_bytes(*eight));
                self.wake(file, bits::IN);
                Ok(8)
            }
        }
    }

    pub(super) fn shutdown(&mut self, file: u64, how: Shutdown) -> io::Result<()> {
        match &self.at(file).body {
            Body::End(_) => self.shutdown_end(file, how),
            Body::Listener(_) | Body::Datagrams(_) => Err(os(ENOTCONN)),
            _ => Err(os(ENOTSOCK)),
        }
    }

    /// Lets so many bytes lie unread at the end with this number, if it is one. More room than
    /// before is told as if it had been read free (R024).
    pub(super) fn set_capacity(&mut self, number: i32, capacity: usize) {
        let Ok(file) = self.file(number) else { return };
        let Body::End(end) = &mut self.at(file).body else {
            return;
        };
        let wider = capacity > std::mem::replace(&mut end.capacity, capacity);
        let (roomy, peer) = (end.is_roomy(), end.peer);
        if let (true, Some(peer)) = (wider, peer) {
            self.touch(peer, true);
            if roomy {
                self.tell_of_room(peer);
            }
        }
    }
}

fn number_into(n: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let eight = buffer.first_chunk_mut::<8>().ok_or_else(|| os(EINVAL))?;
    *eight = n.to_ne_bytes();
    Ok(8)
}
