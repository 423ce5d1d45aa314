//! The rules of three systems, on values.

use super::*;
use Filter::{Read, Write};
use Personality::{Apple, FreeBsd, NetBsd};

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

fn bits(bits: i16) -> Look {
    Look {
        bits,
        room: 4096,
        ..Look::default()
    }
}

fn of_tcp(state: TcpState, was_connected: bool, bits: i16, unread: usize) -> Look {
    Look {
        bits,
        unread,
        room: 4096,
        tcp: Some(Tcp {
            state,
            was_connected,
            acknowledged: 0,
            pending: 0,
        }),
        ..Look::default()
    }
}

/// In letters: what is found, and the end.
fn say(system: Personality, file: File, filter: Filter, look: &Look) -> &'static str {
    let found = found(system, file, filter, look, true);
    match (found.holds, found.eof, found.once) {
        (false, false, false) => "-",
        (true, false, false) => "ready",
        (true, true, false) => "end",
        (true, true, true) => "end, once",
        other => panic!("{other:?}: an end holds, and only an end is told once"),
    }
}

fn both(system: Personality, file: File, look: &Look) -> [&'static str; 2] {
    [Read, Write].map(|filter| say(system, file, filter, look))
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
    let mut seen = 0;
    for bits in 0..32i16 {
        let bits = [IN, OUT, ERR, HUP, RDHUP]
            .iter()
            .enumerate()
            .filter(|(n, _)| bits & (1 << n) != 0)
            .fold(0, |sum, (_, bit)| sum | bit);
        for (system, file) in SYSTEMS.iter().flat_map(|s| files.map(|f| (*s, f))) {
            for (state, filter) in states.iter().flat_map(|s| [(*s, Read), (*s, Write)]) {
                for (unread, write_shut) in [(0, false), (3, true)] {
                    let look = Look {
                        write_shut,
                        ..of_tcp(state, unread > 0, bits, unread)
                    };
                    let found = found(system, file, filter, &look, true);
                    assert!(found.holds || !found.eof && !found.once, "{found:?}");
                    assert!(found.eof || found.error == 0, "{found:?}");
                    assert!(found.data >= 0);
                    seen += 1;
                }
            }
        }
    }
    assert_eq!(seen, 32 * 3 * 7 * 8 * 2);
}

#[test]
fn each_direction_of_a_connection_is_reported_by_its_own_filter() {
    for system in SYSTEMS {
        let tell =
            |state, bits, unread| both(system, File::Tcp, &of_tcp(state, true, bits, unread));
        assert_eq!(tell(TcpState::Open, OUT, 0), ["-", "ready"]);
        assert_eq!(tell(TcpState::Open, IN, 3), ["ready", "-"]);
        assert_eq!(tell(TcpState::Open, IN | RDHUP | OUT, 3), ["end", "ready"]);
        assert_eq!(tell(TcpState::WriteShut, OUT, 0), ["-", "end"]);
        assert_eq!(tell(TcpState::WriteShut, IN | RDHUP, 0), ["end", "end"]);
        assert_eq!(tell(TcpState::Closed, IN | RDHUP | HUP, 0), ["end", "end"]);
        // Connecting, or never asked to: epoll says that it is hung up.
        assert_eq!(tell(TcpState::Closed, OUT | HUP, 0), ["-", "-"]);
        assert_eq!(tell(TcpState::Connecting, OUT, 0), ["-", "-"]);
    }
}

#[test]
fn an_error_is_named_by_whether_there_was_a_connection_and_goes_once_it_is_taken() {
    let dead = ERR | HUP | RDHUP | IN;
    for (filter, system) in [Read, Write].iter().flat_map(|f| SYSTEMS.map(|s| (*f, s))) {
        let error = |was_connected, bits| {
            let look = of_tcp(TcpState::Closed, was_connected, bits, 0);
            found(system, File::Tcp, filter, &look, false).error
        };
        assert_eq!(error(true, dead), ECONNRESET.unsigned_abs());
        assert_eq!(error(false, dead), ECONNREFUSED.unsigned_abs());
        assert_eq!(error(true, HUP | RDHUP | IN), 0);
    }
}

#[test]
fn a_unix_stream_knows_ends_and_no_resets() {
    for system in SYSTEMS {
        let gone = Look {
            write_shut: true,
            ..bits(IN | RDHUP | HUP | ERR | OUT)
        };
        assert_eq!(both(system, File::UnixStream, &gone), ["end", "end"]);
        let found = found(system, File::UnixStream, Read, &gone, false);
        assert_eq!(found.error, 0);
        let unconnected = bits(HUP | OUT);
        assert_eq!(both(system, File::UnixStream, &unconnected), ["-", "-"]);
    }
}

/// The table of what was measured, row by row.
#[test]
fn a_pipe_is_reported_as_each_system_reports_it() {
    let tell = |file, bits_of_it| SYSTEMS.map(|system| both(system, file, &bits(bits_of_it)));
    // Apple, FreeBSD, NetBSD: what reading says, what writing says.
    assert_eq!(tell(READER, 0), [["-", "-"], ["-", "ready"], ["-", "-"]]);
    let alive = [["ready", "-"], ["ready", "ready"], ["ready", "-"]];
    assert_eq!(tell(READER, IN), alive);
    let no_writer = [["end", "end"], ["end", "end, once"], ["end", "-"]];
    assert_eq!(tell(READER, HUP), no_writer);
    let room = [["-", "ready"]; 3];
    assert_eq!(tell(WRITER, OUT), room);
    let no_reader = [["end", "end"], ["end", "end, once"], ["end", "end"]];
    assert_eq!(tell(WRITER, OUT | ERR), no_reader);
    assert_eq!(tell(WRITER, ERR), no_reader);
}

#[test]
fn a_fifo_has_no_end_on_a_mac_and_is_silent_at_its_wrong_end() {
    let fifo = |reads| pipe(reads, true);
    let tell = |file, bits_of_it| SYSTEMS.map(|system| both(system, file, &bits(bits_of_it)));
    assert_eq!(
        tell(fifo(true), HUP),
        [["-", "-"], ["end", "-"], ["end", "-"]]
    );
    let gone = [["-", "ready"], ["-", "end"], ["-", "end"]];
    assert_eq!(tell(fifo(false), OUT | ERR), gone);
}

#[test]
fn a_dead_pipe_is_refused_with_each_systems_own_error() {
    let add = |file, filter, look: &Look| SYSTEMS.map(|it| attach(it, file, filter, look, 0));
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
    let look = Look {
        unread: 2,
        is_listener: true,
        ..bits(IN)
    };
    let holds = |system, early: bool| found(system, File::Tcp, Read, &look, !early).holds;
    assert_eq!(SYSTEMS.map(|it| holds(it, false)), [true; 3]);
    assert_eq!(SYSTEMS.map(|it| holds(it, true)), [true, true, false]);
    assert_eq!(found(Apple, File::Tcp, Read, &look, true).data, 2);
    assert!(!found(Apple, File::Tcp, Write, &look, true).holds);
}

#[test]
fn a_mark_holds_data_back_and_no_end() {
    let look = of_tcp(TcpState::Open, true, IN, 3);
    let found_of = |look: &Look| found(FreeBsd, File::Tcp, Read, look, false);
    assert!(found_of(&look).above(NOTE_LOWAT, 3).holds);
    assert!(!found_of(&look).above(NOTE_LOWAT, 4).holds);
    assert!(found_of(&look).above(0, 4).holds);
    let end = of_tcp(TcpState::Open, true, IN | RDHUP, 3);
    assert!(found_of(&end).above(NOTE_LOWAT, 4).holds);
}

#[test]
fn an_error_of_a_datagram_socket_is_no_end() {
    for system in SYSTEMS {
        let look = bits(ERR | OUT);
        assert_eq!(both(system, File::Datagram, &look), ["ready", "ready"]);
    }
}

#[test]
fn only_netbsds_full_pipe_is_deaf() {
    let deaf = |system, bits_of_it| is_deaf(system, WRITER, Write, &bits(bits_of_it));
    assert_eq!(SYSTEMS.map(|it| deaf(it, ERR)), [false, false, true]);
    assert_eq!(SYSTEMS.map(|it| deaf(it, ERR | OUT)), [false; 3]);
    assert!(!is_deaf(NetBsd, WRITER, Read, &bits(ERR)));
    assert!(!is_deaf(NetBsd, READER, Write, &bits(ERR)));
}
