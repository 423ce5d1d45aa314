//! A set of processors as the kernel has it: one bit for each, in words, as long as the kernel likes.
//!
//! The set of the C library has room for a fixed number of processors, and a kernel with more of them
//! refuses it. So a larger one is tried until the kernel accepts it.

use std::io;

/// A set of processors.
pub(crate) type Words = Vec<usize>;

const BITS: usize = usize::BITS as usize;
/// Room for 1024 processors, as in the set of the C library.
const FIRST: usize = 1024 / BITS;
/// Room for a million. No kernel has as many.
const LAST: usize = FIRST * 1024;

/// Returns the processors of the set that `get` fills in.
///
/// # Errors
///
/// Those of `get`, except those of a set that is too small.
pub(crate) fn read<T>(mut get: impl FnMut(&mut Words) -> io::Result<T>) -> io::Result<Vec<usize>> {
    let mut words = vec![0; FIRST];
    while let Err(error) = get(&mut words) {
        let is_small = matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ERANGE));
        if !is_small || words.len() >= LAST {
            return Err(error);
        }
        words = vec![0; words.len() * 2];
    }
    Ok(numbers(&words))
}

/// The numbers of the bits that are set.
fn numbers(words: &[usize]) -> Vec<usize> {
    let is_set = |cpu: &usize| words[cpu / BITS] >> (cpu % BITS) & 1 == 1;
    (0..words.len() * BITS).filter(is_set).collect()
}

/// Returns the set of one processor.
pub(crate) fn only(cpu: usize) -> Words {
    let mut words = vec![0; FIRST.max(cpu / BITS + 1)];
    words[cpu / BITS] = 1 << (cpu % BITS);
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_grows_until_the_kernel_accepts_it() {
        let mut sizes = Vec::new();
        let found = read(|words| {
            sizes.push(words.len());
            if words.len() < 4 * FIRST {
                return Err(io::Error::from_raw_os_error(libc::EINVAL));
            }
            words[0] = 0b101;
            words[4 * FIRST - 1] = 1 << (BITS - 1);
            Ok(())
        });
        assert_eq!(found.unwrap(), [0, 2, 4 * 1024 - 1]);
        assert_eq!(sizes, [FIRST, 2 * FIRST, 4 * FIRST]);
        let refused = read(|_| Err::<(), _>(io::Error::from_raw_os_error(libc::EPERM)));
        assert_eq!(refused.unwrap_err().raw_os_error(), Some(libc::EPERM));
        let never = read(|_| Err::<(), _>(io::Error::from_raw_os_error(libc::EINVAL)));
        assert!(never.is_err(), "it does not grow for ever");
    }

    #[test]
    fn the_set_of_one_processor_has_that_one() {
        for cpu in [0, 1, 63, 64, 1023, 1024, 5000] {
            assert_eq!(numbers(&only(cpu)), [cpu]);
        }
    }
}
