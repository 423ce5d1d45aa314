//! The tree of tokens, in which children own their parents.
//!
//! So a token in the middle may be dropped without cutting the tree. A parent refers to its children
//! weakly, and a child removes itself when it is dropped. The tree is walked with a list and never by
//! recursion: a chain of a million tokens takes no more stack than one of two.
//!
//! asyncio has no such type. Rules: G4, G5.

use crate::base::numbered::NumberedQueue;
use crate::base::slab::{Slab, SlabKey};
use crate::base::unique_id;
use crate::event_loop::panics::{FirstPanic, drop_quietly};
use crate::event_loop::user_code::drop_bounded;
use crate::event_loop::{LoopHandle, Origin, Payload, WeakHandle};
use crate::task::waiters::WakerList;
use std::cell::{Cell, RefCell};
use std::panic::Location;
use std::rc::{Rc, Weak};

pub(super) type Callback = Box<dyn FnOnce(&LoopHandle)>;

/// A callback, the loop whose `call_soon` runs it, and the line that added it.
type Added = (WeakHandle, &'static Location<'static>, Callback);

#[derive(Default)]
pub(super) struct Node {
    cancelled: Cell<bool>,
    reason: RefCell<Option<Rc<str>>>,
    /// Where it hangs, and its place there.
    parent: RefCell<Option<(Rc<Node>, SlabKey)>>,
    children: RefCell<Slab<Weak<Node>>>,
    pub(super) waiters: WakerList,
    /// By number, and so in the order of their coming.
    callbacks: RefCell<NumberedQueue<Added>>,
}

impl Node {
    pub(super) fn below(parent: &Rc<Self>) -> Rc<Self> {
        let child = Rc::new(Self::default());
        if parent.is_cancelled() {
            child.cancelled.set(true);
            child.reason.replace(parent.reason());
        } else {
            let place = parent.children.borrow_mut().insert(Rc::downgrade(&child));
            child.parent.replace(Some((Rc::clone(parent), place)));
        }
        child
    }

    pub(super) fn is_cancelled(&self) -> bool {
        self.cancelled.get()
    }

    pub(super) fn reason(&self) -> Option<Rc<str>> {
        self.reason.borrow().clone()
    }

    pub(super) fn children(&self) -> usize {
        self.children.borrow().len()
    }

    pub(super) fn cancel(self: &Rc<Self>, reason: Option<Rc<str>>) -> bool {
        if self.is_cancelled() {
            return false;
        }
        let marked = self.mark(&reason);
        // Dropping the links may run destructors; they find the tokens cancelled.
        self.unlink();
        // All are cancelled; from here on user code runs (G4).
        let mut panic = FirstPanic::default();
        for node in marked {
            panic.run(|| node.waiters.wake_all());
            let callbacks = node.callbacks.take();
            callbacks.into_entries().for_each(queue);
        }
        if let Some(payload) = panic.take() {
            notify(payload);
        }
        true
    }

    /// Marks this and all below it, and gives them, parents before their children.
    fn mark(self: &Rc<Self>, reason: &Option<Rc<str>>) -> Vec<Rc<Self>> {
        self.cancelled.set(true);
        self.reason.replace(reason.clone());
        let mut marked = vec![Rc::clone(self)];
        let mut next = 0;
        // G5: a list, and no recursion.
        while let Some(node) = marked.get(next).cloned() {
            next += 1;
            let children = node.children.take();
            for child in children.iter().filter_map(|(_, child)| child.upgrade()) {
                child.cancelled.set(true);
                child.reason.replace(reason.clone());
                child.parent.take();
                marked.push(child);
            }
        }
        marked
    }

    /// Removes this token from its parent, and drops the parent if it has no other owner.
    fn unlink(&self) {
        let mut above = self.parent.take();
        // Their callbacks, which are dropped after the walk.
        let mut gone = Vec::new();
        // A parent that is dropped with its last child would drop its own parent, and so on (G5).
        while let Some((parent, place)) = above {
            parent.children.borrow_mut().remove(place);
            above = Rc::into_inner(parent).and_then(|parent| {
                let callbacks = parent.callbacks.take();
                gone.extend((callbacks.len() != 0).then_some(callbacks));
                parent.parent.take()
            });
        }
        for callbacks in gone {
            callbacks.into_entries().for_each(release);
        }
    }

    #[track_caller]
    pub(super) fn add(&self, home: WeakHandle, callback: Callback) -> u64 {
        let added = (home, Location::caller(), callback);
        let number = unique_id::next();
        if self.is_cancelled() {
            queue(added);
        } else {
            self.callbacks.borrow_mut().push(number, added);
        }
        number
    }

    pub(super) fn remove(&self, number: u64) -> bool {
        let removed = self.callbacks.borrow_mut().remove(number);
        let Some(added) = removed else {
            return false;
        };
        release(added); // outside the borrow (L8)
        true
    }
}

/// Reports the panic of a waker, which must not reach the caller, least of all a guard that is being
/// dropped (R057).
fn notify(payload: Payload) {
    match WeakHandle::current() {
        Some(home) => drop(home.with(|handle| handle.apply_panic_policy(payload, Origin::Other))),
        None if std::thread::panicking() => drop_quietly(payload),
        None => std::panic::resume_unwind(payload),
    }
}

fn queue((home, site, callback): Added) {
    match home.upgrade() {
        Some(handle) => drop(handle.call_soon_from(site, callback)),
        None => drop_bounded(callback),
    }
}

/// Drops a callback that is not called: it may own the next token, whose callback owns another (G5).
fn release((home, _, callback): Added) {
    match home.upgrade() {
        Some(handle) => handle.drop_guarded(callback),
        None => drop_bounded(callback),
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.unlink();
        self.callbacks.take().into_entries().for_each(release);
    }
}
