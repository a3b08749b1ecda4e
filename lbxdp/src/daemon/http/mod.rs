//! HTTP: metrics, the status page and what it is made of, to be read by whoever reaches the address.
//!
//! It has a thread of its own, so however long it takes to write a hundred thousand lines, the director does other things meanwhile.

mod clients;
mod documents;
mod hosts;
mod pages;

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::runtime::Builder;
use tokio::sync::{Mutex, oneshot};

use super::look::Observer;
use super::{Metrics, StartError};
use crate::metrics::Others;
use hosts::Hosts;
use pages::Site;

/// Where the kernel tells the machine's name.
const OWN_NAME: &str = "/proc/sys/kernel/hostname";

/// The thread; it ends when this is dropped.
pub(super) struct Http {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Listens, without answering yet.
pub(super) fn listen(address: SocketAddr) -> Result<TcpListener, StartError> {
    let listen = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    listen().map_err(|error| StartError::Metrics(address, error))
}

impl Http {
    /// Begins to answer.
    pub(super) fn start(
        listener: TcpListener,
        metrics: &Metrics,
        observer: Observer,
    ) -> Result<Self, StartError> {
        let failed = |error| StartError::Metrics(metrics.address, error);
        let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let listener = {
            let _inside = runtime.enter();
            tokio::net::TcpListener::from_std(listener).map_err(failed)?
        };
        let site =
            Site { observer: Arc::new(Mutex::new((observer, Others::default()))), servers: metrics.servers };
        // A machine that does not know its name has none to be asked for by.
        let own = std::fs::read_to_string(OWN_NAME).unwrap_or_default();
        let hosts = Hosts::new(&own, &metrics.hosts);
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new().name("http".into()).spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = clients::serve(listener, pages::routes(site, hosts)) => {}
                    // The sender is dropped, never used: both outcomes mean the same.
                    _ = stopped => {}
                }
            });
        });
        tracing::info!(address = %metrics.address, "metrics and the status page are served by HTTP");
        Ok(Self { stop: Some(stop), thread: Some(thread.map_err(failed)?) })
    }
}

impl Drop for Http {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }
}
