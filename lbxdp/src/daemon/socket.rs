//! The socket that the command line talks to.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use zerocopy::IntoBytes;

use super::listing::{Listing, Reading};
use super::watching;
use crate::message::{MOST_RECORDS, Request, Response};
use crate::record::Record;
use crate::watch::WatchRequest;

/// The longest request: far more than any commands need, [`MOST_CHANGES`](crate::message::MOST_CHANGES) of them.
const MAX_REQUEST_BYTES: u64 = 512 * 1024;

/// A request on its way to the director, and where its answer goes.
pub(super) type Call = (Request, oneshot::Sender<Response>);

/// Whom clients ask.
#[derive(Clone)]
pub(super) struct Daemon {
    /// The director.
    pub calls: mpsc::Sender<Call>,
    pub listing: Listing,
    /// Who has packets watched.
    pub watching: mpsc::UnboundedSender<watching::Call>,
}

/// Listens at `path`, for root alone. Whoever gets in all the same is asked for by [`is_allowed`].
pub(super) fn listen(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let old = nix::sys::stat::umask(nix::sys::stat::Mode::from_bits_truncate(0o177));
    let listener = UnixListener::bind(path);
    nix::sys::stat::umask(old);
    let listener = listener?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Serves clients for ever.
pub(super) async fn serve(listener: UnixListener, daemon: Daemon) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let daemon = daemon.clone();
                tokio::spawn(async move {
                    let done = if is_allowed(&stream) {
                        converse(stream, daemon).await
                    } else {
                        refuse(stream).await
                    };
                    if let Err(error) = done {
                        tracing::debug!(%error, "a client went away");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot take a client");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

/// Whether who has connected may ask: root, or whoever the daemon runs as. What stands before the socket in the file system may
/// be changed by mistake.
fn is_allowed(stream: &UnixStream) -> bool {
    let own = nix::unistd::geteuid().as_raw();
    stream.peer_cred().is_ok_and(|peer| peer.uid() == 0 || peer.uid() == own)
}

/// Waits for the first request, so that the answer is read, and says no.
async fn refuse(stream: UnixStream) -> io::Result<()> {
    let uid = stream.peer_cred().map(|peer| peer.uid()).ok();
    tracing::warn!(uid, "a client that is not root was refused");
    let (reader, mut writer) = stream.into_split();
    read_line(&mut BufReader::new(reader), &mut Vec::new()).await?;
    send(&mut writer, &Response::Forbidden).await
}

/// The next line, as much of it as may be; nothing at the end.
async fn read_line(reader: &mut BufReader<OwnedReadHalf>, line: &mut Vec<u8>) -> io::Result<usize> {
    line.clear();
    tokio::io::AsyncReadExt::take(reader, MAX_REQUEST_BYTES).read_until(b'\n', line).await
}

async fn converse(stream: UnixStream, daemon: Daemon) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    loop {
        if read_line(&mut reader, &mut line).await? == 0 {
            return Ok(());
        }
        if line.last() != Some(&b'\n') {
            let refusal = format!("a request has at most {MAX_REQUEST_BYTES} bytes and ends with a newline");
            return send(&mut writer, &Response::Failed(refusal)).await;
        }
        match serde_json::from_slice(&line) {
            Ok(Request::Connections) => send_connections(&mut writer, daemon.listing).await?,
            Ok(Request::Watch(request)) => show(&mut reader, &mut writer, &daemon, request).await?,
            Ok(request) => send(&mut writer, &call(&daemon.calls, request).await).await?,
            Err(error) => send(&mut writer, &Response::Failed(format!("not a request: {error}"))).await?,
        }
    }
}

/// Sends all connections in pieces. The next piece is read when the last one has been taken, so whoever does not read on
/// holds up nobody and costs no memory; and between two steps all others get their turn.
async fn send_connections(writer: &mut OwnedWriteHalf, listing: Listing) -> io::Result<()> {
    let mut reading = listing.start();
    let mut records = Vec::with_capacity(MOST_RECORDS);
    while reading.go_on(&mut records) {
        if records.len() + Reading::MOST > MOST_RECORDS {
            send_records(writer, &records).await?;
            records.clear();
        }
        tokio::task::yield_now().await;
    }
    if !records.is_empty() {
        send_records(writer, &records).await?;
    }
    send_records(writer, &[]).await
}

async fn send_records(writer: &mut OwnedWriteHalf, records: &[Record]) -> io::Result<()> {
    let count = u32::try_from(records.len()).map_err(io::Error::other)?;
    send(writer, &Response::Connections { count }).await?;
    writer.write_all(records.as_bytes()).await
}

/// Shows packets until the client closes its side, or says anything at all. Whoever does not read on costs little memory, and
/// holds up nobody: what it has no room for is lost.
async fn show(
    reader: &mut BufReader<OwnedReadHalf>,
    writer: &mut OwnedWriteHalf,
    daemon: &Daemon,
    request: WatchRequest,
) -> io::Result<()> {
    let (answer, answered) = oneshot::channel();
    let _ = daemon.watching.send(watching::Call::Begin { request, answer });
    let mut seat = match answered.await {
        Ok(Ok(seat)) => seat,
        Ok(Err(cause)) => return send(writer, &Response::Failed(cause)).await,
        Err(_) => return send(writer, &Response::Failed("the daemon is stopping".into())).await,
    };
    send(writer, &Response::Watching { interfaces: std::mem::take(&mut seat.interfaces) }).await?;
    loop {
        let sightings = tokio::select! {
            sightings = seat.sightings.recv() => sightings,
            _ = reader.fill_buf() => None,
        };
        let Some(sightings) = sightings else {
            break;
        };
        let count = u32::try_from(sightings.len()).map_err(io::Error::other)?;
        send(writer, &Response::Packets { count }).await?;
        writer.write_all(sightings.as_bytes()).await?;
    }
    send(writer, &Response::Watched(seat.leave().await)).await
}

async fn call(calls: &mpsc::Sender<Call>, request: Request) -> Response {
    let (answer, answered) = oneshot::channel();
    match calls.send((request, answer)).await {
        Ok(()) => answered.await.unwrap_or_else(|_| Response::Failed("the daemon is stopping".into())),
        Err(_) => Response::Failed("the daemon is stopping".into()),
    }
}

async fn send(writer: &mut OwnedWriteHalf, response: &Response) -> io::Result<()> {
    let mut line = serde_json::to_vec(response)?;
    line.push(b'\n');
    writer.write_all(&line).await
}
