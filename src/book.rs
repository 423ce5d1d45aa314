//! The book: how an event loop works, chapter by chapter, and the pages behind it.
//!
#![cfg_attr(all(doc, not(doctest)), doc = include_str!("book/links.md"))]
#![cfg_attr(doc, doc = include_str!("../docs/README.md"))]
#![cfg_attr(not(doc), allow(missing_docs))]

// These are the pages of `docs/`. A page links to another by a label that is the other's name:
// `[timers][04-timers]`, or `[platforms]`. In the repository the definitions at the page's end lead
// to the files. Here the definitions of book/links.md stand before them, and the first one counts.
// The tests leave them out, so that a program that fails is reported with its line in the page.
//
// Outside the documentation the modules are empty. They are there so that a link to a page resolves where
// the documentation of another crate shows an item of this one, such as a method that it dereferences to.

#[cfg_attr(all(doc, not(doctest)), doc = include_str!("book/links.md"))]
#[cfg_attr(doc, doc = include_str!("../docs/01-multiplexing.md"))]
pub mod ch01_multiplexing {}

#[cfg_attr(all(doc, not(doctest)), doc = include_str!("book/links.md"))]
#[cfg_attr(doc, doc = include_str!("../docs/02-the-loop.md"))]
pub mod ch02_the_loop {}

#[cfg_attr(all(doc, not(doctest)), doc = include_str!("book/links.md"))]
#[cfg_attr(doc, doc = include_str!("../docs/03-callbacks.md"))]
pub mod ch03_callbacks {}

#[cfg_attr(all(doc, not(doctest)), doc = include_str!("book/links.md"))]
#[cfg_attr(doc, doc = include_str!("../docs/04-timers.md"))]
pub mod ch04_timers {}

#[cfg_attr(all(doc, not(doctest)), doc = include_str!("book/links.md"))]
#[cfg_attr(doc, doc = include_str!("../docs/05-futures.md"))]
pub mod ch05_futures {}

#[cfg_attr(all(doc, not(doctest)), doc = include_str!("book/links.md"))]
#[cfg_attr(doc, doc = include_str!("../docs/06-coroutines.md"))]
pub mod ch06_coroutines {}

#[cfg_attr(all(doc, not(doctest)), doc = include_str!("book/links.md"))]
#[cfg_attr(doc, doc = include_str!("../docs/07-tasks.md"))]
pub mod ch07_tasks {}

#[cfg_attr(all(doc, not(doctest)), doc = include_str!("book/links.md"))]
#[cfg_attr(doc, doc = include_str!("../docs/08-synchronising.md"))]
pub mod ch08_synchronising {}

#[cfg_attr(all(doc, not(doctest)), doc = include_str!("book/links.md"))]
#[cfg_attr(doc, doc = include_str!("../docs/09-streams.md"))]
pub mod ch09_streams {}

#[cfg_attr(all(doc, not(doctest)), doc = include_str!("book/links.md"))]
#[cfg_attr(doc, doc = include_str!("../docs/10-pools.md"))]
pub mod ch10_pools {}

#[cfg_attr(all(doc, not(doctest)), doc = include_str!("book/links.md"))]
#[cfg_attr(doc, doc = include_str!("../docs/11-testing.md"))]
pub mod ch11_testing {}

#[cfg_attr(all(doc, not(doctest)), doc = include_str!("book/links.md"))]
#[cfg_attr(doc, doc = include_str!("../docs/12-signals-and-children.md"))]
pub mod ch12_signals_and_children {}

#[cfg_attr(all(doc, not(doctest)), doc = include_str!("book/links.md"))]
#[cfg_attr(doc, doc = include_str!("../docs/13-cores.md"))]
pub mod ch13_cores {}

#[cfg_attr(all(doc, not(doctest)), doc = include_str!("book/links.md"))]
#[cfg_attr(doc, doc = include_str!("../docs/asyncio.md"))]
pub mod asyncio {}

#[cfg_attr(all(doc, not(doctest)), doc = include_str!("book/links.md"))]
#[cfg_attr(doc, doc = include_str!("../docs/decisions.md"))]
pub mod decisions {}

#[cfg_attr(all(doc, not(doctest)), doc = include_str!("book/links.md"))]
#[cfg_attr(doc, doc = include_str!("../docs/faults.md"))]
pub mod faults {}

#[cfg_attr(all(doc, not(doctest)), doc = include_str!("book/links.md"))]
#[cfg_attr(doc, doc = include_str!("../docs/invariants.md"))]
pub mod invariants {}

#[cfg_attr(all(doc, not(doctest)), doc = include_str!("book/links.md"))]
#[cfg_attr(doc, doc = include_str!("../docs/performance.md"))]
pub mod performance {}

#[cfg_attr(all(doc, not(doctest)), doc = include_str!("book/links.md"))]
#[cfg_attr(doc, doc = include_str!("../docs/platforms.md"))]
pub mod platforms {}

#[cfg_attr(all(doc, not(doctest)), doc = include_str!("book/links.md"))]
#[cfg_attr(doc, doc = include_str!("../docs/production.md"))]
pub mod production {}

#[cfg_attr(all(doc, not(doctest)), doc = include_str!("book/links.md"))]
#[cfg_attr(doc, doc = include_str!("../docs/side-by-side.md"))]
pub mod side_by_side {}

#[cfg_attr(all(doc, not(doctest)), doc = include_str!("book/links.md"))]
#[cfg_attr(doc, doc = include_str!("../ARCHITECTURE.md"))]
pub mod architecture {}

// Tested only: on docs.rs it has a page of its own.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
