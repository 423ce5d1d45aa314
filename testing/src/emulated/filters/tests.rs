//! The filters of three systems, on values.

use super::*;
use Filter::{Read, Write};
use Personality::{Apple, FreeBsd, NetBsd};
use readily_sys::facts::Tcp;

const SYSTEMS: [Personality; 3] = [Apple, FreeBsd, NetBsd];

const READER: File = pipe(true, false);
const WRITER: File = pipe(false, false);

const fn pipe(reads: bool, named: bool) -> File {
    File::Pipe {
        reads,
        writes: !reads,
        named,
    }
}

fn bits(bits: i16) -> FdState {
    FdState {
        bits,
        room: 4096,
        ..FdState::default()
    }
}

fn of_tcp(state: TcpState, was_connected: bool, bits: i16, unread: usize) -> FdState {
    FdState {
        bits,
        unread,
        room: 4096,
        tcp: Some(Tcp {
            state,
            was_connected,
            acknowledged: 0,
            pending: 0,
        }),
        ..FdState::default()
    }
}

/// Returns in words what a filter reports.
fn report(system: Personality, file: File, filter: Filter, state: &FdState) -> &'static str {
    let output = evaluate(system, file, filter, state, true);
    match (output.holds, output.eof, output.once) {
        (false, false, false) => "-",
        (true, false, false) => "ready",
        (true, true, false) => "end",
        (true, true, true) => "end, once",
        other => panic!("{other:?}: an end holds, and only an end removes its registration"),
    }
}

fn both(system: Personality, file: File, state: &FdState) -> [&'static str; 2] {
    [Read, Write].map(|filter| report(system, file, filter, state))
}

#[test]
fn an_end_always_holds_and_only_an_end_has_an_error() {
    let files = [
        File::Tcp,
        File::UnixStream,
        File::Datagram,
        READER,
        WRITER,
        File::Device,
        File::Other,
    ];
    let states = [
        TcpState::Connecting,
        TcpState::Open,
        TcpState::WriteShut,
        TcpState::Closed,
    ];
    let mut cases = 0;
    for bits in 0..32i16 {
        let bits = [IN, OUT, ERR, HUP, RDHUP]
            .iter()
            .enumerate()
            .filter(|(n, _)| bits & (1 << n) != 0)
            .fold(0, |sum, (_, bit)| sum | bit);
        for (system, file) in SYSTEMS.iter().flat_map(|s| files.map(|f| (*s, f))) {
            for (state, filter) in states.iter().flat_map(|s| [(*s, Read), (*s, Write)]) {
                for (unread, write_shut) in [(0, false), (3, true)] {
                    let state = FdState {
                        write_shut,
                        ..of_tcp(state, unread > 0, bits, unread)
                    };
                    let output = evaluate(system, file, filter, &state, true);
                    assert!(output.holds || !output.eof && !output.once, "{output:?}");
                    assert!(output.eof || output.error == 0, "{output:?}");
                    assert!(output.data >= 0);
                    cases += 1;
                }
            }
        }
    }
    assert_eq!(cases, 32 * 3 * 7 * 8 * 2);
}

#[test]
fn each_direction_of_a_connection_is_reported_by_its_own_filter() {
    for system in SYSTEMS {
        let report_all =
            |state, bits, unread| both(system, File::Tcp, &of_tcp(state, true, bits, unread));
        assert_eq!(report_all(TcpState::Open, OUT, 0), ["-", "ready"]);
        assert_eq!(report_all(TcpState::Open, IN, 3), ["ready", "-"]);
        assert_eq!(
            report_all(TcpState::Open, IN | RDHUP | OUT, 3),
            ["end", "ready"]
        );
        assert_eq!(report_all(TcpState::WriteShut, OUT, 0), ["-", "end"]);
        assert_eq!(
            report_all(TcpState::WriteShut, IN | RDHUP, 0),
            ["end", "end"]
        );
        assert_eq!(
            report_all(TcpState::Closed, IN | RDHUP | HUP, 0),
            ["end", "end"]
        );
        // Never connected (epoll reports `HUP`), and connecting.
        assert_eq!(report_all(TcpState::Closed, OUT | HUP, 0), ["-", "-"]);
        assert_eq!(report_all(TcpState::Connecting, OUT, 0), ["-", "-"]);
    }
}

#[test]
fn an_error_depends_on_whether_there_was_a_connection_and_is_cleared_once_it_is_read() {
    let dead = ERR | HUP | RDHUP | IN;
    for (filter, system) in [Read, Write].iter().flat_map(|f| SYSTEMS.map(|s| (*f, s))) {
        let error = |was_connected, bits| {
            let state = of_tcp(TcpState::Closed, was_connected, bits, 0);
            evaluate(system, File::Tcp, filter, &state, false).error
        };
        assert_eq!(error(true, dead), ECONNRESET.unsigned_abs());
        assert_eq!(error(false, dead), ECONNREFUSED.unsigned_abs());
        assert_eq!(error(true, HUP | RDHUP | IN), 0);
    }
}

#[test]
fn a_unix_stream_has_ends_and_no_resets() {
    for system in SYSTEMS {
        let gone = FdState {
            write_shut: true,
            ..bits(IN | RDHUP | HUP | ERR | OUT)
        };
        assert_eq!(both(system, File::UnixStream, &gone), ["end", "end"]);
        let output = evaluate(system, File::UnixStream, Read, &gone, false);
        assert_eq!(output.error, 0);
        let unconnected = bits(HUP | OUT);
        assert_eq!(both(system, File::UnixStream, &unconnected), ["-", "-"]);
    }
}

/// The rows of the table of measurements in `docs/platforms.md`.
#[test]
fn a_pipe_is_reported_as_each_system_reports_it() {
    let report_all = |file, bits_of_it| SYSTEMS.map(|system| both(system, file, &bits(bits_of_it)));
    // Apple, FreeBSD, NetBSD: the reading and the writing filter of each.
    assert_eq!(
        report_all(READER, 0),
        [["-", "-"], ["-", "ready"], ["-", "-"]]
    );
    let alive = [["ready", "-"], ["ready", "ready"], ["ready", "-"]];
    assert_eq!(report_all(READER, IN), alive);
    let no_writer = [["end", "end"], ["end", "end, once"], ["end", "-"]];
    assert_eq!(report_all(READER, HUP), no_writer);
    let room = [["-", "ready"]; 3];
    assert_eq!(report_all(WRITER, OUT), room);
    let no_reader = [["end", "end"], ["end", "end, once"], ["end", "end"]];
    assert_eq!(report_all(WRITER, OUT | ERR), no_reader);
    assert_eq!(report_all(WRITER, ERR), no_reader);
}

#[test]
fn a_fifo_has_no_end_on_a_mac_and_reports_nothing_at_its_other_end() {
    let fifo = |reads| pipe(reads, true);
    let report_all = |file, bits_of_it| SYSTEMS.map(|system| both(system, file, &bits(bits_of_it)));
    assert_eq!(
        report_all(fifo(true), HUP),
        [["-", "-"], ["end", "-"], ["end", "-"]]
    );
    let gone = [["-", "ready"], ["-", "end"], ["-", "end"]];
    assert_eq!(report_all(fifo(false), OUT | ERR), gone);
}

#[test]
fn a_dead_pipe_is_refused_with_each_systems_own_error() {
    let add = |file, filter, state: &FdState| SYSTEMS.map(|it| attach(it, file, filter, state, 0));
    let dead = [Ok(()), Err(EPIPE), Err(EBADF)];
    assert_eq!(add(WRITER, Write, &bits(ERR)), dead);
    assert_eq!(add(READER, Write, &bits(HUP)), dead);
    assert_eq!(add(READER, Read, &bits(HUP)), [Ok(()); 3]);
    assert_eq!(add(WRITER, Write, &bits(OUT)), [Ok(()); 3]);
}

#[test]
fn a_device_is_always_ready_where_it_is_not_refused() {
    let add = |fflags| SYSTEMS.map(|it| attach(it, File::Device, Read, &bits(IN), fflags));
    assert_eq!(add(0), [Err(EINVAL), Err(EINVAL), Ok(())]);
    assert_eq!(add(NOTE_LOWAT), [Ok(()), Err(EINVAL), Ok(())]);
    assert_eq!(both(NetBsd, File::Device, &bits(0)), ["ready", "ready"]);
    assert_eq!(
        attach(NetBsd, File::Regular, Read, &bits(IN), 0),
        Err(EINVAL)
    );
}

#[test]
fn a_listener_that_listened_later_is_missed_by_netbsd_alone() {
    let state = FdState {
        unread: 2,
        is_listener: true,
        ..bits(IN)
    };
    let holds = |system, early: bool| evaluate(system, File::Tcp, Read, &state, !early).holds;
    assert_eq!(SYSTEMS.map(|it| holds(it, false)), [true; 3]);
    assert_eq!(SYSTEMS.map(|it| holds(it, true)), [true, true, false]);
    assert_eq!(evaluate(Apple, File::Tcp, Read, &state, true).data, 2);
    assert!(!evaluate(Apple, File::Tcp, Write, &state, true).holds);
}

#[test]
fn a_low_water_mark_holds_data_back_and_no_end() {
    let state = of_tcp(TcpState::Open, true, IN, 3);
    let output_of = |state: &FdState| evaluate(FreeBsd, File::Tcp, Read, state, false);
    assert!(output_of(&state).above(NOTE_LOWAT, 3).holds);
    assert!(!output_of(&state).above(NOTE_LOWAT, 4).holds);
    assert!(output_of(&state).above(0, 4).holds);
    let end = of_tcp(TcpState::Open, true, IN | RDHUP, 3);
    assert!(output_of(&end).above(NOTE_LOWAT, 4).holds);
}

#[test]
fn an_error_of_a_datagram_socket_is_no_end() {
    for system in SYSTEMS {
        let state = bits(ERR | OUT);
        assert_eq!(both(system, File::Datagram, &state), ["ready", "ready"]);
    }
}

#[test]
fn only_a_full_pipe_of_netbsd_misses_its_end() {
    let misses = |system, bits_of_it| misses_end(system, WRITER, Write, &bits(bits_of_it));
    assert_eq!(SYSTEMS.map(|it| misses(it, ERR)), [false, false, true]);
    assert_eq!(SYSTEMS.map(|it| misses(it, ERR | OUT)), [false; 3]);
    assert!(!misses_end(NetBsd, WRITER, Read, &bits(ERR)));
    assert!(!misses_end(NetBsd, READER, Write, &bits(ERR)));
}
