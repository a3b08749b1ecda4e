//! Newcomers: real connections that keep arriving, each with one request and its answer.

use std::net::SocketAddrV4;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::Durations;
use crate::background::{Background, Stop};
use crate::namespace::Namespace;

/// Who is not served within this time has failed: three SYNs of a client's kernel fit in.
const PATIENCE: Duration = Duration::from_secs(10);

/// The stream of newcomers, under way.
#[derive(Debug)]
pub struct Newcomers {
    background: Background<Report>,
    served: Arc<AtomicUsize>,
}

/// How it went.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub came: usize,
    pub served: usize,
    /// What went wrong, one line a newcomer.
    pub failures: Vec<String>,
    /// Of those who were served: from the first SYN to the established connection.
    pub connect: Durations,
}

impl Report {
    /// The share that was served, in percent.
    #[expect(clippy::cast_precision_loss, reason = "a figure to be read by people")]
    pub fn percent(&self) -> f64 {
        100.0 * self.served as f64 / self.came.max(1) as f64
    }

    /// Whether all were served, and there was somebody to serve.
    pub fn must_be_served(&self) -> Result<()> {
        let (count, some) = (self.failures.len(), &self.failures[..self.failures.len().min(5)]);
        ensure!(count == 0, "{count} of {} newcomers were not served: {some:#?}", self.came);
        ensure!(self.came > 0, "nobody came");
        Ok(())
    }
}

impl Newcomers {
    /// Lets them come to an echo service, one every `pause`.
    pub fn start(client: &Namespace, to: SocketAddrV4, pause: Duration) -> Result<Self> {
        let served = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&served);
        let background = Background::start(client, "newcomers", move |stop| {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            Ok(runtime.block_on(arrive(to, pause, stop, &counter)))
        })?;
        Ok(Self { background, served })
    }

    /// How many have been served so far.
    pub fn served(&self) -> usize {
        self.served.load(Ordering::Relaxed)
    }

    /// Lets nobody else come, waits for those who are there, and tells how it went.
    pub fn finish(self) -> Result<Report> {
        self.background.finish()
    }
}

async fn arrive(to: SocketAddrV4, pause: Duration, stop: &Stop, served: &Arc<AtomicUsize>) -> Report {
    let mut tasks = Vec::new();
    let mut ticks = interval(pause);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !stop.is_wanted() {
        ticks.tick().await;
        let (number, served) = (tasks.len(), Arc::clone(served));
        tasks.push(tokio::spawn(async move {
            let outcome = timeout(PATIENCE, visit(to, number)).await;
            let outcome = outcome.map_err(|_| anyhow::anyhow!("not served within {PATIENCE:?}"))?;
            served.fetch_add(usize::from(outcome.is_ok()), Ordering::Relaxed);
            outcome
        }));
    }
    let mut report = Report { came: tasks.len(), ..Report::default() };
    let mut connect = Vec::new();
    for (number, task) in tasks.into_iter().enumerate() {
        match task.await.context("a newcomer panicked").flatten() {
            Ok(duration) => connect.push(duration),
            Err(error) => report.failures.push(format!("newcomer {number}: {error:#}")),
        }
    }
    report.served = connect.len();
    report.connect = Durations::new(connect);
    report
}

/// One newcomer; how long connecting took.
async fn visit(to: SocketAddrV4, number: usize) -> Result<Duration> {
    let start = Instant::now();
    let mut stream = TcpStream::connect(std::net::SocketAddr::V4(to)).await.context("connecting")?;
    let took = start.elapsed();
    stream.write_all(format!("newcomer {number}\n").as_bytes()).await.context("asking")?;
    let mut answer = String::new();
    BufReader::new(&mut stream).read_line(&mut answer).await.context("waiting for an answer")?;
    ensure!(answer.ends_with(&format!(" newcomer {number}\n")), "answered by `{answer}`");
    Ok(took)
}
