//! The runtimes. The code for each is written as its users would write it.

mod monoio;
mod readily;
mod smol;
mod tokio;

pub use monoio::Monoio;
pub use readily::Readily;
pub use smol::Smol;
pub use tokio::{Tokio, TokioLocalSet};

/// An error here is a fault of the workload.
const SOUND: &str = "the other side is there";
