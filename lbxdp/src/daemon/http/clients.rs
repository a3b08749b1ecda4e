//! Clients by HTTP: so many at a time, each with so much time, whatever they do or leave.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// Clients that are served at a time; others wait in the kernel's queue.
const MOST_CLIENTS: usize = 32;
/// How long a client may take to send the head of a request; also how long it may keep a connection without one.
const HEAD_TIME: Duration = Duration::from_secs(5);
/// The largest head of a request, in bytes.
const HEAD_BYTES: usize = 16 * 1024;
/// After this time a connection takes no more requests …
const LIFETIME: Duration = Duration::from_mins(1);
/// … and after this one an answer that is still on its way is given up.
const LAST_ANSWER: Duration = Duration::from_secs(10);

/// Serves clients for ever.
pub(super) async fn serve(listener: TcpListener, site: Router) {
    let places = Arc::new(Semaphore::new(MOST_CLIENTS));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let site = site.clone();
                tokio::spawn(async move {
                    converse(stream, site).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot take a client by HTTP");
                sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, site: Router) {
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(HEAD_TIME).max_buf_size(HEAD_BYTES);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), TowerToHyperService::new(site)));
    let ended = tokio::select! {
        ended = connection.as_mut() => Ok(ended),
        () = sleep(LIFETIME) => {
            connection.as_mut().graceful_shutdown();
            timeout(LAST_ANSWER, connection).await
        }
    };
    match ended {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "a client by HTTP went away"),
        Err(_) => tracing::debug!("a client by HTTP does not read its answer"),
    }
}
