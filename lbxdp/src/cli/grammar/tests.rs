//! Lines and what they mean; and back.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lbxdp_common::{Forward, Protocol, Scheduler, TunnelChecksum, TunnelKind};
use proptest::prelude::*;

use super::{GrammarError, Invocation, parse, print};
use crate::cli::names::{FixedNames, Naming};
use crate::command::Command;
use crate::command::timeouts::MAX_TIMEOUT_S;
use crate::state::{Engine, Family, Options, Persistence, Role, Server, ServiceKey, SyncDaemon, Tunnel};

fn read(line: &str) -> Result<Invocation, GrammarError> {
    let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    parse(&arguments, "ipvsadm", &FixedNames)
}

fn added_server(line: &str) -> Server {
    match read(line) {
        Ok(Invocation::Change(Command::AddServer { server, .. })) => server,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn without_address_translation_the_servers_port_is_the_services() {
    assert_eq!(added_server("-a -t 10.0.0.100:80 -r 10.0.0.1:8080").port, 80);
    assert_eq!(added_server("-a -r 10.0.0.1 -t 10.0.0.100:80").port, 80);
    let deleted = read("-d -t 10.0.0.100:80 -r 10.0.0.1:8080");
    assert!(matches!(deleted, Ok(Invocation::Change(Command::DeleteServer { port: 8080, .. }))));
    let deleted = read("-d -r 10.0.0.1 -t 10.0.0.100:80");
    assert!(matches!(deleted, Ok(Invocation::Change(Command::DeleteServer { port: 0, .. }))));
}

#[test]
fn wrong_use_of_tunnels_and_daemons_has_ipvsadms_words() {
    let tunnel = "-a -t 10.0.0.100:80 -r 10.0.0.1";
    for (line, text) in [
        ("--tun-csum", "Tunnel options conflict with forward method"),
        ("-i --tun-type gue", "You need to supply the 'tun-port' option for the 'gue' tunnel type"),
        ("-i --tun-type gre --tun-port 1", "Illegal 'tun-port' option with the 'gre' tunnel type"),
        (
            "-i --tun-type gre --tun-csum --tun-nocsum",
            "The option 'tun-csum' conflicts with the 'tun-nocsum' option in the 'gre' tunnel type",
        ),
        (
            "-i --tun-type gue --tun-port 1 --tun-remcsum --tun-csum",
            "The option 'tun-remcsum' conflicts with the 'tun-csum' option in the 'gue' tunnel type",
        ),
        ("-i --tun-type gre --tun-remcsum", "Illegal 'tun-remcsum' option with the 'gre' tunnel type"),
        ("-i --tun-csum", "Illegal 'tun-csum' option with the 'ipip' tunnel type"),
        ("-i --tun-type ipip --tun-port 1", "Illegal 'tun-port' option with the 'ipip' tunnel type"),
        ("-m --tun-type ipip", "Tunnel options conflict with forward method"),
        ("-i --tun-type gre --tun-type gre", "multiple 'tun-type' options specified"),
        ("-i --tun-type gue --tun-port 65536", "illegal tunnel port specified"),
        ("-i --tun-type foo", "illegal tunnel type specified"),
        ("-i --tun-type gue --tun-port 0", "illegal tunnel port specified"),
        ("-r 10.0.0.2", "multiple 'real-server' options specified"),
    ] {
        assert_eq!(read(&format!("{tunnel} {line}")).unwrap_err().to_string(), text);
    }
    for (line, text) in [
        ("--start-daemon foo", "illegal start-daemon parameter specified"),
        ("--stop-daemon foo", "illegal start_daemon specified"),
        ("--start-daemon", "Try `ipvsadm -h' or 'ipvsadm --help' for more information."),
        ("--start-daemon master --mcast-group 1.2.3.4", "invalid IPv4 mcast-group `1.2.3.4'"),
        ("--start-daemon master --mcast-group fe02::1", "invalid IPv6 mcast-group `fe02::1'"),
        ("--stop-daemon master --mcast-ttl 2", "Illegal 'mcast-ttl' option with the 'stop-daemon' command"),
        ("-A -b sh-port", "incompatible scheduler flag `sh-port'"),
        ("-A -t 10.0.0.100:80 -s sh -b sh-port,,x", "invalid scheduler flag `x'"),
    ] {
        assert_eq!(read(line).unwrap_err().to_string(), text, "{line}");
    }
}

#[test]
fn a_server_has_the_method_and_the_tunnel_of_its_line() {
    let service = "-a -t 10.0.0.100:80 -r 10.0.0.1:8080";
    let tunnel = |kind, port, checksum| Tunnel { kind, port, checksum };
    for (words, forward, port, expected) in [
        ("", Forward::Direct, 80, Tunnel::IPIP),
        ("-g", Forward::Direct, 80, Tunnel::IPIP),
        ("-m", Forward::Masquerade, 8080, Tunnel::IPIP),
        ("-i", Forward::Tunnel, 80, Tunnel::IPIP),
        ("-i --tun-type ipip", Forward::Tunnel, 80, Tunnel::IPIP),
        ("--ipip --tun-type gre", Forward::Tunnel, 80, tunnel(TunnelKind::Gre, 0, TunnelChecksum::None)),
        (
            "-i --tun-type gre --tun-csum",
            Forward::Tunnel,
            80,
            tunnel(TunnelKind::Gre, 0, TunnelChecksum::Full),
        ),
        (
            "--tun-remcsum --tun-port 6080 --tun-type gue -i",
            Forward::Tunnel,
            80,
            tunnel(TunnelKind::Gue, 6080, TunnelChecksum::Remote),
        ),
        (
            "-i --tun-type gue --tun-port 1 --tun-nocsum",
            Forward::Tunnel,
            80,
            tunnel(TunnelKind::Gue, 1, TunnelChecksum::None),
        ),
    ] {
        let server = added_server(&format!("{service} {words}"));
        assert_eq!((server.forward, server.port, server.tunnel), (forward, port, expected), "{words}");
    }
    // A service by mark has no port to give.
    assert_eq!(added_server("-a -f 7 -r 10.0.0.1:8080 -i").port, 8080);
    let edited = read("-e -t 10.0.0.100:80 -r 10.0.0.1:8080 -i");
    assert!(
        matches!(edited, Ok(Invocation::Change(Command::EditServer { server, .. })) if server.port == 80)
    );
}

#[test]
fn a_netmask_is_read_by_the_family_known_so_far() {
    for (words, netmask) in [
        ("-t [fd00::1]:80 -p", 128),
        ("-t [fd00::1]:80 -p -M 64", 64),
        // As in ipvsadm: what stands before the service does not count.
        ("-M 255.255.255.0 -p -t [fd00::1]:80", 128),
        ("-f 7 -M 24 -p -6", 128),
        ("-f 7 -6 -p -M 24", 24),
        ("-f 7 -p -M 24", 24),
        ("-M 255.255.255.0 -p -t 10.0.0.100:80", 0xffff_ff00),
    ] {
        let Ok(Invocation::Change(Command::AddService { options, .. })) = read(&format!("-A {words}")) else {
            panic!("{words}: {:?}", read(words));
        };
        assert_eq!(options.persistence.map(|persistence| persistence.netmask), Some(netmask), "{words}");
    }
}

fn v4() -> impl Strategy<Value = IpAddr> {
    any::<u32>().prop_map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits)))
}

/// Any, and those that are written in a way of their own.
fn v6() -> impl Strategy<Value = IpAddr> {
    let short = any::<u32>().prop_map(|bits| Ipv6Addr::from_bits(u128::from(bits)));
    let mapped = any::<u32>().prop_map(|bits| Ipv4Addr::from_bits(bits).to_ipv6_mapped());
    let address = prop_oneof![3 => any::<u128>().prop_map(Ipv6Addr::from_bits), 1 => short, 1 => mapped];
    address.prop_map(IpAddr::V6)
}

fn address() -> impl Strategy<Value = IpAddr> {
    prop_oneof![v4(), v6()]
}

fn service() -> impl Strategy<Value = ServiceKey> {
    let protocol = proptest::sample::select(Protocol::ALL);
    prop_oneof![
        4 => (protocol, address(), 1_u16..)
            .prop_map(|(protocol, address, port)| ServiceKey::at(protocol, address, port)),
        1 => (1_u32..).prop_map(ServiceKey::marked),
        1 => (1_u32..).prop_map(ServiceKey::marked_v6),
    ]
}

/// A service with options that go with it.
fn with_options() -> impl Strategy<Value = (ServiceKey, Options)> {
    let persistence = (1..=MAX_TIMEOUT_S, prop_oneof![Just(u32::MAX), any::<u32>()], 1..=128_u32);
    let scheduler = proptest::sample::select(Scheduler::ALL);
    let engine = proptest::option::of(Just(Engine::Sip));
    (service(), scheduler, 0..8_u8, any::<bool>(), proptest::option::of(persistence), engine).prop_map(
        |(service, scheduler, flags, one_packet, persistence, engine)| {
            let persistence = persistence.map(|(timeout_s, mask, length)| {
                let netmask = if service.family() == Family::V6 { length } else { mask };
                Persistence { timeout_s, netmask }
            });
            let can_be = matches!(service.protocol(), None | Some(Protocol::Udp));
            let one_packet = one_packet && can_be;
            (service, Options { scheduler, sched_flags: flags << 3, one_packet, persistence, engine })
        },
    )
}

fn tunnel() -> impl Strategy<Value = Tunnel> {
    let kind = proptest::sample::select(TunnelKind::ALL);
    let checksum = proptest::sample::select(TunnelChecksum::ALL);
    (kind, 1_u16.., checksum)
        .prop_map(|(kind, port, checksum)| Tunnel { kind, port, checksum }.without_surplus())
}

/// A service with one of its servers.
fn with_server() -> impl Strategy<Value = (ServiceKey, Server)> {
    let number = || 0..=i32::MAX.unsigned_abs();
    let way = (proptest::sample::select(Forward::ALL), tunnel());
    let numbers = (any::<u16>(), number(), number(), number());
    (service(), v4(), v6(), any::<bool>(), way, numbers).prop_map(
        |(service, v4, v6, is_mixed, (forward, tunnel), (port, weight, upper, lower))| {
            let is_mixed = is_mixed && forward == Forward::Tunnel;
            let address = if (service.family() == Family::V6) == is_mixed { v4 } else { v6 };
            let is_services = service.protocol().is_some() && forward != Forward::Masquerade;
            let port = if is_services { service.port() } else { port };
            let server = Server { tunnel, upper, lower, ..Server::new(address, port, forward, weight) };
            (service, server.without_surplus())
        },
    )
}

fn role() -> impl Strategy<Value = Role> {
    proptest::sample::select(Role::ALL)
}

fn daemon() -> impl Strategy<Value = SyncDaemon> {
    let group = prop_oneof![v4(), v6()].prop_filter("multicast", IpAddr::is_multicast);
    let group = prop_oneof![Just(None), group.prop_map(Some), Just(Some(IpAddr::from([224, 0, 0, 81])))];
    let numbers = (any::<u8>(), 0..=65_507_u16, any::<u16>(), any::<u8>());
    ("[-a-z0-9.#@]{1,15}", group, numbers).prop_map(|(interface, group, (sync_id, max_length, port, ttl))| {
        SyncDaemon { interface, sync_id, max_length, group, port, ttl }
    })
}

fn command() -> impl Strategy<Value = Command> {
    let timeout = || 0..=MAX_TIMEOUT_S;
    prop_oneof![
        with_options().prop_map(|(service, options)| Command::AddService { service, options }),
        with_options().prop_map(|(service, options)| Command::EditService { service, options }),
        service().prop_map(|service| Command::DeleteService { service }),
        Just(Command::Flush),
        with_server().prop_map(|(service, server)| Command::AddServer { service, server }),
        with_server().prop_map(|(service, server)| Command::EditServer { service, server }),
        (service(), address(), any::<u16>()).prop_map(|(service, address, port)| Command::DeleteServer {
            service,
            address,
            port
        }),
        (timeout(), timeout(), timeout()).prop_map(|(tcp, tcp_fin, udp)| Command::SetTimeouts {
            tcp,
            tcp_fin,
            udp
        }),
        proptest::option::of(service()).prop_map(|service| Command::Zero { service }),
        (role(), daemon()).prop_map(|(role, daemon)| Command::StartDaemon { role, daemon }),
        role().prop_map(|role| Command::StopDaemon { role }),
    ]
}

proptest! {
    #[test]
    fn a_printed_command_means_the_same(command in command(), is_numeric: bool) {
        let mut naming = if is_numeric { Naming::numeric() } else { Naming::by_name(&FixedNames) };
        let line = print(&command, &mut naming);
        // A name that is cut cannot be read again.
        prop_assume!(!line.contains("a.very.long"));
        prop_assert_eq!(read(&line), Ok(Invocation::Change(command)), "{}", line);
    }
}

/// The manual page and the help name every word.
#[test]
fn every_word_is_in_the_manual() {
    let page = include_str!("../../../../docs/man/ipvsadm.8").replace("\\-", "-");
    let words: Vec<&str> = page.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-')).collect();
    for row in super::words::WORDS {
        let long = format!("--{}", row.long);
        assert!(words.contains(&long.as_str()), "{long}");
        if let Some(short) = row.short {
            assert!(words.contains(&format!("-{short}").as_str()), "-{short}");
        }
    }
}
