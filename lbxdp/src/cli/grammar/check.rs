//! The checks that come after the options themselves: what they mean together.

use lbxdp_common::Forward;

use super::error::GrammarError;
use super::line::Line;
use super::validity;
use super::words::{Choice, Verb};
use crate::cli::names::Transport;
use crate::state::SCHEDULER_FLAGS;

/// ipvsadm's checks of a whole line, in its order; the first that fails is the answer.
pub(super) fn check(line: &mut Line<'_>) -> Result<(), GrammarError> {
    check_scheduler_flags(line)?;
    validity::check_verb(line)?;
    match line.verb {
        Verb::AddService | Verb::EditService => check_service(line),
        Verb::AddServer | Verb::EditServer => check_server(line),
        Verb::List => check_list(line),
        _ => Ok(()),
    }
}

fn check_service(line: &Line<'_>) -> Result<(), GrammarError> {
    let service = &line.service;
    if service.mark.is_none() {
        if service.port == 0 && !line.has(Choice::Persistent) {
            return Err(GrammarError::ZeroPort);
        }
        if line.has(Choice::OnePacket) && service.transport != Some(Transport::Udp) {
            return Err(GrammarError::OnePacket);
        }
    }
    Ok(())
}

fn check_server(line: &mut Line<'_>) -> Result<(), GrammarError> {
    // Without address translation a packet keeps its port.
    if line.service.mark.is_none() && line.server.method != Forward::Masquerade {
        line.server.port = line.service.port;
    }
    let is_tunnel = line.server.method == Forward::Tunnel;
    if line.server.family != line.service.family && !is_tunnel {
        return Err(GrammarError::MixedFamily);
    }
    if is_tunnel {
        return validity::check_tunnel(line);
    }
    if validity::has_tunnel_options(line) { Err(GrammarError::NotTunnel) } else { Ok(()) }
}

fn check_list(line: &Line<'_>) -> Result<(), GrammarError> {
    let any = |choices: &[Choice]| choices.iter().any(|&choice| line.has(choice));
    let is_short = any(&[Choice::Timeout, Choice::Daemon]);
    let has_columns = any(&[Choice::Stats, Choice::Rate, Choice::Thresholds]);
    let conflict = (is_short || line.has(Choice::Connection)) && has_columns
        || is_short && line.has(Choice::PersistentConnections);
    if conflict { Err(GrammarError::ListConflict) } else { Ok(()) }
}

fn check_scheduler_flags(line: &mut Line<'_>) -> Result<(), GrammarError> {
    for name in line.scheduler_flags.split(',').filter(|name| !name.is_empty()) {
        let known = SCHEDULER_FLAGS.iter().find(|flag| flag.name == name);
        let known = known.ok_or_else(|| GrammarError::UnknownFlag(name.to_owned()))?;
        if known.scheduler.is_some_and(|scheduler| scheduler != line.scheduler) {
            return Err(GrammarError::IncompatibleFlag(name.to_owned()));
        }
        line.sched_flags |= known.bit;
    }
    Ok(())
}
