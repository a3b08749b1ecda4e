//! The workshop of lbxdp: `cargo xtask VERB`, one file a verb.
//!
//! Every verb first finds what it needs on this machine and installs what is missing, saying what it does and why.

mod bench;
mod build;
mod compiler;
mod demo;
mod docs;
mod kernel;
mod linker;
mod lint;
mod machine;
mod object;
mod packages;
mod project;
mod run;
mod setup;
mod size;
mod soak;
mod step;
mod test;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Set up, build, try and test lbxdp.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Find or install everything the other verbs need
    Setup,
    /// Build the packet program and, with it inside, target/release/lbxdp
    Build,
    /// Build, then run lbxdp with the given arguments
    Run {
        /// Arguments of lbxdp, such as: run -i eth0
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Show a virtual service balanced over real servers, in a network of namespaces
    Demo(demo::Options),
    /// Serve a demo that is to stay, in the background (`demo --keep` starts it)
    #[command(hide = true)]
    DemoHost(demo::HostOptions),
    /// Run the host's tests, then those that need root and the packet program
    Test {
        /// Filters and options for the root tests, as after `cargo test --`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Measure what a packet costs, and what memory, listings, the sweep and configuring do at size
    Bench {
        /// Arguments of the bench
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Run the tests of endurance at full size and show their figures
    Soak {
        /// Filters and options, as after `cargo test --`
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// Make manual pages and shell completions, in target/docs, and docs/metrics.md
    Docs,
    /// Compare how large the programs in the kernel are with what is committed
    Size(size::Options),
    /// Check layout, lints and docs, with warnings denied
    Lint,
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().verb {
        Verb::Setup => setup::run(),
        Verb::Build => build::run(),
        Verb::Run { arguments } => run::run(&arguments),
        Verb::Demo(options) => demo::run(&options),
        Verb::DemoHost(options) => demo::host(&options),
        Verb::Test { arguments } => test::run(&arguments),
        Verb::Bench { arguments } => bench::run(&arguments),
        Verb::Soak { arguments } => soak::run(&arguments),
        Verb::Docs => docs::run(),
        Verb::Size(options) => size::run(&options),
        Verb::Lint => lint::run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
