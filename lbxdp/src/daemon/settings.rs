//! The row of settings: what a state's timeouts and settings mean in it, and the other way round.

use lbxdp_common::Protocol;
use lbxdp_common::settings::{Rules, Settings};
use lbxdp_common::state::{DEFAULT_TIMEOUTS_S, State as ConnectionState, TcpState, Timer, reusable_states};
use lbxdp_common::table::Seed;

use super::clock::Clock;
use crate::layout::Layout;
use crate::state::{Endpoint, Family, MarkRule, ServiceKey, State, Timeouts};
use crate::sysctl::Sysctls;

/// As in [`lbxdp_common::template`].
const FTP_PORT: u16 = u16::from_be_bytes(lbxdp_common::template::FTP_PORT);
/// A due time is written anew when it moves by this part of a second.
const REFRESH_PER_SECOND: u32 = 8;

/// The row that means what a state says, with the rules of [`kinds`]. Its shape is the keeper's, and 0 here.
pub(super) fn row(state: &State, kinds: Rules, seed: Seed, clock: &Clock) -> Settings {
    let State { timeouts, sysctls, .. } = state;
    let reuse_mode = sysctls.conn_reuse_mode.cast_unsigned();
    let mut seconds = DEFAULT_TIMEOUTS_S;
    seconds[timer(TcpState::Established)] = timeouts.tcp;
    seconds[timer(TcpState::FinWait)] = timeouts.tcp_fin;
    seconds[usize::from(Timer::UDP.0)] = timeouts.udp;
    Settings {
        seed_offset: seed.offset,
        seed_multiplier: seed.multiplier,
        timeouts: seconds.map(|seconds| clock.ticks_of(seconds)),
        shape: 0,
        refresh: (clock.hertz() / REFRESH_PER_SECOND).max(1),
        rules: rules(*sysctls).and(kinds),
        reusable_tcp: reusable_states(Protocol::Tcp, reuse_mode),
        reusable_sctp: reusable_states(Protocol::Sctp, reuse_mode),
        hertz: clock.hertz(),
        lblcr_expiration: expiration(sysctls.lblcr_expiration, clock),
        tunnel_spread: !u32::MAX.checked_shl(sysctls.tunnel_spread.cast_unsigned()).unwrap_or(0),
        shape_v6: 0,
        zero: 0,
    }
}

/// How long something lasts that a setting gives in seconds, in ticks: a time below 0 is none, one beyond what two moments
/// can be apart is that.
pub(super) fn expiration(seconds: i32, clock: &Clock) -> u32 {
    let ticks = u64::from(seconds.max(0).unsigned_abs()) * u64::from(clock.hertz());
    u32::try_from(ticks).unwrap_or(u32::MAX).min(i32::MAX.unsigned_abs())
}

/// The seed of tables that another daemon has made; `None` if it never did.
pub(super) fn seed(row: &Settings) -> Option<Seed> {
    let (offset, multiplier) = (row.seed_offset, row.seed_multiplier);
    (multiplier != 0).then_some(Seed { offset, multiplier })
}

/// What a row means, as far as it tells: of values that mean the same it cannot tell which one was set.
pub(super) fn meaning(row: &Settings, clock: &Clock) -> (Timeouts, Sysctls) {
    let seconds = |timer: usize| row.timeouts[timer] / clock.hertz();
    let timeouts = Timeouts {
        tcp: seconds(timer(TcpState::Established)),
        tcp_fin: seconds(timer(TcpState::FinWait)),
        udp: seconds(usize::from(Timer::UDP.0)),
    };
    let has = |rule| i32::from(row.rules.has(rule));
    let conn_reuse_mode =
        (0..=2).find(|mode: &i32| reusable_states(Protocol::Tcp, mode.cast_unsigned()) == row.reusable_tcp);
    let sysctls = Sysctls {
        conn_reuse_mode: conn_reuse_mode.unwrap_or(Sysctls::default().conn_reuse_mode),
        expire_nodest_conn: has(Rules::EXPIRE_NODEST_CONN),
        expire_quiescent_template: has(Rules::EXPIRE_QUIESCENT_TEMPLATE),
        pmtu_disc: has(Rules::PMTU_DISC),
        secure_tcp: 3 * has(Rules::SECURE_TCP),
        sloppy_sctp: has(Rules::SLOPPY_SCTP),
        sloppy_tcp: has(Rules::SLOPPY_TCP),
        lblcr_expiration: (row.lblcr_expiration / clock.hertz()).cast_signed(),
        tunnel_spread: row.tunnel_spread.count_ones().cast_signed(),
        ..Sysctls::default()
    };
    (timeouts, sysctls)
}

fn timer(state: TcpState) -> usize {
    usize::from(ConnectionState::tcp(state).timer(Protocol::Tcp).0)
}

/// The rules that settings switch on.
fn rules(sysctls: Sysctls) -> Rules {
    Rules::default()
        .with_if(Rules::SLOPPY_TCP, sysctls.sloppy_tcp != 0)
        .with_if(Rules::SLOPPY_SCTP, sysctls.sloppy_sctp != 0)
        .with_if(Rules::EXPIRE_NODEST_CONN, sysctls.expire_nodest_conn != 0)
        .with_if(Rules::EXPIRE_QUIESCENT_TEMPLATE, sysctls.expire_quiescent_template != 0)
        .with_if(Rules::PMTU_DISC, sysctls.pmtu_disc != 0)
        .with_if(Rules::SECURE_TCP, sysctls.secure_tcp >= 2)
}

/// What kinds of services there are, and by which methods connections go: packets look for no others.
pub(super) fn kinds(state: &State, layout: &Layout) -> Rules {
    let by_mark = kinds_by_mark(&state.marks);
    let keys = state.services.keys();
    keys.fold(methods(layout), |kinds, key| kinds.and(kinds_at(key, by_mark)))
}

/// What packets look for because of one service.
pub(super) fn kinds_of(key: &ServiceKey, marks: &[MarkRule]) -> Rules {
    kinds_at(key, kinds_by_mark(marks))
}

fn kinds_at(key: &ServiceKey, by_mark: Rules) -> Rules {
    let kinds = match key {
        ServiceKey::Mark(_) => by_mark,
        ServiceKey::Address(Endpoint { protocol, port, .. }) => Rules::default()
            .with_if(Rules::FTP, *protocol == Protocol::Tcp && *port == FTP_PORT)
            .with_if(Rules::ALL_PORTS, *port == 0),
    };
    kinds.with_if(Rules::IPV6, key.family() == Family::V6)
}

/// What packets look for because of a service by mark.
fn kinds_by_mark(marks: &[MarkRule]) -> Rules {
    let is_net = |rule: &MarkRule| rule.destination.prefix_len() < rule.destination.max_prefix_len();
    Rules::default()
        .with_if(Rules::MARKS, !marks.is_empty())
        .with_if(Rules::MARKED_NETS, marks.iter().any(is_net))
}

/// By which methods connections go.
pub(super) fn methods(layout: &Layout) -> Rules {
    Rules::default()
        .with_if(Rules::MASQUERADE, layout.may_masquerade())
        .with_if(Rules::TUNNELS, layout.may_tunnel())
}

/// What a row says of kinds and methods.
pub(super) fn kinds_in(row: &Settings) -> Rules {
    Rules(row.rules.0 & !Rules::SYSCTLS)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use lbxdp_common::{Forward, Scheduler};

    use super::*;
    use crate::layout::Hop;
    use crate::state::{Options, Server, Service};

    #[test]
    fn a_row_tells_what_was_set() {
        let clock = Clock::at_hertz(250);
        let seed_of_start = Seed { offset: 5, multiplier: 7 };
        for (conn_reuse_mode, secure_tcp, on) in [(0, 0, 0), (1, 3, 1), (2, 3, 0)] {
            let timeouts = Timeouts { tcp: 77, tcp_fin: 8, udp: 1 };
            let sysctls = Sysctls {
                conn_reuse_mode,
                secure_tcp,
                expire_nodest_conn: on,
                expire_quiescent_template: 1 - on,
                pmtu_disc: on,
                sloppy_tcp: 1 - on,
                sloppy_sctp: on,
                lblcr_expiration: 3600,
                tunnel_spread: 12 * on,
                ..Sysctls::default()
            };
            let kinds = Rules::MARKS.and(Rules::IPV6);
            let row = row(&State { timeouts, sysctls, ..State::default() }, kinds, seed_of_start, &clock);
            assert_eq!(kinds_in(&row), kinds);
            assert_eq!(meaning(&row, &clock), (timeouts, sysctls));
            assert_eq!(seed(&row), Some(seed_of_start));
        }
    }

    #[test]
    fn packets_look_for_what_there_is() {
        let mut state = State::default();
        let mut layout = Layout::new(16, 16, 1024);
        let mut kinds_with = |key: ServiceKey, server: Option<Server>| {
            let options = Options::of(Scheduler::RoundRobin);
            state.services = [(key, Service { options, servers: server.into_iter().collect() })].into();
            layout.readers_are_gone();
            layout.change(&state, &|_| Hop::default(), Instant::now()).expect("room");
            kinds(&state, &layout)
        };
        let at =
            |address: &str, port| ServiceKey::at(Protocol::Tcp, address.parse().expect("an address"), port);
        let by = |forward| Some(Server::new([10, 0, 0, 1].into(), 80, forward, 1));
        for (key, server, expected) in [
            (at("10.0.0.100", 80), None, Rules::default()),
            (at("10.0.0.100", 80), by(Forward::Direct), Rules::default()),
            (at("10.0.0.100", 0), None, Rules::ALL_PORTS),
            (at("10.0.0.100", 21), None, Rules::FTP),
            (at("fd00::100", 80), None, Rules::IPV6),
            (ServiceKey::marked_v6(7), None, Rules::IPV6),
            (ServiceKey::marked(7), None, Rules::default()),
            (at("10.0.0.100", 80), by(Forward::Tunnel), Rules::TUNNELS),
            // Connections to servers that are gone may still be there.
            (at("10.0.0.100", 80), None, Rules::TUNNELS),
            (at("10.0.0.100", 80), by(Forward::Masquerade), Rules::TUNNELS.and(Rules::MASQUERADE)),
            (at("10.0.0.100", 80), by(Forward::Direct), Rules::TUNNELS.and(Rules::MASQUERADE)),
        ] {
            assert_eq!(kinds_with(key, server), expected, "{key} {server:?}");
        }
    }
}
