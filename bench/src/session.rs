//! A session: everything that is wanted is measured, and what cannot be is said.

use anyhow::{Context, Result};
use lbxdp_tests::{daemon, programs};

use crate::against::{self, Case};
use crate::bed::Bed;
use crate::driver::Object;
use crate::figure::Figure;
use crate::machine::Machine;
use crate::meter::{Effort, Meter};
use crate::plan::{self, Planned};
use crate::report::{self, Program, Report};
use crate::{control, live, scaling};

/// What is to be measured, and what has been.
pub(crate) struct Session {
    pub(crate) object: Object,
    pub(crate) effort: Effort,
    /// The processor that is measured on.
    pub(crate) processor: usize,
    /// Parts of the names of wanted figures; none: all.
    pub(crate) only: Vec<String>,
    figures: Vec<Figure>,
    failures: Vec<String>,
}

impl Session {
    pub(crate) fn new(object: Object, effort: Effort, processor: usize, only: Vec<String>) -> Self {
        Self { object, effort, processor, only, figures: Vec::new(), failures: Vec::new() }
    }

    /// Measures. A run is long: what fails does not end it.
    pub(crate) fn run(mut self, is_quick: bool) -> Result<Report> {
        report::print_head();
        for planned in plan::all(is_quick) {
            self.measure_in_bed(planned);
        }
        let is_wanted = |name: &str| is_wanted(&self.only, name);
        let live = live::measure(&self.object, self.effort, self.processor, is_wanted);
        let scaling = scaling::measure(&self.object, self.effort, is_wanted);
        let control = control::measure(&self.object, self.effort, self.processor, is_wanted);
        let programs = if is_wanted("programs/") { programs()? } else { Vec::new() };
        for (group, figures) in [("live", live), ("processors", scaling), ("control", control)] {
            match figures {
                Ok(figures) => figures.into_iter().for_each(|figure| self.add(group, Ok(figure))),
                Err(error) => self.add(group, Err(error)),
            }
        }
        Ok(self.report(programs))
    }

    /// Measures the same work by lbxdp and by IPVS. This is to be the guest, whose clock counts instructions.
    pub(crate) fn run_against_ipvs(mut self, is_quick: bool) -> Report {
        report::print_head();
        let is_wanted = |case: &Case| is_wanted(&self.only, &format!("{}{case}", against::PREFIX));
        let cases: Vec<Case> = Case::all(is_quick).into_iter().filter(is_wanted).collect();
        let object = self.object.clone();
        against::measure(&object, &cases, |name, figure| self.add(name, figure));
        self.report(Vec::new())
    }

    fn report(self, programs: Vec<Program>) -> Report {
        let Effort { rounds, packets, .. } = self.effort;
        let Self { figures, failures, .. } = self;
        Report { machine: Machine::here(), guest: None, rounds, packets, figures, programs, failures }
    }

    /// Measures what is wanted of a bed's cases, if anything is.
    fn measure_in_bed(&mut self, planned: Planned) {
        let Planned { size, rules, mut steps } = planned;
        steps.retain(|step| is_wanted(&self.only, &step.case.name));
        let Some(first) = steps.first() else { return };
        let bed = match Bed::make(&self.object, size, &rules) {
            Ok(bed) => bed,
            Err(error) => return self.add(&first.case.name, Err(error)),
        };
        for step in &steps {
            let meter =
                Meter { object: &self.object, bed: &bed, effort: self.effort, processor: self.processor };
            // Of many packets now and then one finds no place in the table: then it is the next attempt that counts.
            let figure = step.carry_out(&meter).or_else(|error| {
                eprintln!("once more: {error:#}");
                step.carry_out(&meter).map(|figure| {
                    let note = format!("{} at the second attempt", figure.note);
                    figure.with_note(note.trim_start())
                })
            });
            self.add(
                &step.case.name,
                figure.with_context(|| format!("the daemon's log:\n{}", bed.daemon.log())),
            );
        }
    }

    /// Takes a figure, or the reason why there is none.
    fn add(&mut self, name: &str, figure: Result<Figure>) {
        match figure {
            Ok(figure) => {
                report::print(&figure);
                self.figures.push(figure);
            }
            Err(error) => {
                let failure = format!("{name}: {error:#}");
                eprintln!("not measured: {failure}");
                self.failures.push(failure);
            }
        }
    }
}

/// Whether a figure is wanted; of a group, whose name ends with a slash, whether one of it may be.
fn is_wanted(only: &[String], name: &str) -> bool {
    let fits = |pattern: &String| {
        name.contains(pattern.as_str()) || name.ends_with('/') && pattern.starts_with(name)
    };
    only.is_empty() || only.iter().any(fits)
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

#[cfg(test)]
mod tests {
    use super::is_wanted;

    #[test]
    fn a_pattern_is_a_part_of_a_name() {
        let only = ["v4/tcp".into(), "memory/all".into()];
        assert!(is_wanted(&only, "packet/dr/v4/tcp/new"));
        assert!(!is_wanted(&only, "packet/dr/v6/tcp/new"));
        assert!(is_wanted(&[], "anything"));
    }

    #[test]
    fn a_group_is_wanted_if_one_of_it_may_be() {
        let only = ["memory/all".into()];
        assert!(is_wanted(&only, "memory/"));
        assert!(!is_wanted(&only, "control/"));
    }
}
