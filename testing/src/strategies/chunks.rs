//! Cutting bytes into pieces, where it hurts.
//!
//! A stream has no borders but those of its protocol, and the kernel cuts where it likes: what
//! reads one message at a time by luck has to be shown the others. A uniform choice of cuts hardly
//! ever has one in the middle of a delimiter, or all of them; so those are chosen by name.
//!
//! In the notes this is nothing; in a server it is every `read`.

use proptest::arbitrary::any;
use proptest::prop_oneof;
use proptest::sample::subsequence;
use proptest::strategy::{BoxedStrategy, Just, NewTree, Strategy};
use proptest::test_runner::TestRunner;
use std::fmt;
use std::ops::Deref;

/// Cuts of `bytes` into pieces: the whole in one, each byte by itself, cuts at both ends of the
/// stream, and cuts anywhere. No piece is empty; shrinking takes cuts away.
///
/// # Examples
///
/// ```
/// use proptest::prelude::*;
/// use readily_testing::strategies;
///
/// /// The lines of what has come so far; the rest of it stays in `kept`.
/// fn lines(kept: &mut Vec<u8>, piece: &[u8]) -> Vec<String> {
///     kept.extend_from_slice(piece);
///     let mut lines = Vec::new();
///     while let Some(end) = kept.windows(2).position(|two| two == b"\r\n") {
///         lines.push(String::from_utf8_lossy(&kept[..end]).into_owned());
///         kept.drain(..end + 2);
///     }
///     lines
/// }
///
/// proptest! {
///     # #![proptest_config(ProptestConfig::with_cases(32))]
///     # /*
///     #[test]
///     # */
///     fn lines_are_found_however_they_are_cut(
///         pieces in strategies::chunks("one\r\ntwo\r\n").around("\r\n"),
///     ) {
///         let mut kept = Vec::new();
///         let found: Vec<String> = pieces.iter().flat_map(|piece| lines(&mut kept, piece)).collect();
///         prop_assert_eq!(found, ["one", "two"]);
///     }
/// }
/// # lines_are_found_however_they_are_cut();
/// ```
///
/// Bytes that are chosen themselves go through `prop_flat_map`:
///
/// ```
/// use proptest::collection::vec;
/// use proptest::prelude::*;
/// use readily_testing::strategies;
///
/// let any_bytes = vec(any::<u8>(), 0..100).prop_flat_map(strategies::chunks);
/// # let _ = any_bytes;
/// ```
#[must_use]
pub fn chunks(bytes: impl AsRef<[u8]>) -> Chunking {
    Chunking {
        bytes: bytes.as_ref().to_vec(),
        delimiter: Vec::new(),
    }
}

/// What [`chunks`] returns.
#[derive(Clone, Debug)]
pub struct Chunking {
    bytes: Vec<u8>,
    delimiter: Vec<u8>,
}

impl Chunking {
    /// Likes to cut around `delimiter`, wherever it stands: before it, after it, inside of it.
    #[must_use]
    pub fn around(mut self, delimiter: impl AsRef<[u8]>) -> Self {
        self.delimiter = delimiter.as_ref().to_vec();
        self
    }

    /// The places around the delimiters; without any, those at both ends.
    fn borders(&self) -> Vec<usize> {
        let len = self.bytes.len();
        let width = self.delimiter.len();
        let mut borders = vec![1, len.saturating_sub(1)];
        if width > 0 {
            let stands = |at: &usize| self.bytes[*at..].starts_with(&self.delimiter);
            let found = (0..len).filter(stands);
            borders.extend(found.flat_map(|at| at.saturating_sub(1)..=at + width + 1));
        }
        borders.retain(|at| (1..len).contains(at));
        borders.sort_unstable();
        borders.dedup();
        borders
    }

    fn cuts(&self) -> BoxedStrategy<Vec<usize>> {
        let inside: Vec<usize> = (1..self.bytes.len()).collect();
        let borders = self.borders();
        let some = |of: &Vec<usize>| subsequence(of.clone(), 0..=of.len());
        let few = subsequence(inside.clone(), 0..=inside.len().min(3));
        prop_oneof![
            1 => Just(Vec::new()),
            2 => few,
            3 => some(&borders),
            2 => some(&inside),
            // All of them, so that each byte comes alone; and where it is not that, one is missing.
            2 => (any::<bool>(), 0..inside.len().max(1)).prop_map(move |(all, but)| {
                let mut cuts = inside.clone();
                if !all && but < cuts.len() {
                    cuts.remove(but);
                }
                cuts
            }),
        ]
        .boxed()
    }
}

impl Strategy for Chunking {
    type Tree = <BoxedStrategy<Chunks> as Strategy>::Tree;
    type Value = Chunks;

    fn new_tree(&self, runner: &mut TestRunner) -> NewTree<Self> {
        let bytes = self.bytes.clone();
        let cut = self.cuts().prop_map(move |cuts| Chunks::cut(&bytes, &cuts));
        cut.boxed().new_tree(runner)
    }
}

/// Pieces of a stream, in order; none is empty. Printed, they are texts with bars between them.
#[derive(Clone, PartialEq, Eq)]
pub struct Chunks(Vec<Vec<u8>>);

impl Chunks {
    fn cut(bytes: &[u8], cuts: &[usize]) -> Self {
        let mut pieces = Vec::new();
        let mut begin = 0;
        for &end in cuts.iter().chain([&bytes.len()]) {
            if begin < end {
                pieces.push(bytes[begin..end].to_vec());
            }
            begin = end;
        }
        Self(pieces)
    }
}

impl Deref for Chunks {
    type Target = [Vec<u8>];

    fn deref(&self) -> &[Vec<u8>] {
        &self.0
    }
}

impl fmt::Debug for Chunks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, piece) in self.0.iter().enumerate() {
            let bar = if n == 0 { "" } else { " | " };
            write!(f, "{bar}{}", piece.escape_ascii())?;
        }
        Ok(())
    }
}
