//! ipvsadm's grammar, both ways: a line becomes an `Invocation` or ipvsadm's exact complaint, a command becomes a line.
//!
//! `popt` finds the words, `line` reads them from left to right, `validity` and `check` are ipvsadm's own checks,
//! `invocation` says what a checked line wants.

mod check;
mod error;
mod invocation;
mod line;
mod popt;
mod print;
mod sync;
#[cfg(test)]
mod tests;
mod validity;
mod value;
mod words;

pub use error::GrammarError;
pub use print::print;
pub use words::{Choice, Verb};

use self::line::Line;
use self::popt::Words;
use self::words::Word;
use crate::cli::names::Names;
use crate::command::Command;
use crate::state::ServiceKey;

/// What a line asks for.
#[derive(Clone, Debug, PartialEq)]
pub enum Invocation {
    Help,
    Version,
    Change(Command),
    /// A service with a scheduler or an engine that does not exist: refused, but first asked for whether the service is
    /// there.
    UnknownName {
        service: ServiceKey,
        wish: Wish,
    },
    List(Listing),
    Save {
        is_numeric: bool,
    },
    Restore,
}

/// What was to happen to the service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wish {
    Add,
    Edit,
}

/// What to list, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listing {
    pub selection: Selection,
    pub columns: Columns,
    pub is_numeric: bool,
    pub is_exact: bool,
    pub is_sorted: bool,
}

impl Default for Listing {
    /// What a line without any argument lists.
    fn default() -> Self {
        Self {
            selection: Selection::Services(None),
            columns: Columns::Connections,
            is_numeric: false,
            is_exact: false,
            is_sorted: true,
        }
    }
}

/// What a listing is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// All services, or one.
    Services(Option<ServiceKey>),
    Connections,
    Timeouts,
    /// The daemons of synchronization.
    Daemons,
}

/// The columns of a list of services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Columns {
    /// Method, weight and numbers of connections.
    Connections,
    Stats,
    Rates,
    /// Thresholds and numbers of connections.
    Thresholds,
    /// Weight, templates and numbers of connections.
    Persistent,
    /// As [`Columns::Connections`], with the tunnels.
    Tunnels,
}

/// What the arguments of a line ask for; `program` is the name that stands in hints.
pub fn parse(arguments: &[String], program: &str, names: &dyn Names) -> Result<Invocation, GrammarError> {
    if arguments.is_empty() {
        return Ok(Invocation::List(Listing::default()));
    }
    let try_help = || GrammarError::TryHelp(program.to_owned());
    let mut words = Words::new(arguments);
    let first = words.next().ok().flatten().ok_or_else(try_help)?;
    let verb = match first.word {
        Word::Help => return Ok(Invocation::Help),
        Word::Version => return Ok(Invocation::Version),
        Word::Verb(verb) => verb,
        _ => return Err(try_help()),
    };
    let role = match verb {
        Verb::StartDaemon | Verb::StopDaemon => Some(sync::role(verb, first.argument.unwrap_or_default())?),
        _ => None,
    };
    let mut line = Line::read(&mut words, verb, names)?;
    line.take_leftovers(&words.leftovers())?;
    check::check(&mut line)?;
    Ok(invocation::invocation(&line, role))
}
