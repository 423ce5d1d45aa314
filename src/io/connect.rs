//! Connects to the first of several addresses that answers: happy eyeballs (RFC 8305).
//!
//! The addresses of both families are tried by turns, each a quarter of a second after the one before, or at
//! once when that has failed. The first connection wins, and the other attempts are dropped.
//!
//! In asyncio: `create_connection` with `happy_eyeballs_delay`.

use crate::task::lazy_timer::LazyTimer;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// Section 8 of the RFC recommends it.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// How many attempts go on at once: each has a descriptor.
const MAX_ATTEMPTS: usize = 6;

/// The attempts of a [`TcpStream::connect`](super::TcpStream::connect) to several addresses, none of which
/// succeeded: the inner error of its [`io::Error`], whose kind is that of the first attempt.
#[derive(Debug)]
#[non_exhaustive]
pub struct ConnectError {
    /// Each address that was tried, in this order of their ends, and why it failed.
    pub attempts: Vec<(SocketAddr, io::Error)>,
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no address could be connected to")?;
        for (n, (addr, error)) in self.attempts.iter().enumerate() {
            let before = if n == 0 { ": " } else { "; " };
            write!(f, "{before}{addr}: {error}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConnectError {}

/// The addresses of the two families by turns, the first one's family first. Within a family the order is
/// kept, and an address that stands there twice is tried once.
fn by_turns(addrs: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let mut unique: Vec<SocketAddr> = Vec::with_capacity(addrs.len());
    for addr in addrs {
        if !unique.contains(&addr) {
            unique.push(addr);
        }
    }
    let is_v6 = unique.first().is_some_and(SocketAddr::is_ipv6);
    let (first, other): (Vec<_>, Vec<_>) =
        unique.into_iter().partition(|addr| addr.is_ipv6() == is_v6);
    let (mut first, mut other) = (first.into_iter(), other.into_iter());
    let mut all = Vec::with_capacity(first.len() + other.len());
    loop {
        let before = all.len();
        all.extend(first.next());
        all.extend(other.next());
        if all.len() == before {
            return all;
        }
    }
}

/// Attempts that go on, and what is left to be tried.
struct Attempts<C, F> {
    connect: C,
    waiting: std::vec::IntoIter<SocketAddr>,
    /// The earliest first, which also wins a tie.
    running: Vec<(SocketAddr, Pin<Box<F>>)>,
    failed: Vec<(SocketAddr, io::Error)>,
    next: LazyTimer,
}

impl<S, C, F> Attempts<C, F>
where
    C: FnMut(SocketAddr) -> F,
    F: Future<Output = io::Result<S>>,
{
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<S>> {
        loop {
            let before = self.failed.len();
            let mut n = 0;
            while let Some((addr, attempt)) = self.running.get_mut(n) {
                match attempt.as_mut().poll(cx) {
                    Poll::Pending => n += 1,
                    Poll::Ready(Ok(stream)) => return Poll::Ready(Ok(stream)),
                    Poll::Ready(Err(error)) => {
                        self.failed.push((*addr, error));
                        drop(self.running.remove(n));
                    }
                }
            }
            let has_failed = self.failed.len() != before;
            let may_begin = self.running.len() < MAX_ATTEMPTS;
            if !may_begin
                || !(has_failed || self.running.is_empty() || self.next.poll(cx).is_ready())
            {
                return Poll::Pending;
            }
            let Some(addr) = self.waiting.next() else {
                if self.running.is_empty() {
                    return Poll::Ready(Err(error(std::mem::take(&mut self.failed))));
                }
                return Poll::Pending;
            };
            self.running.push((addr, Box::pin((self.connect)(addr))));
            self.next = match self.waiting.len() {
                0 => LazyTimer::never(),
                _ => LazyTimer::after(ATTEMPT_DELAY),
            };
        }
    }
}

fn error(mut attempts: Vec<(SocketAddr, io::Error)>) -> io::Error {
    match attempts.len() {
        0 => io::Error::new(
            io::ErrorKind::InvalidInput,
            "there is no address to connect to",
        ),
        1 => attempts.remove(0).1,
        _ => io::Error::new(attempts[0].1.kind(), ConnectError { attempts }),
    }
}

/// Returns the first connection that `connect` makes to one of these addresses.
pub(super) async fn first<S, F: Future<Output = io::Result<S>>>(
    addrs: Vec<SocketAddr>,
    connect: impl FnMut(SocketAddr) -> F,
) -> io::Result<S> {
    let mut attempts = Attempts {
        connect,
        waiting: by_turns(addrs).into_iter(),
        running: Vec::new(),
        failed: Vec::new(),
        next: LazyTimer::never(),
    };
    poll_fn(|cx| attempts.poll(cx)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addrs(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn the_families_take_turns_and_keep_their_order() {
        let mixed = addrs(&[
            "[::1]:1",
            "[::2]:1",
            "[::3]:1",
            "1.0.0.0:1",
            "[::2]:1",
            "2.0.0.0:1",
            "1.0.0.0:1",
        ]);
        let turns = ["[::1]:1", "1.0.0.0:1", "[::2]:1", "2.0.0.0:1", "[::3]:1"];
        assert_eq!(by_turns(mixed), addrs(&turns));
        let one = ["1.0.0.0:1", "1.0.0.0:2", "3.0.0.0:1"];
        assert_eq!(by_turns(addrs(&one)), addrs(&one));
        assert_eq!(by_turns(Vec::new()), []);
    }
}
