//! `-L -c`: the table arrives in pieces and is printed as it comes.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lbxdp::cli::client::{ClientError, Director, EachPiece};
use lbxdp::cli::ipvsadm::Front;
use lbxdp::cli::names::{Names, PortNames, Transport};
use lbxdp::message::{Request, Response};
use lbxdp::record::{Connection, End};
use lbxdp_common::Protocol;
use lbxdp_common::state::{State, TcpState};
use serde::Deserialize;

use crate::run::NamesOfTheMachine;

/// A director with some connections, that may fail behind them.
struct Connected {
    pieces: Vec<Vec<Connection>>,
    fails: bool,
}

impl Director for Connected {
    fn ask(&mut self, _: &Request) -> Result<Response, ClientError> {
        Ok(Response::Failed("no such map: services".to_owned()))
    }

    fn connections(&mut self, each: &mut EachPiece<'_>) -> Result<(), ClientError> {
        for piece in &self.pieces {
            each(piece).map_err(ClientError::Output)?;
        }
        if self.fails { Err(ClientError::GoneAway(lbxdp::tables::pins::Instance::default())) } else { Ok(()) }
    }
}

fn connection(client: &str, port: u16) -> Connection {
    let end = |address: &str, port| End { address: address.parse().unwrap(), port };
    Connection {
        protocol: Some(Protocol::Tcp),
        state: State::tcp(TcpState::SynReceived),
        expires_s: 61,
        client: end(client, port),
        vip: end("10.0.0.100", 80),
        server: end("10.0.0.101", 80),
    }
}

fn run(director: Connected, line: &[&str]) -> (u8, String, String) {
    run_with(director, &NamesOfTheMachine, line)
}

fn run_with(director: Connected, names: &dyn Names, line: &[&str]) -> (u8, String, String) {
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let mut front = Front {
        program: "ipvsadm",
        director,
        names,
        input: &b""[..],
        output: &mut output,
        errors: &mut errors,
    };
    let arguments: Vec<String> = line.iter().map(ToString::to_string).collect();
    let code = front.run(&arguments);
    (code, String::from_utf8(output).unwrap(), String::from_utf8(errors).unwrap())
}

const TITLE: &str = "IPVS connection entries
pro expire state       source             virtual            destination
";

#[test]
fn one_title_stands_above_all_pieces() {
    let pieces = vec![vec![connection("127.0.0.1", 5)], vec![connection("10.0.0.9", 80)]];
    let (code, output, errors) = run(Connected { pieces, fails: false }, &["-Lc"]);
    let entries = "\
TCP 01:01  SYN_RECV    localhost:5        10.0.0.100:http    10.0.0.101:http
TCP 01:01  SYN_RECV    10.0.0.9:http      10.0.0.100:http    10.0.0.101:http
";
    assert_eq!((code, output, errors), (0, format!("{TITLE}{entries}"), String::new()));
    let (_, output, _) = run(Connected { pieces: vec![], fails: false }, &["-Lc"]);
    assert_eq!(output, TITLE);
}

#[test]
fn a_director_that_is_gone_leaves_no_title() {
    let gone = "the daemon of instance `default` has gone away in the middle of an answer\n".to_owned();
    let answer = run(Connected { pieces: vec![], fails: true }, &["-Lnc"]);
    assert_eq!(answer, (255, String::new(), gone));
}

#[test]
fn what_the_daemon_could_not_do_stands_in_one_line() {
    let failed = "the daemon could not do it: no such map: services\n".to_owned();
    for line in [&["-L"][..], &["-C"], &["-S"], &["-L", "--timeout"]] {
        let answer = run(Connected { pieces: vec![], fails: false }, line);
        assert_eq!(answer, (255, String::new(), failed.clone()), "{line:?}");
    }
}

/// Listings of ipvsadm 1.31 on Linux 6.1, of IPv4 and IPv6 in one table: connections, templates, those of services by mark.
const RECORDED: &str = include_str!("../data/connections.jsonl");
/// What there is to compare must not silently drop out.
const RECORDED_ENTRIES: usize = 104;

/// Where it was recorded.
#[derive(Deserialize)]
struct Place {
    names: BTreeMap<IpAddr, String>,
    /// As in /etc/services.
    services: String,
}

impl Names for Place {
    fn port(&self, name: &str, transport: Transport) -> Option<u16> {
        PortNames::parse(&self.services).port(name, transport)
    }

    fn service(&self, port: u16, transport: Transport) -> Option<String> {
        PortNames::parse(&self.services).name(port, transport)
    }

    fn address(&self, _: &str) -> Option<Ipv4Addr> {
        None
    }

    fn hosts(&self, addresses: &[IpAddr]) -> Vec<Option<String>> {
        addresses.iter().map(|address| self.names.get(address).cloned()).collect()
    }
}

#[derive(Deserialize)]
struct Listing {
    arguments: String,
    /// Lines of `/proc/net/ip_vs_conn`.
    entries: Vec<String>,
    stdout: String,
}

/// What the kernel's line says.
fn entry(line: &str) -> Connection {
    let words: Vec<&str> = line.split_whitespace().collect();
    let protocol = Protocol::ALL.iter().copied().find(|protocol| protocol.name() == words[0]);
    assert!(protocol.is_some() || words[0] == "IP", "{line}");
    let end = |at: usize| End {
        address: if words[at].contains(':') {
            words[at].parse::<Ipv6Addr>().unwrap().into()
        } else {
            Ipv4Addr::from(u32::from_str_radix(words[at], 16).unwrap()).into()
        },
        port: u16::from_str_radix(words[at + 1], 16).unwrap(),
    };
    // Templates are those whose client has no port.
    let is_template = end(1).port == 0;
    let states = (0..16).map(State::from_raw).filter(|state| state.is_template() == is_template);
    let state = states.clone().find(|state| state.name(protocol) == words[7]);
    Connection {
        protocol,
        state: state.unwrap_or_else(|| panic!("no state is called {}: {line}", words[7])),
        expires_s: words[8].parse().unwrap(),
        client: end(1),
        vip: end(3),
        server: end(5),
    }
}

#[test]
fn connections_of_both_families_stand_as_ipvsadm_lists_them() {
    let (place, listings) = RECORDED.split_once('\n').unwrap();
    let place: Place = serde_json::from_str(place).unwrap();
    let mut compared = 0;
    for listing in listings.lines() {
        let Listing { arguments, entries, stdout } = serde_json::from_str(listing).unwrap();
        let pieces = vec![entries.iter().map(|line| entry(line)).collect()];
        let line: Vec<&str> = arguments.split_whitespace().collect();
        let answer = run_with(Connected { pieces, fails: false }, &place, &line);
        assert_eq!(answer, (0, stdout, String::new()), "{arguments}");
        compared += entries.len();
    }
    println!("{compared} entries compared, all equal");
    assert_eq!(compared, RECORDED_ENTRIES);
}
