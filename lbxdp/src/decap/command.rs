//! The words of `lbxdp decap`.

use clap::Subcommand;
use ipnet::IpNet;
use lbxdp_common::decap::MAX_GUE_PORTS;

use super::{DecapError, source, start, status, stop};
use crate::tables::decap::MOST_SOURCES;
use crate::tables::pins::Instance;

#[derive(Subcommand)]
pub enum DecapVerb {
    /// Put the decapsulator on an interface, or give the one that is there other settings. It stays without a process.
    Start {
        /// The interface that the directors' tunnel packets come in by.
        #[arg(short, long, value_name = "IF")]
        interface: String,
        /// A director's address, or a network of them: only their tunnel packets are opened. May be given several times.
        #[arg(short, long = "from", required = true, value_name = "ADDR[/LEN]", value_parser = source::prefix)]
        from: Vec<IpNet>,
        /// A UDP port that GUE comes to; may be given several times.
        #[arg(
            long = "gue-port",
            value_name = "N",
            default_value = "6080",
            value_parser = clap::value_parser!(u16).range(1..)
        )]
        gue_ports: Vec<u16>,
        #[command(flatten)]
        instance: InstanceArgument,
    },
    /// Take the decapsulator off an interface, with its counters.
    Stop {
        /// The interface.
        #[arg(short, long, value_name = "IF")]
        interface: String,
        #[command(flatten)]
        instance: InstanceArgument,
    },
    /// Show where decapsulators are, what they were told, and what they have counted.
    Status {
        #[command(flatten)]
        instance: InstanceArgument,
    },
}

#[derive(clap::Args)]
pub struct InstanceArgument {
    /// Name of the instance: interfaces of different network namespaces may be called alike.
    #[arg(long = "instance", value_name = "NAME", env = "LBXDP_INSTANCE", default_value = "default")]
    name: Instance,
}

/// Why the words mean nothing.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error("at most {MAX_GUE_PORTS} ports of GUE can be given")]
    Ports,
    #[error("at most {MOST_SOURCES} sources can be given")]
    Sources,
    #[error(transparent)]
    Decap(#[from] DecapError),
}

/// Does it.
pub fn run(verb: DecapVerb) -> Result<(), CommandError> {
    match verb {
        DecapVerb::Start { interface, mut from, mut gue_ports, instance } => {
            from.sort();
            from.dedup();
            gue_ports.sort_unstable();
            gue_ports.dedup();
            if gue_ports.len() > MAX_GUE_PORTS {
                return Err(CommandError::Ports);
            }
            if from.len() > MOST_SOURCES {
                return Err(CommandError::Sources);
            }
            Ok(start::start(&instance.name, &interface, &from, &gue_ports)?)
        }
        DecapVerb::Stop { interface, instance } => Ok(stop::stop(&instance.name, &interface)?),
        DecapVerb::Status { instance } => Ok(status::print(&instance.name)?),
    }
}
