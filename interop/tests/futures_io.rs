//! The traits of the futures crates, which `readily` has with the feature `futures-io`: their combinators
//! on our streams.

#[path = "common/connection.rs"]
mod connection;
#[path = "common/kernels.rs"]
mod kernels;

use connection::{bytes, connection};
use futures_util::io::{AsyncReadExt, AsyncWriteExt, copy};
use kernels::{in_memory_with_faults, on_the_system};
use readily::io::pipe;
use readily::{Runner, gather, spawn};
use readily_testing::strategies::faults;
use readily_testing::{Personality, SimLoop};
use std::io;

/// Sends through a stream, back through the halves of another one, and through the halves at the end.
async fn round_trip(sent: &[u8]) -> io::Result<Vec<u8>> {
    let (ours, theirs) = connection().await;
    let echo = spawn(async move {
        let (read, mut write) = theirs.into_split();
        copy(read, &mut write).await?;
        AsyncWriteExt::close(&mut write).await
    });
    let send = async {
        let mut ours = &ours;
        AsyncWriteExt::write_all(&mut ours, sent).await?;
        ours.close().await
    };
    let receive = async {
        let (mut all, mut ours) = (Vec::new(), &ours);
        ours.read_to_end(&mut all).await?;
        io::Result::Ok(all)
    };
    let (sent, received) = gather((send, receive)).await;
    sent?;
    echo.await.unwrap()?;
    received
}

#[test]
fn the_combinators_of_the_futures_crates_move_every_byte_on_the_system() {
    let sent = bytes(1 << 20);
    let received = Runner::new().unwrap().run(round_trip(&sent));
    assert!(received.unwrap().unwrap() == sent);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    #[test]
    fn the_combinators_of_the_futures_crates_move_every_byte_under_faults(faults in faults()) {
        let sent = bytes(50_000);
        let bsd = [Personality::FreeBsd, Personality::Apple, Personality::NetBsd];
        for system in [None].into_iter().chain(bsd.map(Some)) {
            let mut sim = SimLoop::on(system, faults.clone());
            assert!(sim.run(round_trip(&sent)).unwrap().unwrap() == sent);
        }
    }
}

#[test]
fn a_pipe_is_read_to_its_end_and_closes_when_it_is_dropped() {
    let read = Runner::new().unwrap().run(async {
        let (mut reader, mut writer) = pipe().unwrap();
        let write = async {
            AsyncWriteExt::write_all(&mut writer, &bytes(200_000))
                .await
                .unwrap();
            writer.flush().await.unwrap();
            writer.close().await.unwrap();
            drop(writer);
        };
        let mut all = Vec::new();
        let read = AsyncReadExt::read_to_end(&mut reader, &mut all);
        gather((write, read)).await.1.unwrap();
        all
    });
    assert!(read.unwrap() == bytes(200_000));
}

/// A peer that goes and leaves bytes unread. Linux resets the connection, and its writing side has ended with it;
/// the systems with a kqueue end it.
async fn close_after_a_reset() -> io::Result<()> {
    let (mut ours, theirs) = connection().await;
    AsyncWriteExt::write_all(&mut ours, b"unread").await?;
    theirs.readable().await?;
    drop(theirs);
    let _gone = AsyncReadExt::read(&mut ours, &mut [0; 1]).await;
    ours.close().await
}

#[test]
fn a_close_after_the_peer_has_gone_is_no_error() {
    on_the_system(close_after_a_reset()).unwrap();
    in_memory_with_faults(async || close_after_a_reset().await.unwrap());
}
