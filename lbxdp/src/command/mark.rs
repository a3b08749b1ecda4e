//! Rules for marks: add, delete.

use super::CommandError;
use crate::state::{MarkRule, State};

/// The list stays in order, the most specific rule first. A source of all addresses is none.
pub(super) fn add(state: &mut State, rule: &MarkRule) -> Result<(), CommandError> {
    rule.check().map_err(CommandError::NoMarkRule)?;
    if let Some(known) = state.marks.iter().find(|known| known.fits_the_same(rule)) {
        let is_known = known.mark == rule.mark;
        return Err(if is_known {
            CommandError::MarkExists
        } else {
            CommandError::MarkContradicts(known.mark)
        });
    }
    let place = state.marks.partition_point(|known| known < rule);
    let source = rule.source.filter(|source| source.prefix_len() > 0);
    state.marks.insert(place, MarkRule { source, ..rule.clone() });
    Ok(())
}

pub(super) fn delete(state: &mut State, rule: &MarkRule) -> Result<(), CommandError> {
    let is_it = |known: &MarkRule| known.mark == rule.mark && known.fits_the_same(rule);
    let place = state.marks.iter().position(is_it).ok_or(CommandError::NoSuchMark)?;
    state.marks.remove(place);
    Ok(())
}
