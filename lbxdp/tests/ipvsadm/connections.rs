//! `-L -c`: the table arrives in pieces and is printed as it comes.

use lbxdp::cli::client::{ClientError, Director, EachPiece};
use lbxdp::cli::ipvsadm::Front;
use lbxdp::message::{Request, Response};
use lbxdp::record::{Connection, End};
use lbxdp_common::state::{State, TcpState};

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
        protocol: Some(lbxdp_common::Protocol::Tcp),
        state: State::tcp(TcpState::SynReceived),
        expires_s: 61,
        client: end(client, port),
        vip: end("10.0.0.100", 80),
        server: end("10.0.0.101", 80),
    }
}

fn run(director: Connected, line: &[&str]) -> (u8, String, String) {
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let mut front = Front {
        program: "ipvsadm",
        director,
        names: &NamesOfTheMachine,
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
