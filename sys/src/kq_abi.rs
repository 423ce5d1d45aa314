//! kqueue abi, to come
