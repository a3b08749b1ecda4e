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

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};
use clap::Parser;
use lbxdp_tests::{daemon, programs};

use bed::Bed;
use driver::Object;
use figure::Figure;
use machine::Machine;
use meter::{Effort, Meter};
use plan::Planned;
use report::{Program, Report};

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
    ensure!(report.failures.is_empty(), "not measured:\n{}", report.failures.join("\n"));
    Ok(())
}

fn measured(arguments: &Arguments) -> Result<Report> {
    let object = Object::read()?;
    let effort = if arguments.quick {
        Effort { rounds: 5, packets: 1 << 19, new: 1 << 13 }
    } else {
        Effort { rounds: 9, packets: 1 << 20, new: 1 << 13 }
    };
    let processor = match arguments.processor {
        Some(number) => number,
        None => processor::all()?.last().copied().context("there is no processor")?,
    };
    let is_wanted = |name: &str| {
        // Of a group of figures all are wanted, or those whose names go on as the pattern does.
        let fits = |pattern: &String| {
            name.contains(pattern.as_str()) || name.ends_with('/') && pattern.starts_with(name)
        };
        arguments.only.is_empty() || arguments.only.iter().any(fits)
    };
    let mut figures = Vec::new();
    report::print_head();
    let mut add = |more: Vec<Figure>| {
        more.iter().for_each(report::print);
        figures.extend(more);
    };
    // What cannot be measured is said, and the rest is measured: a run is long.
    let mut failures = Vec::new();
    for planned in plan::all(arguments.quick) {
        failures.extend(in_bed(&object, effort, processor, planned, is_wanted, &mut add).err());
    }
    for group in [
        live::measure(&object, effort, processor, is_wanted),
        scaling::measure(&object, effort, is_wanted),
        control::measure(&object, effort, processor, is_wanted),
    ] {
        match group {
            Ok(figures) => add(figures),
            Err(error) => failures.push(error),
        }
    }
    let programs = if is_wanted("programs/") { programs()? } else { Vec::new() };
    let Effort { rounds, packets, .. } = effort;
    let failures = failures.iter().map(|error| format!("{error:#}")).collect();
    let report = Report { machine: Machine::here(), rounds, packets, figures, programs, failures };
    report.print_programs();
    Ok(report)
}

/// Measures what is wanted of a bed's cases, if anything is.
fn in_bed(
    object: &Object,
    effort: Effort,
    processor: usize,
    planned: Planned,
    is_wanted: impl Fn(&str) -> bool,
    add: &mut impl FnMut(Vec<Figure>),
) -> Result<()> {
    let Planned { size, rules, mut steps } = planned;
    steps.retain(|step| is_wanted(&step.case.name));
    if steps.is_empty() {
        return Ok(());
    }
    let bed = Bed::make(object, size, &rules)?;
    let meter = Meter { object, bed: &bed, effort, processor };
    for step in &steps {
        let figure = step.carry_out(&meter).with_context(|| format!("its log:\n{}", bed.daemon.log()));
        add(vec![figure.with_context(|| step.case.name.clone())?]);
    }
    Ok(())
}

/// What the kernel says of the programs.
fn programs() -> Result<Vec<Program>> {
    let programs = programs::of(&daemon::binary()?)?;
    let program = |program: programs::Program| {
        let programs::Program { name, verified, translated, jited, stack } = program;
        Program { name, verified, translated, jited, stack }
    };
    Ok(programs.into_iter().map(program).collect())
}
