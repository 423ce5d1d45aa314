//! What has happened on a kernel in memory, line by line: the last of it.
//!
//! A run of hours writes millions of lines, and what one wants to read after a failure is the end.
//! So old lines go when there is no room for new ones, and the trace says how many have gone.

use super::Kernel;
use std::collections::VecDeque;

/// How many bytes of lines are kept by default.
const ROOM: usize = 1 << 20;

pub(super) struct Trace {
    lines: VecDeque<String>,
    /// Of all lines, with a line break for each.
    bytes: usize,
    room: usize,
    /// How many lines there was no room for.
    gone: u64,
}

impl Trace {
    pub(super) fn new(room: usize) -> Self {
        Self {
            lines: VecDeque::new(),
            bytes: 0,
            room,
            gone: 0,
        }
    }

    /// Keeps no more than `room` bytes from here on; none at all is no trace.
    pub(super) fn set_room(&mut self, room: usize) {
        self.room = room;
        self.cut();
    }

    pub(super) fn add(&mut self, line: impl FnOnce() -> String) {
        if self.room > 0 {
            let line = line();
            self.bytes += line.len() + 1;
            self.lines.push_back(line);
            self.cut();
        }
    }

    fn cut(&mut self) {
        while self.bytes > self.room {
            let Some(line) = self.lines.pop_front() else {
                return;
            };
            self.bytes -= line.len() + 1;
            self.gone += 1;
        }
    }

    /// The last `count` lines.
    pub(super) fn last(&self, count: usize) -> impl Iterator<Item = &str> {
        let skipped = self.lines.len().saturating_sub(count);
        self.lines.iter().skip(skipped).map(String::as_str)
    }

    pub(super) fn text(&self) -> String {
        let mut text = match self.gone {
            0 => String::new(),
            gone => format!("({gone} lines before this are not kept)\n"),
        };
        for line in &self.lines {
            text.push_str(line);
            text.push('\n');
        }
        text
    }
}

impl Kernel {
    /// Starts the trace, of which [`Kernel::trace`] returns the last MiB. A second call changes
    /// nothing.
    pub fn record(&self) {
        let trace = &mut self.table.borrow_mut().trace;
        trace.get_or_insert_with(|| Trace::new(ROOM));
    }

    /// Starts the trace, and keeps its last `bytes`; with 0 nothing is recorded. May be changed at
    /// any time: lines beyond `bytes` are dropped.
    pub fn record_last(&self, bytes: usize) {
        let trace = &mut self.table.borrow_mut().trace;
        let trace = trace.get_or_insert_with(|| Trace::new(bytes));
        trace.set_room(bytes);
    }

    /// Returns the trace since [`Kernel::record`], a line for each wait: what it reported, and why
    /// the time moved, or did not. It has the last lines, all of them whole; if earlier lines were
    /// dropped, a first line in parentheses has their number. See [`Kernel::record_last`].
    #[must_use]
    pub fn trace(&self) -> String {
        let table = self.table.borrow();
        table.trace.as_ref().map(Trace::text).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_and_those_before_them_counted() {
        let mut trace = Trace::new(12);
        for n in 0..3 {
            trace.add(|| format!("{n}{n}{n}"));
        }
        assert_eq!(trace.text(), "000\n111\n222\n");
        trace.add(|| "3".to_owned());
        assert_eq!(
            trace.text(),
            "(1 lines before this are not kept)\n111\n222\n3\n"
        );
        assert_eq!(trace.last(2).collect::<Vec<_>>(), ["222", "3"]);
        trace.set_room(4);
        assert_eq!(trace.text(), "(3 lines before this are not kept)\n3\n");
        trace.add(|| "too long".to_owned());
        assert_eq!(trace.text(), "(5 lines before this are not kept)\n");
        trace.set_room(0);
        trace.add(|| unreachable!("nobody reads it"));
    }
}
