//! A connection: commands are read and run, and their answers are written.

use crate::answers::Answers;
use crate::resp::{self, Answer, LONGEST, Wrong};
use crate::store::Store;
use readily::CancellationToken;
use readily::io::{BufReader, ReadError, TcpStream};
use std::cell::RefCell;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

/// Serves a client until it ends the stream or quits, breaks the protocol, or is idle for too long; or until
/// `stop` is cancelled.
pub(crate) async fn serve(
    stream: TcpStream,
    stop: CancellationToken,
    store: Rc<RefCell<Store>>,
    idle: Duration,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::with_limit(&stream, LONGEST + 2);
    let mut answers = Answers::new(&stream, idle);
    loop {
        if !answers.next(&mut reader, &stop).await? {
            return Ok(());
        }
        let command = pin!(resp::command(&mut reader));
        match answers.before(command).await? {
            Ok(command) if command.is_empty() => continue,
            Ok(command) => {
                store.borrow_mut().run(&command).write(&mut answers.bytes);
                if command[0].eq_ignore_ascii_case(b"QUIT") {
                    return answers.write().await;
                }
            }
            Err(Wrong::Protocol(text)) => {
                Answer::error(&format!("Protocol error: {text}")).write(&mut answers.bytes);
                return answers.write().await;
            }
            Err(Wrong::Read(ReadError::TooLong { .. })) => {
                Answer::error("Protocol error: too big").write(&mut answers.bytes);
                return answers.write().await;
            }
            Err(Wrong::Read(error)) => {
                answers.write().await?; // those of the commands before
                return Err(error.into());
            }
        }
        answers.write_if_full().await?;
    }
}
