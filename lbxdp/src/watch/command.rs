//! The command: asks the daemon, shows what comes until it is told to stop, and says in the end what it did not show.

use std::fs::File;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::signal::unix::{Signal, SignalKind, signal};
use zerocopy::FromBytes;

use super::json;
use super::pcapng::Capture;
use super::told::Told;
use super::{Filter, MOST_SIGHTINGS, NotShown, Only, Sighting, WatchRequest};
use crate::cli::arguments::InstanceArgument;
use crate::cli::client::ClientError;
use crate::message::{Request, Response};
use crate::tables::pins::Instance;

/// Longer than the daemon takes to have the kernel's verifier look at the program.
const PATIENCE: Duration = Duration::from_secs(30);

/// What `lbxdp watch` is told.
#[derive(clap::Args)]
pub struct WatchArguments {
    #[command(flatten)]
    pub instance: InstanceArgument,
    /// Show one of so many packets, by chance.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    sample: u32,
    /// Show at most so many packets a second.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(10..=1_000_000))]
    rate: u32,
    /// Only packets that fit all of this: tcp, udp, sctp or icmp; client ADDRESS[/BITS]; service ADDRESS[:PORT]; port PORT.
    #[arg(long, value_name = "WORDS", num_args = 1.., value_delimiter = ' ')]
    filter: Vec<String>,
    /// Only packets with one of these outcomes: forward, pass, drop, hold, or a reason, as `no_server`. Without it all that have to do
    /// with VIPs and servers; `--only not_ours` shows the others.
    #[arg(long, value_name = "OUTCOME", num_args = 1..)]
    only: Vec<Only>,
    /// End after so many packets.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,
    /// Only packets that come in by this interface.
    #[arg(long, value_name = "IF")]
    interface: Option<String>,
    /// Write a capture (pcapng) for Wireshark, with what became of each packet as its comment; `-`: to standard output. Of each
    /// packet the first 256 bytes.
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    write: Option<PathBuf>,
    /// With --write: leave out the frames as they were sent on.
    #[arg(long, requires = "write")]
    only_received: bool,
    /// As JSON, one object a line.
    #[arg(long)]
    json: bool,
}

/// Why it ended before its time.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    #[error(transparent)]
    Filter(#[from] super::BadFilter),
    #[error(transparent)]
    Client(#[from] ClientError),
    #[error("cannot write {0}")]
    File(PathBuf, #[source] io::Error),
    #[error("a capture is nothing for a terminal: give --write a file, or send standard output somewhere")]
    Terminal,
    #[error("cannot write the output")]
    Output(#[source] io::Error),
    #[error("cannot wait for signals")]
    Signals(#[source] io::Error),
}

/// Watches.
pub fn run(arguments: &WatchArguments) -> Result<(), WatchError> {
    let filter: Filter = arguments.filter.join(" ").parse()?;
    let request = WatchRequest {
        sample: arguments.sample,
        rate: arguments.rate,
        interface: arguments.interface.clone(),
        filter,
        outcomes: Only::all(&arguments.only).0,
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = runtime.map_err(WatchError::Signals)?.block_on(watch(arguments, request));
    match ended {
        // Nobody reads any more: then there is nobody to tell.
        Err(WatchError::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        ended => ended,
    }
}

async fn watch(arguments: &WatchArguments, request: WatchRequest) -> Result<(), WatchError> {
    let mut stop = Stop::listen().map_err(WatchError::Signals)?;
    Output::check(arguments)?;
    let begin = beginning(&request);
    let mut daemon = Daemon::connect(&arguments.instance.name).await?;
    let interfaces = tokio::select! {
        () = stop.requested() => return Ok(()),
        begun = tokio::time::timeout(PATIENCE, daemon.begin(request)) => match begun {
            Ok(begun) => begun?,
            Err(_) => return Err(ClientError::Silent(arguments.instance.name.clone()).into()),
        },
    };
    // Not before: a watch that cannot begin leaves the file as it was.
    let mut output = Output::open(arguments)?;
    eprintln!("watching {}: {begin}", interfaces.join(", "));
    let mut left = arguments.count.unwrap_or(u64::MAX);
    let mut shown = 0_u64;
    let mut sightings = Vec::new();
    while left > 0 {
        tokio::select! {
            () = stop.requested() => break,
            // Not to be given up halfway: what has come of it would be lost.
            ready = daemon.wait() => ready?,
        }
        match tokio::time::timeout(PATIENCE, daemon.next(&mut sightings)).await {
            Ok(next) => next?,
            Err(_) => return Err(ClientError::Silent(arguments.instance.name.clone()).into()),
        }
        for told in sightings.iter().filter_map(Told::of) {
            if left == 0 {
                break;
            }
            output.show(&told)?;
            (left, shown) = (left - 1, shown + 1);
        }
        output.flush()?;
    }
    let is_enough = left == 0;
    let not_shown = tokio::select! {
        // Asked once more: then it is not waited for.
        () = stop.requested() => return Ok(()),
        ended = tokio::time::timeout(PATIENCE, daemon.end()) => match ended {
            Ok(ended) => ended?,
            Err(_) => return Err(ClientError::Silent(arguments.instance.name.clone()).into()),
        },
    };
    let last = if is_enough { enough(shown) } else { summary(shown, not_shown, !arguments.only.is_empty()) };
    eprintln!("{last}");
    Ok(())
}

/// What is going to be seen.
fn beginning(request: &WatchRequest) -> String {
    let which = match request.sample {
        1 => "every packet".to_owned(),
        sample => format!("1 of {sample} packets"),
    };
    let filter = if request.filter.is_of_all() { String::new() } else { format!(" ({})", request.filter) };
    format!("{which}{filter}, at most {} a second; Ctrl-C ends", request.rate)
}

/// What was seen, if that was all that was asked for. More may have come.
fn enough(shown: u64) -> String {
    format!("{}, as many as were asked for", packets(shown))
}

fn packets(shown: u64) -> String {
    let packets = if shown == 1 { "packet" } else { "packets" };
    format!("{shown} {packets} shown")
}

/// What was seen, and what was not. If no outcome was asked for, all but one are shown: not to be ours.
fn summary(shown: u64, not_shown: NotShown, has_only: bool) -> String {
    let NotShown { sampled_out, limited, other_outcome, lost } = not_shown;
    let parts = [
        (sampled_out, "left out by --sample"),
        (limited, "more than --rate a second"),
        (
            other_outcome,
            if has_only { "of another outcome than --only" } else { "neither for a VIP nor from a server" },
        ),
        (lost, "lost, as they came faster than they could be shown"),
    ];
    let parts: Vec<String> =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, why)| format!("{count} {why}")).collect();
    if parts.is_empty() {
        format!("{}, all there were", packets(shown))
    } else {
        format!("{}; not shown: {}", packets(shown), parts.join(", "))
    }
}

/// What ends a watch from outside.
struct Stop([Signal; 3]);

impl Stop {
    fn listen() -> io::Result<Self> {
        Ok(Self([
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        ]))
    }

    async fn requested(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

/// Where packets are shown.
enum Output {
    Lines(BufWriter<io::Stdout>),
    Json(BufWriter<io::Stdout>),
    Capture(Capture<Box<dyn Write>>),
}

impl Output {
    /// Whether there is a place for what is asked for.
    fn check(arguments: &WatchArguments) -> Result<(), WatchError> {
        let is_stdout = arguments.write.as_ref().is_some_and(|path| path.as_os_str() == "-");
        if is_stdout && io::stdout().is_terminal() { Err(WatchError::Terminal) } else { Ok(()) }
    }

    fn open(arguments: &WatchArguments) -> Result<Self, WatchError> {
        let stdout = || BufWriter::new(io::stdout());
        let Some(path) = &arguments.write else {
            return Ok(if arguments.json { Self::Json(stdout()) } else { Self::Lines(stdout()) });
        };
        let to: Box<dyn Write> = if path.as_os_str() == "-" {
            Box::new(stdout())
        } else {
            let file = File::create(path).map_err(|error| WatchError::File(path.clone(), error))?;
            Box::new(BufWriter::new(file))
        };
        let mut capture = Capture::begin(to, !arguments.only_received).map_err(WatchError::Output)?;
        // Whoever reads along sees that it has begun.
        capture.flush().map_err(WatchError::Output)?;
        Ok(Self::Capture(capture))
    }

    fn show(&mut self, told: &Told<'_>) -> Result<(), WatchError> {
        match self {
            Self::Lines(to) => writeln!(to, "{told}"),
            Self::Json(to) => writeln!(to, "{}", json::object(told)),
            Self::Capture(capture) => capture.add(told),
        }
        .map_err(WatchError::Output)
    }

    fn flush(&mut self) -> Result<(), WatchError> {
        match self {
            Self::Lines(to) | Self::Json(to) => to.flush(),
            Self::Capture(capture) => capture.flush(),
        }
        .map_err(WatchError::Output)
    }
}

/// The daemon, from here.
struct Daemon {
    instance: Instance,
    reader: BufReader<OwnedReadHalf>,
    writer: OwnedWriteHalf,
    bytes: Vec<u8>,
}

impl Daemon {
    async fn connect(instance: &Instance) -> Result<Self, ClientError> {
        let stream = UnixStream::connect(instance.socket()).await;
        let (reader, writer) = stream.map_err(|error| ClientError::on_the_way(instance, error))?.into_split();
        Ok(Self { instance: instance.clone(), reader: BufReader::new(reader), writer, bytes: Vec::new() })
    }

    fn explain(&self, error: io::Error) -> ClientError {
        ClientError::on_the_way(&self.instance, error)
    }

    /// Asks for packets; the interfaces they are watched on.
    async fn begin(&mut self, request: WatchRequest) -> Result<Vec<String>, ClientError> {
        let line = serde_json::to_string(&Request::Watch(request)).map_err(misunderstood)? + "\n";
        self.writer.write_all(line.as_bytes()).await.map_err(|error| self.explain(error))?;
        match self.response().await? {
            Response::Watching { interfaces } => Ok(interfaces),
            other => Err(ClientError::unexpected(&other)),
        }
    }

    /// Waits until something comes.
    async fn wait(&mut self) -> Result<(), ClientError> {
        let Self { instance, reader, .. } = self;
        reader.fill_buf().await.map(drop).map_err(|error| ClientError::on_the_way(instance, error))
    }

    /// The next packets.
    async fn next(&mut self, sightings: &mut Vec<Sighting>) -> Result<(), ClientError> {
        match self.response().await? {
            Response::Packets { count } => self.sightings(count, sightings).await,
            other => Err(ClientError::unexpected(&other)),
        }
    }

    async fn sightings(&mut self, count: u32, sightings: &mut Vec<Sighting>) -> Result<(), ClientError> {
        let unknown = |what: &str| ClientError::Misunderstood(what.to_owned());
        let count = usize::try_from(count).ok().filter(|count| *count <= MOST_SIGHTINGS);
        let count = count.ok_or_else(|| unknown("too many packets in one piece"))?;
        self.bytes.resize(count * size_of::<Sighting>(), 0);
        let Self { instance, reader, bytes, .. } = self;
        let read = reader.read_exact(bytes).await;
        read.map_err(|error| ClientError::on_the_way(instance, error))?;
        sightings.clear();
        for record in bytes.chunks_exact(size_of::<Sighting>()) {
            sightings
                .push(Sighting::read_from_bytes(record).map_err(|_| unknown("a packet of another size"))?);
        }
        Ok(())
    }

    /// Ends the watch; what was not shown.
    async fn end(&mut self) -> Result<NotShown, ClientError> {
        self.writer.shutdown().await.map_err(|error| self.explain(error))?;
        let mut rest = Vec::new();
        loop {
            match self.response().await? {
                Response::Packets { count } => self.sightings(count, &mut rest).await?,
                Response::Watched(not_shown) => return Ok(not_shown),
                other => return Err(ClientError::unexpected(&other)),
            }
        }
    }

    async fn response(&mut self) -> Result<Response, ClientError> {
        let mut line = String::new();
        let Self { instance, reader, .. } = self;
        let read = reader.read_line(&mut line).await;
        read.map_err(|error| ClientError::on_the_way(instance, error))?;
        if !line.ends_with('\n') {
            return Err(ClientError::GoneAway(self.instance.clone()));
        }
        serde_json::from_str(&line).map_err(misunderstood)
    }
}

#[expect(clippy::needless_pass_by_value, reason = "the shape that map_err wants")]
fn misunderstood(error: serde_json::Error) -> ClientError {
    ClientError::Misunderstood(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_says_what_is_seen_and_the_last_what_was_not() {
        let request = |sample, filter: &str| WatchRequest {
            sample,
            rate: 1000,
            interface: None,
            filter: filter.parse().expect("a filter"),
            outcomes: 0,
        };
        assert_eq!(beginning(&request(1, "")), "every packet, at most 1000 a second; Ctrl-C ends");
        assert_eq!(
            beginning(&request(10, "tcp client 192.0.2.7")),
            "1 of 10 packets (tcp client 192.0.2.7/32), at most 1000 a second; Ctrl-C ends"
        );
        assert_eq!(summary(1, NotShown::default(), false), "1 packet shown, all there were");
        let not_shown = NotShown { sampled_out: 9, limited: 0, other_outcome: 3, lost: 1 };
        assert_eq!(
            summary(2, not_shown, true),
            "2 packets shown; not shown: 9 left out by --sample, 3 of another outcome than --only, 1 lost, as they came \
             faster than they could be shown"
        );
        let not_shown = NotShown { other_outcome: 3, ..NotShown::default() };
        let said = "0 packets shown; not shown: 3 neither for a VIP nor from a server";
        assert_eq!(summary(0, not_shown, false), said);
    }
}
