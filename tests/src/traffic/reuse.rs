//! A client that has only one port, and connects from it again as soon as it has closed. Neither its own kernel nor the
//! server's stands in the way in any of these: what it waits for, it waits for at the director.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrIn, bind, connect, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

use super::{Durations, losses};
use crate::namespace::Namespace;

/// For every single step.
const DEADLINE: Duration = Duration::from_secs(10);

/// How a connection is closed: what the director sees last, and what the next SYN meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closing {
    /// The server closes first; the client's FIN and last ACK leave the connection in `FIN_WAIT`. The server keeps
    /// `TIME_WAIT`, and takes the next SYN all the same (RFC 6191).
    ServerFirst,
    /// The client resets: CLOSE.
    Reset,
    /// The client sends a FIN, and resets before the server's FIN is there: `FIN_WAIT`, then CLOSE.
    FinThenReset,
}

/// How it went.
#[derive(Clone, Debug)]
pub struct Report {
    pub connections: usize,
    pub connect: Durations,
    /// Segments the client's TCP sent again: one that was lost, a SYN above all, is in here.
    pub retransmitted: u64,
}

/// Connects so many times from one port to an HTTP service, one after the other, and closes each time like this.
pub fn run(
    client: &Namespace,
    to: SocketAddrV4,
    port: u16,
    closing: Closing,
    times: usize,
) -> Result<Report> {
    let before = losses::retransmitted(client)?;
    let connect = client.inside(|| {
        (0..times)
            .map(|number| {
                visit(to, port, closing).with_context(|| format!("connection {number}, {closing:?}"))
            })
            .collect::<Result<Vec<_>>>()
    })??;
    let retransmitted = losses::retransmitted(client)? - before;
    Ok(Report { connections: times, connect: Durations::new(connect), retransmitted })
}

/// A connection from the port, and how long connecting took.
fn connected(to: SocketAddrV4, port: u16) -> Result<(OwnedFd, Duration)> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let fd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        setsockopt(&fd, sockopt::ReuseAddr, &true)?;
        let patience = TimeVal::milliseconds(i64::try_from(DEADLINE.as_millis())?);
        setsockopt(&fd, sockopt::SendTimeout, &patience)?;
        setsockopt(&fd, sockopt::ReceiveTimeout, &patience)?;
        bind(fd.as_raw_fd(), &SockaddrIn::from(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, port)))?;
        let start = Instant::now();
        match connect(fd.as_raw_fd(), &SockaddrIn::from(to)) {
            Ok(()) => return Ok((fd, start.elapsed())),
            // The last connection's FIN is not acknowledged yet: no SYN has been sent.
            Err(Errno::EADDRNOTAVAIL) if Instant::now() < deadline => std::thread::yield_now(),
            Err(error) => return Err(error).context("connecting"),
        }
    }
}

/// One connection; how long connecting took.
fn visit(to: SocketAddrV4, port: u16, closing: Closing) -> Result<Duration> {
    let (fd, took) = connected(to, port)?;
    let mut stream = TcpStream::from(fd);
    let header = if closing == Closing::ServerFirst { "Connection: close\r\n" } else { "" };
    stream.write_all(format!("GET / HTTP/1.1\r\nHost: {to}\r\n{header}\r\n").as_bytes()).context("asking")?;
    match closing {
        Closing::ServerFirst => {
            let mut answer = String::new();
            stream.read_to_string(&mut answer).context("waiting for the answer and the server's FIN")?;
            ensure!(answer.starts_with("HTTP/1.1 200"), "answered by `{answer}`");
        }
        Closing::Reset | Closing::FinThenReset => {
            let mut answer = [0; 1024];
            let bytes = stream.read(&mut answer).context("waiting for the answer")?;
            ensure!(answer[..bytes].starts_with(b"HTTP/1.1 200"), "answered by {bytes} other bytes");
            setsockopt(&stream, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 })?;
            if closing == Closing::FinThenReset {
                stream.shutdown(std::net::Shutdown::Write).context("closing one side")?;
            }
        }
    }
    Ok(took)
}
