//! All that one run has measured: as a table, and as JSON.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::figure::{Figure, Spread, Unit};
use crate::machine::Machine;

/// One of the programs in the kernel.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Program {
    pub(crate) name: String,
    /// Instructions that the verifier went through.
    pub(crate) verified: u32,
    /// Bytes.
    pub(crate) translated: u32,
    /// Bytes of machine code.
    pub(crate) jited: u32,
    /// Bytes.
    pub(crate) stack: u32,
}

/// A run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    /// The virtual machine that the figures beside IPVS are of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) guest: Option<Machine>,
    /// Rounds of each figure, packets of a round.
    pub(crate) rounds: u32,
    pub(crate) packets: u32,
    pub(crate) figures: Vec<Figure>,
    pub(crate) programs: Vec<Program>,
    /// What could not be measured, and why.
    #[serde(default)]
    pub(crate) failures: Vec<String>,
}

impl Report {
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is no report of the bench", path.display()))
    }

    /// All of another run, but with these figures and failures in the place of those whose names begin so.
    pub(crate) fn in_the_place_of(self, prefix: &str, other: Self) -> Self {
        let Self { mut figures, mut failures, programs, .. } = other;
        figures.retain(|figure| !figure.name.starts_with(prefix));
        figures.extend(self.figures);
        failures.retain(|failure| !failure.starts_with(prefix));
        failures.extend(self.failures);
        Self { figures, failures, programs, guest: self.guest, ..other }
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(path, text).with_context(|| format!("writing {}", path.display()))
    }

    /// Prints the programs; figures are printed as they come.
    pub(crate) fn print_programs(&self) {
        if self.programs.is_empty() {
            return;
        }
        println!(
            "{:<20} {:>12} {:>12} {:>14} {:>8}",
            "program", "verified", "translated", "machine code", "stack"
        );
        for Program { name, verified, translated, jited, stack } in &self.programs {
            println!("{name:<20} {verified:>12} {translated:>12} {jited:>14} {stack:>8}");
        }
    }
}

/// Prints what stands above all figures.
pub(crate) fn print_head() {
    println!(
        "{:<48} {:>10} {:>10} {:>10} {:<12} {:>10}  note",
        "measured", "min", "median", "max", "unit", "null"
    );
}

/// Prints a figure as a line.
pub(crate) fn print(figure: &Figure) {
    let Figure { name, unit, spread: Spread { min, median, max }, null, note } = figure;
    let null = null.map_or(String::new(), |null| number(null.median, *unit));
    println!(
        "{name:<48} {:>10} {:>10} {:>10} {:<12} {null:>10}  {note}",
        number(*min, *unit),
        number(*median, *unit),
        number(*max, *unit),
        unit.name()
    );
}

/// A number with as many digits as its unit bears.
pub(crate) fn number(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Rate | Unit::Percent => format!("{value:.2}"),
        Unit::Nanoseconds | Unit::Milliseconds | Unit::Bytes => format!("{value:.1}"),
        Unit::Instructions => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(commit: &str, figures: &[&str], failures: &[&str]) -> Report {
        let figure = |name: &&str| Figure::new(*name, Unit::Instructions, Spread::exactly(1.0));
        Report {
            machine: Machine { commit: commit.into(), ..Machine::here() },
            guest: None,
            rounds: 1,
            packets: 1,
            figures: figures.iter().map(figure).collect(),
            programs: Vec::new(),
            failures: failures.iter().map(|failure| (*failure).into()).collect(),
        }
    }

    #[test]
    fn figures_take_the_place_of_those_of_their_kind_and_leave_all_others() {
        let old = report("old", &["packet/x", "beside/a", "beside/b"], &["packet/y: why", "beside/c: why"]);
        let mut new = report("new", &["beside/b", "beside/c"], &[]);
        new.guest = Some(new.machine.clone());
        let both = new.in_the_place_of("beside/", old);
        let names: Vec<&str> = both.figures.iter().map(|figure| figure.name.as_str()).collect();
        assert_eq!(names, ["packet/x", "beside/b", "beside/c"]);
        assert_eq!(both.failures, ["packet/y: why"]);
        assert_eq!(both.machine.commit, "old");
        assert_eq!(both.guest.unwrap().commit, "new");
    }
}
