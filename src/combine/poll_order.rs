//! In which order those of one choice are looked at, and where it stops for want of budget.
//!
//! What is ready is only found out by polling, and without budget nothing says that it is ready. So
//! a choice whose budget runs out looks at nobody further, who might be chosen before one that is
//! ready and could not say so; it gives way, and begins anew with the next budget. One that uses up
//! the budget twice is not ready, by any measure; then those behind it have their turn first, lest
//! they starve.
//!
//! asyncio has no budget, and `wait` looks at tasks that have ended. Rules: T7, F1.

use crate::task::budget;
use std::task::{Context, Poll};

/// How a pass over all ended.
pub(super) enum PollRound<R> {
    /// One look ended it.
    Ended(R),
    /// All were looked at.
    All,
    /// There was nothing left, and not all were looked at.
    Spent,
}

/// At whom one looks first.
pub(super) struct PollOrder {
    first: usize,
    /// Where the next pass begins: not at the first where the last one did not come round.
    next: usize,
    /// How often in a row a pass that begins anew may have ended for want of budget.
    allowed_skips: u32,
    spent: u32,
}

impl PollOrder {
    /// The order is promised: from `first` on, and round.
    pub(super) fn fixed(first: usize) -> Self {
        let patience = 1;
        Self {
            first,
            next: first,
            allowed_skips: patience,
            spent: 0,
        }
    }

    /// Nobody can tell the order.
    pub(super) fn unordered() -> Self {
        Self {
            allowed_skips: 0,
            ..Self::fixed(0)
        }
    }

    pub(super) fn next(&self) -> usize {
        self.next
    }

    /// A pass has ended before `next`, who was not looked at.
    pub(super) fn stopped(&mut self, next: usize) {
        self.spent += 1;
        if self.spent > self.allowed_skips {
            self.next = next;
        }
    }

    /// A pass has come round.
    pub(super) fn completed_round(&mut self) {
        self.next = self.first;
        self.spent = 0;
    }

    /// Looks at each of `many`, until one look gives something or the budget is spent.
    pub(super) fn poll_round<R>(
        &mut self,
        many: usize,
        mut poll: impl FnMut(usize) -> Poll<R>,
    ) -> PollRound<R> {
        let from = self.next;
        for step in 0..many {
            let at = (from + step) % many;
            if step > 0 && budget::is_spent() {
                self.stopped(at);
                return PollRound::Spent;
            }
            if let Poll::Ready(result) = poll(at) {
                return PollRound::Ended(result);
            }
        }
        self.completed_round();
        PollRound::All
    }
}

/// One pass of a choice: ready with the first that is (T7).
pub(super) fn choose<R>(
    order: &mut PollOrder,
    many: usize,
    cx: &mut Context<'_>,
    mut poll: impl FnMut(usize, &mut Context<'_>) -> Poll<R>,
) -> Poll<R> {
    budget::budgeted_composite(cx, |cx| match order.poll_round(many, |at| poll(at, cx)) {
        PollRound::Ended(result) => Poll::Ready(result),
        PollRound::All => Poll::Pending,
        PollRound::Spent => {
            cx.waker().wake_by_ref();
            Poll::Pending
        }
    })
}
