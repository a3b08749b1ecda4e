//! `docs/performance.md`, made from a report.

mod beside;

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

use crate::against;
use crate::figure::{Figure, Unit};
use crate::machine::Machine;
use crate::report::{Program, Report, number};

/// What stands above the tables: the method, and what it cannot show.
const METHOD: &str = include_str!("document/method.md");

/// Below it the cost of a null program is not told from nothing, in nanoseconds.
const LEAST_NULL_NS: f64 = 2.0;

/// A part of the document: what figures' names begin with, its heading, and what is to be said of it.
const PARTS: [(&str, &str, &str); 13] = [
    (
        "packet/dr/",
        "Direct routing",
        "Known connections, from one to a million; new ones, each inserted; a flood of SYNs into a table with room for 65,536.",
    ),
    (
        "packet/tun-",
        "Tunnels",
        "The null program puts a constant outer header of IPv4 (of IPv6 for `v6`) in front.",
    ),
    ("packet/nat-", "Address translation", "Requests and replies. A connection has two entries."),
    ("packet/not-ours/", "Not ours", "Packets that go on to the director's own stack."),
    ("packet/scheduler/", "Schedulers", "A new connection each packet, to one of ten servers."),
    (
        "packet/services/",
        "Many services",
        "65,536 known connections, spread over all services; and new ones.",
    ),
    (
        "packet/servers/",
        "Many servers",
        "The same with one service. `wlc` looks at all servers; an instance has 32,767 in all.",
    ),
    (
        "packet/load/",
        "A full table",
        "32,768 known connections, in a table at its limit with so many percent of its places taken.",
    ),
    (
        "live/",
        "Live",
        "Frames through a pair of veth, source, director and sink on one processor: millions a second of its time, with all that the kernel does for them. The null program rewrites MAC addresses.",
    ),
    (against::PREFIX, "Beside the kernel's IPVS", include_str!("document/against.md").trim_ascii_end()),
    ("processors/", "Two processors", "Each with connections of its own, at the same time."),
    ("memory/", "Memory", "What the kernel has locked for the tables."),
    ("control/", "The daemon", "Commands as processes, from start to end."),
];

/// Writes the document.
pub(crate) fn write(report: &Report, path: &Path) -> Result<()> {
    fs::write(path, text(report)?).with_context(|| format!("writing {}", path.display()))
}

fn text(report: &Report) -> Result<String> {
    let machine = &report.machine;
    let mut text = String::from("# Performance\n\n");
    writeln!(
        text,
        "Made by `cargo xtask bench --document`; not to be edited. Measured {} at commit {} on {} ({} processors, {} of cache, {}), Linux {}; {} rounds of {} packets. {} processes wanted a processor meanwhile.\n",
        machine.date,
        machine.commit,
        machine.processor,
        machine.processors,
        machine.cache,
        machine.hypervisor,
        machine.kernel,
        report.rounds,
        report.packets,
        machine.load
    )?;
    text.push_str(METHOD);
    for (prefix, heading, words) in PARTS {
        let figures: Vec<&Figure> =
            report.figures.iter().filter(|figure| figure.name.starts_with(prefix)).collect();
        if !figures.is_empty() {
            writeln!(text, "\n## {heading}\n\n{words}\n")?;
            if prefix == against::PREFIX {
                guest(&mut text, report.guest.as_ref())?;
                beside::table(&mut text, &figures)?;
            } else {
                table(&mut text, &figures)?;
            }
        }
    }
    programs(&mut text, &report.programs)?;
    if !report.failures.is_empty() {
        writeln!(text, "\n## Not measured\n\nWhat was meant could not be brought about in this run:\n")?;
    }
    for failure in &report.failures {
        // Behind the name are the reason and the daemon's log, for whoever runs it.
        writeln!(text, "- {}", failure.split_once(": ").map_or(failure.as_str(), |(name, _)| name))?;
    }
    Ok(text)
}

/// Says what the virtual machine is.
fn guest(text: &mut String, guest: Option<&Machine>) -> Result<()> {
    if let Some(Machine { kernel, commit, date, .. }) = guest {
        writeln!(text, "Medians, measured {date} at commit {commit} under Linux {kernel}.\n")?;
    }
    Ok(())
}

fn table(text: &mut String, figures: &[&Figure]) -> Result<()> {
    let (has_null, has_notes) = (
        figures.iter().any(|figure| figure.null.is_some()),
        figures.iter().any(|figure| !figure.note.is_empty()),
    );
    let columns = [("null", has_null), ("ratio", has_null), ("", has_notes)];
    let extra = || columns.into_iter().filter(|(_, is_there)| *is_there).map(|(name, _)| name);
    let (mut head, mut rule) =
        (String::from("| | min | median | max | unit |"), String::from("| --- | --: | --: | --: | --- |"));
    for column in extra() {
        write!(head, " {column} |")?;
        rule.push_str(if column.is_empty() { " --- |" } else { " --: |" });
    }
    writeln!(text, "{head}\n{rule}")?;
    for Figure { name, unit, spread, null, note } in figures {
        let [min, median, max] = [spread.min, spread.median, spread.max].map(|value| number(value, *unit));
        let name = name.split_once('/').map_or(name.as_str(), |(_, rest)| rest);
        write!(text, "| {name} | {min} | **{median}** | {max} | {} |", unit.name())?;
        if has_null {
            match null {
                Some(null) => {
                    let beside = number(null.median, *unit);
                    // What two programs that are the same may differ by is nothing to divide by.
                    if *unit == Unit::Nanoseconds && null.median < LEAST_NULL_NS {
                        write!(text, " {beside} | |")?;
                    } else {
                        write!(text, " {beside} | {:.2} |", spread.median / null.median)?;
                    }
                }
                None => text.push_str(" | |"),
            }
        }
        if has_notes {
            write!(text, " {note} |")?;
        }
        text.push('\n');
    }
    Ok(())
}

fn programs(text: &mut String, programs: &[Program]) -> Result<()> {
    if programs.is_empty() {
        return Ok(());
    }
    writeln!(text, "\n## Programs\n")?;
    writeln!(
        text,
        "What the kernel's verifier looked at, and what it left; bytes. The stack is the program's own frame.\n"
    )?;
    writeln!(text, "| program | instructions verified | translated | machine code | stack |")?;
    writeln!(text, "| --- | --: | --: | --: | --: |")?;
    for Program { name, verified, translated, jited, stack } in programs {
        writeln!(text, "| {name} | {verified} | {translated} | {jited} | {stack} |")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::figure::Spread;

    #[test]
    fn a_figure_stands_beside_its_null_program() {
        let figure = Figure::new(
            "packet/dr/v4/tcp/new",
            Unit::Nanoseconds,
            Spread { min: 8.0, median: 10.0, max: 12.0 },
        );
        let mut text = String::new();
        table(&mut text, &[&figure.with_null(Spread::exactly(4.0))]).unwrap();
        assert!(text.contains("| dr/v4/tcp/new | 8.0 | **10.0** | 12.0 | ns | 4.0 | 2.50 |"), "{text}");
    }

    #[test]
    fn nothing_is_divided_by_a_null_program_that_cannot_be_told_from_nothing() {
        let spread = Spread { min: 8.0, median: 10.0, max: 12.0 };
        let figure = Figure::new("packet/dr/v4/tcp/new", Unit::Nanoseconds, spread);
        let mut text = String::new();
        table(&mut text, &[&figure.with_null(Spread::exactly(0.1))]).unwrap();
        assert!(text.contains("| dr/v4/tcp/new | 8.0 | **10.0** | 12.0 | ns | 0.1 | |"), "{text}");
    }
}
