//! The examples `http`, `http_callbacks`, `redis` and `proxy` as their users run them: requests that are right, wrong, many at
//! once, slow, or without an end, and clients that do not read.

use crate::servers::{Server, example, watched};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};

/// The same server in both styles.
const HTTP: [&str; 2] = ["http", "http_callbacks"];

fn start(name: &str, args: &[&str]) -> Server {
    Server::start_by(example(name).args(args))
}

/// What a server answers to these bytes, to its end.
fn answer_to(server: &Server, request: &[u8]) -> String {
    let mut stream = server.connect();
    stream.write_all(request).expect("it is connected");
    stream.shutdown(Shutdown::Write).expect("it is connected");
    to_end(stream)
}

fn to_end(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    if let Err(error) = stream.read_to_end(&mut answer) {
        // A server that has not read all resets the connection behind its answer.
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    }
    String::from_utf8(answer).expect("text")
}

fn expect(stream: &mut TcpStream, expected: &[u8]) {
    let mut answer = vec![0; expected.len()];
    stream.read_exact(&mut answer).expect("an answer");
    assert_eq!(
        answer.escape_ascii().to_string(),
        expected.escape_ascii().to_string()
    );
}

#[test]
fn http_requests_that_arrive_together_are_answered_in_their_order() {
    let Some(_guard) = watched() else { return };
    for http in HTTP {
        let server = start(http, &[]);
        let requests = "GET /?n=3 HTTP/1.1\r\nHost: a\r\n\r\n\
        HEAD /?n=3 HTTP/1.1\r\nHost: a\r\n\r\n\
        POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello\
        POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n\
        3;name=value\r\nabc\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n\
        GET /nowhere HTTP/1.1\nHost: a\n\n\
        PUT / HTTP/1.1\r\nHost: a\r\n\r\n\
        GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET";
        let head = |status, length| format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\n");
        let expected = [
            head("200 OK", 3) + "\r\nxxx",
            head("200 OK", 3) + "\r\n",
            head("200 OK", 5) + "\r\nhello",
            head("200 OK", 13) + "\r\nabc0123456789",
            head("404 Not Found", 0) + "\r\n",
            head("405 Method Not Allowed", 0) + "Allow: GET, HEAD, POST\r\n\r\n",
            head("200 OK", 0) + "Connection: close\r\n\r\n",
        ];
        assert_eq!(answer_to(&server, requests.as_bytes()), expected.concat());
        // The same, one byte at a time.
        let mut stream = server.connect();
        stream.set_nodelay(true).expect("it is connected");
        for byte in requests.as_bytes() {
            // It closes behind the last whole request.
            if stream.write_all(&[*byte]).is_err() {
                break;
            }
        }
        assert_eq!(to_end(stream), expected.concat());
        // The client ends the stream in the middle of a request: those before are answered.
        let half = "GET / HTTP/1.1\r\nHost: a\r\n\r\nPOST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\na";
        assert_eq!(
            answer_to(&server, half.as_bytes()),
            head("200 OK", 0) + "\r\n"
        );
        assert_eq!(
            answer_to(&server, &half.as_bytes()[..60]),
            head("200 OK", 0) + "\r\n"
        );
        // HTTP/1.0 keeps a connection if both sides say so.
        let old = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n";
        let expected = head("200 OK", 0)
            + "Connection: keep-alive\r\n\r\n"
            + &head("200 OK", 0)
            + "Connection: close\r\n\r\n";
        assert_eq!(answer_to(&server, old.as_bytes()), expected);
    }
}

#[test]
fn http_requests_that_are_wrong_or_too_long_are_refused() {
    let Some(_guard) = watched() else { return };
    for http in HTTP {
        let server = start(http, &["--idle", "200"]);
        let post = |headers: &str| format!("POST / HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n");
        let refused = [
            (400, "nonsense\r\n\r\n".to_owned()),
            (400, "GET / HTTP/1.1\r\n\r\n".to_owned()),
            (
                400,
                "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n".to_owned(),
            ),
            (
                400,
                "GET /?n=many HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".to_owned(),
            ),
            (505, "GET / HTTP/3.0\r\nHost: a\r\n\r\n".to_owned()),
            (400, post("Content-Length: +1")),
            (400, post("Content-Length: 1\r\nContent-Length: 1")),
            (400, post("Content-Length: 1\r\nTransfer-Encoding: chunked")),
            (501, post("Transfer-Encoding: gzip")),
            (413, post("Content-Length: 99999999999999999999999")),
            (413, post("Transfer-Encoding: chunked") + "200000\r\n"),
            (
                400,
                post("Transfer-Encoding: chunked") + "3\r\nabcd\r\n0\r\n\r\n",
            ),
            (400, post("Transfer-Encoding: chunked") + "x\r\n"),
            (431, post(&format!("X: {}", "a".repeat(1 << 15)))),
            (431, post(&"X: a\r\n".repeat(65))),
            // Without an end: after the time for which a client may be idle.
            (408, "GET / HTTP/1.1\r\nHo".to_owned()),
            (408, post("Content-Length: 2") + "a"),
        ];
        for (status, request) in refused {
            let mut stream = server.connect();
            // A server that has refused the beginning may not read the rest.
            let _sent = stream.write_all(request.as_bytes());
            let answer = to_end(stream);
            let begin = format!("HTTP/1.1 {status} ");
            let shown = request.escape_default().to_string();
            assert!(answer.starts_with(&begin), "{:.99}: {answer}", shown);
            assert!(
                answer.contains("\r\nConnection: close\r\n"),
                "{:.99}: {answer}",
                shown
            );
        }
    }
}

/// The client waits for the answers before it goes on: each is written before the server waits.
#[test]
fn http_and_redis_answer_before_they_wait_for_the_rest() {
    let Some(_guard) = watched() else { return };
    for http in HTTP {
        let server = start(http, &[]);
        let mut stream = server.connect();
        let request = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nPOST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n";
        stream.write_all(request).expect("it is connected");
        let answers = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n";
        expect(&mut stream, answers);
        stream.write_all(b"ab").expect("it is connected");
        expect(
            &mut stream,
            b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab",
        );
    }
    let server = start("redis", &[]);
    let mut stream = server.connect();
    stream
        .write_all(b"PING\r\n*2\r\n$4\r\nECHO\r\n")
        .expect("it is connected");
    expect(&mut stream, b"+PONG\r\n");
    stream.write_all(b"$2\r\nab\r\n").expect("it is connected");
    expect(&mut stream, b"$2\r\nab\r\n");
}

/// A client that reads nothing: the server has a part of its answers in memory, and gives it up.
#[test]
fn a_client_that_does_not_read_costs_little_memory_and_is_disconnected() {
    let Some(_guard) = watched() else { return };
    for http in HTTP {
        let server = start(http, &["--idle", "300"]);
        let ask = |server: &Server| {
            assert!(answer_to(server, b"GET / HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 200 OK"));
        };
        ask(&server);
        let (memory, descriptors) = (server.memory(), server.descriptors());
        let mut streams: Vec<_> = (0..20).map(|_| server.connect()).collect();
        for stream in &mut streams {
            let request = b"GET /?n=1073741824 HTTP/1.1\r\nHost: a\r\n\r\n";
            stream.write_all(request).expect("it is connected");
        }
        ask(&server);
        // Until all are disconnected, while others are served.
        let mut most = 0;
        while server.descriptors() > descriptors {
            ask(&server);
            most = most.max(server.memory());
        }
        assert!(most < memory + 20 * 512, "{memory} KiB, then {most}");
    }
}

#[test]
fn a_client_beyond_the_limit_is_answered_and_disconnected() {
    let Some(_guard) = watched() else { return };
    for (name, ask, answer, busy) in [
        (
            "http",
            "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "HTTP/1.1 200 OK\r\n",
            "HTTP/1.1 503 Service Unavailable\r\n",
        ),
        (
            "redis",
            "PING\r\n",
            "+PONG\r\n",
            "-ERR max number of clients reached\r\n",
        ),
    ] {
        let server = start(name, &["--connections", "2"]);
        let mut clients = [server.connect(), server.connect()];
        for client in &mut clients {
            client.write_all(ask.as_bytes()).expect("it is connected");
            expect(client, answer.as_bytes());
        }
        let refused = to_end(server.connect());
        assert!(refused.starts_with(busy), "{name}: {refused}");
        // One leaves, and makes room.
        let [one, other] = clients;
        drop(one);
        loop {
            let mut next = server.connect();
            // It may be refused before it has asked.
            let _sent = next.write_all(ask.as_bytes());
            let mut begin = vec![0; answer.len()];
            if next.read_exact(&mut begin).is_ok() && begin == answer.as_bytes() {
                break;
            }
            std::thread::yield_now();
        }
        drop(other);
    }
}

/// What is idle is closed, and a request that has begun is answered.
#[test]
fn http_and_redis_finish_at_sigterm_what_has_begun() {
    let Some(_guard) = watched() else { return };
    for (name, first, second, answer) in [
        (
            "http",
            "GET / HTTP/1.1\r\nHost",
            ": a\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        ),
        (
            "http_callbacks",
            "GET / HTTP/1.1\r\nHost",
            ": a\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
        ),
        ("redis", "*1\r\n$4\r\nPI", "NG\r\n", "+PONG\r\n"),
    ] {
        let mut server = start(name, &["--limit", "60000"]);
        let (idle, mut busy) = (server.connect(), server.connect());
        busy.write_all(first.as_bytes()).expect("it is connected");
        // The server has read that, if it has answered a connection that came later.
        drop(answer_to(&server, b"\r\n\r\n"));
        server.terminate();
        assert_eq!(to_end(idle), "");
        busy.write_all(second.as_bytes()).expect("it is connected");
        busy.shutdown(Shutdown::Write).expect("it is connected");
        assert_eq!(to_end(busy), answer);
        // The idle one may have ended before they are counted.
        let rest = server.rest();
        let counted = ["1", "2"].map(|n| format!("stopping, connections: {n}\ncut off: 0\n"));
        assert!(counted.contains(&rest), "{name}: {rest}");
    }
}

#[test]
fn redis_commands_have_the_answers_of_redis() {
    let Some(_guard) = watched() else { return };
    let server = start("redis", &["--memory", "2000"]);
    let answers = [
        ("PING", "+PONG"),
        ("ping hello", "$5\r\nhello"),
        ("*2\r\n$4\r\nECHO\r\n$4\r\na\r\nb", "$4\r\na\r\nb"),
        ("GET none", "$-1"),
        ("SET one 1", "+OK"),
        ("GET one", "$1\r\n1"),
        ("SET one 2 NX", "$-1"),
        ("SET two 2 XX", "$-1"),
        ("SET two 2 nx ex 100", "+OK"),
        ("TTL two", ":100"),
        ("TTL one", ":-1"),
        ("TTL none", ":-2"),
        ("INCR one", ":2"),
        ("INCR new", ":1"),
        ("INCRBY new 41", ":42"),
        ("DECR new", ":41"),
        ("MGET one new none", "*3\r\n$1\r\n2\r\n$2\r\n41\r\n$-1"),
        ("EXISTS one one none", ":2"),
        ("DEL one none", ":1"),
        ("DBSIZE", ":2"),
        ("SET text abc", "+OK"),
        ("INCR text", "-ERR value is not an integer or out of range"),
        ("SET most 9223372036854775807", "+OK"),
        ("INCR most", "-ERR value is not an integer or out of range"),
        (
            "SET one 1 EX 0",
            "-ERR invalid expire time in 'set' command",
        ),
        (
            "SET one 1 EX 99999999999999999",
            "-ERR invalid expire time in 'set' command",
        ),
        (
            "SET one 1 EX",
            "-ERR value is not an integer or out of range",
        ),
        ("SET one 1 ABC", "-ERR syntax error"),
        ("GET", "-ERR wrong number of arguments for 'get' command"),
        ("HGET a b", "-ERR unknown command 'HGET'"),
        ("FLUSHALL", "+OK"),
        ("DBSIZE", ":0"),
        ("QUIT", "+OK"),
    ];
    let (mut requests, mut expected) = (String::new(), String::new());
    for (command, answer) in answers {
        requests += &format!("{command}\r\n");
        expected += &format!("{answer}\r\n");
    }
    assert_eq!(answer_to(&server, requests.as_bytes()), expected);
    // The limit of the memory of all keys, also after some were replaced and removed.
    let long = "x".repeat(1000);
    let set = |key: &str| format!("SET {key} {long}\r\n");
    let requests = [
        set("a"),
        set("b"),
        set("a"),
        "DEL a\r\n".to_owned(),
        set("b"),
        set("c"),
    ];
    let answer = answer_to(&server, requests.concat().as_bytes());
    let oom = "-OOM command not allowed when used memory > 'maxmemory'.";
    let expected = format!("+OK\r\n{oom}\r\n+OK\r\n:1\r\n+OK\r\n{oom}\r\n");
    assert_eq!(answer, expected);
}

#[test]
fn a_redis_key_expires_unless_it_is_set_again() {
    let Some(_guard) = watched() else { return };
    let server = start("redis", &[]);
    let mut stream = server.connect();
    let set = b"SET a 1 PX 20\r\nSET b 1 PX 20\r\nSET b 2\r\nSET c 1 PX 20\r\nDEL c\r\nSET c 3\r\n";
    stream.write_all(set).expect("it is connected");
    expect(&mut stream, b"+OK\r\n+OK\r\n+OK\r\n+OK\r\n:1\r\n+OK\r\n");
    while answer_to(&server, b"EXISTS a\r\n") == ":1\r\n" {}
    assert_eq!(
        answer_to(&server, b"MGET a b c\r\n"),
        "*3\r\n$-1\r\n$1\r\n2\r\n$1\r\n3\r\n"
    );
}

#[test]
fn redis_commands_that_are_malformed_or_too_long_end_the_connection() {
    let Some(_guard) = watched() else { return };
    let server = start("redis", &[]);
    let endless = "x".repeat((1 << 20) + 2);
    let refused = [
        ("*x\r\n", "invalid multibulk length"),
        ("*-1\r\n", "invalid multibulk length"),
        ("*1025\r\n", "invalid multibulk length"),
        ("*1\r\nPING\r\n", "invalid bulk length"),
        ("*1\r\n$-1\r\n", "invalid bulk length"),
        ("*1\r\n$1048577\r\n", "invalid bulk length"),
        ("*1\r\n$4\r\nPINGXX", "a bulk string has no end"),
        (&endless, "too big"),
    ];
    for (request, reason) in refused {
        let mut stream = server.connect();
        let _sent = stream.write_all(request.as_bytes());
        let expected = format!("-ERR Protocol error: {reason}\r\n");
        assert_eq!(to_end(stream), expected, "{request:.20}");
    }
    // An end in the middle of a command is no command.
    assert_eq!(answer_to(&server, b"PING\r\n*1\r\n$4\r\nPI"), "+PONG\r\n");
}

/// By the name of its host: all bytes and each end are passed on, and what is idle is closed.
#[test]
fn a_proxy_passes_on_requests_and_ends_and_closes_what_is_idle() {
    let Some(_guard) = watched() else { return };
    let http = start("http_callbacks", &[]);
    let to = format!("localhost:{}", http.addr.port());
    let mut proxy = start("proxy", &["--to", &to, "--idle", "300"]);
    let request = b"GET /?n=1000000 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let answer = answer_to(&proxy, request);
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    assert!(head.starts_with("HTTP/1.1 200 OK"));
    assert_eq!(body.len(), 1_000_000);
    // The client ends its half after the question; the answer comes all the same.
    let ended = answer_to(
        &proxy,
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
    );
    assert!(ended.ends_with("\r\n\r\nabc"), "{ended}");
    assert_eq!(to_end(proxy.connect()), "", "nothing moved");
    proxy.terminate();
    let rest = proxy.rest();
    assert!(rest.ends_with("cut off: 0\n"), "{rest}");
    let refused = crate::support::unused_addr().to_string();
    let proxy = start("proxy", &["--to", &refused]);
    assert_eq!(to_end(proxy.connect()), "");
}
