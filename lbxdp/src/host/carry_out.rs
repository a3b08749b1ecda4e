//! Steps done to the machine, in order. If one fails, those before it are taken back.

use std::io;

use super::HostError;
use super::look;
use super::netlink::Netlink;
use super::plan::Change;
use super::step::Step;
use super::surroundings::Surroundings;
use crate::cli::client::{Client, Director};
use crate::cli::grammar::{self, Invocation};
use crate::cli::names::SystemNames;
use crate::command::{Command, CommandError};
use crate::message::{Request, Response};
use crate::tables::pins::Instance;
use crate::{decap, lan};

type Anything = Box<dyn std::error::Error + Send + Sync>;

/// Does it all, or nothing. `changes` are all that belong together, those too that need no step now.
pub(super) fn carry_out(
    netlink: &Netlink,
    instance: &Instance,
    there: &Surroundings,
    steps: &[Step],
    changes: &[Change],
) -> Result<(), HostError> {
    let mut model = there.clone();
    let mut done: Vec<Change> = Vec::new();
    for step in steps {
        let change = Change::new(step.clone(), &model);
        if let Err(cause) = one(netlink, instance, there, step) {
            let mut back: Vec<Step> = done.into_iter().rev().filter_map(|change| change.undo).collect();
            back.extend(settings_before(there, changes));
            return Err(take_back(netlink, instance, there, &back, step, cause));
        }
        step.apply(&mut model);
        done.push(change);
    }
    Ok(())
}

/// All settings of these changes as they were. To take one back is not enough: the switch of forwarding writes to those of every
/// interface, those too that were as they should be.
fn settings_before(there: &Surroundings, changes: &[Change]) -> Vec<Step> {
    let before = changes.iter().rev().filter_map(|change| match &change.step {
        Step::Sysctl { name, .. } => {
            let value = there.sysctls.get(name)?.trim().to_owned();
            Some(Step::Sysctl { name: name.clone(), value })
        }
        _ => None,
    });
    before.collect()
}

fn take_back(
    netlink: &Netlink,
    instance: &Instance,
    there: &Surroundings,
    back: &[Step],
    failed: &Step,
    cause: Anything,
) -> HostError {
    let mut left = Vec::new();
    for step in back {
        if let Err(error) = one(netlink, instance, there, step) {
            left.push(format!("{step}: {error}"));
        }
    }
    if left.is_empty() {
        HostError::Step(failed.to_string(), cause)
    } else {
        HostError::HalfDone(failed.to_string(), left.join("; "), cause)
    }
}

fn one(netlink: &Netlink, instance: &Instance, there: &Surroundings, step: &Step) -> Result<(), Anything> {
    let links = &there.links;
    match step {
        Step::Sysctl { name, value } => Ok(look::write(name, value)?),
        Step::AddAddress(address) => Ok(netlink.add_address(links, address)?),
        Step::RemoveAddress(address) => Ok(netlink.remove_address(links, address)?),
        Step::ChangeRoute(route) => Ok(netlink.change_route(links, route)?),
        Step::SetLink { name, is_up } => Ok(netlink.set_link(links, name, *is_up)?),
        Step::StartDecapsulator { interface, told } => {
            Ok(decap::put(instance, interface, &told.from, &told.gue_ports)?)
        }
        Step::StopDecapsulator { interface } => Ok(decap::take_off(instance, interface)?),
        Step::AddService(line) | Step::RemoveService { line, .. } => service(instance, line),
        Step::Announce { interface, address } => Ok(lan::announce(interface, *address)?),
    }
}

/// One of ipvsadm's lines; what is there already is made like this.
fn service(instance: &Instance, line: &str) -> Result<(), Anything> {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    let Invocation::Change(command) = grammar::parse(&words, "ipvsadm", &SystemNames::default())? else {
        return Err(io::Error::other("it changes nothing").into());
    };
    let mut client = Client::new(instance.clone());
    let mut answer = client.ask(&Request::Change(command.clone()))?;
    let instead = match (&answer, command) {
        (Response::Refused(CommandError::ServiceExists), Command::AddService { service, options }) => {
            Some(Command::EditService { service, options })
        }
        (Response::Refused(CommandError::ServerExists), Command::AddServer { service, server }) => {
            Some(Command::EditServer { service, server })
        }
        _ => None,
    };
    if let Some(command) = instead {
        answer = client.ask(&Request::Change(command))?;
    }
    match answer {
        Response::Done => Ok(()),
        Response::Refused(refusal) => Err(refusal.into()),
        other => Err(crate::cli::client::ClientError::unexpected(&other).into()),
    }
}
