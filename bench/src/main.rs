//! What lbxdp costs. `cargo xtask bench` builds all it needs and runs it; `docs/performance.md` has the method.

mod bed;
mod compare;
mod control;
mod document;
mod driver;
mod figure;
mod live;
mod machine;
mod memory;
mod meter;
mod packet;
mod plan;
mod processor;
mod report;
mod room;
mod scaling;
mod session;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Parser;

use driver::Object;
use meter::Effort;
use report::Report;
use session::Session;

/// Measure what lbxdp costs
#[derive(Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench", max_term_width = 100)]
struct Arguments {
    /// Only figures whose names contain this; may be given several times
    #[arg(long, value_name = "PATTERN")]
    only: Vec<String>,
    /// Fewer rounds and packets, and nothing of a million connections or ten thousand servers
    #[arg(long)]
    quick: bool,
    /// Write all figures to a file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Show what has become of the figures of an older file
    #[arg(long, value_name = "OLD.json")]
    compare: Option<PathBuf>,
    /// Do not measure: take the figures of a file, to compare or to document them
    #[arg(long, value_name = "FILE", conflicts_with_all = ["only", "quick", "json"])]
    from: Option<PathBuf>,
    /// Write docs/performance.md, or another file
    #[arg(long, value_name = "FILE", num_args = 0..=1, default_missing_value = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/performance.md"))]
    document: Option<PathBuf>,
    /// The processor to measure on; by default the last one
    #[arg(long, value_name = "NUMBER")]
    processor: Option<usize>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    // Before anything is measured: a file that is not there is known at once.
    let old = arguments.compare.as_deref().map(Report::read).transpose()?;
    let report = match &arguments.from {
        Some(path) => Report::read(path)?,
        None => measured(arguments)?,
    };
    if let Some(path) = &arguments.json {
        report.write(path)?;
    }
    if let Some(old) = old {
        compare::print(&report, &old);
    }
    if let Some(path) = &arguments.document {
        document::write(&report, path)?;
    }
    // What failed in an older run was said then.
    let failures = if arguments.from.is_some() { 0 } else { report.failures.len() };
    ensure!(failures == 0, "{failures} figures were not measured: the reasons are above");
    Ok(())
}

fn measured(arguments: &Arguments) -> Result<Report> {
    let object = Object::read()?;
    let effort = if arguments.quick {
        Effort { rounds: 3, packets: 1 << 18, new: 1 << 13 }
    } else {
        Effort { rounds: 7, packets: 1 << 19, new: 1 << 13 }
    };
    let processor = match arguments.processor {
        Some(number) => number,
        None => processor::all()?.last().copied().context("there is no processor")?,
    };
    let report = Session::new(object, effort, processor, arguments.only.clone()).run(arguments.quick)?;
    report.print_programs();
    Ok(report)
}
