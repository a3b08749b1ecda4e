//! The border of what this version can do: a right line of ipvsadm becomes an invocation, or is refused by name.

use lbxdp_common::{Protocol, Scheduler};

use super::error::GrammarError;
use super::line::{Family, Line, NamedServer};
use super::words::{Choice, Verb};
use super::{Columns, Invocation, Listing, Selection, Wish};
use crate::cli::names::Transport;
use crate::command::Command;
use crate::state::{Options, Persistence, Server, ServiceKey};

/// What a checked line wants, if this version can do it.
pub(super) fn invocation(line: &Line<'_>) -> Result<Invocation, GrammarError> {
    let change = |command| Ok(Invocation::Change(command));
    match line.verb {
        Verb::AddService => service_with_scheduler(line, Wish::Add),
        Verb::EditService => service_with_scheduler(line, Wish::Edit),
        Verb::DeleteService => change(Command::DeleteService { service: service(line) }),
        Verb::Flush => change(Command::Flush),
        Verb::AddServer => change(Command::AddServer { service: service(line), server: server(line) }),
        Verb::EditServer => change(Command::EditServer { service: service(line), server: server(line) }),
        Verb::DeleteServer => {
            let (service, server) = (service(line), server(line));
            change(Command::DeleteServer { service, address: server.address, port: server.port })
        }
        Verb::SetTimeouts => {
            let [tcp, tcp_fin, udp] = line.timeouts;
            change(Command::SetTimeouts { tcp, tcp_fin, udp })
        }
        Verb::Zero => change(Command::Zero { service: service_if_given(line) }),
        Verb::List => Ok(Invocation::List(listing(line)?)),
        Verb::Save => Ok(Invocation::Save { is_numeric: line.has(Choice::Numeric) }),
        Verb::Restore => Ok(Invocation::Restore),
        Verb::StartDaemon => unsupported("the synchronization daemon (--start-daemon)"),
        Verb::StopDaemon => unsupported("the synchronization daemon (--stop-daemon)"),
    }
}

fn unsupported<T>(feature: &str) -> Result<T, GrammarError> {
    Err(GrammarError::Unsupported(feature.to_owned()))
}

fn service_if_given(line: &Line<'_>) -> Option<ServiceKey> {
    line.has(Choice::Service).then(|| service(line))
}

fn service(line: &Line<'_>) -> ServiceKey {
    let service = &line.service;
    let protocol = match service.transport {
        Some(Transport::Udp) => Protocol::Udp,
        Some(Transport::Sctp) => Protocol::Sctp,
        Some(Transport::Tcp) | None => Protocol::Tcp,
    };
    match (service.mark, service.family) {
        (Some(mark), Family::V6) => ServiceKey::marked_v6(mark),
        (Some(mark), _) => ServiceKey::marked(mark),
        (None, _) => ServiceKey::at(protocol, service.address, service.port),
    }
}

fn server(line: &Line<'_>) -> Server {
    let NamedServer { address, port, method, tunnel, weight, upper, lower, .. } = line.server;
    Server { address, port, forward: method, tunnel, weight, upper, lower }
}

fn service_with_scheduler(line: &Line<'_>, wish: Wish) -> Result<Invocation, GrammarError> {
    let service = service(line);
    let name = if line.scheduler.is_empty() { "wlc" } else { line.scheduler };
    let scheduler = Scheduler::from_name(name).filter(|_| matches!(line.engine, "" | "sip"));
    if scheduler.is_some() && line.engine == "sip" {
        return Err(GrammarError::PersistenceEngine);
    }
    Ok(match (scheduler, wish) {
        (Some(scheduler), Wish::Add) => {
            Invocation::Change(Command::AddService { service, options: options(line, scheduler) })
        }
        (Some(scheduler), Wish::Edit) => {
            Invocation::Change(Command::EditService { service, options: options(line, scheduler) })
        }
        (None, wish) => Invocation::UnknownScheduler { service, wish },
    })
}

/// What is not given has its default, also in an edit.
fn options(line: &Line<'_>, scheduler: Scheduler) -> Options {
    let persistence = Persistence { timeout_s: line.persistence_s, netmask: line.netmask };
    Options {
        scheduler,
        sched_flags: line.sched_flags,
        one_packet: line.has(Choice::OnePacket),
        persistence: line.has(Choice::Persistent).then_some(persistence),
    }
}

fn listing(line: &Line<'_>) -> Result<Listing, GrammarError> {
    if line.has(Choice::Daemon) {
        return unsupported("the synchronization daemon (--daemon)");
    }
    let selection = if line.has(Choice::Connection) {
        Selection::Connections
    } else if line.has(Choice::Timeout) {
        Selection::Timeouts
    } else {
        Selection::Services(service_if_given(line))
    };
    let columns = if line.has(Choice::Stats) {
        Columns::Stats
    } else if line.has(Choice::Rate) {
        Columns::Rates
    } else if line.has(Choice::Thresholds) {
        Columns::Thresholds
    } else if line.has(Choice::PersistentConnections) {
        Columns::Persistent
    } else if line.has(Choice::TunnelInfo) {
        Columns::Tunnels
    } else {
        Columns::Connections
    };
    Ok(Listing {
        selection,
        columns,
        is_numeric: line.has(Choice::Numeric),
        is_exact: line.has(Choice::Exact),
        is_sorted: !line.has(Choice::NoSort),
    })
}
