//! The keys and values, and what the commands do with them.

use crate::resp::{Answer, Command};
use readily::{TimerHandle, WeakHandle};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::time::{Duration, Instant};

/// What an entry costs beside its key and its value, roughly.
const ENTRY: usize = 128;

struct Value {
    bytes: Vec<u8>,
    expiry: Option<(Instant, TimerHandle)>,
}

/// The keys and values. A key that expires has a timer of the loop, which removes it.
pub(crate) struct Store {
    values: HashMap<Vec<u8>, Value>,
    bytes: usize,
    /// The most bytes of keys and values.
    most: usize,
    me: Weak<RefCell<Self>>,
}

impl Store {
    pub(crate) fn new(most: usize) -> Rc<RefCell<Self>> {
        Rc::new_cyclic(|me| {
            RefCell::new(Self {
                values: HashMap::new(),
                bytes: 0,
                most,
                me: me.clone(),
            })
        })
    }

    fn remove(&mut self, key: &[u8]) -> bool {
        let Some(value) = self.values.remove(key) else {
            return false;
        };
        self.bytes -= key.len() + value.bytes.len() + ENTRY;
        if let Some((_, timer)) = value.expiry {
            timer.cancel();
        }
        true
    }

    fn set(&mut self, key: &[u8], bytes: Vec<u8>, ttl: Option<Duration>) -> Answer {
        let size = key.len() + bytes.len() + ENTRY;
        let before = self
            .values
            .get(key)
            .map_or(0, |value| key.len() + value.bytes.len() + ENTRY);
        if self.bytes - before + size > self.most {
            return Answer::Error(
                "OOM command not allowed when used memory > 'maxmemory'.".to_owned(),
            );
        }
        self.remove(key);
        let expiry = ttl.and_then(|ttl| {
            let (me, key) = (self.me.clone(), key.to_vec());
            let remove = move |_: &readily::LoopHandle| {
                if let Some(me) = me.upgrade() {
                    me.borrow_mut().remove(&key);
                }
            };
            let timer = WeakHandle::current()?.call_later(ttl, remove).ok()?;
            Some((readily::time::fresh_now() + ttl, timer))
        });
        self.bytes += size;
        self.values.insert(key.to_vec(), Value { bytes, expiry });
        Answer::Simple("OK")
    }

    /// `SET` with its options.
    fn set_with(&mut self, key: &[u8], value: &[u8], options: &[Vec<u8>]) -> Answer {
        let (mut ttl, mut only_if) = (None, None);
        let mut options = options.iter();
        while let Some(option) = options.next() {
            let unit = match option.to_ascii_uppercase().as_slice() {
                b"NX" => {
                    only_if = Some(false);
                    continue;
                }
                b"XX" => {
                    only_if = Some(true);
                    continue;
                }
                b"EX" => 1000,
                b"PX" => 1,
                _ => return Answer::error("syntax error"),
            };
            let Some(n) = options.next().and_then(|n| integer(n)) else {
                return Answer::error("value is not an integer or out of range");
            };
            let millis = u64::try_from(n)
                .ok()
                .filter(|&n| n > 0)
                .and_then(|n| n.checked_mul(unit));
            // A hundred years are as good as for ever, and no clock overflows.
            let Some(millis) = millis.filter(|&n| n < 100 * 365 * 86_400_000) else {
                return Answer::error("invalid expire time in 'set' command");
            };
            ttl = Some(Duration::from_millis(millis));
        }
        match only_if {
            Some(wanted) if wanted != self.values.contains_key(key) => Answer::Nil,
            _ => self.set(key, value.to_vec(), ttl),
        }
    }

    fn get(&self, key: &[u8]) -> Answer {
        let value = self.values.get(key);
        value.map_or(Answer::Nil, |value| Answer::Bulk(value.bytes.clone()))
    }

    /// Adds to a number, which keeps its expiry.
    fn add(&mut self, key: &[u8], n: i64) -> Answer {
        let Some(value) = self.values.get_mut(key) else {
            return match self.set(key, n.to_string().into_bytes(), None) {
                Answer::Simple(_) => Answer::Integer(n),
                error => error,
            };
        };
        let Some(sum) = integer(&value.bytes).and_then(|old| old.checked_add(n)) else {
            return Answer::error("value is not an integer or out of range");
        };
        let new = sum.to_string().into_bytes();
        self.bytes = self.bytes - value.bytes.len() + new.len();
        value.bytes = new;
        Answer::Integer(sum)
    }

    /// The milliseconds that a key has left, in this unit: -1 without an expiry, -2 without the key.
    fn ttl(&self, key: &[u8], unit: u128) -> Answer {
        let Some(value) = self.values.get(key) else {
            return Answer::Integer(-2);
        };
        let Some((when, _)) = value.expiry else {
            return Answer::Integer(-1);
        };
        let left = when.saturating_duration_since(readily::time::fresh_now());
        Answer::Integer(i64::try_from(left.as_millis().div_ceil(unit)).unwrap_or(i64::MAX))
    }

    /// Runs a command.
    pub(crate) fn run(&mut self, command: &Command) -> Answer {
        let Some((name, arguments)) = command.split_first() else {
            return Answer::error("an empty command");
        };
        let name = name.to_ascii_uppercase();
        match (name.as_slice(), arguments) {
            (b"PING", []) => Answer::Simple("PONG"),
            (b"PING" | b"ECHO", [text]) => Answer::Bulk(text.clone()),
            (b"GET", [key]) => self.get(key),
            (b"SET", [key, value, options @ ..]) => self.set_with(key, value, options),
            (b"DEL", keys @ [_, ..]) => {
                let removed = keys.iter().filter(|key| self.remove(key)).count();
                count(removed)
            }
            (b"EXISTS", keys @ [_, ..]) => {
                let there = keys.iter().filter(|key| self.values.contains_key(*key));
                count(there.count())
            }
            (b"INCR", [key]) => self.add(key, 1),
            (b"DECR", [key]) => self.add(key, -1),
            (b"INCRBY", [key, n]) => match integer(n) {
                Some(n) => self.add(key, n),
                None => Answer::error("value is not an integer or out of range"),
            },
            (b"MGET", keys @ [_, ..]) => {
                Answer::Array(keys.iter().map(|key| self.get(key)).collect())
            }
            (b"TTL", [key]) => self.ttl(key, 1000),
            (b"PTTL", [key]) => self.ttl(key, 1),
            (b"DBSIZE", []) => count(self.values.len()),
            (b"FLUSHALL", _) => {
                for (_, timer) in self.values.drain().filter_map(|(_, value)| value.expiry) {
                    timer.cancel();
                }
                self.bytes = 0;
                Answer::Simple("OK")
            }
            // What redis-cli and redis-benchmark ask for at their start.
            (b"COMMAND" | b"CONFIG", _) => Answer::Array(Vec::new()),
            (b"QUIT", []) => Answer::Simple("OK"),
            (
                b"PING" | b"ECHO" | b"GET" | b"SET" | b"DEL" | b"EXISTS" | b"INCR" | b"DECR"
                | b"INCRBY" | b"MGET" | b"TTL" | b"PTTL" | b"DBSIZE" | b"QUIT",
                _,
            ) => {
                let name = name.to_ascii_lowercase();
                let name = String::from_utf8_lossy(&name);
                Answer::error(&format!("wrong number of arguments for '{name}' command"))
            }
            _ => {
                let name: String = String::from_utf8_lossy(&command[0])
                    .chars()
                    .take(64)
                    .collect();
                let name = name.replace(['\r', '\n'], " ");
                Answer::error(&format!("unknown command '{name}'"))
            }
        }
    }
}

fn count(n: usize) -> Answer {
    Answer::Integer(i64::try_from(n).unwrap_or(i64::MAX))
}

fn integer(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}
