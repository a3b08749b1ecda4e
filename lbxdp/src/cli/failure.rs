//! What can go wrong with one line, and what that means for the exit code and for the rest of a `-R`.

use std::io;

use super::client::ClientError;
use super::grammar::GrammarError;
use crate::command::CommandError;
use crate::tables::pins::BadInstance;

/// Why a line did not succeed: one line on stderr.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error(transparent)]
    Grammar(#[from] GrammarError),
    #[error(transparent)]
    Refused(#[from] CommandError),
    #[error("Scheduler or persistence engine not found")]
    NoSuchScheduler,
    /// The service that was to be listed is not there.
    #[error("No such service")]
    NothingToList,
    #[error(transparent)]
    Instance(#[from] BadInstance),
    #[error(transparent)]
    Director(#[from] ClientError),
    #[error("cannot write the output: {0}")]
    Output(#[source] io::Error),
    #[error("cannot read the input: {0}")]
    Input(#[source] io::Error),
}

impl Failure {
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Grammar(error) => error.exit_code(),
            Self::Instance(_) => 2,
            Self::NothingToList | Self::Output(_) | Self::Input(_) => 1,
            Self::Refused(_) | Self::NoSuchScheduler | Self::Director(_) => 255,
        }
    }

    /// Whether a `-R` goes on behind such a line: ipvsadm does after wrong words and the director's refusals.
    pub fn is_passed_over(&self) -> bool {
        match self {
            Self::Grammar(error) => error.is_in_words(),
            Self::Refused(_) | Self::NoSuchScheduler => true,
            _ => false,
        }
    }

    /// Whether nobody reads the output any more: then there is nobody to tell.
    pub fn is_broken_pipe(&self) -> bool {
        match self {
            Self::Output(error) | Self::Director(ClientError::Output(error)) => {
                error.kind() == io::ErrorKind::BrokenPipe
            }
            _ => false,
        }
    }
}
