//! The ready batch while its calls are timed or traced: in debug mode, and on a virtual kernel.
//!
//! Each closure and task is run by itself here, between two readings of the clock or after a note to the
//! kernel. So the loop over a batch that is not observed has no test for that.
//!
//! In asyncio: `PYTHONASYNCIODEBUG`.

use super::loop_handle::LoopHandle;
use super::origin::Origin;
use super::rows::Kind;
use super::turn::Current;

impl LoopHandle {
    /// Runs one closure or task of the batch, timed or traced. `false` at the end of the batch.
    #[inline(never)]
    pub(super) fn run_observed(&self, main: &mut dyn FnMut(), running: &mut Current) -> bool {
        // Before the pop: if the clock panicked after it, the popped work would be lost.
        running.begun = None;
        running.begun = self.begin_call();
        let Some(next) = self.ready.rows.pop() else {
            return false;
        };
        match next {
            Kind::Closure => self.run_observed_call(running),
            Kind::Main => {
                self.trace_call("main", 0);
                main();
                self.check_current(|| self.main_origin());
                self.end_call(running.begun, || self.main_origin());
            }
            Kind::Task => {
                if let Some(scheduler) = self.scheduler.get() {
                    // Before the run, because the task may be gone after it.
                    let origin = running.begun.map(|_| scheduler.origin_of_next());
                    scheduler.run(self);
                    self.end_call(running.begun, || origin.unwrap_or(Origin::Other));
                }
            }
        }
        running.begun = None;
        true
    }

    /// Runs the closure whose place was popped. It is timed or traced, unless it was cancelled.
    fn run_observed_call(&self, running: &Current) {
        let calls = &self.ready.calls;
        let key = calls.first_key();
        if calls.keys().next() != Some(key) {
            drop(calls.pop());
            return;
        }
        self.trace_call("call", key);
        calls.run_first(self, &running.site);
        self.check_current(|| running.closure());
        self.end_call(running.begun, || running.closure());
    }
}
