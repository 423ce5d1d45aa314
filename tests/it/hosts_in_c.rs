//! Two hosts that many programs have: GLib's main loop and libuv, as installed on this machine.
//!
//! The test loads them at run time, so nothing is linked; it prints which of them is missing.
//! `.ci/run` installs them.
#![allow(unsafe_code)]

use crate::hosts::Guest;
use crate::support::{Log, guard};
use readily::{Closures, EventLoop, Interest};
use std::cell::RefCell;
use std::ffi::{CStr, c_int, c_uint, c_void};
use std::io::Write;
use std::mem::transmute_copy;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::ptr;
use std::time::Duration;

type Pointer = *mut c_void;

/// A library of the system.
struct Library(Pointer);

impl Library {
    fn open(name: &CStr) -> Option<Self> {
        // SAFETY: a string that ends with a zero; what the library does when it is loaded is its own.
        let library = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW) };
        if library.is_null() {
            println!("skipped: {} is not on this machine", name.to_string_lossy());
            return None;
        }
        Some(Self(library))
    }

    /// A function of it: `F` has to be its type.
    fn function<F: Copy>(&self, name: &CStr) -> F {
        assert_eq!(size_of::<F>(), size_of::<Pointer>());
        // SAFETY: the library is open, and the name ends with a zero.
        let address = unsafe { libc::dlsym(self.0, name.as_ptr()) };
        assert!(!address.is_null(), "{}", name.to_string_lossy());
        // SAFETY: the address of a function, as large as `F`, which the caller declares to be its
        // type.
        unsafe { transmute_copy(&address) }
    }
}

thread_local! {
    static GUEST: RefCell<Option<Guest>> = const { RefCell::new(None) };
}

fn turn_guest() {
    let guest = GUEST.with_borrow(Option::clone);
    guest.expect("there is one while a host runs").turn();
}

/// The work of an embedded loop: bytes of a peer, in pieces; work queued by its host; deadlines.
fn serves(guest: &Guest, mut go_round: impl FnMut()) {
    let log = Log::default();
    let mut until = |enough: usize, what: &str| {
        let before = guest.turns();
        while log.len() < enough {
            go_round();
        }
        let turns = guest.turns() - before;
        assert!(turns < 50, "{what}: {turns} turns");
    };
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let note = log.clone();
    let read = Closures::new().on_read(move |cx| note.note(cx.read(&mut [0; 1]).unwrap()));
    guest.with(|it| it.register(ours, Interest::READ, read).unwrap());
    theirs.write_all(b"abcde").unwrap();
    until(5, "bytes");
    let give: [fn(&EventLoop, Log); 4] = [
        |it, log| _ = it.call_soon(move |_| log.note("closure")),
        |it, log| drop(it.spawn(async move { log.note("task") })),
        |it, log| drop(it.call_later(Duration::from_millis(2), move |_| log.note("timer"))),
        |it, log| {
            let remote = it.remote_handle();
            it.call_soon(move |handle| _ = handle.call_soon(move |_| log.note("chain")));
            let sends = move || remote.call_soon(|_| ()).is_ok();
            assert!(std::thread::spawn(sends).join().unwrap());
        },
    ];
    for (n, give) in give.iter().enumerate() {
        guest.with(|it| give(it, log.clone()));
        until(6 + n, "given");
    }
    assert_eq!(log.text(), "1 1 1 1 1 closure task timer chain");
}

fn guest() -> Option<Guest> {
    let guest = Guest::new(true);
    guest.fd()?;
    GUEST.set(Some(guest.clone()));
    Some(guest)
}

/// R165 to R167.
#[test]
fn the_main_loop_of_glib_is_a_host() {
    let _guard = guard!();
    extern "C" fn readable(_fd: c_int, _condition: c_uint, _data: Pointer) -> c_int {
        turn_guest();
        1 // G_SOURCE_CONTINUE
    }
    const READABLE: c_uint = 1; // G_IO_IN
    let Some(glib) = Library::open(c"libglib-2.0.so.0") else {
        return;
    };
    let Some(guest) = guest() else { return };
    let new: extern "C" fn() -> Pointer = glib.function(c"g_main_context_new");
    let iterate: extern "C" fn(Pointer, c_int) -> c_int =
        glib.function(c"g_main_context_iteration");
    let source_of: extern "C" fn(c_int, c_uint) -> Pointer = glib.function(c"g_unix_fd_source_new");
    let call: extern "C" fn(
        Pointer,
        extern "C" fn(c_int, c_uint, Pointer) -> c_int,
        Pointer,
        Pointer,
    ) = glib.function(c"g_source_set_callback");
    let attach: extern "C" fn(Pointer, Pointer) -> c_uint = glib.function(c"g_source_attach");
    let destroy: extern "C" fn(Pointer) = glib.function(c"g_source_destroy");
    let [let_go_of_source, let_go_of_context]: [extern "C" fn(Pointer); 2] =
        [c"g_source_unref", c"g_main_context_unref"].map(|name| glib.function(name));

    let fd = guest.fd().unwrap();
    let context = new();
    let source = source_of(fd.as_raw_fd(), READABLE);
    call(source, readable, ptr::null_mut(), ptr::null_mut());
    assert_ne!(attach(source, context), 0);
    // It may return without a callback, and is called again.
    serves(&guest, || {
        iterate(context, 1);
    });
    destroy(source);
    let_go_of_source(source);
    let_go_of_context(context);
    GUEST.set(None);
}

/// R165 to R167.
#[test]
fn libuv_is_a_host() {
    let _guard = guard!();
    extern "C" fn readable(_handle: Pointer, status: c_int, _events: c_int) {
        assert_eq!(status, 0);
        turn_guest();
    }
    extern "C" fn closed(_handle: Pointer) {}
    const POLL: c_int = 8; // UV_POLL
    const READABLE: c_int = 1; // UV_READABLE
    const UNTIL_DONE: c_int = 0; // UV_RUN_DEFAULT
    const ONCE: c_int = 1; // UV_RUN_ONCE
    let Some(uv) = Library::open(c"libuv.so.1") else {
        return;
    };
    let Some(guest) = guest() else { return };
    let loop_size: extern "C" fn() -> usize = uv.function(c"uv_loop_size");
    let handle_size: extern "C" fn(c_int) -> usize = uv.function(c"uv_handle_size");
    let [begin, end]: [extern "C" fn(Pointer) -> c_int; 2] =
        [c"uv_loop_init", c"uv_loop_close"].map(|name| uv.function(name));
    let watch: extern "C" fn(Pointer, Pointer, c_int) -> c_int = uv.function(c"uv_poll_init");
    let start: extern "C" fn(Pointer, c_int, extern "C" fn(Pointer, c_int, c_int)) -> c_int =
        uv.function(c"uv_poll_start");
    let run: extern "C" fn(Pointer, c_int) -> c_int = uv.function(c"uv_run");
    let close: extern "C" fn(Pointer, extern "C" fn(Pointer)) = uv.function(c"uv_close");

    // As large as its size field, and aligned for any type.
    let room = |size: usize| vec![0u128; size.div_ceil(16)];
    let (mut of_loop, mut of_handle) = (room(loop_size()), room(handle_size(POLL)));
    let (host, handle): (Pointer, Pointer) =
        (of_loop.as_mut_ptr().cast(), of_handle.as_mut_ptr().cast());
    let fd = guest.fd().unwrap();
    assert_eq!(begin(host), 0);
    assert_eq!(watch(host, handle, fd.as_raw_fd()), 0);
    assert_eq!(start(handle, READABLE, readable), 0);
    serves(&guest, || {
        assert_eq!(run(host, ONCE), 1, "its handle is active");
    });
    close(handle, closed);
    assert_eq!((run(host, UNTIL_DONE), end(host)), (0, 0));
    GUEST.set(None);
}
