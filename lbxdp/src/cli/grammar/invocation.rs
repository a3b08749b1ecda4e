//! What a right line of ipvsadm wants.

use lbxdp_common::{Protocol, Scheduler};

use super::line::{Family, Line, NamedServer};
use super::words::{Choice, Verb};
use super::{Columns, Invocation, Listing, Selection, Wish};
use crate::cli::names::Transport;
use crate::command::Command;
use crate::state::{Engine, Options, Persistence, Role, Server, ServiceKey};

/// What a checked line wants. `role` is what `--start-daemon` or `--stop-daemon` is about, which cannot be without one.
pub(super) fn invocation(line: &Line<'_>, role: Option<Role>) -> Invocation {
    let change = Invocation::Change;
    let role = role.unwrap_or(Role::Master);
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
        Verb::List => Invocation::List(listing(line)),
        Verb::Save => Invocation::Save { is_numeric: line.has(Choice::Numeric) },
        Verb::Restore => Invocation::Restore,
        Verb::StartDaemon => change(Command::StartDaemon { role, daemon: line.daemon.clone() }),
        Verb::StopDaemon => change(Command::StopDaemon { role }),
    }
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

fn service_with_scheduler(line: &Line<'_>, wish: Wish) -> Invocation {
    let service = service(line);
    let name = if line.scheduler.is_empty() { "wlc" } else { line.scheduler };
    let Some(options) = Scheduler::from_name(name).and_then(|scheduler| options(line, scheduler)) else {
        return Invocation::UnknownName { service, wish };
    };
    Invocation::Change(match wish {
        Wish::Add => Command::AddService { service, options },
        Wish::Edit => Command::EditService { service, options },
    })
}

/// What is not given has its default, also in an edit; `None` if there is no such engine.
fn options(line: &Line<'_>, scheduler: Scheduler) -> Option<Options> {
    let engine = if line.engine.is_empty() { None } else { Some(Engine::from_name(line.engine)?) };
    let persistence = Persistence { timeout_s: line.persistence_s, netmask: line.netmask };
    Some(Options {
        scheduler,
        sched_flags: line.sched_flags,
        one_packet: line.has(Choice::OnePacket),
        persistence: line.has(Choice::Persistent).then_some(persistence),
        engine,
    })
}

fn listing(line: &Line<'_>) -> Listing {
    let selection = if line.has(Choice::Connection) {
        Selection::Connections
    } else if line.has(Choice::Timeout) {
        Selection::Timeouts
    } else if line.has(Choice::Daemon) {
        Selection::Daemons
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
    Listing {
        selection,
        columns,
        is_numeric: line.has(Choice::Numeric),
        is_exact: line.has(Choice::Exact),
        is_sorted: !line.has(Choice::NoSort),
    }
}
