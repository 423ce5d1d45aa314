//! What the process has installed, and restores.
//!
//! In the notes: one more thing that a loop waits for (N1).

use std::collections::BTreeMap;
use std::ffi::c_int;
use std::io;
use std::mem;
use std::process;
use std::sync::atomic::Ordering;
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use super::handler::{
    HAD_FIRST, OWNER, SECOND_ENDS, WAS_DEFAULT, action, current_action, is_ours, our_action,
    set_action,
};
use super::slots::{Slot, slots};

static TABLE: Mutex<Table> = Mutex::new(Table {
    numbers: BTreeMap::new(),
    second_ends: BTreeMap::new(),
});

/// What the process has installed. The handler does not touch it.
pub(super) struct Table {
    numbers: BTreeMap<c_int, Installed>,
    second_ends: BTreeMap<c_int, usize>,
}

struct Installed {
    listeners: usize,
    previous: libc::sigaction,
}

/// Locks the table, which becomes this process's if a fork has copied it.
pub(super) fn table() -> io::Result<MutexGuard<'static, Table>> {
    let pid = process::id();
    let owner = OWNER.compare_exchange(0, pid, Ordering::AcqRel, Ordering::Acquire);
    if owner.is_ok() || owner == Err(pid) {
        return Ok(TABLE.lock().unwrap_or_else(PoisonError::into_inner));
    }
    let mut table = match TABLE.try_lock() {
        Ok(table) => table,
        Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        // Perhaps a thread of the parent has it, which does not exist here.
        Err(TryLockError::WouldBlock) => {
            let message = "another thread was changing the signals when this process was forked";
            return Err(io::Error::other(message));
        }
    };
    if OWNER.load(Ordering::Acquire) != pid {
        table.become_the_childs();
        OWNER.store(pid, Ordering::Release);
    }
    Ok(table)
}

/// What to do about a signal that the process ignores.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenIgnored {
    /// Go on ignoring it: the listener hears nothing.
    Keep,
    /// Listen.
    Override,
}

impl Table {
    /// Forgets the listeners of the parent, whose pipes these are.
    fn become_the_childs(&mut self) {
        slots().for_each(Slot::reset);
        for (number, installed) in mem::take(&mut self.numbers) {
            installed.restore(number);
        }
        self.second_ends.clear();
        SECOND_ENDS.clear_all();
    }

    pub(super) fn install(&mut self, number: c_int, ignored: WhenIgnored) -> io::Result<bool> {
        let current = current_action(number)?;
        // Also if other code has replaced ours meanwhile: then the newest listener decides.
        let previous = (!is_ours(&current)).then_some(current);
        if let Some(previous) = previous {
            if previous.sa_sigaction == libc::SIG_IGN && ignored == WhenIgnored::Keep {
                return Ok(false);
            }
            set_action(number, &our_action())?;
            match previous.sa_sigaction == libc::SIG_DFL {
                true => WAS_DEFAULT.set(number),
                false => WAS_DEFAULT.clear(number),
            };
        }
        let installed = self.numbers.entry(number).or_insert(Installed {
            listeners: 0,
            previous: action(libc::SIG_DFL, 0),
        });
        installed.listeners += 1;
        installed.previous = previous.unwrap_or(installed.previous);
        Ok(true)
    }

    pub(super) fn uninstall(&mut self, number: c_int) {
        let Some(installed) = self.numbers.get_mut(&number) else {
            return;
        };
        installed.listeners -= 1;
        if installed.listeners == 0 {
            if let Some(installed) = self.numbers.remove(&number) {
                installed.restore(number);
            }
        }
    }
}

impl Installed {
    /// Restores the action from before the first listener, if ours is still installed.
    fn restore(&self, number: c_int) {
        if current_action(number).is_ok_and(|current| is_ours(&current)) {
            let _ = set_action(number, &self.previous);
        }
    }
}

/// The second signal of this number ends the process by its default action, even if the program is
/// stuck, until this is dropped. The first one is that after this was made.
#[derive(Debug)]
pub struct SecondEnds {
    number: c_int,
    process: u32,
}

impl SecondEnds {
    /// Has an effect while the number has a listener.
    ///
    /// # Errors
    ///
    /// In a forked child, if the parent was changing its signals at the fork.
    pub fn new(number: c_int) -> io::Result<Self> {
        let mut table = table()?;
        let uses = table.second_ends.entry(number).or_insert(0);
        *uses += 1;
        if *uses == 1 {
            HAD_FIRST.clear(number);
            SECOND_ENDS.set(number);
        }
        let process = process::id();
        Ok(Self { number, process })
    }
}

impl Drop for SecondEnds {
    fn drop(&mut self) {
        let Ok(mut table) = table() else { return };
        let Some(uses) = table.second_ends.get_mut(&self.number) else {
            return; // a forked child has none
        };
        if self.process == process::id() {
            *uses -= 1;
            if *uses == 0 {
                table.second_ends.remove(&self.number);
                SECOND_ENDS.clear(self.number);
            }
        }
    }
}
