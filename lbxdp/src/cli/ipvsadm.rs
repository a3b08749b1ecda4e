//! The ipvsadm front: takes the arguments of one invocation to the director and prints what ipvsadm would print.

use std::ffi::OsString;
use std::io::{self, BufRead, Write};
use std::process::ExitCode;

use super::client::{Client, ClientError, Director};
use super::grammar::{self, GrammarError, Invocation, Listing, Selection, Wish};
use super::names::{Names, Naming, SystemNames};
use super::scripts::Script;
use super::{Failure, help, list, restore, save};
use crate::command::{Command, CommandError};
use crate::message::{MOST_CHANGES, Request, Response};
use crate::snapshot::Snapshot;
use crate::state::ServiceKey;

/// The whole program, on the process's own input and output. `program` is the name in hints.
pub fn main(arguments: impl IntoIterator<Item = OsString>, program: &str) -> ExitCode {
    let arguments: Vec<String> =
        arguments.into_iter().map(|argument| argument.to_string_lossy().into_owned()).collect();
    with_director(|director| {
        let mut front = Front {
            program,
            director,
            names: &SystemNames::default(),
            input: io::stdin().lock(),
            output: io::BufWriter::new(io::stdout().lock()),
            errors: io::stderr().lock(),
        };
        front.run(&arguments)
    })
}

/// As [`main`], called by the name of one of ipvsadm's scripts.
pub fn script(script: Script, arguments: &[OsString]) -> ExitCode {
    with_director(|director| script.run(arguments, director, &SystemNames::default()))
}

/// Runs something on the instance that the environment names, and gives its exit code.
fn with_director(run: impl FnOnce(Client) -> u8) -> ExitCode {
    let code = Client::of_environment().map_or_else(
        |error| {
            let failure = Failure::from(error);
            eprintln!("{failure}");
            failure.exit_code()
        },
        run,
    );
    ExitCode::from(code)
}

/// One run of ipvsadm: who carries it out, and its surroundings.
pub struct Front<'a, D, I, O, E> {
    /// How the program was called.
    pub program: &'a str,
    pub director: D,
    pub names: &'a dyn Names,
    pub input: I,
    pub output: O,
    pub errors: E,
}

impl<'a, D: Director, I: BufRead, O: Write, E: Write> Front<'a, D, I, O, E> {
    /// Carries the invocation out and gives ipvsadm's exit code.
    pub fn run(&mut self, arguments: &[String]) -> u8 {
        let result = match self.parse(arguments) {
            Ok(Invocation::Restore) => self.restore(),
            Ok(invocation) => self.carry_out(&invocation).map(|()| 0),
            Err(error) => Err(error.into()),
        };
        let result = result.and_then(|code| self.output.flush().map_err(Failure::Output).map(|()| code));
        result.unwrap_or_else(|failure| self.report(&failure))
    }

    fn parse(&self, arguments: &[String]) -> Result<Invocation, GrammarError> {
        grammar::parse(arguments, self.program, self.names)
    }

    /// The exit code is that of the last line, or of the one that ended it all. Changes that were read together are sent
    /// together.
    fn restore(&mut self) -> Result<u8, Failure> {
        let mut code = 0;
        let (mut blocks, mut changes) = (restore::Blocks::default(), Vec::new());
        while let Some(lines) = blocks.next(&mut self.input).map_err(Failure::Input)? {
            for line in lines {
                let arguments = restore::as_meant(restore::arguments(&line));
                if arguments.is_empty() {
                    continue;
                }
                let invocation = match self.parse(&arguments) {
                    Ok(Invocation::Change(command)) => {
                        changes.push(command);
                        if changes.len() >= MOST_CHANGES {
                            code = self.change_in_turn(&mut changes, code)?;
                        }
                        continue;
                    }
                    Ok(Invocation::Restore) => Err(GrammarError::TryHelp(self.program.to_owned())),
                    other => other,
                };
                // It does not count: this line gives another one.
                self.change_in_turn(&mut changes, code)?;
                code = match invocation.map_err(Failure::from).and_then(|line| self.carry_out_line(&line)) {
                    Ok(Some(end)) => return Ok(end),
                    Ok(None) => 0,
                    Err(failure) if failure.is_passed_over() => self.report(&failure),
                    Err(failure) => return Err(failure),
                };
            }
            code = self.change_in_turn(&mut changes, code)?;
        }
        Ok(code)
    }

    /// Carries changes out, tells of those that are refused, and gives the exit code of the last one; `code` if there is
    /// none.
    fn change_in_turn(&mut self, changes: &mut Vec<Command>, code: u8) -> Result<u8, Failure> {
        if changes.is_empty() {
            return Ok(code);
        }
        let sent = changes.len();
        let answers = match self.director.ask(&Request::Changes(std::mem::take(changes)))? {
            Response::Changes(answers) => answers,
            other => return Err(ClientError::unexpected(&other).into()),
        };
        let (mut code, answered) = (0, answers.len());
        for answer in answers {
            code = match answer {
                Response::Done => 0,
                Response::Refused(refusal) => self.report(&refusal.into()),
                other => return Err(ClientError::unexpected(&other).into()),
            };
        }
        if answered == sent {
            Ok(code)
        } else {
            Err(ClientError::Misunderstood(format!("{answered} answers to {sent} changes")).into())
        }
    }

    /// Help and version end even a `-R`: then the exit code is given.
    fn carry_out_line(&mut self, invocation: &Invocation) -> Result<Option<u8>, Failure> {
        self.carry_out(invocation)?;
        Ok(matches!(invocation, Invocation::Help | Invocation::Version).then_some(0))
    }

    fn carry_out(&mut self, invocation: &Invocation) -> Result<(), Failure> {
        match invocation {
            Invocation::Help => self.print(&help::help(self.program)),
            Invocation::Version => self.print(help::VERSION),
            Invocation::Change(command) => match self.director.ask(&Request::Change(command.clone()))? {
                Response::Done => Ok(()),
                Response::Refused(refusal) => Err(refusal.into()),
                other => Err(ClientError::unexpected(&other).into()),
            },
            Invocation::UnknownName { service, wish } => self.refuse_name(*service, *wish),
            Invocation::List(listing) => self.list(listing),
            Invocation::Save { is_numeric } => {
                let mut naming = self.naming(*is_numeric);
                let text = save::save(&self.snapshot()?, &mut naming);
                self.print(&text)
            }
            Invocation::Restore => Ok(()),
        }
    }

    /// IPVS looks for the service before it looks for the scheduler.
    fn refuse_name(&mut self, service: ServiceKey, wish: Wish) -> Result<(), Failure> {
        let is_there = self.snapshot()?.services.iter().any(|known| known.key == service);
        Err(match (wish, is_there) {
            (Wish::Add, true) => CommandError::ServiceExists.into(),
            (Wish::Edit, false) => CommandError::NoSuchService.into(),
            _ => Failure::NoSuchScheduler,
        })
    }

    fn list(&mut self, listing: &Listing) -> Result<(), Failure> {
        let mut naming = self.naming(listing.is_numeric);
        match listing.selection {
            Selection::Services(only) => {
                let text = list::services(&self.snapshot()?, only, listing, &mut naming);
                self.print(&text.ok_or(Failure::NothingToList)?)
            }
            Selection::Connections => self.list_connections(listing, &mut naming),
            Selection::Timeouts => match self.director.ask(&Request::Timeouts)? {
                Response::Timeouts(timeouts) => self.print(&list::timeouts(timeouts)),
                other => Err(ClientError::unexpected(&other).into()),
            },
            Selection::Daemons => match self.director.ask(&Request::Daemons)? {
                Response::Daemons(daemons) => self.print(&list::daemons(&daemons)),
                other => Err(ClientError::unexpected(&other).into()),
            },
        }
    }

    /// The title stands above the first piece, so that there is no output at all if there is no answer.
    fn list_connections(&mut self, listing: &Listing, naming: &mut Naming<'_>) -> Result<(), Failure> {
        let mut text = list::connections_title(listing.columns);
        let output = &mut self.output;
        self.director.connections(&mut |piece| {
            list::connections(&mut text, piece, naming);
            output.write_all(text.as_bytes())?;
            text.clear();
            Ok(())
        })?;
        self.print(&text)
    }

    fn naming(&self, is_numeric: bool) -> Naming<'a> {
        if is_numeric { Naming::numeric() } else { Naming::by_name(self.names) }
    }

    fn snapshot(&mut self) -> Result<Snapshot, Failure> {
        match self.director.ask(&Request::Services)? {
            Response::Services(snapshot) => Ok(snapshot),
            other => Err(ClientError::unexpected(&other).into()),
        }
    }

    fn print(&mut self, text: &str) -> Result<(), Failure> {
        self.output.write_all(text.as_bytes()).map_err(Failure::Output)
    }

    /// Tells what went wrong, behind all output so far, and gives the exit code.
    fn report(&mut self, failure: &Failure) -> u8 {
        if !failure.is_broken_pipe() {
            let _ = self.output.flush();
            // There is nowhere to complain about a stderr that takes nothing.
            let _ = writeln!(self.errors, "{failure}");
        }
        failure.exit_code()
    }
}
