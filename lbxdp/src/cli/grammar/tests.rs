//! Lines and what they mean; and back.

use std::net::{IpAddr, Ipv4Addr};

use lbxdp_common::{Forward, Protocol, Scheduler};
use proptest::prelude::*;

use super::{GrammarError, Invocation, parse, print};
use crate::cli::names::{FixedNames, Naming};
use crate::command::Command;
use crate::command::timeouts::MAX_TIMEOUT_S;
use crate::state::{Server, ServiceKey};

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
fn whatever_is_not_there_yet_is_refused_by_its_name() {
    for (line, feature) in [
        ("-A -t 10.0.0.100:80 -p", "persistence (-p)"),
        ("-A -t 10.0.0.100:0 -p 60", "persistence (-p)"),
        ("-A -u 10.0.0.100:80 --ops", "one-packet scheduling (-o)"),
        ("-A -f 7", "a firewall mark (-f)"),
        ("-A -t [fd00::1]:80", "IPv6"),
        ("-a -t 10.0.0.100:80 -r 10.0.0.1 -m", "masquerading (-m)"),
        ("-a -t 10.0.0.100:80 -r 10.0.0.1 -i --tun-type gue --tun-port 6080", "tunneling (-i)"),
        ("-L --daemon", "the synchronization daemon (--daemon)"),
        ("--start-daemon master --mcast-group 224.0.0.81", "the synchronization daemon (--start-daemon)"),
        ("-L -c --persistent-conn", "a list of persistent connections (--persistent-conn)"),
    ] {
        assert_eq!(read(line), Err(GrammarError::Unsupported(feature.to_owned())), "{line}");
    }
}

/// Tunnels and the synchronization daemon are not there yet, but their wrong use is already ipvsadm's.
#[test]
fn wrong_use_of_what_is_not_there_yet_has_ipvsadms_words() {
    let tunnel = "-a -t 10.0.0.100:80 -r 10.0.0.1";
    for (line, text) in [
        ("--tun-csum", "Tunnel options conflict with forward method"),
        ("-i --tun-type gue", "You need to supply the 'tun-port' option for the 'gue' tunnel type"),
        ("-i --tun-type gre --tun-port 1", "Illegal 'tun-port' option with the 'gre' tunnel type"),
        (
            "-i --tun-type gre --tun-csum --tun-nocsum",
            "The option 'tun-csum' conflicts with the 'tun-nocsum' option in the 'gre' tunnel type",
        ),
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

fn address() -> impl Strategy<Value = IpAddr> {
    any::<u32>().prop_map(|bits| IpAddr::V4(Ipv4Addr::from_bits(bits)))
}

fn service() -> impl Strategy<Value = ServiceKey> {
    let protocol = proptest::sample::select(Protocol::ALL);
    (protocol, address(), 1_u16..).prop_map(|(protocol, address, port)| ServiceKey {
        protocol,
        address,
        port,
    })
}

/// A service with one of its servers.
fn with_server() -> impl Strategy<Value = (ServiceKey, Server)> {
    (service(), address(), 0..=i32::MAX.unsigned_abs()).prop_map(|(service, address, weight)| {
        (service, Server { address, port: service.port, forward: Forward::Direct, weight })
    })
}

fn command() -> impl Strategy<Value = Command> {
    let scheduler = || proptest::sample::select(Scheduler::ALL);
    let timeout = || 0..=MAX_TIMEOUT_S;
    prop_oneof![
        (service(), scheduler()).prop_map(|(service, scheduler)| Command::AddService { service, scheduler }),
        (service(), scheduler()).prop_map(|(service, scheduler)| Command::EditService { service, scheduler }),
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
