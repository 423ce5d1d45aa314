//! The runtimes, each as its users would write it.

mod monoio;
mod readily;
mod smol;
mod tokio;

pub use monoio::Monoio;
pub use readily::Readily;
pub use smol::Smol;
pub use tokio::{Tokio, TokioLocalSet};

/// What goes wrong here is an error of the workload.
const SOUND: &str = "the other side is there";
