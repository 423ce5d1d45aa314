//! The other examples as their users run them: a process, its arguments, what it prints, and
//! clients where it has some. (The echo servers are in `servers.rs`.)

use crate::servers::{Server, example, watched};
use crate::support::{Process, command, runs_alone, watch};
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{Shutdown, TcpStream};
use std::process::Stdio;
use std::time::Duration;

/// What a program that ends by itself has printed.
fn run(name: &str, args: &[&str]) -> String {
    let mut program = example(name);
    let output = Process::output(program.args(args));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name} {args:?}: {stderr}");
    String::from_utf8(output.stdout).expect("text")
}

/// A client that speaks in lines.
struct Client(BufReader<TcpStream>);

impl Client {
    fn of(server: &Server) -> Self {
        Self(BufReader::new(server.connect()))
    }

    fn say(&mut self, line: &str) {
        // In one piece, or the kernel would wait with the second for an answer to the first.
        let line = format!("{line}\n");
        let stream = self.0.get_mut();
        stream.write_all(line.as_bytes()).expect("it is connected");
    }

    /// The next line; empty at the end.
    fn hear(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).expect("text, and no reset");
        line.trim_end().to_owned()
    }

    fn hears(&mut self, expected: &str) {
        assert_eq!(self.hear(), expected);
    }

    /// A client of the chat, by name.
    fn guest(server: &Server, name: &str, all: &str) -> Self {
        let mut guest = Self::of(server);
        guest.hears("your name?");
        guest.say(name);
        guest.hears(&format!("* {name} is here: {all}"));
        guest
    }
}

#[test]
fn blocking_work_counts_what_is_below_a_directory() {
    let Some(_guard) = watched() else { return };
    let root = std::env::temp_dir().join(format!("readily-blocking-work-{}", std::process::id()));
    let below = root.join("a/b");
    std::fs::create_dir_all(&below).unwrap();
    for n in 0..40 {
        let directory = if n % 2 == 0 { &root } else { &below };
        std::fs::write(directory.join(format!("{n}.txt")), "line\n".repeat(n)).unwrap();
    }
    let stdout = run("blocking_work", &[root.to_str().expect("text")]);
    std::fs::remove_dir_all(&root).unwrap();
    let lines: usize = (0..40).sum();
    let bytes = 5 * lines;
    let counted = format!("files: 40, lines: {lines}, bytes: {bytes}, failed: 0\nthreads: ");
    assert!(stdout.starts_with(&counted), "{stdout}");
}

#[test]
fn a_fan_out_has_as_many_connections_as_it_may_and_no_more() {
    let Some(_guard) = watched() else { return };
    for at_most in [1, 7] {
        let stdout = run("fan_out", &[&at_most.to_string()]);
        let expected = format!(
            "pages fetched: 95, failed: 2 (both on purpose), highest number of connections: {at_most}\n\
             failed: /1/2: HTTP/1.0 404 Not Found\n\
             failed: /2/0: it took longer than 500ms\n"
        );
        assert_eq!(stdout, expected);
    }
}

#[test]
fn each_example_that_is_asked_for_help_prints_its_usage_and_exits_with_success() {
    let examples = concat!(env!("CARGO_MANIFEST_DIR"), "/examples");
    let files = std::fs::read_dir(examples).expect("the examples");
    let files = files.map(|file| file.expect("a file").path());
    // A folder without a `main` is a part of others.
    let files = files.filter(|path| path.is_file() || path.join("main.rs").is_file());
    let names = files.map(|path| path.with_extension(""));
    let names: Vec<_> = names
        .map(|path| path.file_name().expect("a name").display().to_string())
        .collect();
    assert!(names.len() >= 9, "{names:?}");
    for name in names {
        for flag in ["--help", "-h"] {
            let stdout = run(&name, &[flag]);
            let usage = format!("usage: {name}");
            assert!(stdout.starts_with(&usage), "{name} {flag}: {stdout}");
            assert_eq!(stdout.lines().count(), 1, "{name} {flag}: {stdout}");
        }
    }
}

/// The output of a program with wrong arguments: always the usage, on standard error.
fn refused(name: &str, args: &[&str]) -> String {
    let output = Process::output(example(name).args(args));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{name} {args:?}: {stderr}");
    assert!(output.stdout.is_empty(), "{name} {args:?}");
    let usage = format!("usage: {name}");
    assert!(stderr.contains(&usage), "{name} {args:?}: {stderr}");
    stderr
}

#[test]
fn examples_with_invalid_arguments_print_their_usage() {
    let Some(_guard) = watched() else { return };
    let calls: [(&str, &[&str]); 18] = [
        ("blocking_work", &["a", "b"]),
        ("fan_out", &["0"]),
        ("fan_out", &["many"]),
        ("fan_out", &["1", "2"]),
        ("number_lines", &["many"]),
        ("number_lines", &["1", "2"]),
        ("pipeline", &["-1"]),
        ("pipeline", &["1000000000"]),
        ("chat", &["--addr"]),
        ("chat", &["--addr", "127.0.0.1:0", "more"]),
        ("echo_load", &["--seed"]),
        ("cores", &["--cores"]),
        ("cores", &["--by", "chance"]),
        ("graceful", &["--limit"]),
        ("graceful", &["--port", "1"]),
        ("notes", &["--bogus"]),
        ("sim_events", &["--bogus"]),
        ("sim_events", &["--trace", "--bogus"]),
    ];
    for (name, args) in calls {
        refused(name, args);
    }
}

#[test]
fn examples_name_the_option_and_the_value_that_they_refuse() {
    let Some(_guard) = watched() else { return };
    let calls = [
        ("chat", "--addr", "nowhere"),
        ("echo_callbacks", "--addr", "nonsense"),
        ("echo_coroutines", "--addr", "127.0.0.1:99999"),
        ("echo_load", "--addr", "nonsense"),
        ("echo_load", "--connections", "-1"),
        ("echo_load", "--connections", "0"),
        ("echo_load", "--bytes", "0"),
        ("echo_load", "--seed", "x"),
        ("cores", "--cores", "many"),
        ("cores", "--by", "chance"),
        ("graceful", "--limit", "soon"),
    ];
    for (name, option, value) in calls {
        let stderr = refused(name, &[option, value]);
        let named = format!("{option} {value}: ");
        assert!(stderr.contains(&named), "{name}: {stderr}");
    }
}

/// The example checks itself that no item is lost, and that its limit of items in flight holds.
#[test]
fn a_bounded_pipeline_holds_what_it_may_and_an_unbounded_one_holds_all() {
    let Some(_guard) = watched() else { return };
    for items in ["0", "1", "5", "400"] {
        let stdout = run("pipeline", &[items]);
        let total = |name: &str| {
            let all = format!("{name} {items} produced, {items} consumed, at most ");
            let line = stdout.lines().find_map(|line| line.strip_prefix(&*all));
            let most = line.and_then(|line| line.strip_suffix(" in flight"));
            most.and_then(|n| n.parse::<usize>().ok()).expect(&stdout)
        };
        let items: usize = items.parse().expect("a number");
        assert_eq!(total("unbounded:"), items);
        assert_eq!(total("bounded:  "), items.min(18));
    }
}

#[test]
fn guests_of_a_chat_hear_each_other_in_one_order_come_and_go() {
    let Some(_guard) = watched() else { return };
    let server = Server::start("chat");
    let mut ann = Client::guest(&server, "ann", "ann");
    let mut bob = Client::of(&server);
    bob.hears("your name?");
    for taken in ["ann", "", "  ann\r"] {
        bob.say(taken);
        bob.hears("that name is empty or taken; another one?");
    }
    bob.say("bob");
    for guest in [&mut ann, &mut bob] {
        guest.hears("* bob is here: ann, bob");
    }
    ann.say("hello\r");
    bob.hears("ann: hello");
    bob.say("and \x1b[2Jhello");
    for guest in [&mut ann, &mut bob] {
        if guest.hear() == "ann: hello" {
            guest.hears("bob: and [2Jhello");
        }
    }
    // One client quits, one resets its connection, one sends too much; their names are free
    // afterwards.
    bob.0
        .get_ref()
        .shutdown(Shutdown::Write)
        .expect("it is open");
    ann.hears("* bob has left");
    let rude = Client::guest(&server, "bob", "ann, bob");
    ann.hears("* bob is here: ann, bob");
    crate::support::reset(rude.0.into_inner());
    ann.hears("* bob has left");
    let mut loud = Client::guest(&server, "bob", "ann, bob");
    ann.hears("* bob is here: ann, bob");
    let stream = loud.0.get_mut();
    // The server may close the connection before the client has sent everything.
    let _ = stream.write_all(&[b'a'; 10_000]);
    ann.hears("* bob has left");
}

/// A slow reader misses lines, and gets their number; meanwhile the others get every line.
#[test]
fn a_slow_guest_of_a_chat_learns_how_much_it_has_missed_and_delays_no_other() {
    let Some(_guard) = watched() else { return };
    let server = Server::start("chat");
    let mut slow = Client::guest(&server, "slow", "slow");
    let mut ann = Client::guest(&server, "ann", "ann, slow");
    slow.hears("* ann is here: ann, slow");
    let before = server.memory();
    // More than the kernel keeps for one connection: some mebibytes on either side.
    const LINES: usize = 30_000;
    // Fewer than the channel's buffer holds, so that no reader misses one.
    const TOGETHER: usize = 30;
    let text = "x".repeat(400);
    for first in (0..LINES).step_by(TOGETHER) {
        let lines = first..first + TOGETHER;
        let sent: Vec<String> = lines.map(|n| format!("{n} {text}")).collect();
        ann.say(&sent.join("\n"));
        for line in sent {
            ann.hears(&format!("ann: {line}"));
        }
    }
    let grown = server.memory().saturating_sub(before);
    assert!(grown < 2048, "the server keeps {grown} KiB");
    ann.say("the last");
    let (mut heard, mut missed) = (0, 0);
    loop {
        let line = slow.hear();
        if line == "ann: the last" {
            break;
        }
        if let Some(note) = line.strip_prefix("* you have missed ") {
            let number = note.strip_suffix(" lines").and_then(|n| n.parse().ok());
            missed += number.unwrap_or(0_usize);
            continue;
        }
        // Those that are there come in order, behind those that are not.
        let expected = format!("ann: {} {text}", heard + missed);
        assert_eq!(line, expected);
        heard += 1;
    }
    assert_eq!(heard + missed, LINES);
    assert!(missed > 0, "it was not slow enough");
}

/// Stops a server through its standard input, and returns its further output.
fn graceful(limit: &str) -> Server {
    let mut program = example("graceful");
    Server::start_by(program.args(["--limit", limit]).stdin(Stdio::piped()))
}

#[test]
fn a_graceful_end_finishes_what_was_begun_and_shows_the_idle_out() {
    let Some(_guard) = watched() else { return };
    let mut server = graceful("60000");
    let (mut idle, mut busy) = (Client::of(&server), Client::of(&server));
    let mut half = Client::of(&server);
    for client in [&mut idle, &mut half] {
        client.say("0");
        client.hears("begun");
        client.hears("done");
    }
    busy.say("300");
    busy.hears("begun");
    // It is there before the stop is, so the server reads it first.
    half.0.get_mut().write_all(b"1").expect("it is connected");
    let mut stdin = server.process.child.stdin.take().expect("it is piped");
    stdin.write_all(b"go on\nquit\n").expect("it reads");
    idle.hears("");
    let refused = TcpStream::connect(server.addr).expect_err("the listener is closed");
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    half.say("0");
    for client in [&mut busy, &mut half] {
        if client.hear() == "begun" {
            client.hears("done");
        }
        client.hears("");
    }
    let expected = "stopping, connections: 3\nall have finished\n\
                    left: tasks 0, registrations 0, timers 0, closures 0\n";
    assert_eq!(server.rest(), expected);
}

#[test]
fn a_graceful_end_has_a_limit_and_names_the_tasks_it_has_dropped() {
    let Some(_guard) = watched() else { return };
    let mut server = graceful("50");
    let mut busy = Client::of(&server);
    busy.say("600000");
    busy.hears("begun");
    drop(server.process.child.stdin.take()); // the end of it is as good as `quit`
    busy.hears("");
    let me = busy.0.get_ref().local_addr().expect("it is connected");
    let expected = format!(
        "stopping, connections: 1\nnot all have finished: the time ran out\ndropped: {me}\n\
         left: tasks 1, registrations 1, timers 1, closures 0\n"
    );
    assert_eq!(server.rest(), expected);
}

/// SIGTERM is the same as `quit`.
#[test]
fn a_graceful_end_begins_with_sigterm_too() {
    let Some(_guard) = watched() else { return };
    let mut server = graceful("60000");
    let mut busy = Client::of(&server);
    busy.say("300");
    busy.hears("begun");
    server.terminate();
    busy.hears("done");
    busy.hears("");
    let expected = "stopping, connections: 1\nall have finished\n\
                    left: tasks 0, registrations 0, timers 0, closures 0\n";
    assert_eq!(server.rest(), expected);
}

/// Each of a thousand connections that work has its answer, and they are counted.
#[test]
fn a_graceful_end_at_sigterm_finishes_a_thousand_busy_connections() {
    const BUSY: usize = 1000;
    let Some(_guard) = watched() else { return };
    let mut server = graceful("600000");
    let mut busy: Vec<_> = (0..BUSY).map(|_| Client::of(&server)).collect();
    for client in &mut busy {
        client.say("1000");
    }
    for client in &mut busy {
        client.hears("begun");
    }
    server.terminate();
    for client in &mut busy {
        client.hears("done");
        client.hears("");
    }
    let expected = format!(
        "stopping, connections: {BUSY}\nall have finished\n\
         left: tasks 0, registrations 0, timers 0, closures 0\n"
    );
    assert_eq!(server.rest(), expected);
}

#[test]
fn the_sums_of_a_tree_come_from_workers_in_the_order_of_its_files() {
    let Some(_guard) = watched() else { return };
    let root = std::env::temp_dir().join(format!("readily-sums-{}", std::process::id()));
    let below = root.join("a/b");
    std::fs::create_dir_all(&below).unwrap();
    let mut files: Vec<_> = (0..40)
        .map(|n| match n % 2 {
            0 => root.join(format!("{n}.txt")),
            _ => below.join(format!("{n}.txt")),
        })
        .collect();
    files.sort();
    let (mut expected, mut bytes) = (String::new(), 0);
    for (n, file) in files.iter().enumerate() {
        let text = "line\n".repeat(n);
        let sum = text.bytes().fold(0x811c_9dc5, |sum: u32, byte| {
            (sum ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
        expected += &format!("{sum:08x}  {}\n", file.display());
        bytes += text.len();
        std::fs::write(file, text).unwrap();
    }
    let stdout = run("process_map", &[root.to_str().expect("text")]);
    std::fs::remove_dir_all(&root).unwrap();
    let (sums, last) = stdout.split_at(expected.len());
    assert_eq!(sums, expected);
    assert!(
        last.starts_with(&format!("40 files, {bytes} bytes, ")),
        "{last}"
    );
}

/// The lines are answered by both cores; SIGTERM closes what is idle, and waits for a line that has begun.
#[test]
fn a_server_on_two_cores_answers_on_both_and_is_drained_by_sigterm() {
    let Some(_guard) = watched() else { return };
    for by in ["round-robin", "fewest"] {
        let mut program = example("cores");
        program.args(["--cores", "2", "--by", by, "--limit", "60000"]);
        let mut server = Server::start_by(&mut program);
        let mut clients: Vec<Client> = (0..4).map(|_| Client::of(&server)).collect();
        let mut by_core = [0; 2];
        for client in &mut clients {
            client.say("hello");
            let answer = client.hear();
            // FNV-1a of the line.
            let core = answer
                .strip_prefix("a430d84680aabd0b core ")
                .expect(&answer);
            by_core[core.parse::<usize>().expect("a number")] += 1;
        }
        assert_eq!(by_core, [2, 2]);
        let mut busy = clients.pop().expect("there are four");
        busy.0.get_mut().write_all(b"hel").expect("it is connected");
        // Read by the server by the time that the next connection was served, on each core.
        for _ in 0..2 {
            let mut next = Client::of(&server);
            next.say("hello");
            assert!(next.hear().starts_with("a430d84680aabd0b"));
            clients.push(next);
        }
        server.terminate();
        for mut client in clients {
            client.hears("");
        }
        busy.say("lo");
        assert!(busy.hear().starts_with("a430d84680aabd0b"));
        busy.hears("");
        let expected = "core 0: connections 3\ncore 1: connections 3\n\
            core 0 was shut down; left: tasks 0, registrations 0, timers 0, closures 0\n\
            core 1 was shut down; left: tasks 0, registrations 0, timers 0, closures 0\n";
        assert_eq!(server.rest(), expected);
    }
}

#[test]
fn a_supervisor_starts_a_command_again_until_it_succeeds_or_fails_too_often() {
    let Some(_guard) = watched() else { return };
    let output = Process::output(example("supervisor").args([
        "--delay",
        "1",
        "--longest",
        "60000",
        "--failures",
        "3",
        "sh",
        "-c",
        "exit 7",
    ]));
    assert_eq!(output.status.code(), Some(1));
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<&str> = stdout
        .lines()
        .filter(|line| !line.starts_with("started "))
        .collect();
    assert_eq!(
        lines,
        [
            "ended: exit status: 7",
            "starting it again in 1ms",
            "ended: exit status: 7",
            "starting it again in 2ms",
            "ended: exit status: 7",
        ]
    );
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        stderr.contains("giving up after 3 failures in a row"),
        "{stderr}"
    );
    assert!(run("supervisor", &["true"]).ends_with("ended: exit status: 0\n"));
    refused("supervisor", &[]);
    refused("supervisor", &["--delay", "soon", "true"]);
}

#[test]
fn a_supervisor_forwards_signals_and_kills_what_does_not_end() {
    let Some(_guard) = watched() else { return };
    const OBEYS: &str = "trap 'echo hup' HUP; trap 'exit 3' TERM; echo ready; for n in $(seq 9999); do sleep 0.01; done";
    const IGNORES: &str = "trap '' TERM; echo ready; for n in $(seq 9999); do sleep 0.01; done";
    let cases = [
        (OBEYS, "ended: exit status: 3"),
        (IGNORES, "ended: signal: 9 (SIGKILL)"),
    ];
    for (script, end) in cases {
        let limit = if script == OBEYS { "60000" } else { "20" };
        let mut program = example("supervisor");
        let mut process = Process::start(program.args(["--limit", limit, "sh", "-c", script]));
        let stdout = process.child.stdout.take().expect("it is piped");
        let mut lines = BufReader::new(stdout)
            .lines()
            .map(|line| line.expect("text"));
        assert!(lines.any(|line| line == "ready"));
        let pid = process.child.id().to_string();
        let kill = |signal: &str| {
            let killed = std::process::Command::new("kill")
                .args([signal, &pid])
                .status();
            assert!(killed.expect("there is a kill").success());
        };
        if script == OBEYS {
            kill("-HUP");
            assert!(lines.any(|line| line == "hup"));
        }
        kill("-TERM");
        assert!(lines.any(|line| line == "forwarding SIGTERM"));
        assert_eq!(lines.last().as_deref(), Some(end));
        assert!(process.wait().0.success());
    }
}

/// No server is left over, whichever way its test ends.
#[test]
fn a_server_ends_with_its_test_also_if_that_panics_or_hangs() {
    let Some(_guard) = watched() else { return };
    const HOW: &str = "READILY_IT_ENDS";
    const NAME: &str = "examples::a_server_ends_with_its_test_also_if_that_panics_or_hangs";
    if runs_alone() {
        let how = std::env::var(HOW).expect("the parent sets it");
        let _hangs = (how == "hangs").then(|| watch(Duration::from_millis(500)));
        if how == "has no address" {
            // It is running by then, and has no owner yet.
            let mut talks = std::process::Command::new("sh");
            Server::start_by(talks.args(["-c", "echo number $$; exec sleep 600"]));
        }
        let server = Server::start("echo_callbacks");
        println!("number {}", server.process.child.id());
        match &*how {
            "hangs" => loop {
                std::thread::park();
            },
            how => panic!("on purpose: {how}"),
        }
    }
    for how in ["panics", "hangs", "has no address"] {
        let output = Process::output(command(NAME, None).env(HOW, how));
        assert!(!output.status.success());
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        let hangs = format!("the test {NAME} hangs: it waits, and nothing comes");
        assert_eq!(stderr.contains(&hangs), how == "hangs", "{stderr}");
        let number = stdout.lines().chain(stderr.lines()).find_map(|line| {
            let (_, number) = line.split_once("number ")?;
            number
                .trim_matches(|c: char| !c.is_ascii_digit())
                .parse::<u32>()
                .ok()
        });
        let number = number.unwrap_or_else(|| panic!("{how}: {stdout}{stderr}"));
        // A process that has been killed may take a moment to be gone.
        let state = || std::fs::read_to_string(format!("/proc/{number}/stat"));
        while state().is_ok_and(|state| !state.contains(") Z ")) {
            assert!(how == "hangs", "{how}: {number} is still there");
            std::thread::yield_now();
        }
    }
}
