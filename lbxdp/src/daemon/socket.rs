//! The socket that the command line talks to.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, oneshot};
use zerocopy::IntoBytes;

use super::listing::{Listing, Reading};
use crate::message::{MOST_RECORDS, Request, Response};
use crate::record::Record;

/// The longest request: far more than any commands need, [`MOST_CHANGES`](crate::message::MOST_CHANGES) of them.
const MAX_REQUEST_BYTES: u64 = 512 * 1024;

/// A request on its way to the director, and where its answer goes.
pub(super) type Call = (Request, oneshot::Sender<Response>);

/// Listens at `path`, for root alone.
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
pub(super) async fn serve(listener: UnixListener, calls: mpsc::Sender<Call>, listing: Listing) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let calls = calls.clone();
                tokio::spawn(async move {
                    if let Err(error) = converse(stream, calls, listing).await {
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

async fn converse(stream: UnixStream, calls: mpsc::Sender<Call>, listing: Listing) -> io::Result<()> {
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = tokio::io::AsyncReadExt::take(&mut reader, MAX_REQUEST_BYTES)
            .read_until(b'\n', &mut line)
            .await?;
        if read == 0 {
            return Ok(());
        }
        if line.last() != Some(&b'\n') {
            let refusal = format!("a request has at most {MAX_REQUEST_BYTES} bytes and ends with a newline");
            return send(&mut writer, &Response::Failed(refusal)).await;
        }
        match serde_json::from_slice(&line) {
            Ok(Request::Connections) => send_connections(&mut writer, listing).await?,
            Ok(request) => send(&mut writer, &call(&calls, request).await).await?,
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
