//! Tasks that run by themselves, and whose errors are told all the same.
//!
//! Who drops a [`Task`] lets it run on, and drops its result with it. A panic is told then, for it
//! is nobody's intention; an error may be one's business or not, and Rust cannot see from the type
//! whether a result is worth a word. So one says so.
//!
//! In asyncio: "Task exception was never retrieved". In the notes: Task (N15, N16).

use super::current::TaskRef;
use super::handle::Task;
use super::join::{AnyCell, JoinError};
use crate::event_loop::{Handle, Origin, Unhandled};
use std::fmt::Display;
use std::rc::Rc;

impl<T: 'static, E: Display + 'static> Task<Result<T, E>> {
    /// Lets the task run by itself; if it ends in an error, that is told where all is told that
    /// nobody waits for ([`Local::on_unhandled`](crate::Local::on_unhandled)), with the task's name
    /// and the line that spawned it. A panic is told as ever; a cancellation is not.
    ///
    /// # Examples
    ///
    /// ```
    /// use readily::{Unhandled, run, spawn, yield_now};
    ///
    /// async fn fails() -> Result<(), String> {
    ///     Err("no such file".into())
    /// }
    ///
    /// run(async {
    ///     let here = readily::Handle::current().unwrap();
    ///     here.with(|local| local.on_unhandled(|told| {
    ///         // Task-2, spawned at src/main.rs:13:5 failed: no such file
    ///         assert!(told.to_string().ends_with("failed: no such file"));
    ///     }));
    ///     spawn(fails()).detach_reporting();
    ///     yield_now().await;
    /// })?;
    /// # Ok::<(), readily::Error>(())
    /// ```
    pub fn detach_reporting(self) {
        let (cell, local) = (Rc::clone(&self.cell), self.local.clone());
        let mut task = self;
        // The callback owns the handle until the task has ended: so its result is not dropped.
        let _key = cell.head.done.add(move |ended| {
            let (result, origin) = (task.result(), ended.origin());
            drop(task);
            tell(result, origin);
        });
        if cell.head.state.get().is_ended() {
            let ended = || TaskRef::new(Rc::clone(&cell) as Rc<dyn AnyCell>, local.clone());
            local.with(|local| cell.head.done.schedule(local, ended));
        }
    }
}

fn tell<T, E: Display>(result: Option<Result<Result<T, E>, JoinError>>, origin: Origin) {
    let Some(here) = Handle::current() else {
        return;
    };
    here.with(|local| match result {
        Some(Ok(Err(error))) => local.report(&Unhandled::TaskFailed {
            origin,
            error: error.to_string(),
        }),
        Some(Err(JoinError::Panicked(payload))) => local.note_panic(payload, origin),
        _ => {}
    });
}
