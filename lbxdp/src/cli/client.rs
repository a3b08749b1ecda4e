//! The way to the daemon: a unix socket, one JSON object a line, and connections as records.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use zerocopy::FromBytes;

use crate::message::{MOST_RECORDS, Request, Response};
use crate::record::{Connection, Record};
use crate::tables::pins::{BadInstance, Instance};

/// The environment variable that names the instance to talk to.
const INSTANCE_VARIABLE: &str = "LBXDP_INSTANCE";

/// Longer than any answer takes; a daemon that is silent this long hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// Who carries requests out: the daemon, or a stand-in for tests.
pub trait Director {
    /// One request, one answer. Not for `Request::Connections`.
    fn ask(&mut self, request: &Request) -> Result<Response, ClientError>;

    /// All connections, piece by piece as they come.
    fn connections(&mut self, each: &mut EachPiece<'_>) -> Result<(), ClientError>;
}

impl<D: Director + ?Sized> Director for &mut D {
    fn ask(&mut self, request: &Request) -> Result<Response, ClientError> {
        (**self).ask(request)
    }

    fn connections(&mut self, each: &mut EachPiece<'_>) -> Result<(), ClientError> {
        (**self).connections(each)
    }
}

/// What is done with a piece of the connection table.
pub type EachPiece<'a> = dyn FnMut(&[Connection]) -> io::Result<()> + 'a;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    #[error("the daemon of instance `{0}` is not running: start it with `lbxdp run -i INTERFACE`")]
    NotRunning(Instance),
    #[error("Permission denied (you must be root)")]
    PermissionDenied,
    #[error("the daemon of instance `{instance}` cannot be reached: {error}")]
    Unreachable { instance: Instance, error: io::Error },
    #[error("the daemon of instance `{0}` has gone away in the middle of an answer")]
    GoneAway(Instance),
    #[error(
        "the daemon of instance `{0}` has not answered for {secs} seconds: what it was asked for may still be done, see `lbxdp status`",
        secs = PATIENCE.as_secs()
    )]
    Silent(Instance),
    #[error("the daemon does not answer as this version expects: {0}")]
    Misunderstood(String),
    #[error("the daemon could not do it: {0}")]
    Failed(String),
    #[error(transparent)]
    Output(io::Error),
}

/// The daemon of one instance. The connection is made with the first request and kept for all further ones.
#[derive(Debug)]
pub struct Client {
    instance: Instance,
    stream: Option<BufReader<UnixStream>>,
}

impl Client {
    /// The daemon of the instance that the environment names, else of the default one.
    pub fn of_environment() -> Result<Self, BadInstance> {
        let named = std::env::var_os(INSTANCE_VARIABLE).map(|name| name.to_string_lossy().parse());
        Ok(Self::new(named.transpose()?.unwrap_or_default()))
    }

    /// The daemon of an instance.
    pub fn new(instance: Instance) -> Self {
        Self { instance, stream: None }
    }

    fn stream(&mut self) -> Result<&mut BufReader<UnixStream>, ClientError> {
        if self.stream.is_none() {
            let stream = UnixStream::connect(self.instance.socket()).map_err(|error| self.explain(error))?;
            stream.set_read_timeout(Some(PATIENCE)).map_err(|error| self.explain(error))?;
            self.stream = Some(BufReader::new(stream));
        }
        self.stream.as_mut().ok_or_else(|| ClientError::NotRunning(self.instance.clone()))
    }

    fn explain(&self, error: io::Error) -> ClientError {
        ClientError::on_the_way(&self.instance, error)
    }

    fn send(&mut self, request: &Request) -> Result<(), ClientError> {
        let line = serde_json::to_string(request).map_err(misunderstood)? + "\n";
        let sent = self.stream()?.get_mut().write_all(line.as_bytes());
        sent.map_err(|error| self.explain(error))
    }

    fn receive(&mut self) -> Result<Response, ClientError> {
        let mut line = String::new();
        let received = self.stream()?.read_line(&mut line);
        received.map_err(|error| self.explain(error))?;
        if !line.ends_with('\n') {
            return Err(ClientError::GoneAway(self.instance.clone()));
        }
        serde_json::from_str(&line).map_err(misunderstood)
    }

    /// The records that stand behind a line, into memory that is used again.
    fn receive_records(
        &mut self,
        count: u32,
        bytes: &mut Vec<u8>,
        piece: &mut Vec<Connection>,
    ) -> Result<(), ClientError> {
        let unknown = |what: &str| ClientError::Misunderstood(what.to_owned());
        let count = usize::try_from(count).ok().filter(|count| *count <= MOST_RECORDS);
        let count = count.ok_or_else(|| unknown("too many records in one piece"))?;
        bytes.resize(count * Record::BYTES, 0);
        let received = self.stream()?.read_exact(bytes);
        received.map_err(|error| self.explain(error))?;
        let records = <[Record]>::ref_from_bytes(bytes).map_err(|_| unknown("records of another size"))?;
        piece.clear();
        for record in records {
            piece.push(record.read().ok_or_else(|| unknown("a connection of an unknown protocol"))?);
        }
        Ok(())
    }
}

impl Director for Client {
    fn ask(&mut self, request: &Request) -> Result<Response, ClientError> {
        self.send(request)?;
        self.receive()
    }

    fn connections(&mut self, each: &mut EachPiece<'_>) -> Result<(), ClientError> {
        self.send(&Request::Connections)?;
        let (mut bytes, mut piece) = (Vec::new(), Vec::new());
        loop {
            match self.receive()? {
                Response::Connections { count: 0 } => return Ok(()),
                Response::Connections { count } => self.receive_records(count, &mut bytes, &mut piece)?,
                other => return Err(ClientError::unexpected(&other)),
            }
            each(&piece).map_err(ClientError::Output)?;
        }
    }
}

impl ClientError {
    /// What an error on the way to an instance's daemon means.
    pub(crate) fn on_the_way(instance: &Instance, error: io::Error) -> Self {
        let instance = instance.clone();
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Self::NotRunning(instance),
            io::ErrorKind::PermissionDenied => Self::PermissionDenied,
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof => {
                Self::GoneAway(instance)
            }
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Self::Silent(instance),
            _ => Self::Unreachable { instance, error },
        }
    }

    /// What an answer of another kind than the one asked for means.
    pub(crate) fn unexpected(response: &Response) -> Self {
        match response {
            Response::Failed(cause) => Self::Failed(cause.clone()),
            Response::Forbidden => Self::PermissionDenied,
            other => Self::Misunderstood(format!("{other:?}").chars().take(80).collect()),
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn misunderstood(error: serde_json::Error) -> ClientError {
    ClientError::Misunderstood(error.to_string())
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use lbxdp_common::Protocol;
    use lbxdp_common::state::{State, TcpState};
    use zerocopy::IntoBytes;

    use super::*;
    use crate::record::End;

    #[test]
    fn a_daemon_that_is_not_there_is_named_in_one_line() {
        let mut client = Client::new("no-such-instance".parse().unwrap());
        let error = client.ask(&Request::Services).unwrap_err();
        let ClientError::NotRunning(instance) = &error else { panic!("{error}") };
        assert_eq!(instance.to_string(), "no-such-instance");
        assert_eq!(error.to_string().lines().count(), 1);
    }

    #[test]
    fn all_requests_share_one_connection() {
        let (near, far) = UnixStream::pair().unwrap();
        let server = std::thread::spawn(move || {
            let mut lines = BufReader::new(far.try_clone().unwrap()).lines();
            let answers = [
                vec![r#""Done""#],
                vec![r#"{"Connections":{"count":0}}"#],
                vec![r#"{"Refused":"NoSuchService"}"#],
            ];
            let mut writer = far;
            for answer in answers {
                lines.next().unwrap().unwrap();
                for line in answer {
                    writeln!(writer, "{line}").unwrap();
                }
            }
        });
        let mut client = Client { instance: Instance::default(), stream: Some(BufReader::new(near)) };
        assert_eq!(client.ask(&Request::Services).unwrap(), Response::Done);
        client.connections(&mut |_| panic!("no connections")).unwrap();
        let refused = client.ask(&Request::Timeouts).unwrap();
        assert_eq!(refused, Response::Refused(crate::command::CommandError::NoSuchService));
        server.join().unwrap();
        assert!(client.ask(&Request::Services).is_err());
    }

    fn connection(number: u32) -> Connection {
        let end = |port| End { address: Ipv4Addr::from(number).into(), port };
        Connection {
            protocol: Some(Protocol::Tcp),
            state: State::tcp(TcpState::Established),
            expires_s: number,
            client: end(1),
            vip: end(2),
            server: end(3),
        }
    }

    /// What a client makes of such an answer: how many connections are in each piece, and how it ends.
    fn pieces(answer: &[u8]) -> (Vec<usize>, Result<(), ClientError>) {
        let (near, mut far) = UnixStream::pair().unwrap();
        far.write_all(answer).unwrap();
        far.shutdown(std::net::Shutdown::Write).unwrap();
        let mut client = Client { instance: Instance::default(), stream: Some(BufReader::new(near)) };
        let (mut sizes, mut number) = (Vec::new(), 0);
        let end = client.connections(&mut |piece| {
            for found in piece {
                assert_eq!(*found, connection(number));
                number += 1;
            }
            sizes.push(piece.len());
            Ok(())
        });
        (sizes, end)
    }

    fn piece(numbers: std::ops::Range<u32>) -> Vec<u8> {
        let mut bytes = format!("{{\"Connections\":{{\"count\":{}}}}}\n", numbers.len()).into_bytes();
        bytes.extend(numbers.flat_map(|number| Record::from(connection(number)).as_bytes().to_vec()));
        bytes
    }

    #[test]
    fn records_follow_the_line_that_counts_them() {
        let (sizes, end) = pieces(&[piece(0..3), piece(3..500), piece(0..0)].concat());
        assert_eq!(sizes, [3, 497]);
        end.unwrap();
    }

    #[test]
    fn an_answer_that_breaks_off_is_no_answer() {
        let answer = piece(0..3);
        for length in [0, 10, answer.len() - 1, answer.len()] {
            let (_, end) = pieces(&answer[..length]);
            assert!(matches!(end, Err(ClientError::GoneAway(_))), "{length}: {end:?}");
        }
    }

    #[test]
    fn a_daemon_that_is_silent_is_said_to_be_so() {
        let (near, _far) = UnixStream::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let mut client = Client { instance: Instance::default(), stream: Some(BufReader::new(near)) };
        let said = client.receive().unwrap_err().to_string();
        assert!(said.contains("has not answered for 30 seconds"), "{said}");
    }

    #[test]
    fn what_is_no_record_is_not_taken() {
        let too_many = format!("{{\"Connections\":{{\"count\":{}}}}}\n", MOST_RECORDS + 1);
        let (_, end) = pieces(too_many.as_bytes());
        assert!(matches!(end, Err(ClientError::Misunderstood(_))), "{end:?}");
        let mut unknown = piece(0..1);
        let at = unknown.len() - Record::BYTES + 54;
        unknown[at] = 7;
        let (_, end) = pieces(&unknown);
        assert!(matches!(end, Err(ClientError::Misunderstood(_))), "{end:?}");
    }
}
