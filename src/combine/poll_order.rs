//! The order in which a choice polls its futures, and where it stops when the budget is spent.
//!
//! Only a poll shows whether a future is ready, and a future that is polled without budget returns
//! *pending* even if it is ready. So a choice whose budget runs out polls no further: otherwise a
//! later future could win over an earlier one that was ready. The choice yields, and begins again with
//! the next budget. A future that uses up the whole budget twice counts as not ready; then the
//! futures behind it are polled first, so that they do not starve.
//!
//! asyncio has no budget. Rules: T7, F1.

use crate::task::budget;
use std::task::{Context, Poll};

/// How a pass over all ended.
pub(super) enum PollRound<R> {
    /// One look ended it.
    Ended(R),
    /// All were looked at.
    All,
    /// The budget was spent before all were polled.
    Spent,
}

/// Which future is polled first.
pub(super) struct PollOrder {
    first: usize,
    /// Where the next round begins: not at `first` if the last round was not completed.
    next: usize,
    /// How often in a row a round that begins at `first` may end because the budget is spent.
    allowed_skips: u32,
    spent: u32,
}

impl PollOrder {
    /// A promised order: from `first` on, and around.
    pub(super) fn fixed(first: usize) -> Self {
        let patience = 1;
        Self {
            first,
            next: first,
            allowed_skips: patience,
            spent: 0,
        }
    }

    /// An order that no caller can observe.
    pub(super) fn unordered() -> Self {
        Self {
            allowed_skips: 0,
            ..Self::fixed(0)
        }
    }

    pub(super) fn next(&self) -> usize {
        self.next
    }

    /// A round has ended before `next`, which was not polled.
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
