//! What lbxdp costs. `cargo xtask bench` builds all it needs and runs it; `docs/performance.md` has the method.

mod against;
mod bed;
mod compare;
mod control;
mod document;
mod driver;
mod figure;
mod guest;
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
    /// Measure something else: the instructions that a packet needs beside those by the kernel's IPVS, in a virtual machine
    #[arg(long, conflicts_with = "processor")]
    against_ipvs: bool,
    /// Keep the figures of a file that are not beside IPVS, to write or to document them with these
    #[arg(long, value_name = "FILE", requires = "against_ipvs", conflicts_with = "from")]
    beside: Option<PathBuf>,
    /// This is the virtual machine
    #[arg(long, requires = "against_ipvs", hide = true)]
    in_guest: bool,
    /// Write all figures to a file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Show what has become of the figures of an older file
    #[arg(long, value_name = "OLD.json")]
    compare: Option<PathBuf>,
    /// Do not measure: take the figures of a file, to compare or to document them
    #[arg(long, value_name = "FILE", conflicts_with_all = ["only", "quick", "json", "against_ipvs"])]
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
    let beside = arguments.beside.as_deref().map(Report::read).transpose()?;
    let report = match &arguments.from {
        Some(path) => Report::read(path)?,
        None if arguments.against_ipvs && !arguments.in_guest => against::measured(&for_guest(arguments))?,
        None => measured(arguments)?,
    };
    // What failed in an older run was said then.
    let failures = if arguments.from.is_some() { 0 } else { report.failures.len() };
    let report = match beside {
        Some(others) => report.in_the_place_of(against::PREFIX, others),
        None => report,
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
    let session = Session::new(object, effort, processor, arguments.only.clone());
    if arguments.in_guest {
        return Ok(session.run_against_ipvs(arguments.quick));
    }
    let report = session.run(arguments.quick)?;
    report.print_programs();
    Ok(report)
}

/// What the bench in the guest is to be told.
fn for_guest(arguments: &Arguments) -> Vec<String> {
    let quick = arguments.quick.then(|| "--quick".to_owned());
    let only = arguments.only.iter().flat_map(|pattern| ["--only".to_owned(), pattern.clone()]);
    quick.into_iter().chain(only).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guest_measures_what_was_asked_for() {
        let words = ["bench", "--against-ipvs", "--quick", "--only", "a", "--only", "b", "--json", "c"];
        let arguments = Arguments::try_parse_from(words).unwrap();
        assert_eq!(for_guest(&arguments), ["--quick", "--only", "a", "--only", "b"]);
        assert!(Arguments::try_parse_from(["bench", "--beside", "a"]).is_err());
    }
}
