//! `iscoroutinefunction`: whether calling a function returns a future.
//!
//! In Rust the type decides, at compile time: a function or closure is a coroutine function if it
//! returns a future. The macro lets the compiler choose between two implementations, of which
//! method lookup finds the one for coroutine functions first.
//!
//! In the notes: `iscoroutinefunction(f)` (N18).

/// The wrapper that the macro puts around a function.
#[doc(hidden)]
pub struct CoroutineProbe<'a, F>(pub &'a F);

/// The answer for coroutine functions of up to eight arguments.
#[doc(hidden)]
pub trait IsCoroutine<Args> {
    fn is_coroutine(&self) -> bool {
        true
    }
}

/// The answer for everything else, which method lookup finds one reference further out.
#[doc(hidden)]
pub trait IsNotCoroutine {
    fn is_coroutine(&self) -> bool {
        false
    }
}

impl<F> IsNotCoroutine for &CoroutineProbe<'_, F> {}

macro_rules! is_coroutine {
    ($($arg:ident),*) => {
        impl<F, Out, $($arg),*> IsCoroutine<($($arg,)*)> for CoroutineProbe<'_, F>
        where
            F: FnOnce($($arg),*) -> Out,
            Out: Future,
        {
        }
    };
}

is_coroutine!();
is_coroutine!(A);
is_coroutine!(A, B);
is_coroutine!(A, B, C);
is_coroutine!(A, B, C, D);
is_coroutine!(A, B, C, D, E);
is_coroutine!(A, B, C, D, E, G);
is_coroutine!(A, B, C, D, E, G, H);
is_coroutine!(A, B, C, D, E, G, H, I);

/// Whether `f` is a coroutine function: whether calling it, with up to eight arguments, returns a
/// future.
///
/// ```
/// use readily::iscoroutinefunction;
///
/// async fn answer() -> i32 { 21 }
/// async fn add(a: i32, b: i32) -> i32 { a + b }
/// fn plain() -> i32 { 21 }
///
/// assert!(iscoroutinefunction!(answer));
/// assert!(iscoroutinefunction!(add));
/// assert!(iscoroutinefunction!(|n: u8| async move { n }));
/// assert!(!iscoroutinefunction!(plain));
/// assert!(!iscoroutinefunction!("not even a function"));
/// ```
#[macro_export]
macro_rules! iscoroutinefunction {
    ($f:expr) => {{
        #[allow(unused_imports)]
        use $crate::coroutine_probe::{CoroutineProbe, IsCoroutine as _, IsNotCoroutine as _};
        (&CoroutineProbe(&$f)).is_coroutine()
    }};
}
