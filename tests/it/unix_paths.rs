//! Listeners of the local domain: the path, its mode, and what a server finds there (R036).

use crate::support::{guard, strict_run};
use readily::io::{SocketPathError, UnixDatagram, UnixListener, UnixStream};
use readily::{gather, spawn, yield_now};
use readily_testing::SimLoop;
use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{self, SocketAddr};
use std::path::{Path, PathBuf};

/// A folder that is removed with everything in it.
struct Folder(PathBuf);

impl Folder {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("readily-{test}-{}", std::process::id()));
        // Of a process that had this number and was ended in between.
        let _left_over = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn path(&self) -> PathBuf {
        self.0.join("socket")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// Leaves a socket without a server.
fn leave_stale(path: &Path) {
    drop(net::UnixListener::bind(path).unwrap());
    assert!(path.exists());
}

fn reason(error: &io::Error) -> &SocketPathError {
    assert_eq!(error.kind(), ErrorKind::AddrInUse);
    error.get_ref().unwrap().downcast_ref().unwrap()
}

#[test]
fn a_socket_that_is_left_over_is_an_error_and_replaced_on_request() {
    let _guard = guard!();
    let folder = Folder::new("stale");
    let path = folder.path();
    strict_run(async {
        leave_stale(&path);
        let refused = UnixListener::bind(&path).unwrap_err();
        assert!(matches!(reason(&refused), SocketPathError::Stale(at) if *at == path));
        // A second name keeps the old file, so that the new one has another number.
        fs::hard_link(&path, folder.0.join("kept")).unwrap();
        let old = fs::metadata(&path).unwrap().ino();
        let builder = UnixListener::builder().replace_stale(true);
        let listener = builder.bind(&path).unwrap();
        assert_ne!(fs::metadata(&path).unwrap().ino(), old);
        let (client, server) = gather((UnixStream::connect(&path), listener.accept())).await;
        client.unwrap().write_all(b"x").await.unwrap();
        assert_eq!(server.unwrap().read(&mut [0]).await.unwrap(), 1);
        assert_eq!(listener.local_addr().unwrap().as_pathname(), Some(&*path));
    })
    .unwrap();
}

/// R036: whatever the server does at the time, and whatever its type; and it sees no connection.
#[test]
fn the_socket_of_a_running_server_is_never_replaced_and_the_server_is_not_disturbed() {
    let _guard = guard!();
    let folder = Folder::new("live");
    let path = folder.path();
    strict_run(async {
        for replaces in [false, true] {
            let builder = UnixListener::builder().replace_stale(replaces);
            let in_use = || {
                let refused = builder.bind(&path).unwrap_err();
                assert!(matches!(reason(&refused), SocketPathError::InUse(_)));
                assert!(path.exists());
            };
            let server = net::UnixListener::bind(&path).unwrap();
            in_use();
            server.set_nonblocking(true).unwrap();
            let none = server.accept().unwrap_err();
            assert_eq!(none.kind(), ErrorKind::WouldBlock, "no connection was made");
            drop(server);
            fs::remove_file(&path).unwrap();
            // One whose queue is full.
            let server = UnixListener::builder().backlog(0).bind(&path).unwrap();
            let waits = net::UnixStream::connect(&path).unwrap();
            in_use();
            drop((server, waits));
            fs::remove_file(&path).unwrap();
            // One that does not listen yet, and one of datagrams.
            let not_yet = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None);
            let not_yet = not_yet.unwrap();
            not_yet
                .bind(&socket2::SockAddr::unix(&path).unwrap())
                .unwrap();
            in_use();
            fs::remove_file(&path).unwrap();
            let _datagrams = net::UnixDatagram::bind(&path).unwrap();
            in_use();
            fs::remove_file(&path).unwrap();
        }
    })
    .unwrap();
}

#[test]
fn what_is_no_socket_is_never_removed() {
    let _guard = guard!();
    let folder = Folder::new("file");
    let path = folder.path();
    strict_run(async {
        let builder = UnixListener::builder().replace_stale(true);
        fs::write(&path, "precious").unwrap();
        let refused = builder.bind(&path).unwrap_err();
        assert!(matches!(reason(&refused), SocketPathError::NotSocket(_)));
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
        // Nor is a link to a socket, which may be another's.
        let stale = folder.0.join("other");
        leave_stale(&stale);
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink(&stale, &path).unwrap();
        let refused = builder.bind(&path).unwrap_err();
        assert!(matches!(reason(&refused), SocketPathError::NotSocket(_)));
        assert!(stale.exists() && path.is_symlink());
    })
    .unwrap();
}

/// R036: of two that begin at the same time on a path that is left over, one serves, and the other knows.
#[test]
fn of_two_servers_that_replace_the_same_socket_one_serves_and_the_other_has_an_error() {
    let _guard = guard!();
    let folder = Folder::new("two");
    let path = folder.path();
    for _ in 0..50 {
        leave_stale(&path);
        let start = std::sync::Barrier::new(2);
        let serve = || {
            strict_run(async {
                let builder = UnixListener::builder().replace_stale(true);
                start.wait();
                let bound = builder.bind(&path);
                start.wait();
                if let Ok(listener) = &bound {
                    let (client, server) =
                        gather((UnixStream::connect(&path), listener.accept())).await;
                    client.unwrap();
                    server.unwrap();
                }
                start.wait();
                bound.map(drop)
            })
            .unwrap()
        };
        let ends = std::thread::scope(|scope| {
            let other = scope.spawn(serve);
            [serve(), other.join().unwrap()]
        });
        let refused = ends.iter().filter_map(|end| end.as_ref().err());
        let refused: Vec<_> = refused.map(reason).collect();
        assert!(
            matches!(
                refused[..],
                [SocketPathError::InUse(_) | SocketPathError::Busy(_)]
            ),
            "{ends:?}"
        );
        fs::remove_file(&path).unwrap();
    }
}

#[test]
fn the_path_has_its_mode_whatever_the_umask_and_is_removed_only_by_its_server() {
    let _guard = guard!();
    let folder = Folder::new("mode");
    let path = folder.path();
    strict_run(async {
        for mode in [0o600, 0o777, 0o640] {
            let builder = UnixListener::builder().mode(mode).remove_on_drop(true);
            let listener = builder.bind(&path).unwrap();
            let has = fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(has & 0o7777, mode);
            drop(listener);
            assert!(!path.exists(), "removed");
            // A newer server has the path.
            let older = builder.bind(&path).unwrap();
            fs::remove_file(&path).unwrap();
            let newer = builder.bind(&path).unwrap();
            drop(older);
            UnixStream::connect(&path).await.unwrap();
            // One that is given away leaves its path.
            let given = newer.into_std().unwrap();
            assert!(path.exists());
            drop(given);
            fs::remove_file(&path).unwrap();
        }
        let refused = UnixListener::builder()
            .mode(0o1000)
            .bind(&path)
            .unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput);
        assert!(!path.exists());
    })
    .unwrap();
}

/// R362: no poller reports that a full queue has room.
#[test]
fn clients_of_a_full_queue_wait_and_are_all_served() {
    let _guard = guard!();
    let folder = Folder::new("full");
    let path = folder.path();
    strict_run(async {
        let listener = UnixListener::builder().backlog(0).bind(&path).unwrap();
        let clients: Vec<_> = (0..5)
            .map(|_| {
                let connect = UnixStream::connect(path.clone());
                spawn(async move { connect.await?.write_all(b"x").await })
            })
            .collect();
        for _ in 0..10 {
            yield_now().await;
        }
        assert!(
            clients.iter().any(|client| !client.done()),
            "the queue is full"
        );
        for _ in 0..5 {
            let served = listener.accept().await.unwrap();
            assert_eq!(served.read(&mut [0]).await.unwrap(), 1);
        }
        for client in clients {
            client.await.unwrap().unwrap();
        }
    })
    .unwrap();
}

/// R363: nothing is cut, and nothing added.
#[test]
fn a_path_is_as_long_as_it_may_be_and_no_longer() {
    let _guard = guard!();
    let folder = Folder::new("long");
    let limit = if cfg!(target_os = "linux") { 107 } else { 103 };
    strict_run(async {
        for len in 100..=110 {
            let mut path = folder.0.clone();
            path.push("x".repeat(len - folder.0.as_os_str().len() - 1));
            let bound = UnixListener::bind(&path);
            if len <= limit {
                let listener = bound.unwrap();
                assert_eq!(listener.local_addr().unwrap().as_pathname(), Some(&*path));
                let client = UnixStream::connect(&path).await.unwrap();
                assert_eq!(client.peer_addr().unwrap().as_pathname(), Some(&*path));
            } else {
                assert_eq!(bound.unwrap_err().kind(), ErrorKind::InvalidInput, "{len}");
                let client = UnixStream::connect(&path).await.unwrap_err();
                assert_eq!(client.kind(), ErrorKind::InvalidInput, "{len}");
            }
        }
        for odd in ["", "a\0b"] {
            let refused = UnixListener::bind(odd).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidInput);
        }
    })
    .unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn an_abstract_name_is_whole_and_no_file() {
    use std::os::linux::net::SocketAddrExt;
    let _guard = guard!();
    strict_run(async {
        let name = format!("readily\0{}", std::process::id());
        for name in [name.as_bytes(), &[b'n'; 107]] {
            let addr = SocketAddr::from_abstract_name(name).unwrap();
            let listener = UnixListener::bind_addr(&addr).unwrap();
            let bound = listener.local_addr().unwrap();
            assert_eq!(bound.as_abstract_name(), Some(name));
            let client = UnixStream::connect_addr(&addr).await.unwrap();
            assert_eq!(client.peer_addr().unwrap().as_abstract_name(), Some(name));
            listener.accept().await.unwrap();
            let second = UnixListener::bind_addr(&addr).unwrap_err();
            assert_eq!(second.kind(), ErrorKind::AddrInUse);
        }
    })
    .unwrap();
}

#[test]
fn a_server_that_is_not_there_is_an_error_of_connect() {
    let _guard = guard!();
    let folder = Folder::new("none");
    let path = folder.path();
    strict_run(async {
        let none = UnixStream::connect(&path).await.unwrap_err();
        assert_eq!(none.kind(), ErrorKind::NotFound);
        leave_stale(&path);
        let stale = UnixStream::connect(&path).await.unwrap_err();
        assert_eq!(stale.kind(), ErrorKind::ConnectionRefused);
    })
    .unwrap();
    fs::remove_file(&path).unwrap();
    // A kernel in memory has no paths, and the file system is left alone.
    let mut sim = SimLoop::new(1);
    let refused = sim.run(async {
        let connected = UnixStream::connect(&path).await.map(drop);
        [connected, UnixListener::bind(&path).map(drop)]
    });
    for refused in refused.unwrap() {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unsupported);
    }
    assert!(!path.exists());
}

#[test]
fn an_empty_path_is_refused_and_the_error_names_the_other_ways() {
    let _guard = guard!();
    strict_run(async {
        let errors = [
            UnixListener::bind("").unwrap_err(),
            UnixDatagram::bind("").unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
            assert!(error.to_string().contains("`unbound`"), "{error}");
        }
        if cfg!(target_os = "linux") {
            let unnamed = SocketAddr::from_pathname("").unwrap();
            let bound = UnixDatagram::bind_addr(&unnamed).unwrap();
            let addr = bound.local_addr().unwrap();
            assert!(
                !addr.is_unnamed() && addr.as_pathname().is_none(),
                "{addr:?}"
            );
        }
    })
    .unwrap();
}
