//! From what is wanted, what is there and what was done before to the steps that are left: pure, so that what is printed is what is
//! done.

use serde::{Deserialize, Serialize};

use super::step::Step;
use super::surroundings::Surroundings;

/// A step that is wanted, and what takes it back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Change {
    pub(crate) step: Step,
    /// `None` if it was so before, or leaves nothing.
    pub(crate) undo: Option<Step>,
}

impl Change {
    /// A step, from what is there before it.
    pub(crate) fn new(step: Step, there: &Surroundings) -> Self {
        let undo = step.undo(there);
        Self { step, undo }
    }
}

/// What is to be done now, in order, and what is to be remembered then.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    pub(crate) remembered: Vec<Change>,
}

/// What is to be remembered while a plan is carried out: what is left of earlier steps, and what is done by now, are taken back from
/// it, wherever it ends.
pub(crate) fn together(before: &[Change], after: &[Change]) -> Vec<Change> {
    let new = after.iter().filter(|change| !before.contains(change));
    before.iter().chain(new).cloned().collect()
}

/// The machine as it was before what is remembered.
pub(crate) fn origin(there: &Surroundings, remembered: &[Change]) -> Surroundings {
    let mut origin = there.clone();
    for step in unwound(there, remembered).steps {
        step.apply(&mut origin);
    }
    origin
}

/// The plan that makes what is wanted so. `wanted` gives all changes, in order, for a machine on which nothing was done yet.
pub(crate) fn plan(
    there: &Surroundings,
    remembered: &[Change],
    wanted: impl FnOnce(&Surroundings) -> Vec<Change>,
) -> Plan {
    let wanted = wanted(&origin(there, remembered));
    let is_wanted = |subject: &str| wanted.iter().any(|change| change.step.subject() == subject);
    let obsolete: Vec<&Step> = remembered
        .iter()
        .rev()
        .filter(|change| !is_wanted(&change.step.subject()) && change.step.is_so(there))
        .filter_map(|change| change.undo.as_ref())
        .collect();
    // An address that is not wanted any more goes before the settings that keep it silent.
    let (first, last): (Vec<_>, Vec<_>) =
        obsolete.into_iter().cloned().partition(|step| matches!(step, Step::RemoveAddress(_)));
    let mut model = there.clone();
    let mut steps = first;
    for change in &wanted {
        if let Step::Announce { interface, address } = &change.step {
            // What has been there all the time needs no announcement.
            let is_new = steps.iter().any(|step| match step {
                Step::AddAddress(added) => (&added.interface, added.address.addr()) == (interface, *address),
                _ => false,
            });
            if !is_new {
                continue;
            }
        } else if change.step.is_so(&model) {
            continue;
        }
        change.step.apply(&mut model);
        steps.push(change.step.clone());
    }
    steps.extend(last);
    let remembered = wanted.into_iter().filter(|change| change.undo.is_some()).collect();
    Plan { steps, remembered }
}

/// The plan that takes everything back. What somebody else has changed since stays as it is.
pub(crate) fn unwound(there: &Surroundings, remembered: &[Change]) -> Plan {
    let mut model = there.clone();
    let mut steps = Vec::new();
    for Change { step, undo } in remembered.iter().rev() {
        if let Some(undo) = undo
            && step.is_so(&model)
        {
            undo.apply(&mut model);
            steps.push(undo.clone());
        }
    }
    Plan { steps, remembered: Vec::new() }
}

/// What was done and is not so any more: somebody else has changed it.
pub(crate) fn changed_since<'a>(there: &Surroundings, remembered: &'a [Change]) -> Vec<&'a Step> {
    let is_gone = |change: &&Change| change.undo.is_some() && !change.step.is_so(there);
    remembered.iter().filter(is_gone).map(|change| &change.step).collect()
}
