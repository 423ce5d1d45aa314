//! Both echo servers as their users run them: a process, a port, and clients that are many,
//! slow, half-closed, or reset their connections.

use crate::support::{Guard, Process, bytes, descriptors_of};
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{ChildStdout, Command, Stdio};
use std::sync::Once;
use std::time::Duration;

const SERVERS: [&str; 2] = ["echo_callbacks", "echo_coroutines"];

fn program(name: &str) -> PathBuf {
    let tests = std::env::current_exe().expect("it runs");
    let folder = tests.parent().and_then(|deps| deps.parent());
    folder.expect("below target").join("examples").join(name)
}

/// See [`guard!`], for a test that runs examples. `cargo test` has built them; `cargo test --test it`
/// has not, and to build them may take a while, and is no hanging.
pub(crate) fn watched() -> Option<Guard> {
    static BUILT: Once = Once::new();
    if !program(SERVERS[0]).exists() {
        BUILT.call_once(|| {
            let built = Command::new(env!("CARGO"))
                .args(["build", "--quiet", "--examples"])
                .status();
            assert!(built.is_ok_and(|status| status.success()), "cargo build");
        });
    }
    crate::support::watched()
}

/// The program of an example.
pub(crate) fn example(name: &str) -> Command {
    let mut command = Command::new(program(name));
    command.stdin(Stdio::null());
    command
}

/// A server in a process of its own, ended when this is dropped.
pub(crate) struct Server {
    pub(crate) process: Process,
    pub(crate) addr: SocketAddr,
    /// What it prints after its address.
    pub(crate) output: BufReader<ChildStdout>,
}

impl Server {
    pub(crate) fn start(name: &str) -> Self {
        Self::start_by(&mut example(name))
    }

    pub(crate) fn start_by(program: &mut Command) -> Self {
        let mut process = Process::start(program);
        let mut output = BufReader::new(process.child.stdout.take().expect("it is piped"));
        let mut line = String::new();
        output.read_line(&mut line).expect("it prints text");
        let addr = line.trim().strip_prefix("listening on ");
        let addr = addr.unwrap_or_else(|| panic!("it says: {line}"));
        Self {
            addr: addr.parse().expect("an address"),
            process,
            output,
        }
    }

    /// Sends SIGTERM to it.
    pub(crate) fn terminate(&self) {
        let pid = self.process.child.id().to_string();
        let killed = Command::new("kill").args(["-TERM", &pid]).status();
        assert!(killed.expect("there is a kill").success());
    }

    /// Everything it prints to its end, without the address.
    pub(crate) fn rest(&mut self) -> String {
        let mut stdout = String::new();
        self.output.read_to_string(&mut stdout).expect("text");
        let (status, stderr) = self.process.wait();
        assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
        stdout
    }

    pub(crate) fn connect(&self) -> TcpStream {
        TcpStream::connect(self.addr).expect("it listens")
    }

    pub(crate) fn descriptors(&self) -> usize {
        descriptors_of(&self.process.child.id().to_string())
    }

    /// Resident memory, in KiB.
    pub(crate) fn memory(&self) -> u64 {
        let status = format!("/proc/{}/status", self.process.child.id());
        let text = std::fs::read_to_string(status).expect("/proc is mounted");
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let number = line.and_then(|line| line.split_whitespace().next());
        number.and_then(|n| n.parse().ok()).expect("a number")
    }

    /// There and back, which takes the server at least one turn.
    fn ask(&self, asker: &mut TcpStream) {
        crate::support::ask(asker, b"still there?", b"still there?");
    }

    /// Turns the server until it has as many descriptors open as it had.
    fn settle_at(&self, descriptors: usize) {
        while self.descriptors() != descriptors {
            self.ask(&mut self.connect());
            std::thread::yield_now();
        }
    }
}

/// Every byte of a thousand connections, all open at once, from another process.
fn serves_a_thousand(name: &str) {
    let server = Server::start(name);
    let before = server.descriptors();
    for seed in ["1", "2"] {
        let mut load = example("echo_load");
        load.args(["--addr", &server.addr.to_string(), "--connections", "1000"])
            .args(["--bytes", "4096", "--seed", seed]);
        let load = Process::output(&mut load);
        let stdout = String::from_utf8_lossy(&load.stdout).into_owned();
        let stderr = String::from_utf8_lossy(&load.stderr).into_owned();
        assert!(load.status.success(), "{name}: {stdout}{stderr}");
        assert!(stdout.contains("1000 connections") && stdout.contains(" 0 wrong"));
        server.settle_at(before);
    }
}

#[test]
fn a_thousand_connections_get_every_byte_back_from_callbacks() {
    let Some(_guard) = watched() else { return };
    serves_a_thousand("echo_callbacks");
}

#[test]
fn a_thousand_connections_get_every_byte_back_from_coroutines() {
    let Some(_guard) = watched() else { return };
    serves_a_thousand("echo_coroutines");
}

/// R019: the peer's end comes first, and everything still comes back.
#[test]
fn a_client_that_has_finished_sending_gets_the_rest_and_then_the_end() {
    let Some(_guard) = watched() else { return };
    for name in SERVERS {
        let server = Server::start(name);
        let mut client = server.connect();
        let sent = bytes(200_000, 7);
        let mut writer = client.try_clone().expect("a duplicate");
        let copy = sent.clone();
        let writing = std::thread::spawn(move || {
            writer.write_all(&copy).expect("it reads");
            writer.shutdown(Shutdown::Write).expect("it is open");
        });
        let mut back = Vec::new();
        client.read_to_end(&mut back).expect("an end, no reset");
        assert!(back == sent, "{name}");
        writing.join().expect("it has sent all");
    }
}

/// Fills the connection until the server has not taken a byte for many of its turns.
fn stuff(server: &Server, slow: &mut TcpStream, asker: &mut TcpStream) -> usize {
    let piece = bytes(64 * 1024, 3);
    let (mut sent, mut in_vain) = (0, 0);
    slow.set_nonblocking(true).expect("a flag");
    while in_vain < 50 {
        match slow.write(&piece[sent % piece.len()..]) {
            Ok(n) => (sent, in_vain) = (sent + n, 0),
            Err(error) if error.kind() == ErrorKind::WouldBlock => in_vain += 1,
            Err(error) => panic!("writing: {error}"),
        }
        server.ask(asker);
    }
    slow.set_nonblocking(false).expect("a flag");
    sent
}

/// R123: a client that does not read is held back, gets little memory, and delays no other.
#[test]
fn clients_that_do_not_read_are_held_back_and_others_are_served() {
    let Some(_guard) = watched() else { return };
    for name in SERVERS {
        let server = Server::start(name);
        let mut asker = server.connect();
        server.ask(&mut asker);
        let before = server.memory();
        let mut slow: Vec<TcpStream> = (0..10).map(|_| server.connect()).collect();
        let sent: Vec<usize> = slow
            .iter_mut()
            .map(|slow| stuff(&server, slow, &mut asker))
            .collect();
        // A mebibyte and more of each is in the kernel's buffers; the server keeps 16 KiB.
        let grown = server.memory().saturating_sub(before);
        assert!(grown < 4096, "{name} keeps {grown} KiB of {sent:?} bytes");
        let piece = bytes(64 * 1024, 3);
        for (slow, sent) in slow.iter_mut().zip(sent) {
            slow.shutdown(Shutdown::Write).expect("it is open");
            let mut back = Vec::new();
            slow.read_to_end(&mut back).expect("an end, no reset");
            assert_eq!(back.len(), sent, "{name}");
            let mut pieces = back.chunks(piece.len());
            assert!(pieces.all(|back| back == &piece[..back.len()]), "{name}");
        }
    }
}

/// R037: with bytes under way in both directions, and without.
#[test]
fn clients_that_reset_end_nothing_but_themselves() {
    let Some(_guard) = watched() else { return };
    for name in SERVERS {
        let server = Server::start(name);
        let before = server.descriptors();
        let mut asker = server.connect();
        server.ask(&mut asker);
        for round in 0..200 {
            let mut rude = server.connect();
            if round % 3 > 0 {
                rude.write_all(&bytes(round * 50, 1)).expect("it reads");
            }
            if round % 3 > 1 {
                server.ask(&mut asker);
            }
            crate::support::reset(rude);
        }
        server.ask(&mut asker);
        drop(asker);
        server.settle_at(before);
    }
}

#[test]
fn a_server_with_invalid_arguments_prints_its_usage() {
    let Some(_guard) = watched() else { return };
    for name in SERVERS {
        for args in [&["--port"][..], &["--addr", "nowhere"], &["--addr"]] {
            let output = Process::output(example(name).args(args));
            assert!(!output.status.success(), "{name} {args:?}");
            assert!(output.stdout.is_empty() && !output.stderr.is_empty());
        }
    }
}

/// Two servers, one port: the second reports that and ends.
#[test]
fn an_address_in_use_is_an_error_and_no_server() {
    let Some(_guard) = watched() else { return };
    for name in SERVERS {
        let first = Server::start(name);
        let mut second = example(name);
        let second = Process::output(second.args(["--addr", &first.addr.to_string()]));
        assert!(!second.status.success());
        assert!(String::from_utf8_lossy(&second.stderr).contains("AddrInUse"));
    }
}

/// Nothing to do, nothing done: no turn between two questions. (R004, R020, R032 show as these.)
#[test]
fn a_server_without_requests_is_not_woken() {
    let Some(_guard) = watched() else { return };
    for name in SERVERS {
        let server = Server::start(name);
        let mut asker = server.connect();
        server.ask(&mut asker);
        // Asleep, by the state in `/proc`; only a wake can end that.
        let process = server.process.child.id();
        let state = |what: &str| {
            let text = std::fs::read_to_string(format!("/proc/{process}/status")).expect("/proc");
            let line = text.lines().find(|line| line.starts_with(what));
            line.expect("it is there").to_owned()
        };
        while !state("State:").contains("S (sleeping)") {
            std::thread::yield_now();
        }
        let before = state("voluntary_ctxt_switches:");
        // Long enough for thousands of turns, if it spun.
        let (_never, is_done) = std::sync::mpsc::channel::<()>();
        let _ = is_done.recv_timeout(Duration::from_millis(300));
        assert_eq!(state("voluntary_ctxt_switches:"), before, "{name}");
    }
}
