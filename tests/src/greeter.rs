//! What runs on a server that says at once who it is: each connection is greeted by a line and then hears its own lines again; a datagram
//! comes back behind the greeting. A client that only wants to know who serves it sends nothing.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, UdpSocket};
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use crate::namespace::Namespace;

/// The program, at work until this is dropped.
#[derive(Debug)]
pub struct Greeter {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Where it listens. A datagram is answered from the address it was sent to, so these are named one by one.
#[derive(Clone, Debug)]
pub struct Places<'a> {
    pub tcp_ports: &'a [u16],
    pub udp: &'a [SocketAddrV4],
}

impl Greeter {
    pub fn start(namespace: &Namespace, greeting: &str, places: &Places<'_>) -> Result<Self> {
        let (listeners, sockets) = namespace
            .inside(|| open(places))?
            .with_context(|| format!("opening the sockets of {}", namespace.name()))?;
        let runtime = Builder::new_current_thread().enable_all().build().context("starting the greeter")?;
        runtime.block_on(async { serve(listeners, sockets, greeting) }).context("serving the sockets")?;
        let (stop, stopped) = oneshot::channel();
        let thread =
            thread::Builder::new().name(greeting.to_owned()).spawn(move || run(&runtime, stopped))?;
        Ok(Self { stop: Some(stop), thread: Some(thread) })
    }
}

impl Drop for Greeter {
    fn drop(&mut self) {
        // Dropping the sender is what ends the thread.
        drop(self.stop.take());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            eprintln!("a greeter's thread panicked");
        }
    }
}

fn run(runtime: &Runtime, stopped: oneshot::Receiver<()>) {
    // The sender is dropped, never used: both outcomes mean the same.
    let _ = runtime.block_on(stopped);
}

fn open(places: &Places<'_>) -> io::Result<(Vec<TcpListener>, Vec<UdpSocket>)> {
    let listen = |port: &u16| {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, *port))?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    let bind = |place: &SocketAddrV4| {
        let socket = UdpSocket::bind(place)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    };
    let listeners = places.tcp_ports.iter().map(listen).collect::<io::Result<_>>()?;
    Ok((listeners, places.udp.iter().map(bind).collect::<io::Result<_>>()?))
}

/// Hands the sockets to tasks of the runtime this is called in.
fn serve(listeners: Vec<TcpListener>, sockets: Vec<UdpSocket>, greeting: &str) -> io::Result<()> {
    for listener in listeners {
        let (listener, greeting) = (tokio::net::TcpListener::from_std(listener)?, greeting.to_owned());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(greet(stream, greeting.clone()));
            }
        });
    }
    for socket in sockets {
        tokio::spawn(answer(tokio::net::UdpSocket::from_std(socket)?, greeting.to_owned()));
    }
    Ok(())
}

/// One connection, from its greeting to the client's end. A client that has gone does not stop the program.
async fn greet(stream: TcpStream, greeting: String) {
    let (reader, mut writer) = stream.into_split();
    let mut lines = BufReader::new(reader).lines();
    let mut line = greeting;
    while writer.write_all(format!("{line}\n").as_bytes()).await.is_ok() {
        match lines.next_line().await {
            Ok(Some(next)) => line = next,
            _ => break,
        }
    }
}

async fn answer(socket: tokio::net::UdpSocket, greeting: String) {
    let mut datagram = vec![0; 1 << 16];
    while let Ok((length, from)) = socket.recv_from(&mut datagram).await {
        let answer = [greeting.as_bytes(), b" ", datagram.get(..length).unwrap_or_default()].concat();
        // A client that has gone does not stop the service.
        let _ = socket.send_to(&answer, from).await;
    }
}
