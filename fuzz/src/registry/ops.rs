//! What may be done to a loop and around it, from outside and from callbacks.

use arbitrary::Arbitrary;

/// One operation. Descriptors and keys are picked among those that there are.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Op {
    Open(Opened),
    /// Gives a descriptor to the loop, or a share in it.
    Register(u8, u8, Asked, bool),
    Source(u8),
    Serve(u8),
    Connect(u8),
    Modify(u8, u8),
    Rearm(u8, u8),
    Remove(u8),
    /// A key that was removed.
    Stale(u8),
    Read(u8, u8),
    Write(u8, u16),
    Shutdown(u8, u8),
    Urgent(u8),
    Dup(u8),
    Renumber(u8, u8),
    Close(u8),
    Reset(u8),
    Own(Own),
    Soon,
    Later(u8),
    Advance(u8),
    Turn,
}

/// What a callback does to its own registration.
#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Own {
    Read(u8),
    Drain,
    Write(u16),
    Want(u8),
    Ignore(u8),
    Shutdown(u8),
    Accept(u8),
    Close,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Opened {
    Pair,
    Tcp,
    Pipe,
    Datagrams,
    Timer(u8),
    Notifier,
    Listener(u8),
    Unconnected,
    Connecting,
    File,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
pub enum Asked {
    Level,
    Edge,
    OneShot,
}
