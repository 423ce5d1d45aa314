//! N15–N18: Task, Future, and the module-level functions.

use crate::Page;
use readily::task::create_future;
use readily::{JoinError, Runner, all_tasks, current_task, sleep, spawn, yield_now};
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

pub(crate) fn show(page: &mut Page, runner: &mut Runner) -> Result<(), readily::Error> {
    page.chapter("Task");
    runner.run(task(page))?;
    runner.run(cancelling(page))?;
    page.chapter("Future");
    runner.run(future(page))?;
    page.chapter("Module-level functions");
    runner.run(module(page))
}

/// N15, N16: the methods of a Task.
async fn task(page: &mut Page) {
    let log = Rc::new(RefCell::new(Vec::new()));
    let mut task = spawn(async {
        yield_now().await;
        21
    });
    let made = format!("{:?}", task.state());
    page.same(
        "N15",
        "it is made by create_task, not by hand",
        &*made,
        "Created",
    );
    task.set_name("the answer");
    let add = |n: u32| {
        let log = Rc::clone(&log);
        task.add_done_callback(move |task| log.borrow_mut().push((n, task.get_name())))
    };
    let (_first, removed, _third) = (add(1), add(2), add(3));
    page.same(
        "N16",
        "remove_done_callback",
        task.remove_done_callback(removed),
        true,
    );
    page.same("N16", "get_name()", &*task.get_name(), "the answer");
    page.same("N16", "done(), before", task.done(), false);
    let coro = task.get_coro();
    let saw = format!("spawned at line {}, {} polls", coro.site.line(), coro.polls);
    page.line("N16", "get_coro()", saw, coro.polls == 0);
    while !task.done() {
        yield_now().await;
    }
    yield_now().await; // done-callbacks are scheduled with call_soon
    page.same("N16", "done(), after", task.done(), true);
    page.same("N16", "cancelled()", task.cancelled(), false);
    let result = task.result().and_then(Result::ok).unwrap_or(0);
    page.same("N16", "result()", result, 21);
    let lines: Vec<String> = log
        .borrow()
        .iter()
        .map(|(n, name)| format!("{n} {name}"))
        .collect();
    let expected = "1 the answer, 3 the answer";
    page.same(
        "N16",
        "add_done_callback, in order",
        &*lines.join(", "),
        expected,
    );
}

/// N16: awaiting a cancelled Task gives CancelledError.
async fn cancelling(page: &mut Page) {
    let task = spawn(sleep(Duration::from_secs(60)));
    yield_now().await;
    page.same("N16", "cancel()", task.cancel(), true);
    page.same("N16", "cancelled()", task.cancelled(), true);
    page.same("N16", "cancel(), a second time", task.cancel(), false);
    let error = task.await.expect_err("it was cancelled");
    let right = matches!(error, JoinError::Cancelled);
    page.line(
        "N16",
        "awaiting a cancelled Task gives CancelledError",
        error,
        right,
    );
}

/// N17: a Future is completed from outside, with a result or an error, or it is cancelled.
async fn future(page: &mut Page) {
    let (promise, future) = create_future::<Result<u8, &str>>();
    page.same("N17", "set_result", promise.set_result(Ok(7)).is_ok(), true);
    let back = promise.set_result(Ok(8)).expect_err("it is done").0;
    page.same(
        "N17",
        "set_result twice gives the value back",
        back.unwrap_or(0),
        8,
    );
    page.same(
        "N17",
        "await",
        future.await.expect("it is done").unwrap_or(0),
        7,
    );
    let (promise, future) = create_future::<Result<u8, &str>>();
    promise.set_exception("no").expect("it is not done");
    let error = future
        .await
        .expect("it is done")
        .expect_err("with an error");
    page.same("N17", "set_exception", error, "no");
    let (promise, future) = create_future::<u8>();
    page.same("N17", "cancel()", future.cancel(), true);
    page.same(
        "N17",
        "set_result after that",
        promise.set_result(1).is_ok(),
        false,
    );
    let error = future.await.expect_err("it was cancelled");
    let right = error == readily::task::FutureError::Cancelled;
    page.line("N17", "awaiting it", error, right);
}

/// N18: current_task() and all_tasks().
async fn module(page: &mut Page) {
    let me = current_task().expect("this is the main task");
    let task = spawn(async { current_task().map(|task| task.get_name().to_string()) });
    task.set_name("child");
    let names: Vec<_> = all_tasks()
        .iter()
        .map(|task| task.get_name().to_string())
        .collect();
    let expected = format!("{}, child", me.get_name());
    page.same("N18", "all_tasks()", &*names.join(", "), &*expected);
    let inside = task.await.ok().flatten().unwrap_or_default();
    page.same("N18", "current_task(), inside a task", &*inside, "child");
    page.same(
        "N18",
        "current_task() is the running one",
        current_task() == Some(me),
        true,
    );
}
