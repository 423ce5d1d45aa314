//! The three of them, each as its users would write it.

mod readily;
mod smol;
mod tokio;

pub use readily::Readily;
pub use smol::Smol;
pub use tokio::Tokio;

/// What goes wrong here is an error of the workload.
const SOUND: &str = "the other side is there";
