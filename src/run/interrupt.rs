//! SIGINT during a run: the first cancels the future of the run, the second ends the process.
//!
//! The loop notices the first one; the system's handler counts, so that the second one works even if the
//! loop is blocked.
//!
//! In asyncio `run` cancels its main task, and raises `KeyboardInterrupt`.

use crate::event_loop::{Error, LoopHandle};
use crate::signal::{Signal, SignalCallback};
use readily_sys::signal::SecondEnds;
use std::cell::Cell;
use std::rc::Rc;

/// Listens for SIGINT until it is dropped.
pub(super) struct Interrupt {
    callback: SignalCallback,
    has_come: Rc<Cell<bool>>,
    _second: SecondEnds,
}

impl Interrupt {
    pub(super) fn on(handle: &LoopHandle) -> Result<Self, Error> {
        let has_come = Rc::new(Cell::new(false));
        let noticed = Rc::clone(&has_come);
        let second = SecondEnds::new(Signal::INT.raw())?;
        let callback = handle.on_signal(Signal::INT, move |handle| {
            noticed.set(true);
            handle.poll_next(); // the run ends with this turn
        })?;
        Ok(Self {
            callback,
            has_come,
            _second: second,
        })
    }

    pub(super) fn has_come(&self) -> bool {
        self.has_come.get()
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        self.callback.cancel();
    }
}
