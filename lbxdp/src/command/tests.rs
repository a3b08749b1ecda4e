//! What each command does to a state, and what it refuses.

use std::net::IpAddr;

use lbxdp_common::{Forward, Protocol, Scheduler};

use super::{Command, CommandError, Touched};
use crate::state::{Server, ServiceKey, State, Timeouts};
use crate::sysctl::Sysctls;

const SERVICE: ServiceKey = ServiceKey {
    protocol: Protocol::Tcp,
    address: IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 100)),
    port: 80,
};

fn server(address: &str, weight: u32) -> Server {
    Server { address: address.parse().unwrap(), port: 80, forward: Forward::Direct, weight }
}

fn add_server(address: &str) -> Command {
    Command::AddServer { service: SERVICE, server: server(address, 1) }
}

fn delete_server(address: &str) -> Command {
    Command::DeleteServer { service: SERVICE, address: address.parse().unwrap(), port: 80 }
}

fn after(commands: &[Command]) -> State {
    commands.iter().fold(State::default(), |state, command| command.apply(&state).unwrap())
}

fn with_servers() -> State {
    let service = Command::AddService { service: SERVICE, scheduler: Scheduler::RoundRobin };
    after(&[service, add_server("10.0.0.1"), add_server("10.0.0.2"), add_server("10.0.0.3")])
}

fn servers(state: &State) -> Vec<String> {
    state.services[&SERVICE].servers.iter().map(|s| format!("{} {}", s.address, s.weight)).collect()
}

#[test]
fn a_new_server_stands_first() {
    assert_eq!(servers(&with_servers()), ["10.0.0.3 1", "10.0.0.2 1", "10.0.0.1 1"]);
}

#[test]
fn an_edited_server_keeps_its_place() {
    let edit = Command::EditServer { service: SERVICE, server: server("10.0.0.2", 0) };
    assert_eq!(servers(&edit.apply(&with_servers()).unwrap()), ["10.0.0.3 1", "10.0.0.2 0", "10.0.0.1 1"]);
}

#[test]
fn an_edited_service_keeps_its_servers() {
    let edit = Command::EditService { service: SERVICE, scheduler: Scheduler::WeightedRoundRobin };
    let state = edit.apply(&with_servers()).unwrap();
    assert_eq!(state.services[&SERVICE].scheduler, Scheduler::WeightedRoundRobin);
    assert_eq!(servers(&state).len(), 3);
}

#[test]
fn deleting_a_server_leaves_the_others_in_order() {
    let state = delete_server("10.0.0.2").apply(&with_servers()).unwrap();
    assert_eq!(servers(&state), ["10.0.0.3 1", "10.0.0.1 1"]);
}

#[test]
fn flush_leaves_the_timeouts() {
    let set = Command::SetTimeouts { tcp: 0, tcp_fin: 50, udp: 0 };
    let state = Command::Flush.apply(&set.apply(&with_servers()).unwrap()).unwrap();
    assert!(state.services.is_empty());
    assert_eq!(state.timeouts, Timeouts { tcp: 900, tcp_fin: 50, udp: 300 });
}

fn set(words: &[&str]) -> Command {
    Command::Set { settings: words.iter().map(|words| words.parse().unwrap()).collect() }
}

#[test]
fn settings_are_set_together_and_the_last_of_two_counts() {
    let state = set(&["sloppy_tcp=1", "secure_tcp=3", "sloppy_tcp=0"]).apply(&with_servers()).unwrap();
    assert_eq!(state.sysctls, Sysctls { secure_tcp: 3, ..Sysctls::default() });
    assert_eq!(servers(&state).len(), 3);
}

#[test]
fn flush_leaves_the_settings() {
    let state = Command::Flush.apply(&set(&["conn_reuse_mode=0"]).apply(&with_servers()).unwrap()).unwrap();
    assert_eq!(state.sysctls.conn_reuse_mode, 0);
}

#[test]
fn each_refusal_has_its_name() {
    let other = ServiceKey { port: 81, ..SERVICE };
    let new =
        |address: &str, weight| Command::AddServer { service: SERVICE, server: server(address, weight) };
    let scheduler = Scheduler::RoundRobin;
    let cases = [
        (Command::AddService { service: SERVICE, scheduler }, CommandError::ServiceExists),
        (
            Command::AddService { service: ServiceKey { port: 0, ..SERVICE }, scheduler },
            CommandError::ZeroPort,
        ),
        (Command::EditService { service: other, scheduler }, CommandError::NoSuchService),
        (Command::DeleteService { service: other }, CommandError::NoSuchService),
        (Command::Zero { service: Some(other) }, CommandError::NoSuchService),
        (
            Command::AddServer { service: other, server: server("10.0.0.1", 1) },
            CommandError::ServiceNotDefined,
        ),
        (new("10.0.0.1", 1), CommandError::ServerExists),
        (new("0.0.0.0", 1), CommandError::InvalidServer),
        (new("255.255.255.255", 1), CommandError::InvalidServer),
        (new("224.0.0.5", 1), CommandError::InvalidServer),
        (new("fd00::1", 1), CommandError::InvalidServer),
        (new("10.0.0.9", 1 << 31), CommandError::OutOfRange),
        (Command::EditServer { service: SERVICE, server: server("10.0.0.9", 1) }, CommandError::NoSuchServer),
        (delete_server("10.0.0.9"), CommandError::NoSuchServer),
        (Command::SetTimeouts { tcp: 2_678_401, tcp_fin: 0, udp: 0 }, CommandError::OutOfRange),
    ];
    let state = with_servers();
    for (command, refusal) in cases {
        assert_eq!(command.apply(&state), Err(refusal), "{command:?}");
        let mut in_place = state.clone();
        assert_eq!(command.change(&mut in_place).map(|_| ()), Err(refusal), "{command:?}");
        assert_eq!(in_place, state, "{command:?}");
    }
}

#[test]
fn a_command_in_place_does_the_same_and_can_be_taken_back() {
    let other = ServiceKey { port: 81, ..SERVICE };
    let scheduler = Scheduler::WeightedRoundRobin;
    for command in [
        Command::AddService { service: other, scheduler },
        Command::EditService { service: SERVICE, scheduler },
        Command::DeleteService { service: SERVICE },
        Command::Flush,
        add_server("10.0.0.9"),
        Command::EditServer { service: SERVICE, server: server("10.0.0.2", 7) },
        delete_server("10.0.0.2"),
        Command::SetTimeouts { tcp: 1, tcp_fin: 2, udp: 3 },
        set(&["sloppy_tcp=1"]),
        Command::Zero { service: None },
    ] {
        let before = with_servers();
        let mut state = before.clone();
        let undo = command.change(&mut state).unwrap();
        assert_eq!(Ok(&state), command.apply(&before).as_ref(), "{command:?}");
        assert_eq!(state.services != before.services, undo.touched() != Touched::None, "{command:?}");
        let settings_differ = (state.timeouts, state.sysctls) != (before.timeouts, before.sysctls);
        assert_eq!(undo.has_changed_settings(&state), settings_differ, "{command:?}");
        undo.take_back(&mut state);
        assert_eq!(state, before, "{command:?}");
    }
}

#[test]
fn zeroing_changes_no_configuration() {
    let state = with_servers();
    assert_eq!(Command::Zero { service: Some(SERVICE) }.apply(&state), Ok(state.clone()));
    assert_eq!(Command::Zero { service: None }.apply(&state), Ok(state));
}
