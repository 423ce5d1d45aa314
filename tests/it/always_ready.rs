//! `Async` over each kind of file: those that are always ready, and those that are read and written by reference.
//!
//! Invariants: F1, S1, S3.

use crate::support::{bytes, guard, is_nonblocking, on_each_loop, strict_loop, strict_run};
use readily::io::{
    Async, BufReader, BufWriter, Direction, LengthPrefix, Stdin, Stdout, copy, copy_bidirectional,
};
use readily::task::BUDGET;
use readily::{EventLoop, WeakHandle, gather, sleep, spawn, wait_for, yield_now};
use readily_testing::{Faults, Personality, SimLoop};
use std::cell::Cell;
use std::fs::{self, File};
use std::io::{ErrorKind, Read, Write, pipe};
use std::net;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

/// How long a wait lasts that must end in vain.
const A_WHILE: Duration = Duration::from_millis(2);

/// A file of its own, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, content: &[u8]) -> Self {
        let path = std::env::temp_dir().join(format!("readily-{name}-{}", std::process::id()));
        fs::write(&path, content).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

fn registered() -> usize {
    let handle = WeakHandle::current().unwrap();
    handle.with(|handle| handle.registered()).unwrap()
}

/// R012: nothing is registered, and the flag is not touched.
#[test]
fn each_file_that_is_always_ready_says_so_and_is_not_registered() {
    let _guard = guard!();
    on_each_loop(async || {
        for path in ["Cargo.toml", "/", "/dev/null", "/dev/zero", "/dev/full"] {
            let file = Async::new(File::open(path).unwrap()).unwrap();
            assert!(file.is_always_ready(), "{path}");
            assert_eq!(registered(), 0, "{path}");
            assert!(!is_nonblocking(file.get_ref()), "{path}");
            file.readable().await.unwrap();
            file.writable().await.unwrap();
            let back = file.into_inner().unwrap();
            assert!(!is_nonblocking(&back), "{path}");
        }
        let null = Async::new(File::open("/dev/null").unwrap()).unwrap();
        assert_eq!(null.read(&mut [0; 8]).await.unwrap(), 0);
        let root = Async::new(File::open("/").unwrap()).unwrap();
        let refused = root.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::IsADirectory);
        let full = Async::new(File::options().write(true).open("/dev/full").unwrap()).unwrap();
        let refused = full.write_all(b"x").await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::StorageFull);
        // What can be waited for is.
        let (reader, _writer) = pipe().unwrap();
        let reader = Async::new(reader).unwrap();
        assert!(!reader.is_always_ready());
        assert_eq!(registered(), 1);
        assert!(wait_for(A_WHILE, reader.readable()).await.is_err());
        assert!(wait_for(A_WHILE, reader.read(&mut [0; 8])).await.is_err());
        assert_eq!(reader.read(&mut []).await.unwrap(), 0, "R026");
    });
}

#[test]
fn a_file_is_read_and_written_as_a_stream_is() {
    let _guard = guard!();
    let content = bytes(300_000, 7);
    let from = Scratch::new("from", &content);
    let to = Scratch::new("to", b"");
    on_each_loop(async || {
        let input = Async::new(File::open(&from.0).unwrap()).unwrap();
        let output = Async::new(File::create(&to.0).unwrap()).unwrap();
        let n = copy(&input, &output).await.unwrap();
        assert_eq!(n, content.len() as u64);
        assert_eq!(fs::read(&to.0).unwrap(), content);
        // A read is no longer than 64 KiB, so that the others have their turn soon.
        let input = Async::new(File::open(&from.0).unwrap()).unwrap();
        let n = input.read(&mut vec![0; 1 << 20]).await.unwrap();
        assert_eq!(n, 1 << 16);
        let output = Async::new(File::create(&to.0).unwrap()).unwrap();
        assert_eq!(output.write(&content).await.unwrap(), 1 << 16);
        output.write_all(&content[1 << 16..]).await.unwrap();
        assert_eq!(fs::read(&to.0).unwrap(), content);
        // To a socket, whose reader is slow.
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let reader = std::thread::spawn(move || {
            let mut all = Vec::new();
            theirs.read_to_end(&mut all).unwrap();
            all
        });
        let input = Async::new(File::open(&from.0).unwrap()).unwrap();
        let ours = Async::new(ours).unwrap();
        copy(input, &ours).await.unwrap();
        drop(ours);
        assert_eq!(reader.join().unwrap(), content);
    });
}

/// F1: operations, waits and operations of the user's own, each in a loop that never ends by itself.
#[test]
fn a_task_that_reads_for_ever_leaves_the_others_their_turn() {
    let _guard = guard!();
    on_each_loop(async || {
        let zero = Rc::new(Async::new(File::open("/dev/zero").unwrap()).unwrap());
        let done = Rc::new(Cell::new(0));
        let counted = |kind: u8| {
            let (zero, done) = (Rc::clone(&zero), Rc::clone(&done));
            async move {
                let mut buffer = [0; 16];
                loop {
                    match kind {
                        0 => drop(zero.read(&mut buffer).await.unwrap()),
                        1 => drop(zero.read(&mut []).await.unwrap()),
                        2 => zero.readable().await.unwrap(),
                        _ => zero.read_with(|_| Ok(())).await.unwrap(),
                    }
                    done.set(done.get() + 1);
                }
            }
        };
        for kind in 0..4 {
            done.set(0);
            let endless = spawn(counted(kind));
            yield_now().await;
            assert_eq!(done.get(), BUDGET, "kind {kind}");
            sleep(Duration::from_millis(1)).await;
            assert!(endless.cancel());
        }
    });
}

/// No event would end a wait, so the result of an operation is its result.
#[test]
fn an_operation_on_a_file_that_would_block_is_not_tried_for_ever() {
    let _guard = guard!();
    on_each_loop(async || {
        let file = Async::new(File::open("Cargo.toml").unwrap()).unwrap();
        let (tries, block) = (Cell::new(0), || std::io::Error::from(ErrorKind::WouldBlock));
        let failed = file.read_with(|_| -> std::io::Result<()> {
            tries.set(tries.get() + 1);
            match tries.get() {
                1 => Err(ErrorKind::Interrupted.into()),
                _ => Err(block()),
            }
        });
        assert_eq!(failed.await.unwrap_err().kind(), ErrorKind::WouldBlock);
        assert_eq!(tries.get(), 2);
        let failed = file.try_io(Direction::Write, |_| -> std::io::Result<()> {
            Err(block())
        });
        assert_eq!(failed.unwrap_err().kind(), ErrorKind::WouldBlock);
    });
}

#[test]
fn a_run_ends_although_a_file_is_open() {
    let _guard = guard!();
    let mut event_loop: EventLoop = strict_loop();
    let file = {
        let _here = event_loop.enter();
        Rc::new(Async::new(File::open("Cargo.toml").unwrap()).unwrap())
    };
    let shared = Rc::clone(&file);
    let reads = event_loop.spawn(async move {
        let mut reader = BufReader::new(&*shared);
        while reader.read_line().await.unwrap().is_some() {}
    });
    event_loop.run().unwrap();
    assert!(reads.done());
    drop(event_loop);
    // Neither a loop that is closed nor none keeps a file from being read.
    assert!(
        file.try_io(Direction::Read, |mut file| file.read(&mut [0; 8]))
            .is_ok()
    );
    let failed = Async::new(File::open("Cargo.toml").unwrap()).unwrap_err();
    assert!(failed.to_string().contains("no loop"), "{failed}");
}

/// On a kernel in memory, as epoll and as each kqueue.
#[test]
fn a_file_of_a_kernel_in_memory_is_always_ready() {
    let _guard = guard!();
    let kqueues = [
        Personality::Apple,
        Personality::FreeBsd,
        Personality::NetBsd,
    ];
    let with_kqueue = |system| SimLoop::with_kqueue(Faults::none(), system);
    let sims = [SimLoop::new(1)]
        .into_iter()
        .chain(kqueues.map(with_kqueue));
    for mut sim in sims {
        let kernel = sim.kernel().clone();
        sim.run(async {
            let file = Stdin::from_kernel(Rc::new(kernel.file(b"one\ntwo").unwrap())).unwrap();
            assert!(file.is_always_ready());
            assert_eq!(registered(), 0);
            let mut file = BufReader::new(file);
            assert_eq!(file.read_line().await.unwrap(), Some("one"));
            assert_eq!(file.read_line().await.unwrap(), Some("two"));
            assert_eq!(file.read_line().await.unwrap(), None);
            let (reader, writer) = kernel.pipe().unwrap();
            let reader = Stdin::from_kernel(Rc::new(reader)).unwrap();
            let writer = Stdout::from_kernel(Rc::new(writer)).unwrap();
            assert!(!reader.is_always_ready() && !writer.is_always_ready());
            assert!(wait_for(A_WHILE, reader.read(&mut [0; 8])).await.is_err());
            let much = bytes(300_000, 3);
            let write = async {
                writer.write_all(&much).await.unwrap();
                drop(writer);
            };
            let mut all = Vec::new();
            let (copied, ()) = gather((copy(&reader, &mut all), write)).await;
            assert_eq!(copied.unwrap(), 300_000);
            assert_eq!(all, much);
        })
        .unwrap();
    }
}

#[test]
fn what_is_read_and_written_by_reference_is_a_stream() {
    let _guard = guard!();
    on_each_loop(async || {
        let pair = || {
            let (one, other) = UnixStream::pair().unwrap();
            (Async::new(one).unwrap(), Async::new(other).unwrap())
        };
        let (ours, theirs) = pair();
        let prefix = LengthPrefix::U32;
        let mut writer = BufWriter::new(&ours);
        writer.write_frame(prefix, b"a frame").await.unwrap();
        writer.flush().await.unwrap();
        let mut reader = BufReader::new(&theirs);
        assert_eq!(
            reader.read_frame(prefix).await.unwrap(),
            Some(&b"a frame"[..])
        );
        // More than there is room for, in both directions at once, through a pair between.
        let (near, far) = pair();
        let between = spawn(async move { copy_bidirectional(theirs, near).await });
        let much = bytes(1 << 20, 5);
        let send = async |to: &Async<UnixStream>| {
            to.write_all(&much).await.unwrap();
            to.shutdown(net::Shutdown::Write).unwrap();
        };
        let receive = async |from: &Async<UnixStream>| {
            let mut all = Vec::new();
            copy(from, &mut all).await.unwrap();
            assert_eq!(all, much);
        };
        gather((send(&ours), receive(&far), send(&far), receive(&ours))).await;
        assert_eq!(between.await.unwrap().unwrap(), (1 << 20, 1 << 20));
    });
}

/// S1, S3: what the value itself has read is not waited for, and a wait that was dropped loses nothing.
#[test]
fn reads_of_the_value_itself_and_of_the_async_can_be_mixed() {
    let _guard = guard!();
    strict_run(async {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let ours = Async::new(ours).unwrap();
        let mut buffer = [0; 8];
        for _ in 0..3 {
            theirs.write_all(b"12345678").unwrap();
            assert_eq!(ours.read(&mut buffer[..3]).await.unwrap(), 3);
            assert_eq!((&mut ours.get_ref()).read(&mut buffer[..5]).unwrap(), 5);
            assert!(wait_for(A_WHILE, ours.readable()).await.is_err());
            assert!(wait_for(A_WHILE, ours.read(&mut buffer)).await.is_err());
            theirs.write_all(b"x").unwrap();
            ours.readable().await.unwrap();
            assert_eq!(ours.read(&mut buffer).await.unwrap(), 1);
            // The report has been used by the read.
            assert!(wait_for(A_WHILE, ours.readable()).await.is_err());
        }
        drop(theirs);
        assert_eq!(ours.read(&mut buffer).await.unwrap(), 0);
        let refused = ours.write(b"x").await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::BrokenPipe);
    })
    .unwrap();
}

/// With `O_PATH` the descriptor has no operations.
#[cfg(target_os = "linux")]
#[test]
fn a_descriptor_that_only_names_a_file_is_refused() {
    use std::os::unix::fs::OpenOptionsExt;
    let _guard = guard!();
    const O_PATH: i32 = 0o10_000_000;
    on_each_loop(async || {
        for path in ["Cargo.toml", "/", "/dev/null"] {
            let file = File::options().read(true).custom_flags(O_PATH).open(path);
            let error = Async::new(file.unwrap()).unwrap_err();
            let inner = error.get_ref().and_then(|error| error.downcast_ref());
            assert!(
                matches!(inner, Some(readily::Error::BadDescriptor { .. })),
                "{path}: {error}"
            );
        }
    });
}
