//! What each command does to a state, and what it refuses.

use std::net::IpAddr;

use lbxdp_common::{Forward, Protocol, Scheduler, TunnelChecksum, TunnelKind};

use super::{Command, CommandError, Touched};
use crate::state::{
    Engine, FLAG_1, MarkRule, MarkRuleError, Options, Persistence, Role, Server, ServiceKey, State,
    SyncDaemon, Timeouts, Tunnel,
};
use crate::sysctl::Sysctls;

const SERVICE: ServiceKey = at(80);

const fn at(port: u16) -> ServiceKey {
    ServiceKey::at(Protocol::Tcp, IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 100)), port)
}

fn server(address: &str, weight: u32) -> Server {
    Server::new(address.parse().unwrap(), 80, Forward::Direct, weight)
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
    let service = Command::AddService { service: SERVICE, options: Options::of(Scheduler::RoundRobin) };
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
    let edit = Command::EditService { service: SERVICE, options: Options::of(Scheduler::WeightedRoundRobin) };
    let state = edit.apply(&with_servers()).unwrap();
    assert_eq!(state.services[&SERVICE].options.scheduler, Scheduler::WeightedRoundRobin);
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

/// `-E` and `-e` without an option bring its default back.
#[test]
fn an_edit_replaces_all_that_can_be_set() {
    let options = Options {
        scheduler: Scheduler::RoundRobin,
        sched_flags: FLAG_1,
        one_packet: false,
        persistence: Some(Persistence { timeout_s: 60, netmask: 0xffff_ff00 }),
        engine: Some(Engine::Sip),
    };
    let mut state = with_servers();
    Command::EditService { service: SERVICE, options }.carry_out(&mut state).unwrap();
    assert_eq!(state.services[&SERVICE].options, options);
    let plain = Options::of(Scheduler::WeightedRoundRobin);
    Command::EditService { service: SERVICE, options: plain }.carry_out(&mut state).unwrap();
    assert_eq!(state.services[&SERVICE].options, plain);
    let limited = Server { upper: 9, lower: 9, ..server("10.0.0.2", 1) };
    Command::EditServer { service: SERVICE, server: limited }.carry_out(&mut state).unwrap();
    assert_eq!(state.services[&SERVICE].servers[1], limited);
    Command::EditServer { service: SERVICE, server: server("10.0.0.2", 1) }.carry_out(&mut state).unwrap();
    assert_eq!(state.services[&SERVICE].servers[1], server("10.0.0.2", 1));
}

#[test]
fn services_by_mark_and_for_all_ports_stand_beside_others() {
    let persistent = Some(Persistence { timeout_s: 360, netmask: Persistence::ALL_BITS });
    let options = Options { persistence: persistent, ..Options::of(Scheduler::RoundRobin) };
    let marked = ServiceKey::marked(7);
    let one_packet = Options { one_packet: true, ..Options::of(Scheduler::RoundRobin) };
    let state = after(&[
        Command::AddService { service: at(0), options },
        Command::AddService { service: marked, options: one_packet },
        Command::AddServer { service: marked, server: Server { port: 0, ..server("10.0.0.1", 1) } },
        Command::AddService { service: SERVICE, options },
    ]);
    assert_eq!(state.services.keys().copied().collect::<Vec<_>>(), [at(0), SERVICE, marked]);
    let no_longer =
        Command::EditService { service: at(0), options: Options { persistence: None, ..options } };
    assert_eq!(no_longer.apply(&state), Err(CommandError::ZeroPort));
}

fn rule(line: &str) -> MarkRule {
    match crate::cli::marks::command(&format!("add {line}").split(' ').collect::<Vec<_>>()) {
        Ok(Command::AddMark { rule }) => rule,
        other => panic!("{line}: {other:?}"),
    }
}

#[test]
fn the_most_specific_rule_stands_first() {
    let sorted = [
        "1 --destination 10.0.0.1/32",
        "2 --destination 10.0.0.0/24 --source 10.9.0.0/16",
        "3 --destination 10.0.0.0/24 --source 10.0.0.0/8 --protocol tcp --port 80",
        "4 --destination 10.0.0.0/24 --interface eth0",
        "5 --destination 10.0.0.0/24 --protocol tcp --port 90",
        "6 --destination 10.0.0.0/24 --protocol tcp --port 80-81",
        "7 --destination 10.0.0.0/24 --protocol tcp --port 81-82",
        "8 --destination 10.0.0.0/24 --protocol tcp",
        "9 --destination 10.0.0.0/24 --port 80",
        "10 --destination 10.0.0.0/24",
        "11 --destination 0.0.0.0/0",
    ];
    let orders: [Vec<&str>; 2] = [sorted.to_vec(), sorted.iter().rev().copied().collect()];
    for order in orders {
        let commands: Vec<_> = order.iter().map(|line| Command::AddMark { rule: rule(line) }).collect();
        let marks = after(&commands).marks;
        assert_eq!(marks.iter().map(ToString::to_string).collect::<Vec<_>>(), sorted);
    }
}

#[test]
fn rules_that_contradict_are_refused() {
    let line = "--destination 10.0.0.0/24 --protocol tcp --port 80";
    let add = |mark| Command::AddMark { rule: rule(&format!("{mark} {line}")) };
    let delete = |mark| Command::DeleteMark { rule: rule(&format!("{mark} {line}")) };
    let state = after(&[add(7)]);
    assert_eq!(add(7).apply(&state), Err(CommandError::MarkExists));
    assert_eq!(add(8).apply(&state), Err(CommandError::MarkContradicts(7)));
    assert_eq!(delete(8).apply(&state), Err(CommandError::NoSuchMark));
    assert_eq!(delete(7).apply(&state), Ok(State::default()));
    let wrong = |change: fn(&mut MarkRule), why| {
        let mut rule = rule("9 --destination 10.0.0.0/24");
        change(&mut rule);
        assert_eq!(Command::AddMark { rule }.apply(&state), Err(CommandError::NoMarkRule(why)));
    };
    wrong(|rule| rule.mark = 0, MarkRuleError::NoMark);
    wrong(|rule| rule.ports = Some((2, 1)), MarkRuleError::Ports);
    wrong(|rule| rule.interface = Some(String::new()), MarkRuleError::Interface);
    let (net, whole) = ("10.0.0.5/24".parse().unwrap(), "10.0.0.0/24".parse().unwrap());
    let mut rule = rule("9 --destination 10.0.0.0/24");
    rule.source = Some(net);
    let why = MarkRuleError::HostBits(net, whole);
    assert_eq!(Command::AddMark { rule: rule.clone() }.apply(&state), Err(CommandError::NoMarkRule(why)));
    rule.source = Some("fd00::/8".parse().unwrap());
    let why = MarkRuleError::Families;
    assert_eq!(Command::AddMark { rule }.apply(&state), Err(CommandError::NoMarkRule(why)));
}

#[test]
fn each_refusal_has_its_name() {
    let other = at(81);
    let new =
        |address: &str, weight| Command::AddServer { service: SERVICE, server: server(address, weight) };
    let limited = |address: &str, upper, lower| Command::AddServer {
        service: SERVICE,
        server: Server { upper, lower, ..server(address, 1) },
    };
    let through = |address: &str, tunnel, weight| Command::AddServer {
        service: SERVICE,
        server: Server { forward: Forward::Tunnel, tunnel, ..server(address, weight) },
    };
    let options = Options::of(Scheduler::RoundRobin);
    let one_packet = Options { one_packet: true, ..options };
    let too_long = Persistence { timeout_s: 2_678_401, netmask: Persistence::ALL_BITS };
    let for_ever = Options { persistence: Some(too_long), ..options };
    let cases = [
        (Command::AddService { service: SERVICE, options }, CommandError::ServiceExists),
        (Command::AddService { service: at(0), options }, CommandError::ZeroPort),
        (Command::EditService { service: other, options }, CommandError::NoSuchService),
        (Command::DeleteService { service: other }, CommandError::NoSuchService),
        (Command::Zero { service: Some(other) }, CommandError::NoSuchService),
        (
            Command::AddServer { service: other, server: server("10.0.0.1", 1) },
            CommandError::ServiceNotDefined,
        ),
        (new("10.0.0.1", 1), CommandError::ServerExists),
        (new("0.0.0.0", 1), CommandError::Invalid),
        (new("255.255.255.255", 1), CommandError::Invalid),
        (new("224.0.0.5", 1), CommandError::Invalid),
        (new("fd00::1", 1), CommandError::Invalid),
        // The family comes before the numbers, these before the tunnel.
        (new("fd00::1", 1 << 31), CommandError::Invalid),
        (limited("fd00::1", 5, 6), CommandError::Invalid),
        (through("10.0.0.1", GUE_WITHOUT_PORT, 1 << 31), CommandError::OutOfRange),
        (through("10.0.0.1", GUE_WITHOUT_PORT, 1), CommandError::Invalid),
        (through("10.0.0.9", GUE_WITHOUT_PORT, 1), CommandError::Invalid),
        (Command::EditServer { service: SERVICE, server: server("fd00::1", 1) }, CommandError::Invalid),
        (through("fd00::1", GUE_WITHOUT_PORT, 1), CommandError::Invalid),
        (through("::", Tunnel::IPIP, 1), CommandError::Invalid),
        (through("ff02::1", Tunnel::IPIP, 1), CommandError::Invalid),
        (through("::ffff:10.0.0.1", Tunnel::IPIP, 1), CommandError::Invalid),
        (new("10.0.0.9", 1 << 31), CommandError::OutOfRange),
        // The numbers come before the question whether the server is there.
        (limited("10.0.0.1", 5, 6), CommandError::OutOfRange),
        (limited("10.0.0.1", 0, 1), CommandError::OutOfRange),
        (limited("10.0.0.1", 1 << 31, 0), CommandError::OutOfRange),
        (limited("10.0.0.1", 5, 5), CommandError::ServerExists),
        (Command::EditService { service: SERVICE, options: one_packet }, CommandError::OnePacket),
        (Command::EditService { service: SERVICE, options: for_ever }, CommandError::OutOfRange),
        (Command::AddService { service: ServiceKey::marked(7), options: for_ever }, CommandError::OutOfRange),
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

const GUE_WITHOUT_PORT: Tunnel = Tunnel { kind: TunnelKind::Gue, port: 0, checksum: TunnelChecksum::None };

#[test]
fn an_ipv6_netmask_is_the_length_of_a_prefix() {
    let services = [
        ServiceKey::at(Protocol::Tcp, "fd00::100".parse().unwrap(), 80),
        ServiceKey::at(Protocol::Udp, "fd00::100".parse().unwrap(), 0),
        ServiceKey::marked_v6(7),
    ];
    for service in services {
        for (netmask, is_right) in
            [(0, false), (1, true), (128, true), (129, false), (Persistence::ALL_BITS, false)]
        {
            let persistence = Some(Persistence { timeout_s: 60, netmask });
            let options = Options { persistence, ..Options::of(Scheduler::RoundRobin) };
            let added = Command::AddService { service, options }.apply(&State::default());
            assert_eq!(added.as_ref().err(), (!is_right).then_some(&CommandError::Invalid), "{netmask}");
            let plain = Command::AddService {
                service,
                options: Options {
                    persistence: Some(Persistence { timeout_s: 60, netmask: 128 }),
                    ..options
                },
            };
            let edited = Command::EditService { service, options }.apply(&after(&[plain]));
            assert_eq!(edited.is_ok(), is_right, "{netmask}");
        }
    }
}

#[test]
fn a_tunnel_leads_from_one_family_to_the_other() {
    let service = ServiceKey::at(Protocol::Tcp, "fd00::100".parse().unwrap(), 80);
    let options = Options::of(Scheduler::RoundRobin);
    let to = |address: &str, forward| Command::AddServer {
        service,
        server: Server { forward, ..server(address, 1) },
    };
    let state = after(&[Command::AddService { service, options }]);
    for forward in [Forward::Direct, Forward::Masquerade] {
        assert_eq!(to("10.0.0.1", forward).apply(&state), Err(CommandError::Invalid));
        assert!(to("fd00::1", forward).apply(&state).is_ok());
        assert!(to("::1", forward).apply(&state).is_ok());
    }
    let state = to("10.0.0.1", Forward::Tunnel).apply(&state).unwrap();
    let back = Command::EditServer { service, server: server("10.0.0.1", 1) };
    assert_eq!(back.apply(&state), Err(CommandError::Invalid));
    let gone = Command::DeleteServer { service, address: "10.0.0.1".parse().unwrap(), port: 80 };
    assert!(gone.apply(&state).is_ok());
}

#[test]
fn a_method_and_a_tunnel_are_replaced_together() {
    let gue = Tunnel { kind: TunnelKind::Gue, port: 6080, checksum: TunnelChecksum::Remote };
    let state_of = |forward, tunnel| {
        let server = Server { forward, tunnel, ..server("10.0.0.2", 1) };
        let state = Command::EditServer { service: SERVICE, server }.apply(&with_servers()).unwrap();
        let server = state.services[&SERVICE].servers[1];
        (server.forward, server.tunnel)
    };
    assert_eq!(state_of(Forward::Tunnel, gue), (Forward::Tunnel, gue));
    assert_eq!(state_of(Forward::Masquerade, gue), (Forward::Masquerade, Tunnel::IPIP));
    let gre = Tunnel { kind: TunnelKind::Gre, ..gue };
    let plain = Tunnel { port: 0, checksum: TunnelChecksum::None, ..gre };
    assert_eq!(state_of(Forward::Tunnel, gre), (Forward::Tunnel, plain));
}

/// What stands in a message without a tunnel is a server that needs none.
#[test]
fn a_server_without_a_tunnel_in_json_has_ipip() {
    let json = serde_json::to_string(&add_server("10.0.0.9")).unwrap();
    let (start, end) = (json.find("\"tunnel\"").unwrap(), json.find("\"weight\"").unwrap());
    let without: Command = serde_json::from_str(&format!("{}{}", &json[..start], &json[end..])).unwrap();
    assert_eq!(without, add_server("10.0.0.9"));
}

#[test]
fn a_command_in_place_does_the_same_and_can_be_taken_back() {
    let other = at(81);
    let scheduler = Scheduler::WeightedRoundRobin;
    for command in [
        Command::AddService { service: other, options: Options::of(scheduler) },
        Command::EditService { service: SERVICE, options: Options::of(scheduler) },
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
fn a_command_that_is_refused_leaves_the_state_as_it_is() {
    let nowhere = at(81);
    let options = Options::of(Scheduler::RoundRobin);
    let daemon = SyncDaemon { group: Some([10, 0, 0, 1].into()), ..daemon("eth0") };
    let before = with_servers();
    for command in [
        Command::AddService { service: SERVICE, options },
        Command::AddService { service: nowhere, options: Options { one_packet: true, ..options } },
        Command::EditService { service: SERVICE, options: Options { one_packet: true, ..options } },
        Command::EditService { service: nowhere, options },
        Command::DeleteService { service: nowhere },
        add_server("10.0.0.2"),
        add_server("224.0.0.1"),
        Command::AddServer { service: SERVICE, server: server("10.0.0.9", u32::MAX) },
        Command::AddServer { service: nowhere, server: server("10.0.0.9", 1) },
        Command::EditServer { service: SERVICE, server: server("10.0.0.2", u32::MAX) },
        Command::EditServer { service: SERVICE, server: server("10.0.0.9", 1) },
        delete_server("10.0.0.9"),
        Command::SetTimeouts { tcp: 1, tcp_fin: u32::MAX, udp: 3 },
        Command::StartDaemon { role: Role::Master, daemon },
        Command::StopDaemon { role: Role::Master },
        Command::Zero { service: Some(nowhere) },
    ] {
        let mut state = before.clone();
        command.change(&mut state).map(drop).expect_err(&format!("{command:?}"));
        assert_eq!(state, before, "{command:?}");
    }
}

#[test]
fn zeroing_changes_no_configuration() {
    let state = with_servers();
    assert_eq!(Command::Zero { service: Some(SERVICE) }.apply(&state), Ok(state.clone()));
    assert_eq!(Command::Zero { service: None }.apply(&state), Ok(state));
}

fn daemon(interface: &str) -> SyncDaemon {
    SyncDaemon { interface: interface.into(), sync_id: 7, max_length: 0, group: None, port: 0, ttl: 0 }
}

fn start(role: Role) -> Command {
    Command::StartDaemon { role, daemon: daemon("eth0") }
}

#[test]
fn a_daemon_of_each_role_is_started_once_and_stopped_once() {
    let mut state = State::default();
    for role in [Role::Master, Role::Backup] {
        assert_eq!(Command::StopDaemon { role }.apply(&state), Err(CommandError::NoDaemon));
        start(role).carry_out(&mut state).unwrap();
        assert_eq!(start(role).apply(&state), Err(CommandError::DaemonRuns));
    }
    Command::Flush.carry_out(&mut state).unwrap();
    assert_eq!(state.daemons.all().map(|(role, _)| role).collect::<Vec<_>>(), [Role::Master, Role::Backup]);
    Command::StopDaemon { role: Role::Master }.carry_out(&mut state).unwrap();
    assert_eq!((state.daemons.master, state.daemons.backup.is_some()), (None, true));
}

#[test]
fn connections_are_not_synchronized_where_a_tunnel_leads_to_the_other_family() {
    let mixed = Server {
        forward: Forward::Tunnel,
        ..Server::new("fd00::1".parse().unwrap(), 80, Forward::Tunnel, 1)
    };
    let add = Command::AddServer { service: SERVICE, server: mixed };
    let with_daemon = start(Role::Backup).apply(&with_servers()).unwrap();
    assert_eq!(add.apply(&with_daemon), Err(CommandError::Invalid));
    let with_mixed = add.apply(&with_servers()).unwrap();
    assert_eq!(start(Role::Backup).apply(&with_mixed), Err(CommandError::Invalid));
}

/// As seen with Linux 6.1: an interface of 1280, 1500 and 9000 bytes.
#[test]
fn a_daemon_takes_from_its_interface_what_it_was_not_told() {
    let completed =
        |role, mtu, daemon| match (Command::StartDaemon { role, daemon }).on_interfaces(|_| Some(mtu)) {
            Ok(Command::StartDaemon { daemon, .. }) => daemon,
            other => panic!("{other:?}"),
        };
    for (role, mtu, asked, length) in [
        (Role::Master, 1280, 0, 1472),
        (Role::Master, 9000, 0, 1472),
        (Role::Master, 1500, 1, 1),
        (Role::Backup, 1280, 0, 1472),
        (Role::Backup, 9000, 0, 8972),
        (Role::Backup, 65536, 0, 65507),
        (Role::Backup, 1500, 1, 1024),
        (Role::Backup, 1500, 65507, 65507),
    ] {
        let daemon = completed(role, mtu, SyncDaemon { max_length: asked, ..daemon("eth0") });
        assert_eq!((daemon.max_length, daemon.port, daemon.ttl), (length, 8848, 1), "{role} {mtu} {asked}");
        assert_eq!(daemon.group, Some([224, 0, 0, 81].into()));
    }
    let group = Some("ff02::81".parse().unwrap());
    assert_eq!(completed(Role::Master, 1500, SyncDaemon { group, ..daemon("eth0") }).max_length, 1452);
    assert_eq!(start(Role::Master).on_interfaces(|_| None), Err(CommandError::NoSuchDevice));
}
