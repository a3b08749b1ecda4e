//! A client of the lab: asks by HTTP and UDP, with a deadline on every step.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, bind, connect, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::namespace::Namespace;

/// Asks from inside a namespace.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    namespace: &'a Namespace,
    /// `None` is any address of the family of what is asked.
    source_address: Option<IpAddr>,
    source_port: u16,
    deadline: Duration,
}

impl<'a> Client<'a> {
    pub fn new(namespace: &'a Namespace) -> Self {
        Self { namespace, source_address: None, source_port: 0, deadline: Duration::from_secs(3) }
    }

    /// Asks from this port; 0 is one of the kernel's choice.
    #[must_use]
    pub fn from_port(self, source_port: u16) -> Self {
        Self { source_port, ..self }
    }

    /// Asks from this address and port of its host.
    #[must_use]
    pub fn from(self, source: impl Into<SocketAddr>) -> Self {
        let source = source.into();
        Self { source_address: Some(source.ip()), source_port: source.port(), ..self }
    }

    /// Gives up on connecting, sending or receiving after this time.
    #[must_use]
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// Opens a connection, to be held.
    pub fn open(&self, to: impl Into<SocketAddr>) -> Result<Connection> {
        let to = to.into();
        let stream = self.namespace.inside(|| self.connect(to))?;
        let stream = stream.with_context(|| format!("connecting to {to} from {}", self.namespace.name()))?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream: BufReader::new(stream), to })
    }

    /// Opens a connection to a server that greets, and reads the greeting: one character.
    pub fn open_greeted(&self, to: impl Into<SocketAddr>) -> Result<(Connection, char)> {
        let to = to.into();
        let mut connection = self.open(to)?;
        let greeting = connection.line().with_context(|| format!("waiting for the greeting of {to}"))?;
        Ok((connection, greeting.chars().next().context("an empty greeting")?))
    }

    /// The body of the answer to a GET, on a connection of its own.
    pub fn get(&self, to: impl Into<SocketAddr>, path: &str) -> Result<Vec<u8>> {
        self.open(to)?.exchange("GET", path, &[], Keep::Close)
    }

    /// The body of the answer to a POST, on a connection of its own.
    pub fn post(&self, to: impl Into<SocketAddr>, path: &str, body: &[u8]) -> Result<Vec<u8>> {
        self.open(to)?.exchange("POST", path, body, Keep::Close)
    }

    /// The name of the server that answers to a GET of `/`.
    pub fn who(&self, to: impl Into<SocketAddr>) -> Result<String> {
        String::from_utf8(self.get(to, "/")?).context("a name that is no text")
    }

    /// The answer to one datagram.
    pub fn datagram(&self, to: impl Into<SocketAddr>, datagram: &[u8]) -> Result<Vec<u8>> {
        self.talk(to)?.ask(datagram)
    }

    /// A socket for several datagrams from one port. One socket after the other with the same port may find it taken: a process
    /// that is started at that moment by another thread has the old one too, until its program runs.
    pub fn talk(&self, to: impl Into<SocketAddr>) -> Result<Talk> {
        let to = to.into();
        let socket = self.namespace.inside(|| UdpSocket::bind(self.source(to)))??;
        socket.set_read_timeout(Some(self.deadline))?;
        // Connected: an answer from another address than the one that was asked is not taken.
        socket.connect(to)?;
        Ok(Talk { socket, to })
    }

    /// Called inside the namespace. The standard library cannot choose the port to connect from.
    fn connect(&self, to: SocketAddr) -> Result<TcpStream> {
        let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let fd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        setsockopt(&fd, sockopt::ReuseAddr, &true)?;
        let deadline = TimeVal::milliseconds(i64::try_from(self.deadline.as_millis())?);
        // On Linux this is also the limit for connecting.
        setsockopt(&fd, sockopt::SendTimeout, &deadline)?;
        setsockopt(&fd, sockopt::ReceiveTimeout, &deadline)?;
        bind(fd.as_raw_fd(), &SockaddrStorage::from(self.source(to)))?;
        connect(fd.as_raw_fd(), &SockaddrStorage::from(to))?;
        Ok(TcpStream::from(fd))
    }

    /// Where what is asked of `to` comes from.
    fn source(&self, to: SocketAddr) -> SocketAddr {
        let any: IpAddr =
            if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        SocketAddr::new(self.source_address.unwrap_or(any), self.source_port)
    }
}

/// Whether what failed was refused: somebody said at once that nobody serves there.
pub fn is_refused(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let by_io = cause.downcast_ref::<io::Error>().map(io::Error::kind);
        cause.downcast_ref() == Some(&Errno::ECONNREFUSED) || by_io == Some(io::ErrorKind::ConnectionRefused)
    })
}

/// Whether a connection is to serve again.
#[derive(Clone, Copy)]
enum Keep {
    Open,
    Close,
}

/// A UDP socket that asks one service.
#[derive(Debug)]
pub struct Talk {
    socket: UdpSocket,
    to: SocketAddr,
}

impl Talk {
    /// The answer to a datagram.
    pub fn ask(&self, datagram: &[u8]) -> Result<Vec<u8>> {
        let to = self.to;
        self.socket.send(datagram).with_context(|| format!("sending a datagram to {to}"))?;
        self.receive()
    }

    /// The next answer, whoever has sent the question for this socket.
    pub fn receive(&self) -> Result<Vec<u8>> {
        let to = self.to;
        let mut answer = vec![0; 1 << 16];
        let length =
            self.socket.recv(&mut answer).with_context(|| format!("waiting for an answer of {to}"))?;
        answer.truncate(length);
        Ok(answer)
    }

    /// Where it asks from.
    pub fn source(&self) -> Result<SocketAddr> {
        Ok(self.socket.local_addr()?)
    }
}

/// A TCP connection that is held: for several HTTP requests, or for lines of the echo service.
#[derive(Debug)]
pub struct Connection {
    stream: BufReader<TcpStream>,
    to: SocketAddr,
}

impl Connection {
    /// The body of the answer to a GET. The connection stays open.
    pub fn get(&mut self, path: &str) -> Result<Vec<u8>> {
        self.exchange("GET", path, &[], Keep::Open)
    }

    /// The answer to a line sent to the echo service.
    pub fn echo(&mut self, line: &str) -> Result<String> {
        self.stream.get_mut().write_all(format!("{line}\n").as_bytes()).context("sending a line")?;
        Ok(self.line()?.trim_end().to_owned())
    }

    /// Closes it, and waits until the server has closed it too: then the director has seen the client's end. A FIN that is only
    /// sent may be overtaken by what another CPU sends.
    pub fn close(mut self) -> Result<()> {
        self.stream.get_ref().shutdown(Shutdown::Write).context("closing one side")?;
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).with_context(|| format!("waiting for the end of {}", self.to))?;
        Ok(())
    }

    /// The port on the client's side.
    pub fn source_port(&self) -> Result<u16> {
        Ok(self.stream.get_ref().local_addr()?.port())
    }

    fn exchange(&mut self, method: &str, path: &str, body: &[u8], keep: Keep) -> Result<Vec<u8>> {
        let header = match keep {
            Keep::Open => "",
            Keep::Close => "Connection: close\r\n",
        };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\n{header}Content-Length: {}\r\n\r\n",
            self.to,
            body.len()
        );
        let request = [head.as_bytes(), body].concat();
        self.stream
            .get_mut()
            .write_all(&request)
            .with_context(|| format!("sending a request to {}", self.to))?;
        self.response().with_context(|| format!("waiting for the answer of {} to {method} {path}", self.to))
    }

    fn response(&mut self) -> Result<Vec<u8>> {
        let status = self.line()?;
        if status.split_whitespace().nth(1) != Some("200") {
            bail!("the answer is `{}`", status.trim());
        }
        let mut length = None;
        loop {
            let line = self.line()?;
            if line.trim().is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = Some(value.trim().parse().context("reading the length of the body")?);
            }
        }
        let mut body = vec![0; length.context("the answer names no length")?];
        self.stream.read_exact(&mut body).context("reading the body")?;
        Ok(body)
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            bail!("the connection was closed");
        }
        Ok(line)
    }
}
