//! lbxdp: parse, run, print the error chain, exit code. The rest is the library.

use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::process::ExitCode;

use clap::Parser;
use lbxdp::cli::arguments::{
    Arguments, ConnectionVerb, LinkArguments, MarkVerb, ServerVerb, ServiceVerb, Verb, misunderstood,
};
use lbxdp::cli::marks::{self, MarkError};
use lbxdp::cli::paint::Paint;
use lbxdp::cli::scripts::Script;
use lbxdp::cli::{native, proc, settings, top};
use lbxdp::command::Command;
use lbxdp::daemon::load::chain;
use lbxdp::daemon::{self, verify};
use lbxdp::{decap, doctor, explain, host, link, watch};

fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    let program = arguments.next().unwrap_or_else(|| "lbxdp".into());
    let arguments: Vec<OsString> = arguments.collect();
    let name = Path::new(&program).file_name().unwrap_or_default().to_string_lossy();
    if let Some(script) = Script::named(&name) {
        return lbxdp::cli::ipvsadm::script(script, &arguments);
    }
    if is_ipvsadm(&program, &arguments) {
        return lbxdp::cli::ipvsadm::main(arguments, &program.to_string_lossy());
    }
    // Of `explain`'s packet: clap takes what begins so for an option.
    let words = arguments.iter().map(|word| if word == "->" { OsStr::new("to") } else { word });
    let verb = match Arguments::try_parse_from([OsStr::new(&program)].into_iter().chain(words)) {
        Ok(Arguments { verb }) => verb,
        // Help is no error.
        Err(error) if error.exit_code() == 0 => error.exit(),
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(misunderstood(arguments.first().map(OsString::as_os_str)));
        }
    };
    match carry_out(verb) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("lbxdp: {}", chain(error.as_ref()));
            ExitCode::FAILURE
        }
    }
}

/// Does what was asked for; some verbs have exit codes of their own.
fn carry_out(verb: Verb) -> Result<ExitCode, Box<dyn std::error::Error>> {
    let done: Result<(), Box<dyn std::error::Error>> = match verb {
        Verb::Run {
            interfaces,
            instance,
            connections,
            connections_v6,
            leave,
            reattach,
            metrics,
            metrics_servers,
            metrics_host,
        } => {
            log_to_stderr();
            let metrics = metrics.map(|address| daemon::Metrics {
                address,
                hosts: metrics_host,
                servers: metrics_servers,
            });
            let instance = instance.name;
            run(daemon::Options {
                instance,
                interfaces,
                connections,
                connections_v6,
                leave,
                reattach,
                metrics,
            })
        }
        Verb::Unload { instance, keep_configuration: true } => {
            daemon::take_down(&instance.name).map_err(Into::into)
        }
        Verb::Unload { instance, keep_configuration: false } => {
            daemon::unload(&instance.name).map_err(Into::into)
        }
        Verb::Status { instance, next_hops } => {
            lbxdp::cli::status::print(&instance.name, next_hops).map_err(Into::into)
        }
        Verb::Top { instance, once: true, interval } => {
            top::once(&instance.name, interval).map_err(Into::into)
        }
        Verb::Top { instance, once: false, interval } => {
            top::run(&instance.name, interval).map_err(Into::into)
        }
        Verb::Service { verb: ServiceVerb::List(listing) } => {
            native::services(&listing.instance.name, listing.form()).map_err(Into::into)
        }
        Verb::Server { verb: ServerVerb::List { listing, service } } => {
            native::servers(&listing.instance.name, service, listing.form()).map_err(Into::into)
        }
        Verb::Connection { verb: ConnectionVerb::List(listing) } => {
            native::connections(&listing.instance.name, listing.form()).map_err(Into::into)
        }
        Verb::Drain { instance, service, server, timeout } => {
            native::drain(&instance.name, service, server, timeout).map_err(Into::into)
        }
        Verb::Proc { instance, file } => proc::print(&instance.name, file).map_err(Into::into),
        Verb::Set { instance, settings } => settings::set(&instance.name, settings).map_err(Into::into),
        Verb::Settings { instance, long, names } => {
            settings::print(&instance.name, &names, long).map_err(Into::into)
        }
        Verb::Link(LinkArguments { divert: true, root, .. }) => {
            link::link_diverted(&root).map_err(Into::into)
        }
        Verb::Link(LinkArguments { directory, .. }) => link::link(&directory).map_err(Into::into),
        Verb::Unlink(LinkArguments { divert: true, root, .. }) => {
            link::unlink_diverted(&root).map_err(Into::into)
        }
        Verb::Unlink(LinkArguments { directory, .. }) => link::unlink(&directory).map_err(Into::into),
        Verb::Mark { verb } => mark(verb).map_err(Into::into),
        Verb::Decap { verb } => decap::run(verb).map_err(Into::into),
        Verb::RealServer { verb } => return Ok(host_outcome(host::run_realserver(verb))),
        Verb::Director { verb } => return Ok(host_outcome(host::run_director(verb))),
        Verb::Doctor(arguments) => return Ok(doctor_outcome(doctor::run(&arguments))),
        Verb::Explain(arguments) => return Ok(explained(explain::run(&arguments))),
        Verb::Watch(arguments) => watch::run(&arguments).map_err(Into::into),
        Verb::Verify => verify::print(),
    };
    done.map(|()| ExitCode::SUCCESS)
}

/// 2 tells that something is wrong with the machine, 3 that this could not be found out or mended.
fn host_outcome(outcome: Result<host::Outcome, host::HostError>) -> ExitCode {
    match outcome {
        Ok(host::Outcome::Good) => ExitCode::SUCCESS,
        Ok(host::Outcome::Wrong) => ExitCode::from(2),
        Err(error) => {
            eprintln!("lbxdp: {}", chain(&error));
            ExitCode::from(3)
        }
    }
}

/// What becomes of the packet, or why that is not known.
fn explained(outcome: Result<u8, explain::ExplainError>) -> ExitCode {
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("lbxdp: {}", chain(&error));
            ExitCode::from(error.exit_code())
        }
    }
}

/// The worst finding, or 3 if it could not be found out.
fn doctor_outcome(outcome: Result<u8, doctor::DoctorError>) -> ExitCode {
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("lbxdp: {}", chain(&error));
            ExitCode::from(3)
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
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(Paint::of_errors() == Paint::Coloured)
        .with_target(false)
        // A log nobody reads any more is no reason to end.
        .log_internal_errors(false)
        .init();
}
