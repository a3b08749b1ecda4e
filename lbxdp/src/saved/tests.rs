//! What is read is what was meant, wherever the writer was killed.

use std::net::IpAddr;

use lbxdp_common::{Forward, Protocol, Scheduler};
use proptest::prelude::*;

use super::*;
use crate::state::{Options, Server, ServiceKey};

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

proptest! {
    #[test]
    fn any_state_is_read_as_it_was_written(
        services in proptest::collection::btree_map(1..60_000u16, proptest::collection::btree_map(1..250u8, 0..9u32, 0..6), 0..6),
        shuffle in any::<bool>(),
        tcp in 1..90_000u32,
        sloppy in 0..3,
    ) {
        let mut state = State::default();
        for (port, servers) in services {
            let mut list: Vec<Server> = servers.into_iter().map(|(last, weight)| server(port, last, weight)).collect();
            if shuffle {
                list.reverse();
            }
            state.services.insert(key(port), crate::state::Service { options: Options::of(Scheduler::RoundRobin), servers: list });
        }
        state.timeouts.tcp = tcp;
        state.sysctls.sloppy_tcp = sloppy;
        let place = Place::new();
        Saved::new(place.file()).rewrite(&state);
        prop_assert_eq!(read(&place.file()).expect("readable"), Some(state));
    }
}
