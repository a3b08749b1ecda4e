//! What runs on a real server: HTTP, and an echo over TCP and UDP; each answer names the host, so one sees who answered.

use std::net::{IpAddr, Ipv6Addr, TcpListener, UdpSocket};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, anyhow};
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path};
use axum::routing::{get, post};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use crate::body;
use crate::namespace::Namespace;

/// `GET /` answers the name, `GET /bytes/N` a pattern of N bytes, `POST /sink` the receipt of what it was sent.
pub const HTTP_PORT: u16 = 80;

/// Over TCP each line, over UDP each datagram is answered by the name, a blank, and what came.
pub const ECHO_PORT: u16 = 7;

/// Each datagram is answered by the name, a blank, and the receipt of what came: a short answer to a long question.
pub const RECEIPT_PORT: u16 = 9;

/// The programs of one host, at work until this is dropped.
#[derive(Debug)]
pub struct Host {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Host {
    /// Starts them in a namespace. UDP is served on each of the given addresses by itself: a socket for all of them
    /// would answer from whichever address the route prefers, not from the one that was asked.
    pub fn start(namespace: &Namespace, name: &str, addresses: &[impl Copy + Into<IpAddr>]) -> Result<Self> {
        let addresses: Vec<IpAddr> = addresses.iter().copied().map(Into::into).collect();
        let sockets = namespace.inside(|| Sockets::open(&addresses))?;
        let sockets =
            sockets.with_context(|| format!("opening the sockets of {name} in {}", namespace.name()))?;
        let runtime =
            Builder::new_current_thread().enable_all().build().context("starting the server's runtime")?;
        let (stop, stopped) = oneshot::channel();
        let (host, name) = (name.to_owned(), name.to_owned());
        runtime.block_on(async { sockets.serve(name) }).context("serving the sockets")?;
        let thread = thread::Builder::new().name(host).spawn(move || run(&runtime, stopped))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Host {
    /// Ends them: their ports are closed when this returns.
    pub fn stop(&mut self) {
        // Dropping the sender is what ends the thread.
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            eprintln!("{}", anyhow!("a server's thread panicked"));
        }
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Keeps the tasks running until the host is dropped; then the runtime's end is theirs.
fn run(runtime: &Runtime, stopped: oneshot::Receiver<()>) {
    // The sender is dropped, never used: both outcomes mean the same.
    let _ = runtime.block_on(stopped);
}

/// Sockets opened inside a namespace: they stay there.
struct Sockets {
    http: TcpListener,
    echo: TcpListener,
    datagrams: Vec<UdpSocket>,
    receipts: Vec<UdpSocket>,
}

impl Sockets {
    fn open(addresses: &[IpAddr]) -> std::io::Result<Self> {
        let listen = |port| {
            // Linux gives such a socket IPv4 too.
            let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))?;
            listener.set_nonblocking(true)?;
            Ok::<_, std::io::Error>(listener)
        };
        let bind = |port| {
            let sockets = addresses.iter().map(move |address| {
                let socket = UdpSocket::bind((*address, port))?;
                socket.set_nonblocking(true)?;
                Ok(socket)
            });
            sockets.collect::<std::io::Result<Vec<UdpSocket>>>()
        };
        Ok(Self {
            http: listen(HTTP_PORT)?,
            echo: listen(ECHO_PORT)?,
            datagrams: bind(ECHO_PORT)?,
            receipts: bind(RECEIPT_PORT)?,
        })
    }

    /// Hands the sockets to tasks of the runtime this is called in.
    fn serve(self, name: String) -> std::io::Result<()> {
        let http = tokio::net::TcpListener::from_std(self.http)?;
        let echo = tokio::net::TcpListener::from_std(self.echo)?;
        for socket in self.datagrams {
            tokio::spawn(answer_datagrams(
                tokio::net::UdpSocket::from_std(socket)?,
                name.clone(),
                <[u8]>::to_vec,
            ));
        }
        for socket in self.receipts {
            let receipt = |datagram: &[u8]| body::receipt(datagram).into_bytes();
            tokio::spawn(answer_datagrams(tokio::net::UdpSocket::from_std(socket)?, name.clone(), receipt));
        }
        tokio::spawn(echo_lines(echo, name.clone()));
        tokio::spawn(async move { axum::serve(http, routes(name)).await });
        Ok(())
    }
}

fn routes(name: String) -> Router {
    Router::new()
        .route("/", get(|| async move { name }))
        .route("/bytes/{bytes}", get(|Path(bytes): Path<usize>| async move { body::pattern(bytes) }))
        .route("/sink", post(|sent: Bytes| async move { body::receipt(&sent) }))
        .layer(DefaultBodyLimit::disable())
}

async fn echo_lines(listener: tokio::net::TcpListener, name: String) {
    while let Ok((stream, _)) = listener.accept().await {
        let name = name.clone();
        tokio::spawn(async move {
            let (reader, mut writer) = stream.into_split();
            let mut lines = BufReader::new(reader).lines();
            while let Ok(Some(line)) = lines.next_line().await {
                if writer.write_all(format!("{name} {line}\n").as_bytes()).await.is_err() {
                    break;
                }
            }
        });
    }
}

/// Answers each datagram by the name, a blank, and what `answer` makes of it.
async fn answer_datagrams(socket: tokio::net::UdpSocket, name: String, answer: fn(&[u8]) -> Vec<u8>) {
    let mut datagram = vec![0; 1 << 16];
    while let Ok((length, from)) = socket.recv_from(&mut datagram).await {
        let answer = answer(datagram.get(..length).unwrap_or_default());
        let answer = [name.as_bytes(), b" ", &answer].concat();
        // A client that has gone does not stop the service.
        let _ = socket.send_to(&answer, from).await;
    }
}
