//! What is read is what was meant, wherever the writer was killed.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use lbxdp_common::{Forward, Protocol, Scheduler, TunnelChecksum, TunnelKind};
use proptest::prelude::*;

use super::*;
use crate::state::{
    Engine, Family, MarkRule, Options, Persistence, Role, Server, ServiceKey, SyncDaemon, Tunnel,
};

fn key(port: u16) -> ServiceKey {
    ServiceKey::at(Protocol::Tcp, [10, 0, 0, 100].into(), port)
}

/// With direct routing a server has its service's port.
fn server(port: u16, last: u8, weight: u32) -> Server {
    let address: IpAddr = [10, 0, 0, last].into();
    Server::new(address, port, Forward::Direct, weight)
}

/// A path of a test's own in a directory that goes with it.
struct Place(PathBuf);

impl Place {
    fn new() -> Self {
        use std::sync::atomic::{AtomicU32, Ordering};
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self(std::env::temp_dir().join(format!("lbxdp-saved-{}-{number}", std::process::id())))
    }

    fn file(&self) -> PathBuf {
        self.0.join("a.state")
    }

    fn write(&self, text: impl AsRef<[u8]>) -> PathBuf {
        std::fs::create_dir_all(&self.0).expect("a directory");
        std::fs::write(self.file(), text).expect("a file");
        self.file()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

const TEXT: &str = "# a comment\n-A -t 10.0.0.100:80 -s rr\n\n-a -t 10.0.0.100:80 -r 10.0.0.1:80 -g -w 3\n";

fn expected() -> State {
    let mut state = State::default();
    Command::AddService { service: key(80), options: Options::of(Scheduler::RoundRobin) }
        .carry_out(&mut state)
        .expect("a new service");
    Command::AddServer { service: key(80), server: server(80, 1, 3) }
        .carry_out(&mut state)
        .expect("a new server");
    state
}

#[test]
fn no_file_is_no_configuration() {
    assert_eq!(read(&Place::new().file()).expect("no error"), None);
}

#[test]
fn a_torn_last_line_does_not_count() {
    let place = Place::new();
    let whole = format!("{TEXT}-a -t 10.0.0.100:80 -r 10.0.0.2:80 -g -w 1\n");
    for length in TEXT.len()..whole.len() {
        let path = place.write(&whole[..length]);
        assert_eq!(read(&path).expect("readable"), Some(expected()), "{length}");
    }
    // As a file system may leave the end of a file after a power failure.
    let path = place.write([TEXT.as_bytes(), &[0; 100]].concat());
    assert_eq!(read(&path).expect("readable"), Some(expected()));
}

#[test]
fn a_line_that_cannot_be_read_is_named() {
    let place = Place::new();
    for (line, why) in [
        ("-a -t 10.0.0.100:81 -r 10.0.0.2 -w 1", "Service not defined"),
        ("-A -t 10.0.0.100:80 -s rr", "Service already exists"),
        ("-A -t www.example.com:80 -s rr", "illegal virtual server"),
        ("-L -n", "changes no configuration"),
        ("-A -t 10.0.0.100:81 -s nosuch", "changes no configuration"),
        ("set sloppy_tcp=x", "sloppy_tcp takes whole numbers"),
        ("set nosuch=1", "there is no setting `nosuch`"),
        ("mark add 7", "required arguments"),
        ("mark add 7 --destination 10.0.0.1 --port 0", "ports are two numbers"),
        ("mark delete 7 --destination 10.0.0.1", "there is no such rule"),
        ("mark list", "`mark list` is no command"),
        ("rubbish", ""),
    ] {
        let path = place.write(format!("{TEXT}{line}\n-C\n"));
        let error = read(&path).expect_err(line).to_string();
        assert!(error.starts_with(&format!("{}:5: ", path.display())) && error.contains(why), "{error}");
    }
    let path = place.write([TEXT.as_bytes(), b"\xff\n"].concat());
    assert!(read(&path).expect_err("not text").to_string().contains(":5: not text"));
}

#[test]
fn each_command_is_there_at_once_and_zeroing_is_none() {
    let place = Place::new();
    let mut state = expected();
    let mut saved = Saved::new(place.file());
    saved.rewrite(&state);
    for command in [
        Command::AddServer { service: key(80), server: server(80, 2, 1) },
        Command::EditServer { service: key(80), server: server(80, 1, 0) },
        Command::EditService { service: key(80), options: Options::of(Scheduler::WeightedRoundRobin) },
        Command::SetTimeouts { tcp: 77, tcp_fin: 0, udp: 0 },
        Command::Set { settings: vec!["sloppy_tcp=1".parse().expect("a setting")] },
        Command::Zero { service: Some(key(80)) },
        Command::DeleteServer { service: key(80), address: server(80, 1, 0).address, port: 80 },
        Command::DeleteService { service: key(80) },
        Command::Flush,
    ] {
        command.carry_out(&mut state).expect("carried out");
        saved.append(&command, &state);
        assert_eq!(read(&place.file()).expect("readable"), Some(state.clone()), "{command:?}");
    }
    assert!(!std::fs::read_to_string(place.file()).expect("a file").contains("-Z"));
    let mode = |path: &Path| std::fs::metadata(path).expect("there").permissions().mode() & 0o777;
    assert_eq!((mode(&place.file()), mode(&place.0)), (0o600, 0o700));
}

#[test]
fn a_file_of_edits_does_not_grow_for_ever() {
    let place = Place::new();
    let mut state = expected();
    let mut saved = Saved::new(place.file());
    saved.rewrite(&state);
    for weight in 0..5000 {
        let command = Command::EditServer { service: key(80), server: server(80, 1, weight) };
        command.carry_out(&mut state).expect("carried out");
        saved.append(&command, &state);
    }
    let lines = std::fs::read_to_string(place.file()).expect("a file").lines().count();
    assert!(lines < 3 * LINES_BETWEEN, "{lines}");
    assert_eq!(read(&place.file()).expect("readable"), Some(state));
}

#[test]
fn what_could_not_be_saved_is_tried_again() {
    let place = Place::new();
    let mut state = expected();
    // A directory stands where the file should be.
    std::fs::create_dir_all(place.file()).expect("a directory");
    let mut saved = Saved::new(place.file());
    saved.rewrite(&state);
    assert!(saved.trouble().is_some());
    let command = Command::AddServer { service: key(80), server: server(80, 2, 1) };
    command.carry_out(&mut state).expect("carried out");
    saved.append(&command, &state);
    std::fs::remove_dir(place.file()).expect("empty");
    saved.catch_up(&state);
    assert_eq!(saved.trouble(), None);
    assert_eq!(read(&place.file()).expect("readable"), Some(state));
}

fn any_key() -> impl Strategy<Value = ServiceKey> {
    let protocol = proptest::sample::select(Protocol::ALL);
    let address =
        prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from),];
    prop_oneof![
        8 => (protocol, address, any::<u16>())
            .prop_map(|(protocol, address, port)| ServiceKey::at(protocol, address, port)),
        1 => (1_u32..).prop_map(ServiceKey::marked),
        1 => (1_u32..).prop_map(ServiceKey::marked_v6),
    ]
}

fn any_options(key: ServiceKey) -> impl Strategy<Value = Options> {
    let netmask = match key.family() {
        Family::V4 => prop_oneof![Just(u32::MAX), any::<u32>()].boxed(),
        Family::V6 => (1..=128_u32).boxed(),
    };
    let persistence =
        (1..=2_678_400_u32, netmask).prop_map(|(timeout_s, netmask)| Persistence { timeout_s, netmask });
    let persistence = if key.protocol().is_some() && key.port() == 0 {
        persistence.prop_map(Some).boxed()
    } else {
        proptest::option::of(persistence).boxed()
    };
    let may_be_one_packet = matches!(key.protocol(), None | Some(Protocol::Udp));
    let scheduler = proptest::sample::select(Scheduler::ALL);
    let engine = proptest::option::of(Just(Engine::Sip));
    (scheduler, 0..8_u8, any::<bool>(), persistence, engine).prop_map(
        move |(scheduler, flags, one_packet, persistence, engine)| {
            let one_packet = one_packet && may_be_one_packet;
            Options { scheduler, sched_flags: flags << 3, one_packet, persistence, engine }
        },
    )
}

/// Forwarding method and tunnel, whether the tunnel leads to the other family, and port, weight, thresholds.
type Wish = ((Forward, Tunnel), bool, (u16, u32, u32, u32));

fn any_way() -> impl Strategy<Value = (Forward, Tunnel)> {
    use proptest::sample::select;
    let tunnel = (select(TunnelKind::ALL), 1_u16.., select(TunnelChecksum::ALL));
    (select(Forward::ALL), tunnel)
        .prop_map(|(forward, (kind, port, checksum))| (forward, Tunnel { kind, port, checksum }))
}

/// Without address translation a server has its service's port, if that is not by mark; a tunnel may lead to the other
/// family.
fn any_servers(key: ServiceKey) -> impl Strategy<Value = Vec<Server>> {
    let number = || 0..=i32::MAX.unsigned_abs();
    let numbers = (any::<u16>(), number(), number(), number());
    let server = (any_way(), any::<bool>(), numbers);
    proptest::collection::btree_map(1..250_u8, server, 0..6).prop_map(move |servers| {
        let server = |(last, ((forward, tunnel), is_mixed, (port, weight, a, b))): (u8, Wish)| {
            let has_services = key.protocol().is_some() && forward != Forward::Masquerade;
            let port = if has_services { key.port() } else { port };
            let is_v6 = (key.family() == Family::V6) != (is_mixed && forward == Forward::Tunnel);
            let address = if is_v6 { v6(last) } else { [10, 0, 0, last].into() };
            let plain = Server::new(address, port, forward, weight);
            Server { tunnel, upper: a.max(b), lower: a.min(b), ..plain }.without_surplus()
        };
        servers.into_iter().map(server).collect()
    })
}

fn v6(last: u8) -> IpAddr {
    [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, last].into()
}

fn any_rule() -> impl Strategy<Value = MarkRule> {
    use proptest::option::of;
    let v4 = || {
        (any::<[u8; 4]>(), 0..=32_u8)
            .prop_map(|(address, length)| Ipv4Net::new(address.into(), length).expect("a length").trunc())
    };
    let v6 = || {
        (any::<[u8; 16]>(), 0..=128_u8)
            .prop_map(|(address, length)| Ipv6Net::new(address.into(), length).expect("a length").trunc())
    };
    let nets = prop_oneof![
        (v4(), of(v4())).prop_map(|(to, from)| (IpNet::from(to), from.map(IpNet::from))),
        (v6(), of(v6())).prop_map(|(to, from)| (IpNet::from(to), from.map(IpNet::from))),
    ];
    let ports = (1_u16.., 1_u16..).prop_map(|(a, b)| (a.min(b), a.max(b)));
    let protocol = of(proptest::sample::select(Protocol::ALL));
    let interface = "[-a-z0-9.#]{3,15}";
    (1_u32.., nets, protocol, of(ports), of(interface)).prop_map(
        |(mark, (destination, source), protocol, ports, interface)| {
            let source = source.filter(|source| source.prefix_len() > 0);
            MarkRule { mark, destination, source, protocol, ports, interface }
        },
    )
}

fn any_daemon() -> impl Strategy<Value = (Role, SyncDaemon)> {
    let role = proptest::sample::select(Role::ALL);
    let group = proptest::option::of(prop_oneof![
        (224..240_u8, any::<[u8; 3]>()).prop_map(|(first, [a, b, c])| [first, a, b, c].into()),
        any::<u64>().prop_map(|bits| IpAddr::V6(((0xff_u128 << 120) | u128::from(bits)).into())),
    ]);
    let numbers = (any::<u8>(), 0..65_488_u16, any::<u16>(), any::<u8>());
    (role, "[-a-z0-9.#]{1,15}", group, numbers).prop_map(
        |(role, interface, group, (sync_id, max_length, port, ttl))| {
            (role, SyncDaemon { interface, sync_id, max_length, group, port, ttl })
        },
    )
}

fn any_state() -> impl Strategy<Value = State> {
    let service = any_key().prop_flat_map(|key| (Just(key), any_options(key), any_servers(key)));
    let services = proptest::collection::vec(service, 0..6);
    let rules = proptest::collection::vec(any_rule(), 0..6);
    let daemons = proptest::collection::vec(any_daemon(), 0..3);
    (services, rules, daemons, 1..90_000_u32, 0..3).prop_map(|(services, rules, daemons, tcp, sloppy)| {
        let mut state = State::default();
        for (key, options, mut servers) in services {
            if key.port() % 2 == 0 {
                servers.reverse();
            }
            state.services.insert(key, crate::state::Service { options, servers });
        }
        for rule in rules {
            // A rule may contradict one before it.
            if let Ok(next) = (Command::AddMark { rule }).apply(&state) {
                state = next;
            }
        }
        for (role, daemon) in daemons {
            // There is one of each role, and none beside tunnels to the other family.
            if let Ok(next) = (Command::StartDaemon { role, daemon }).apply(&state) {
                state = next;
            }
        }
        state.timeouts.tcp = tcp;
        state.sysctls.sloppy_tcp = sloppy;
        state
    })
}

/// Commands as the socket may bring them, whatever ipvsadm would never say.
fn raw_command() -> impl Strategy<Value = Command> {
    use proptest::option::of;
    use proptest::sample::select;
    let address = || {
        let common = select(vec![
            "10.0.0.1",
            "10.0.0.2",
            "0.0.0.0",
            "224.0.0.1",
            "::",
            "fd00::1",
            "fe80::1",
            "::ffff:1.2.3.4",
            "::1.2.3.4",
        ]);
        prop_oneof![
            4 => common.prop_map(|text| text.parse::<IpAddr>().expect("an address")),
            1 => any::<[u8; 4]>().prop_map(IpAddr::from),
            1 => any::<[u8; 16]>().prop_map(IpAddr::from),
        ]
    };
    let port = || select(vec![0_u16, 21, 80, 8080, 65535]);
    let number = || prop_oneof![Just(0), Just(1), Just(i32::MAX.unsigned_abs()), any::<u32>()];
    let key = move || {
        prop_oneof![
            6 => (select(Protocol::ALL), select(vec!["10.0.0.100", "fd00::100", "0.0.0.0"]), port()).prop_map(
                |(protocol, address, port)| ServiceKey::at(protocol, address.parse().expect("an address"), port)
            ),
            1 => (0..3_u32).prop_map(ServiceKey::marked),
            1 => (0..3_u32).prop_map(ServiceKey::marked_v6),
        ]
    };
    let persistence =
        (number(), number()).prop_map(|(timeout_s, netmask)| Persistence { timeout_s, netmask });
    let flags = prop_oneof![Just(0_u8), any::<u8>()];
    let options = (select(Scheduler::ALL), flags, any::<bool>(), of(persistence), of(Just(Engine::Sip)))
        .prop_map(|(scheduler, sched_flags, one_packet, persistence, engine)| Options {
            scheduler,
            sched_flags,
            one_packet,
            persistence,
            engine,
        });
    let server = || {
        (address(), port(), any_way(), (number(), number(), number()), any::<bool>()).prop_map(
            |(address, port, (forward, tunnel), (weight, upper, lower), has_port)| {
                let tunnel = if has_port { tunnel } else { Tunnel { port: 0, ..tunnel } };
                Server { tunnel, upper, lower, ..Server::new(address, port, forward, weight) }
            },
        )
    };
    let interface = prop_oneof![2 => Just("eth0".to_owned()), 1 => ".{0,20}"];
    let role = || select(Role::ALL);
    let daemon = (any_daemon(), interface.clone(), of(address()))
        .prop_map(|((_, daemon), interface, group)| SyncDaemon { interface, group, ..daemon });
    let rule = (any_rule(), of(interface), of((port(), port())), 0..2_u32).prop_map(
        |(rule, interface, ports, mark)| MarkRule { interface, ports, mark: rule.mark * mark, ..rule },
    );
    prop_oneof![
        6 => (key(), options.clone()).prop_map(|(service, options)| Command::AddService { service, options }),
        1 => (key(), options).prop_map(|(service, options)| Command::EditService { service, options }),
        1 => key().prop_map(|service| Command::DeleteService { service }),
        8 => (key(), server()).prop_map(|(service, server)| Command::AddServer { service, server }),
        2 => (key(), server()).prop_map(|(service, server)| Command::EditServer { service, server }),
        1 => (key(), address(), port())
            .prop_map(|(service, address, port)| Command::DeleteServer { service, address, port }),
        1 => (number(), number(), number())
            .prop_map(|(tcp, tcp_fin, udp)| Command::SetTimeouts { tcp, tcp_fin, udp }),
        1 => (role(), daemon).prop_map(|(role, daemon)| Command::StartDaemon { role, daemon }),
        1 => role().prop_map(|role| Command::StopDaemon { role }),
        1 => rule.prop_map(|rule| Command::AddMark { rule }),
    ]
}

proptest! {
    /// A saved configuration that cannot be read stops the next daemon: so nothing may be accepted that cannot be written.
    #[test]
    fn whatever_is_accepted_is_read_as_it_was_written(
        commands in proptest::collection::vec(raw_command(), 0..40)
    ) {
        let place = Place::new();
        let mut saved = Saved::new(place.file());
        let mut state = State::default();
        saved.rewrite(&state);
        for command in &commands {
            if command.change(&mut state).is_ok() {
                saved.append(command, &state);
            }
        }
        prop_assert_eq!(read(&place.file()).expect("readable"), Some(state.clone()), "appended");
        saved.rewrite(&state);
        prop_assert_eq!(read(&place.file()).expect("readable"), Some(state), "written anew");
    }

    #[test]
    fn any_state_is_read_as_it_was_written(state in any_state()) {
        let place = Place::new();
        Saved::new(place.file()).rewrite(&state);
        prop_assert_eq!(read(&place.file()).expect("readable"), Some(state));
    }

    #[test]
    fn any_state_comes_back_through_its_commands_on_the_socket(state in any_state()) {
        let mut back = State::default();
        for command in commands(&state) {
            let line = serde_json::to_string(&command).expect("JSON");
            let command: Command = serde_json::from_str(&line).expect("a command");
            command.carry_out(&mut back).expect("carried out");
        }
        prop_assert_eq!(back, state);
    }
}
