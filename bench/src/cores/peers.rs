//! The peers: the same two programs for each, as its users would write them.

use crate::raw;
use std::error::Error;
use std::io::{self, Write};
use std::net;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

type Outcome<T> = Result<T, Box<dyn Error>>;

pub struct Peer {
    pub name: &'static str,
    /// `None` for the program in Go.
    pub run: Option<Programs>,
    /// Whether it is a server of its own; of readily's, one way to the cores is enough for jobs.
    pub serves: bool,
}

#[derive(Clone, Copy)]
pub struct Programs {
    serve: fn(usize, usize) -> Outcome<()>,
    jobs: fn(usize, usize, Vec<usize>) -> Outcome<u64>,
}

const fn readily_by(serve: fn(usize, usize) -> Outcome<()>) -> Option<Programs> {
    Some(Programs {
        serve,
        jobs: on_readily::jobs,
    })
}

pub const ALL: &[Peer] = &[
    Peer {
        name: "readily, shared",
        run: readily_by(on_readily::shared),
        serves: true,
    },
    Peer {
        name: "readily, per core",
        run: readily_by(on_readily::per_core),
        serves: true,
    },
    Peer {
        name: "readily, round robin",
        run: readily_by(on_readily::round_robin),
        serves: true,
    },
    Peer {
        name: "readily, callbacks",
        run: readily_by(on_readily::callbacks),
        serves: true,
    },
    Peer {
        name: "tokio",
        run: Some(Programs {
            serve: on_tokio::serve,
            jobs: on_tokio::jobs,
        }),
        serves: true,
    },
    Peer {
        name: "Go",
        run: None,
        serves: true,
    },
];

/// The time of the system's clock, in nanoseconds since the first call.
pub fn wall_ns() -> u64 {
    static FIRST: OnceLock<Instant> = OnceLock::new();
    #[allow(clippy::disallowed_methods)] // these programs measure the time of all their threads
    let now = Instant::now();
    now.duration_since(*FIRST.get_or_init(|| now)).as_nanos() as u64
}

/// FNV-1a over the bytes, again and again: each step needs the one before it.
pub fn work(bytes: &[u8], times: usize) -> u64 {
    let mut hash = 14_695_981_039_346_656_037_u64;
    for _ in 0..times {
        for byte in std::hint::black_box(bytes) {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(1_099_511_628_211);
        }
    }
    hash
}

fn job(times: usize) {
    let bytes = b"a job of sixty-four bytes, which are hashed again and again ...";
    assert_ne!(work(bytes, times), 0);
}

/// Runs as a child process, if the arguments ask for that.
pub fn child(args: &[String]) -> Outcome<bool> {
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let find = |name: &str| {
        let found = ALL.iter().find(|peer| peer.name == name);
        found.and_then(|peer| peer.run).ok_or("no such peer")
    };
    match args[..] {
        ["serve", peer, cores, times] => {
            raw::end_with_parent()?;
            (find(peer)?.serve)(cores.parse()?, times.parse()?)?;
            Ok(true)
        }
        ["jobs", peer, cores, times, lengths] => {
            let lengths = lengths
                .split(',')
                .map(str::parse)
                .collect::<Result<_, _>>()?;
            println!(
                "{}",
                (find(peer)?.jobs)(cores.parse()?, times.parse()?, lengths)?
            );
            Ok(true)
        }
        _ => Ok(false),
    }
}

fn announce(addr: net::SocketAddr) -> io::Result<()> {
    let mut out = io::stdout();
    writeln!(out, "{} {}", addr.port(), std::process::id())?;
    out.flush()
}

mod on_readily {
    use super::{Outcome, announce, job, wall_ns, work};
    use readily::cores::{Cores, Distribution, ListenOptions};
    use readily::io::TcpStream;
    use readily::{Closures, LoopHandle};
    use std::io;
    use std::time::Duration;

    async fn echo(stream: TcpStream, times: usize) -> io::Result<()> {
        let mut buffer = [0; 1024];
        loop {
            let n = stream.read(&mut buffer).await?;
            if n == 0 || times > 0 && work(&buffer[..n], times) == 0 {
                return Ok(());
            }
            stream.write_all(&buffer[..n]).await?;
        }
    }

    fn options(distribution: Distribution) -> ListenOptions {
        ListenOptions::new(([127, 0, 0, 1], 0)).distribution(distribution)
    }

    fn serve(cores: usize, times: usize, distribution: Distribution) -> Outcome<()> {
        let cores = Cores::builder().count(cores).build()?;
        let server = cores.serve(options(distribution), move |_core| {
            move |stream, _peer| async move { drop(echo(stream, times).await) }
        });
        announce(server.map_err(|error| error.reason)?.local_addr())?;
        cores.run_until_signal(Duration::ZERO)?;
        Ok(())
    }

    pub fn shared(cores: usize, times: usize) -> Outcome<()> {
        serve(cores, times, Distribution::Shared)
    }

    pub fn per_core(cores: usize, times: usize) -> Outcome<()> {
        serve(cores, times, Distribution::PerCore)
    }

    pub fn round_robin(cores: usize, times: usize) -> Outcome<()> {
        serve(cores, times, Distribution::RoundRobin)
    }

    pub fn callbacks(cores: usize, times: usize) -> Outcome<()> {
        let cores = Cores::builder().count(cores).build()?;
        let server = cores.listen(options(Distribution::RoundRobin), move |_core| {
            move |_: &LoopHandle, _: &readily::event_loop::Accepted| {
                Some(Closures::new().on_read(move |cx| {
                    let mut buffer = [0; 1024];
                    match cx.read(&mut buffer) {
                        Ok(n) if n > 0 && (times == 0 || work(&buffer[..n], times) != 0) => {
                            drop(cx.write(&buffer[..n]));
                        }
                        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                        _ => cx.close(),
                    }
                }))
            }
        });
        announce(server.map_err(|error| error.reason)?.local_addr())?;
        cores.run_until_signal(Duration::ZERO)?;
        Ok(())
    }

    pub fn jobs(cores: usize, times: usize, lengths: Vec<usize>) -> Outcome<u64> {
        let cores = Cores::builder().count(cores).build()?;
        let begin = wall_ns();
        let mut tasks = Vec::new();
        for length in lengths {
            tasks.push(cores.spawn(move || async move { job(times * length) })?);
        }
        for mut task in tasks {
            task.wait()?;
        }
        Ok(wall_ns() - begin)
    }
}

mod on_tokio {
    use super::{Duration, Outcome, announce, io, job, wall_ns, work};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};
    use tokio::runtime::{Builder, Runtime};

    fn runtime(threads: usize) -> io::Result<Runtime> {
        Builder::new_multi_thread()
            .worker_threads(threads)
            .enable_all()
            .build()
    }

    async fn echo(mut stream: TcpStream, times: usize) -> io::Result<()> {
        let mut buffer = [0; 1024];
        loop {
            let n = stream.read(&mut buffer).await?;
            if n == 0 || times > 0 && work(&buffer[..n], times) == 0 {
                return Ok(());
            }
            stream.write_all(&buffer[..n]).await?;
        }
    }

    async fn accept(listener: TcpListener, times: usize) -> io::Result<()> {
        loop {
            let (stream, _peer) = listener.accept().await?;
            drop(tokio::spawn(echo(stream, times)));
        }
    }

    pub fn serve(cores: usize, times: usize) -> Outcome<()> {
        runtime(cores)?.block_on(async {
            let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
            announce(listener.local_addr()?)?;
            // On a worker, and not on this thread, which is none of them.
            tokio::spawn(accept(listener, times)).await??;
            Ok(())
        })
    }

    pub fn jobs(cores: usize, times: usize, lengths: Vec<usize>) -> Outcome<u64> {
        let runtime = runtime(cores)?;
        let begin = wall_ns();
        let mut tasks = Vec::new();
        for length in lengths {
            tasks.push(runtime.spawn(async move { job(times * length) }));
        }
        runtime.block_on(async {
            for task in tasks {
                task.await?;
            }
            Ok::<(), tokio::task::JoinError>(())
        })?;
        let took = wall_ns() - begin;
        runtime.shutdown_timeout(Duration::ZERO);
        Ok(took)
    }
}
