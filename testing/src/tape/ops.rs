//! What an entry of a tape can be about: each call of a kernel, and what no call tells.
//!
//! The byte is on the tape and stays what it is; the name is for who is told of a difference.

macro_rules! ops {
    ($($op:ident = $byte:literal, $name:literal;)+) => {
        /// What an entry is about.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Op { $($op),+ }

        impl Op {
            pub(super) fn byte(self) -> u8 {
                match self { $(Self::$op => $byte),+ }
            }

            pub(super) fn of(byte: u8) -> Option<Self> {
                match byte { $($byte => Some(Self::$op),)+ _ => None }
            }

            pub(super) fn name(self) -> &'static str {
                match self { $(Self::$op => $name),+ }
            }
        }
    };
}

ops! {
    Register = b'r', "register";
    Modify = b'm', "modify";
    Rearm = b'a', "rearm";
    Remove = b'x', "remove";
    Wait = b'w', "a wait";
    Clock = b'c', "a look at the clock";
    Wall = b'y', "a look at the clock on the wall";
    Decide = b'd', "what other threads did";
    Note = b'n', "a call of a callback or task";
    Listen = b'L', "listen";
    Connect = b'C', "connect";
    Adopt = b'A', "a descriptor that was handed in";
    Kind = b'k', "asking what a descriptor is";
    Nonblocking = b'b', "making a descriptor non-blocking";
    Read = b'R', "read";
    Write = b'W', "write";
    Send = b'S', "send";
    Accept = b'P', "accept";
    Shutdown = b's', "shutdown";
    TakeError = b'e', "asking for the error";
    IsConnected = b'i', "asking whether it is connected";
    Readiness = b'f', "asking what it is ready for";
    IsUnconnected = b'q', "asking whether nobody has begun to connect it";
    Unread = b'u', "asking how much is unread";
    Peek = b'p', "peek";
    Facts = b'F', "asking what holds";
    IsPipe = b'h', "asking whether it is a pipe";
    LocalAddr = b'l', "asking for the own address";
    PeerAddr = b'o', "asking for the peer's address";
    Nodelay = b't', "setting nodelay";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_operation_has_a_byte_of_its_own() {
        let all: Vec<Op> = (0..=u8::MAX).filter_map(Op::of).collect();
        assert_eq!(all.len(), 30);
        assert!(all.iter().all(|op| Op::of(op.byte()) == Some(*op)));
    }
}
