//! Standard input, output and error of each kind, in a process of its own: the example `number_lines`, or the test
//! itself.
//!
//! The unsafe code makes terminals and FIFOs, and changes what is behind the numbers 0 to 2.
#![allow(unsafe_code)]

use crate::servers::example;
use crate::support::{Process, bytes, guard, is_alone, is_nonblocking, strict_run};
use readily::io::{stderr, stdin, stdout};
use readily::{Error, wait_for};
use readily_testing::for_tests::make_blocking;
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write, pipe};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::process::{ChildStdout, Stdio};
use std::time::Duration;

/// How long a wait lasts that must end in vain.
const A_WHILE: Duration = Duration::from_millis(2);

/// Makes a terminal: its master, and what a program has as its standard streams.
fn terminal() -> (File, File) {
    // SAFETY: takes a number, touches no memory.
    let master = unsafe { libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC) };
    assert!(master >= 0, "{}", io::Error::last_os_error());
    // SAFETY: the call above has made it, and it has no other owner.
    let master = unsafe { File::from_raw_fd(master) };
    let number = master.as_raw_fd();
    // SAFETY: the descriptor is open. The name is copied before the next call replaces it: the test is alone in
    // its process.
    let name = unsafe {
        assert!(libc::grantpt(number) == 0 && libc::unlockpt(number) == 0);
        let name = libc::ptsname(number);
        assert!(!name.is_null(), "{}", io::Error::last_os_error());
        CStr::from_ptr(name).to_owned()
    };
    let mut options = File::options();
    options.read(true).write(true).custom_flags(libc::O_NOCTTY);
    let slave = options.open(name.to_str().unwrap()).unwrap();
    (master, slave)
}

/// Makes a FIFO, opens its two ends, both blocking, and removes its name.
fn fifo() -> (File, File) {
    let path = std::env::temp_dir().join(format!("readily-fifo-{}", std::process::id()));
    let name = CString::new(path.to_str().unwrap()).unwrap();
    // SAFETY: `name` is a string with its end.
    assert_eq!(unsafe { libc::mkfifo(name.as_ptr(), 0o600) }, 0);
    let mut options = File::options();
    options.read(true).custom_flags(libc::O_NONBLOCK);
    let reader = options.open(&path).unwrap();
    let writer = File::options().write(true).open(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    make_blocking(reader.as_fd()).unwrap();
    (reader, writer)
}

/// Starts the example with this standard input.
fn number_lines(input: impl Into<Stdio>, limit: &str) -> (Process, BufReader<ChildStdout>) {
    let mut program = example("number_lines");
    let mut process = Process::start(program.arg(limit).stdin(input));
    let output = process.child.stdout.take().unwrap();
    (process, BufReader::new(output))
}

/// The next line that it prints; empty at the end.
fn next(output: &mut BufReader<ChildStdout>) -> String {
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    line.trim().to_owned()
}

fn ends_well((mut process, mut output): (Process, BufReader<ChildStdout>)) {
    assert_eq!(next(&mut output), "");
    let (status, stderr) = process.wait();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
}

const ALL: &str = "1000";

#[test]
fn standard_input_may_be_a_file() {
    let _guard = guard!();
    let mut program = number_lines(File::open("Cargo.toml").unwrap(), "2");
    assert_eq!(next(&mut program.1), "1  [workspace]");
    assert!(next(&mut program.1).starts_with("2  "));
    ends_well(program);
    let mut program = number_lines(File::open("Cargo.toml").unwrap(), ALL);
    let lines = std::fs::read_to_string("Cargo.toml")
        .unwrap()
        .lines()
        .count();
    for number in 1..=lines {
        assert!(next(&mut program.1).starts_with(&number.to_string()));
    }
    ends_well(program);
    ends_well(number_lines(Stdio::null(), ALL));
}

/// R131: the pipe of the parent is not made non-blocking.
#[test]
fn standard_input_may_be_a_pipe() {
    let _guard = guard!();
    let (reader, mut writer) = pipe().unwrap();
    let mut program = number_lines(reader.try_clone().unwrap(), ALL);
    for line in ["one", "two"] {
        writeln!(writer, "{line}").unwrap();
        assert!(next(&mut program.1).ends_with(line));
    }
    #[cfg(target_os = "linux")]
    assert!(!is_nonblocking(&reader));
    write!(writer, "three").unwrap();
    drop(writer);
    assert_eq!(next(&mut program.1), "3  three");
    ends_well(program);
    // One that has ended before the program starts.
    let (reader, writer) = pipe().unwrap();
    drop(writer);
    ends_well(number_lines(reader, ALL));
    // The program ends although there may be more.
    let (reader, mut writer) = pipe().unwrap();
    let mut program = number_lines(reader, "1");
    writeln!(writer, "one").unwrap();
    assert_eq!(next(&mut program.1), "1  one");
    ends_well(program);
}

/// R131: after the program its parent has the file as it was.
#[test]
fn standard_input_may_be_a_fifo_or_a_socket() {
    let _guard = guard!();
    let (reader, mut writer) = fifo();
    let mut program = number_lines(reader.try_clone().unwrap(), "2");
    for line in ["one", "two"] {
        writeln!(writer, "{line}").unwrap();
        assert!(next(&mut program.1).ends_with(line));
    }
    ends_well(program);
    assert!(!is_nonblocking(&reader));
    let (theirs, mut ours) = UnixStream::pair().unwrap();
    let mut program = number_lines(OwnedFd::from(theirs), ALL);
    writeln!(ours, "one").unwrap();
    assert_eq!(next(&mut program.1), "1  one");
    drop(ours);
    ends_well(program);
}

/// It is not opened once more: a new reader would not see the end.
#[test]
fn standard_input_may_be_a_fifo_whose_writers_have_gone() {
    let _guard = guard!();
    let (reader, writer) = fifo();
    drop(writer);
    ends_well(number_lines(reader, ALL));
}

/// R131: the terminal of the shell stays blocking, also while the program reads.
#[test]
fn standard_input_may_be_a_terminal() {
    let _guard = guard!();
    let (mut master, slave) = terminal();
    let mut program = number_lines(slave.try_clone().unwrap(), ALL);
    for line in ["one", "two"] {
        writeln!(master, "{line}").unwrap();
        assert!(next(&mut program.1).ends_with(line));
        assert!(!is_nonblocking(&slave));
    }
    // Two lines at once are one edge, and two reads.
    master.write_all(b"three\nfour\n").unwrap();
    assert_eq!(next(&mut program.1), "3  three");
    assert_eq!(next(&mut program.1), "4  four");
    master.write_all(&[4]).unwrap(); // Ctrl-D
    ends_well(program);
    // The program ends although nothing more is typed.
    let mut program = number_lines(slave.try_clone().unwrap(), "1");
    writeln!(master, "one").unwrap();
    assert_eq!(next(&mut program.1), "1  one");
    ends_well(program);
    // A terminal that is hung up has ended, or is an error.
    let mut program = number_lines(slave, ALL);
    writeln!(master, "one").unwrap();
    assert_eq!(next(&mut program.1), "1  one");
    drop(master);
    assert_eq!(next(&mut program.1), "");
    program.0.wait();
}

/// A standard stream that is closed, or replaced, until this is dropped.
struct Replaced {
    number: RawFd,
    before: OwnedFd,
}

impl Replaced {
    fn close(number: RawFd) -> Self {
        let before = match number {
            0 => io::stdin().as_fd().try_clone_to_owned(),
            1 => io::stdout().as_fd().try_clone_to_owned(),
            _ => io::stderr().as_fd().try_clone_to_owned(),
        };
        // SAFETY: the test runs alone, and the number is that of a standard stream, which no value owns.
        unsafe { libc::close(number) };
        let before = before.unwrap();
        Self { number, before }
    }

    fn by(number: RawFd, file: &impl AsRawFd) -> Self {
        let replaced = Self::close(number);
        // SAFETY: as above.
        assert_eq!(unsafe { libc::dup2(file.as_raw_fd(), number) }, number);
        replaced
    }
}

impl Drop for Replaced {
    fn drop(&mut self) {
        // SAFETY: as above.
        unsafe { libc::dup2(self.before.as_raw_fd(), self.number) };
    }
}

fn is_open(number: RawFd) -> bool {
    // SAFETY: takes numbers, touches no memory.
    unsafe { libc::fcntl(number, libc::F_GETFD) >= 0 }
}

fn is_bad(error: &io::Error, number: RawFd) -> bool {
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref());
    matches!(inner, Some(Error::BadDescriptor { fd }) if *fd == number)
}

/// R012: a stream that is closed is an error, and so is one whose number another file has by now.
#[test]
fn a_closed_stream_is_an_error_and_no_other_file_is_taken_for_it() {
    if !is_alone(None) {
        return;
    }
    let _guard = guard!();
    strict_run(async {
        let closed = Replaced::close(0);
        assert!(is_bad(&stdin().unwrap_err(), 0));
        let other = File::open("Cargo.toml").unwrap();
        assert_eq!(other.as_raw_fd(), 0);
        assert!(is_bad(&stdin().unwrap_err(), 0));
        let _still = &other;
        drop((other, closed));
        let closed = Replaced::close(2);
        assert!(is_bad(&stderr().unwrap_err(), 2));
        // A stream that is open has no number of one that is closed.
        let (reader, mut writer) = pipe().unwrap();
        assert!([reader.as_raw_fd(), writer.as_raw_fd()].contains(&2));
        let (reader, lower) = (reader.try_clone().unwrap(), reader);
        drop(lower);
        let replaced = Replaced::by(0, &reader);
        let input = stdin().unwrap();
        writer.write_all(b"x").unwrap();
        assert_eq!(input.read(&mut [0; 8]).await.unwrap(), 1);
        drop((replaced, writer));
        assert!(!is_open(2));
        drop(closed);
        assert!(is_open(2));
    })
    .unwrap();
}

/// R131: a terminal and a pipe are opened once more, so that their other owners do not see the flag. What cannot be
/// is non-blocking while it is read, and as it was after that.
#[test]
fn the_flag_of_a_stream_is_not_set_or_is_restored() {
    if !is_alone(None) {
        return;
    }
    let _guard = guard!();
    strict_run(async {
        let ((mut master, terminal), (reader, mut writer)) = (terminal(), pipe().unwrap());
        let pipe = OwnedFd::from(reader);
        let own: [(OwnedFd, &mut dyn Write); 2] =
            [(terminal.into(), &mut master), (pipe, &mut writer)];
        for (shared, writer) in own {
            let _replaced = Replaced::by(0, &shared);
            let input = stdin().unwrap();
            assert!(!is_nonblocking(&shared));
            assert!(wait_for(A_WHILE, input.read(&mut [0; 8])).await.is_err());
            writer.write_all(b"line\n").unwrap();
            let mut line = [0; 8];
            assert_eq!(input.read(&mut line).await.unwrap(), 5);
            assert!(!is_nonblocking(&shared));
        }
        let ((fifo, _writer), (socket, _peer)) = (fifo(), UnixStream::pair().unwrap());
        for shared in [OwnedFd::from(fifo), OwnedFd::from(socket)] {
            let _replaced = Replaced::by(0, &shared);
            let (one, other) = (stdin().unwrap(), stdin().unwrap());
            assert!(is_nonblocking(&shared));
            assert!(wait_for(A_WHILE, one.read(&mut [0; 8])).await.is_err());
            drop(one);
            assert!(is_nonblocking(&shared));
            assert!(wait_for(A_WHILE, other.read(&mut [0; 8])).await.is_err());
            drop(other);
            assert!(!is_nonblocking(&shared));
            assert!(is_open(0));
        }
    })
    .unwrap();
}

/// What a reader of standard output has not taken is waited for, and nothing is lost.
#[test]
fn standard_output_may_be_a_full_pipe() {
    let _guard = guard!();
    let path = std::env::temp_dir().join(format!("readily-lines-{}", std::process::id()));
    let line = "x".repeat(999);
    std::fs::write(&path, format!("{line}\n").repeat(500)).unwrap();
    let mut program = number_lines(File::open(&path).unwrap(), ALL);
    std::fs::remove_file(&path).unwrap();
    for number in 1..=500 {
        assert_eq!(next(&mut program.1), format!("{number}  {line}"));
    }
    ends_well(program);
}

#[test]
fn standard_output_may_be_a_file_a_full_disk_or_a_pipe_without_a_reader() {
    if !is_alone(None) {
        return;
    }
    let _guard = guard!();
    strict_run(async {
        let path = std::env::temp_dir().join(format!("readily-out-{}", std::process::id()));
        let content = bytes(200_000, 9);
        let replaced = Replaced::by(1, &File::create(&path).unwrap());
        let output = stdout().unwrap();
        assert!(output.is_always_ready());
        let written = output.write_all(&content).await;
        drop((output, replaced));
        written.unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), content);
        std::fs::remove_file(&path).unwrap();
        let full = File::options().write(true).open("/dev/full").unwrap();
        let replaced = Replaced::by(2, &full);
        let written = stderr().unwrap().write_all(b"x").await;
        drop(replaced);
        assert_eq!(written.unwrap_err().kind(), io::ErrorKind::StorageFull);
        let (mut reader, writer) = pipe().unwrap();
        let replaced = Replaced::by(1, &writer);
        let output = stdout().unwrap();
        let much = vec![7; 1 << 20];
        let waits = wait_for(A_WHILE, output.write_all(&much)).await.is_err();
        let mut first = [0; 16];
        reader.read_exact(&mut first).unwrap();
        drop(reader);
        let broken = output.write_all(&much).await.unwrap_err();
        drop((output, replaced));
        assert!(waits);
        assert_eq!(broken.kind(), io::ErrorKind::BrokenPipe);
    })
    .unwrap();
}
