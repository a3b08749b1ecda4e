//! Changes of the configuration: each is carried out whole or not at all.

use std::net::IpAddr;
use std::time::SystemTime;

use super::Director;
use super::only_kept::may_be_only_kept;
use crate::cli::grammar::print;
use crate::cli::names::Naming;
use crate::command::{Command, CommandError, Touched, Undo};
use crate::daemon::load::chain;
use crate::daemon::settings;
use crate::message::{MOST_CHANGES, Response};
use crate::snapshot::Changes;
use crate::state::ServiceKey;
use crate::tables::TableError;

impl Director {
    pub(super) async fn change_alone(&mut self, command: &Command) -> Response {
        let response = self.change(command).await;
        if let (Response::Done, Some(address)) = (&response, new_server(command)) {
            self.wait_for_hops(&[address]).await;
        }
        response
    }

    /// Each command is a transaction of its own; their new servers' next hops are waited for together.
    pub(super) async fn change_in_turn(&mut self, commands: &[Command]) -> Response {
        if commands.len() > MOST_CHANGES {
            return Response::Failed(format!("at most {MOST_CHANGES} changes at once"));
        }
        let mut responses = Vec::new();
        for run in commands.chunk_by(grow_one_list) {
            if !self.add_together(run, &mut responses).await {
                self.change_one_by_one(run, &mut responses).await;
            }
            if !responses.last().is_none_or(goes_on) {
                break;
            }
        }
        let done = commands.iter().zip(&responses).filter(|(_, response)| **response == Response::Done);
        let mut new_servers: Vec<IpAddr> = done.filter_map(|(command, _)| new_server(command)).collect();
        new_servers.sort_unstable();
        new_servers.dedup();
        self.wait_for_hops(&new_servers).await;
        Response::Changes(responses)
    }

    async fn change_one_by_one(&mut self, commands: &[Command], responses: &mut Vec<Response>) {
        for command in commands {
            responses.push(self.change(command).await);
            if !responses.last().is_none_or(goes_on) {
                break;
            }
        }
    }

    /// New servers of one service come into the tables at once: its list is written whole each time. False if nothing was done,
    /// because some of them do not fit.
    async fn add_together(&mut self, commands: &[Command], responses: &mut Vec<Response>) -> bool {
        let [Command::AddServer { service, .. }, _, ..] = commands else {
            return false;
        };
        let (mut answers, mut undone, mut changed_hops) = (Vec::new(), Vec::new(), Vec::new());
        for command in commands {
            match self.take_in(command, &mut changed_hops).await {
                Ok(undo) => {
                    undone.push(undo);
                    answers.push(Response::Done);
                }
                Err(refusal) => answers.push(Response::Refused(refusal)),
            }
        }
        let touched = Touched::One(*service);
        if let Err(error) = self.install_touched(touched, &changed_hops) {
            tracing::debug!(error = %chain(&error), "not all of these servers fit: they are added one by one");
            undone.into_iter().rev().for_each(|undo| undo.take_back(&mut self.state));
            self.go_back(touched);
            return false;
        }
        let done = commands.iter().zip(&answers).filter(|(_, answer)| **answer == Response::Done);
        for ((command, _), undo) in done.zip(&undone) {
            self.conclude(command, undo);
        }
        responses.append(&mut answers);
        true
    }

    pub(super) async fn change(&mut self, command: &Command) -> Response {
        let mtu_of = |name: &str| self.link_named(name).map(|(_, link)| link.mtu);
        let command = match command.clone().on_interfaces(mtu_of) {
            Ok(command) => command,
            Err(refusal) => return Response::Refused(refusal),
        };
        let command = &command;
        let mut changed_hops = Vec::new();
        let undo = match self.take_in(command, &mut changed_hops).await {
            Ok(undo) => undo,
            Err(refusal) => return Response::Refused(refusal),
        };
        let zeroed = match command {
            Command::Zero { service } => self.zero(service.as_ref()).map_err(Into::into),
            _ => Ok(()),
        };
        let touched = undo.touched();
        if let Err(error) = zeroed.and_then(|()| self.install_touched(touched, &changed_hops)) {
            tracing::error!(error = %chain(&error), command = words(command), "refused: the tables do not take it");
            undo.take_back(&mut self.state);
            self.go_back(touched);
            return Response::Failed(chain(&error));
        }
        self.conclude(command, &undo);
        Response::Done
    }

    /// A command changes the state, or is refused.
    async fn take_in(
        &mut self,
        command: &Command,
        changed_hops: &mut Vec<IpAddr>,
    ) -> Result<Undo, CommandError> {
        let undo = command.change(&mut self.state)?;
        if let Some(address) = new_server(command)
            && self.next_hops.watch(address).await
        {
            changed_hops.push(address);
        }
        if new_server(command).is_some_and(|address| self.is_of_a_stranger_on_a_link(address)) {
            undo.take_back(&mut self.state);
            return Err(CommandError::Invalid);
        }
        Ok(undo)
    }

    /// What follows from a command that the tables have taken.
    fn conclude(&mut self, command: &Command, undo: &Undo) {
        if undo.has_changed_settings(&self.state) || self.has_other_kinds_by(command) {
            self.write_settings();
        }
        self.saved.append(command, &self.state);
        match command {
            // Connections of a server that is gone may have to go too.
            Command::DeleteService { .. }
            | Command::DeleteServer { .. }
            | Command::Flush
            | Command::Set { .. }
                if self.state.sysctls.expire_nodest_conn != 0 =>
            {
                self.keeper.look_at_all();
            }
            _ => {}
        }
        if !matches!(command, Command::Zero { .. }) {
            self.changes = Changes { count: self.changes.count + 1, last: Some(SystemTime::now()) };
        }
        tracing::info!(command = words(command), "done");
        if may_be_only_kept(command) {
            self.say_what_is_only_kept();
        }
    }

    /// Whether packets are to look for something else after a command. All services are only asked if they have to be; methods
    /// that nobody needs any more are found in time (see `keep_house`).
    fn has_other_kinds_by(&self, command: &Command) -> bool {
        match command {
            Command::EditService { .. }
            | Command::AddServer { .. }
            | Command::EditServer { .. }
            | Command::DeleteServer { .. } => false,
            Command::AddService { service, .. } => {
                self.kinds.and(settings::kinds_of(service, &self.state.marks)) != self.kinds
            }
            _ => settings::kinds(&self.state, &self.layout) != self.kinds,
        }
    }

    /// A link-local address says nothing without its link; IPVS takes it only if it is the director's own.
    fn is_of_a_stranger_on_a_link(&self, address: IpAddr) -> bool {
        matches!(address, IpAddr::V6(v6) if v6.is_unicast_link_local())
            && !self.next_hops.hop(address).is_local
    }

    pub(super) fn zero(&mut self, service: Option<&ServiceKey>) -> Result<(), TableError> {
        self.rows_epoch += 1;
        let keys = self.state.services.keys().filter(|key| service.is_none_or(|service| service == *key));
        for key in keys {
            for id in self.layout.server_ids(key) {
                self.tables.zero_server(*id)?;
                self.accounts.open_server(*id);
            }
            let index = self.index(key);
            self.tables.zero_service(index, self.counting_ids(key))?;
            self.accounts.open_service(index);
        }
        if service.is_none() { self.total.zero(&self.tables) } else { Ok(()) }
    }
}

/// The address of the server that a command adds.
fn new_server(command: &Command) -> Option<IpAddr> {
    match command {
        Command::AddServer { server, .. } => Some(server.address),
        _ => None,
    }
}

/// A command as the operator would type it.
fn words(command: &Command) -> String {
    print(command, &mut Naming::numeric())
}

/// Whether two commands that follow each other add servers to the same service.
fn grow_one_list(one: &Command, next: &Command) -> bool {
    match (one, next) {
        (Command::AddServer { service, .. }, Command::AddServer { service: next, .. }) => service == next,
        _ => false,
    }
}

/// Whether the commands behind one that was answered so are carried out too.
fn goes_on(response: &Response) -> bool {
    matches!(response, Response::Done | Response::Refused(_))
}
