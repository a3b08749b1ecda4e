//! How large a test of endurance is: small enough for every run of the suite, or as large as `cargo xtask soak` wants it.

use std::env;

/// The variable that makes tests of endurance large, and has them print their figures.
pub const VARIABLE: &str = "LBXDP_SOAK";

/// The size of this run.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Packets of a flood.
    pub flood: u64,
    /// Connections that keep transferring.
    pub herd: usize,
    /// Times a client's port is used again, for each way to close.
    pub reuses: usize,
    /// Connections that make a table grow.
    pub growth: u32,
    /// Daemons that are killed, and programs that are replaced.
    pub restarts: usize,
    is_full: bool,
}

impl Scale {
    /// As the environment says.
    pub fn of_this_run() -> Self {
        if env::var_os(VARIABLE).is_some() {
            Self { flood: 1_000_000, herd: 1000, reuses: 5000, growth: 300_000, restarts: 100, is_full: true }
        } else {
            Self { flood: 50_000, herd: 100, reuses: 100, growth: 50_000, restarts: 5, is_full: false }
        }
    }

    /// Prints a figure, if anybody wants it.
    pub fn tell(self, what: &str, figure: impl std::fmt::Display) {
        if self.is_full {
            println!("{what:<44} {figure}");
        }
    }
}
