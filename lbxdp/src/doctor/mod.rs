//! `lbxdp doctor`: what is wrong with a director or a real server, and what mends it.
//!
//! `gather` asks the machine, its neighbours and the daemon; `findings` judges, from facts alone; `report` says it.

mod clock;
mod ethtool;
mod facts;
mod findings;
mod gather;
mod report;
mod words;

use crate::host::HostError;

pub use facts::{Forwarding, Role};
pub use words::{DoctorArguments, run};

/// Why nothing can be said.
#[derive(Debug, thiserror::Error)]
pub enum DoctorError {
    #[error(transparent)]
    Host(#[from] HostError),
    #[error("cannot write the output")]
    Output(#[source] std::io::Error),
}
