//! lbxdp: parse, run, print the error chain, exit code. The rest is the library.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use lbxdp::cli::marks::{self, MarkError, RuleArguments};
use lbxdp::cli::settings;
use lbxdp::command::Command;
use lbxdp::daemon::load::chain;
use lbxdp::daemon::{self, verify};
use lbxdp::decap::{self, DecapVerb};
use lbxdp::sysctl::{Setting, Sysctl};
use lbxdp::tables::pins::Instance;

/// A layer-4 load balancer with the semantics of IPVS and the speed of XDP.
///
/// Called as `ipvsadm`, or with a first argument that begins with `-`, it takes ipvsadm's command line:
/// `lbxdp -A -t 10.0.0.100:80 -s wlc`. The instance is then named by the environment variable `LBXDP_INSTANCE`.
#[derive(Parser)]
#[command(version, max_term_width = 100, after_help = "Logs: LBXDP_LOG=debug (or info, warn, error).")]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Load the packet path onto interfaces and own its configuration until a signal comes.
    Run {
        /// An interface that packets for the VIPs come in by; may be given several times.
        #[arg(short = 'i', long = "interface", required = true, value_name = "IF")]
        interfaces: Vec<String>,
        #[command(flatten)]
        instance: InstanceArgument,
        /// How many IPv4 connections there must be room for; by default what suits the machine's memory.
        #[arg(long, value_name = "N")]
        connections: Option<u32>,
        /// How many IPv6 connections there must be room for; by default half as many, which takes as much memory.
        #[arg(long, value_name = "N")]
        connections_v6: Option<u32>,
        /// Keep forwarding after the daemon has ended.
        #[arg(long)]
        leave: bool,
    },
    /// Take an instance's packet path out of the kernel, with its connections.
    Unload {
        #[command(flatten)]
        instance: InstanceArgument,
    },
    /// Show interfaces, unknown next hops, and how many packets were not forwarded and why.
    Status {
        #[command(flatten)]
        instance: InstanceArgument,
        /// Show the next hops of all servers, and how large a packet may be on the way.
        #[arg(long)]
        next_hops: bool,
    },
    /// Change settings, by the names of IPVS's sysctls: all that are given or none.
    Set {
        #[command(flatten)]
        instance: InstanceArgument,
        /// A setting and its new value, as `sysctl -w` takes them (with or without `net.ipv4.vs.`).
        #[arg(required = true, value_name = "NAME=VALUE")]
        settings: Vec<Setting>,
    },
    /// Show settings.
    Settings {
        #[command(flatten)]
        instance: InstanceArgument,
        /// Tell what each means, and its default.
        #[arg(long)]
        long: bool,
        /// Only these.
        #[arg(value_name = "NAME", value_parser = Sysctl::named)]
        names: Vec<&'static Sysctl>,
    },
    /// Give packets firewall marks, for services by mark (`ipvsadm -f`): lbxdp sees packets before iptables does.
    ///
    /// Of several rules that fit a packet the most specific one counts: longest destination, longest source, with an
    /// interface, with a protocol, fewest ports, in this order.
    Mark {
        #[command(subcommand)]
        verb: MarkVerb,
    },
    /// On a real server: take the tunnel headers off what a director sends (ipip, GUE, GRE), in XDP.
    Decap {
        #[command(subcommand)]
        verb: DecapVerb,
    },
    /// Show what the kernel's verifier says of the packet program, without attaching it.
    Verify,
}

#[derive(Subcommand)]
enum MarkVerb {
    /// Add a rule.
    Add {
        #[command(flatten)]
        instance: InstanceArgument,
        #[command(flatten)]
        rule: RuleArguments,
    },
    /// Delete a rule: as it was added.
    Delete {
        #[command(flatten)]
        instance: InstanceArgument,
        #[command(flatten)]
        rule: RuleArguments,
    },
    /// Show all rules, the most specific first, as `lbxdp mark add` takes them.
    List {
        #[command(flatten)]
        instance: InstanceArgument,
    },
}

#[derive(clap::Args)]
struct InstanceArgument {
    /// Name of the instance: one daemon, one configuration.
    #[arg(long = "instance", value_name = "NAME", env = "LBXDP_INSTANCE", default_value = "default")]
    name: Instance,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let program = arguments.next().unwrap_or_else(|| "lbxdp".into());
    let arguments: Vec<OsString> = arguments.collect();
    if is_ipvsadm(&program, &arguments) {
        return lbxdp::cli::ipvsadm::main(arguments, &program.to_string_lossy());
    }
    let verb = Arguments::parse().verb;
    let done: Result<(), Box<dyn std::error::Error>> = match verb {
        Verb::Run { interfaces, instance, connections, connections_v6, leave } => {
            log_to_stderr();
            run(daemon::Options { instance: instance.name, interfaces, connections, connections_v6, leave })
        }
        Verb::Unload { instance } => daemon::unload(&instance.name).map_err(Into::into),
        Verb::Status { instance, next_hops } => {
            lbxdp::cli::status::print(&instance.name, next_hops).map_err(Into::into)
        }
        Verb::Set { instance, settings } => settings::set(&instance.name, settings).map_err(Into::into),
        Verb::Settings { instance, long, names } => {
            settings::print(&instance.name, &names, long).map_err(Into::into)
        }
        Verb::Mark { verb } => mark(verb).map_err(Into::into),
        Verb::Decap { verb } => decap::run(verb).map_err(Into::into),
        Verb::Verify => verify::print(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lbxdp: {}", chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

fn mark(verb: MarkVerb) -> Result<(), MarkError> {
    match verb {
        MarkVerb::Add { instance, rule } => {
            marks::change(&instance.name, Command::AddMark { rule: rule.rule() })
        }
        MarkVerb::Delete { instance, rule } => {
            marks::change(&instance.name, Command::DeleteMark { rule: rule.rule() })
        }
        MarkVerb::List { instance } => marks::print(&instance.name),
    }
}

/// Called as `ipvsadm`, or with a first argument that looks like one of its options.
fn is_ipvsadm(program: &OsStr, arguments: &[OsString]) -> bool {
    Path::new(program).file_name().is_some_and(|name| name == "ipvsadm")
        || arguments.first().is_some_and(|first| first.as_encoded_bytes().starts_with(b"-"))
}

fn run(options: daemon::Options) -> Result<(), Box<dyn std::error::Error>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(runtime.block_on(daemon::run(options))?)
}

fn log_to_stderr() {
    use tracing_subscriber::EnvFilter;
    let filter = EnvFilter::try_from_env("LBXDP_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let is_terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(is_terminal && !plain)
        .with_target(false)
        // A log nobody reads any more is no reason to end.
        .log_internal_errors(false)
        .init();
}
