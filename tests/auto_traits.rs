//! Which public types are `Send` and `Sync`.
//!
//! A loop cannot be used from another thread, because such a program does not compile. These tests
//! check that for each type.
//!
//! In the notes: coroutines run concurrently on one thread (N12).

use readily::blocking::{Lane, PoolStats, RunBlocking, Submit};
use readily::combine::{Shielded, Wait};
use readily::cores::{
    Core, CoreConnections, CoresHandle, CoresReport, ListenOptions, Server, Shutdown,
};
use readily::event_loop::{Descriptor, LoopClosed};
use readily::io::{
    Async, BufReader, OwnedReadHalf, OwnedWriteHalf, PipeReader, PipeWriter, TcpListener, TcpStream,
};
use readily::poll::default_poller::SystemPoller;
use readily::poll::poll2::PollPoller;
use readily::process::{Child, ChildHandle, ChildWait};
use readily::process_pool::{JobHandle, ProcessPool};
use readily::signal::{Signal, SignalCallback, SignalError, SignalListener, SignalRequest};
use readily::sync::{
    Barrier, BoundedSemaphore, Condition, LifoQueue, LockGuard, Permit, PriorityQueue, broadcast,
    channel, oneshot, watch,
};
use readily::task::{
    DoneTask, Future, Promise, RemoteTask, SharedFuture, SharedTask, TaskLocal, TaskRef, WaitDone,
    WaitError,
};
use readily::time::{Sleep, TimeoutScope};
use readily::{
    CallHandle, CancellationToken, Cx, Error, Event, EventLoop, JoinError, JoinSet, Key, Lock,
    LoopHandle, Queue, RemoteHandle, Runner, Semaphore, Task, TaskGroup, ThreadPool, Timer,
    TimerHandle, WeakHandle,
};
use std::marker::PhantomData;

/// Has the methods `is_send` and `is_sync`: those with a bound on `T` are found first, if `T` meets
/// the bound.
struct Probe<T: ?Sized>(PhantomData<T>);

trait Fallback {
    fn is_send(&self) -> bool {
        false
    }
    fn is_sync(&self) -> bool {
        false
    }
}

impl<T: ?Sized> Fallback for &Probe<T> {}

trait IsSend {
    fn is_send(&self) -> bool {
        true
    }
}

impl<T: ?Sized + Send> IsSend for Probe<T> {}

trait IsSync {
    fn is_sync(&self) -> bool {
        true
    }
}

impl<T: ?Sized + Sync> IsSync for Probe<T> {}

macro_rules! auto {
    ($($type:ty),+ => $send:expr, $sync:expr) => { $(
        let probe = Probe::<$type>(PhantomData);
        let name = stringify!($type);
        assert_eq!((&probe).is_send(), $send, "{name}: Send");
        assert_eq!((&probe).is_sync(), $sync, "{name}: Sync");
    )+ };
}

#[test]
fn what_belongs_to_a_loop_stays_on_its_thread() {
    auto!(EventLoop, Runner, LoopHandle, WeakHandle, Cx<'static>, Descriptor => false, false);
    auto!(CallHandle, TimerHandle, Timer, Sleep, TimeoutScope => false, false);
    auto!(Shielded<u8>, Wait<'static, Task<u8>> => false, false);
    auto!(Task<u8>, TaskRef, DoneTask<u8>, SharedTask<u8>, WaitDone, Future<u8>, SharedFuture<u8>, Promise<u8> => false, false);
    auto!(TaskGroup<u8>, JoinSet<u8>, CancellationToken => false, false);
    auto!(Lock<u8>, LockGuard<u8>, Semaphore, Permit, BoundedSemaphore => false, false);
    auto!(Event, Condition, Barrier => false, false);
    auto!(Queue<u8>, LifoQueue<u8>, PriorityQueue<u8> => false, false);
    auto!(oneshot::Sender<u8>, oneshot::Receiver<u8> => false, false);
    auto!(watch::Sender<u8>, watch::Receiver<u8> => false, false);
    auto!(broadcast::Sender<u8>, broadcast::Receiver<u8>, channel::Receiver<u8> => false, false);
    auto!(SignalListener, SignalCallback => false, false);
    auto!(Async<std::net::UdpSocket>, TcpListener, TcpStream, BufReader<TcpStream> => false, false);
    auto!(OwnedReadHalf, OwnedWriteHalf, PipeReader, PipeWriter => false, false);
    auto!(Child, ChildHandle, ChildWait => false, false);
    auto!(ProcessPool, JobHandle<u8> => false, false);
    // A wait for the end of the cores has a timer of the loop that it is awaited on.
    auto!(Core, Shutdown => false, false);
}

#[test]
fn what_is_for_other_threads_may_go_there() {
    auto!(RemoteHandle, Key, std::task::Waker => true, true);
    auto!(LoopClosed<u8>, RemoteTask<u8> => true, true);
    // A key has no value in it; a cell may be sent, and so may a task that returns one.
    auto!(TaskLocal<std::rc::Rc<u8>>, RemoteTask<std::cell::Cell<u8>> => true, true);
    // The payload of a panic is `Send`, but not `Sync`.
    auto!(JoinError, WaitError => true, false);
    auto!(channel::Sender<u8>, channel::Sender<std::cell::Cell<u8>> => true, true);
    auto!(channel::Sender<std::rc::Rc<u8>> => false, false);
    // A poller without a loop may move to another thread.
    auto!(SystemPoller, PollPoller => true, true);
    // An error of the loop contains only a key and a source location.
    auto!(Error => true, true);
    auto!(Signal, SignalRequest, SignalError => true, true);
    auto!(ThreadPool, Lane, PoolStats => true, true);
    // A job that was refused has an error in it.
    auto!(RunBlocking<u8>, Submit<fn() -> u8, u8> => true, false);
    auto!(CoresHandle, CoresReport, CoreConnections, Server, ListenOptions => true, true);
}

/// Checks that the macro finds each combination.
#[test]
fn the_macro_distinguishes_the_combinations() {
    auto!(u8 => true, true);
    auto!(std::rc::Rc<u8> => false, false);
    auto!(std::cell::Cell<u8> => true, false);
}
