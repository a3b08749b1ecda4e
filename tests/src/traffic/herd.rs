//! A herd: many TCP connections that stay open and keep transferring. Each answer is compared, so a connection that was
//! cut, that hangs, or that came to another server is noticed.

use std::net::SocketAddrV4;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::runtime::Builder;
use tokio::time::{sleep, timeout};

use crate::background::{Background, Stop};
use crate::namespace::Namespace;
use crate::wait;

/// Who waits longer for an answer is cut off.
const LOST: Duration = Duration::from_secs(30);

/// How long the whole herd may take to connect, or to transfer something.
const DEADLINE: Duration = Duration::from_mins(1);

/// What a herd is to be like.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    pub connections: usize,
    /// How long each connection rests between an answer and its next request.
    pub pause: Duration,
    /// Bytes of a request; an answer has a few more.
    pub bytes: usize,
}

/// The connections, at work.
#[derive(Debug)]
pub struct Herd {
    background: Background<Report>,
    /// Exchanges of each connection so far.
    exchanges: Arc<[AtomicU64]>,
}

/// How it went.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub connections: usize,
    pub exchanges: u64,
    /// Both ways, without headers.
    pub bytes: u64,
    /// Connections that were reset.
    pub resets: usize,
    /// What went wrong, one line a connection.
    pub failures: Vec<String>,
    /// The longest time any connection waited for an answer.
    pub longest_stall: Duration,
}

impl Herd {
    /// Opens all connections to an echo service, and waits until each has had its first answer.
    pub fn start(client: &Namespace, to: SocketAddrV4, plan: Plan) -> Result<Self> {
        let exchanges: Arc<[AtomicU64]> = (0..plan.connections).map(|_| AtomicU64::new(0)).collect();
        let seen = Arc::clone(&exchanges);
        let background = Background::start(client, "herd", move |stop| {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            Ok(runtime.block_on(graze(to, plan, stop, &seen)))
        })?;
        let herd = Self { background, exchanges };
        herd.wait_until_all_moved(1)?;
        Ok(herd)
    }

    /// Waits until every connection has had so many more answers from now on.
    pub fn wait_until_all_moved(&self, more: u64) -> Result<()> {
        let count = |cell: &AtomicU64| cell.load(Ordering::Relaxed);
        let before: Vec<u64> = self.exchanges.iter().map(count).collect();
        wait::until("every connection of the herd had its answers", DEADLINE, || {
            self.exchanges.iter().zip(&before).all(|(now, before)| count(now) >= before + more)
        })
        .with_context(|| {
            let lazy =
                self.exchanges.iter().zip(&before).filter(|(now, before)| count(now) < **before + more);
            format!("{} of {} connections had not", lazy.count(), before.len())
        })
    }

    /// Lets every connection have its last answer, and tells how it went.
    pub fn finish(self) -> Result<Report> {
        self.background.finish()
    }
}

/// All connections, until the stop.
async fn graze(to: SocketAddrV4, plan: Plan, stop: &Stop, exchanges: &Arc<[AtomicU64]>) -> Report {
    let mut members = Vec::new();
    for number in 0..plan.connections {
        let (stop, exchanges) = (stop.clone(), Arc::clone(exchanges));
        members.push(tokio::spawn(async move {
            let mut member = Member::default();
            let outcome = member.live(to, number, plan, &stop, &exchanges[number]).await;
            (member, outcome)
        }));
        // Not all at once, neither now nor when they ask: that would be a storm, not a herd.
        sleep(plan.pause / u32::try_from(plan.connections).unwrap_or(u32::MAX)).await;
    }
    let mut report = Report { connections: plan.connections, ..Report::default() };
    for (number, task) in members.into_iter().enumerate() {
        match task.await {
            Ok((member, outcome)) => report.add(number, &member, outcome),
            Err(panic) => report.failures.push(format!("connection {number}: {panic}")),
        }
    }
    report
}

impl Report {
    fn add(&mut self, number: usize, member: &Member, outcome: Result<()>) {
        self.exchanges += member.exchanges;
        self.bytes += member.bytes;
        self.longest_stall = self.longest_stall.max(member.longest_stall);
        if let Err(error) = outcome {
            let reset = error.chain().filter_map(|cause| cause.downcast_ref::<std::io::Error>());
            self.resets += reset.filter(|cause| cause.kind() == std::io::ErrorKind::ConnectionReset).count();
            self.failures.push(format!("connection {number}: {error:#}"));
        }
    }

    /// Whether nothing at all happened to any connection.
    pub fn must_be_unharmed(&self) -> Result<()> {
        let (count, some) = (self.failures.len(), &self.failures[..self.failures.len().min(5)]);
        ensure!(
            count == 0,
            "{count} of {} connections failed, {} by a reset: {some:#?}",
            self.connections,
            self.resets
        );
        Ok(())
    }
}

/// What one connection has seen.
#[derive(Default)]
struct Member {
    exchanges: u64,
    bytes: u64,
    longest_stall: Duration,
}

impl Member {
    async fn live(
        &mut self,
        to: SocketAddrV4,
        number: usize,
        plan: Plan,
        stop: &Stop,
        exchanges: &AtomicU64,
    ) -> Result<()> {
        let connected = timeout(LOST, TcpStream::connect(std::net::SocketAddr::V4(to)));
        let stream = connected.await.context("connecting takes forever")?.context("connecting")?;
        stream.set_nodelay(true)?;
        let (reader, mut writer) = stream.into_split();
        let mut reader = BufReader::new(reader);
        let mut server = None;
        while !stop.is_wanted() {
            let line = request(number, self.exchanges, plan.bytes);
            let asked = Instant::now();
            let answered = timeout(LOST, exchange(&mut writer, &mut reader, &line)).await;
            self.longest_stall = self.longest_stall.max(asked.elapsed());
            let answer = answered.with_context(|| format!("no answer within {LOST:?}"))??;
            check(&answer, &line, &mut server)?;
            self.bytes += (line.len() + answer.len()) as u64;
            self.exchanges += 1;
            exchanges.store(self.exchanges, Ordering::Relaxed);
            sleep(plan.pause).await;
        }
        Ok(())
    }
}

/// A line that no other connection sends, and this one only once.
fn request(number: usize, exchange: u64, bytes: usize) -> String {
    let mut line = format!("{number}.{exchange}.");
    let filling = (b'a'..=b'z').cycle().skip(usize::try_from(exchange % 26).unwrap_or(0));
    line.extend(filling.take(bytes.saturating_sub(line.len() + 1)).map(char::from));
    line.push('\n');
    line
}

async fn exchange(
    writer: &mut OwnedWriteHalf,
    reader: &mut BufReader<OwnedReadHalf>,
    line: &str,
) -> Result<String> {
    writer.write_all(line.as_bytes()).await.context("sending")?;
    let mut answer = String::new();
    let bytes = reader.read_line(&mut answer).await.context("waiting for an answer")?;
    ensure!(bytes > 0, "the server closed the connection");
    Ok(answer)
}

/// The answer is the line, behind the name of a server: always the same one.
fn check(answer: &str, line: &str, server: &mut Option<String>) -> Result<()> {
    let Some((name, rest)) = answer.split_once(' ') else { bail!("`{answer}` is no answer") };
    ensure!(rest == line, "`{line}` was answered by `{answer}`");
    let known = server.get_or_insert_with(|| name.to_owned());
    ensure!(known == name, "the connection moved from {known} to {name}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{check, request};

    #[test]
    fn a_request_has_its_length_and_is_not_repeated() {
        assert_eq!(request(3, 0, 20), "3.0.abcdefghijklmno\n");
        assert_eq!(request(3, 1, 20).len(), 20);
        assert_ne!(request(3, 1, 20), request(3, 27, 20));
    }

    #[test]
    fn a_wrong_answer_and_another_server_are_noticed() {
        let mut server = None;
        assert!(check("s1 abc\n", "abc\n", &mut server).is_ok());
        assert!(check("s1 abd\n", "abc\n", &mut server).is_err());
        assert!(check("s2 abc\n", "abc\n", &mut server).is_err());
        assert!(check("abc\n", "abc\n", &mut server).is_err());
    }
}
