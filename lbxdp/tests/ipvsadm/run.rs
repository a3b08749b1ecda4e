//! One run of the front on a director in memory, with names that are the same on every machine.

use std::net::{IpAddr, Ipv4Addr};

use lbxdp::cli::ipvsadm::Front;
use lbxdp::cli::names::{Names, PortNames, Transport};

use crate::director::InMemory;

/// What a run leaves behind.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) code: u8,
    pub(crate) output: String,
    pub(crate) errors: String,
}

/// Runs `ipvsadm` with these arguments and this standard input.
pub(crate) fn run(director: &mut InMemory, arguments: &[String], input: impl AsRef<[u8]>) -> Answer {
    let mut output = Vec::new();
    let mut errors = Vec::new();
    let mut front = Front {
        program: "ipvsadm",
        director,
        names: &NamesOfTheMachine,
        input: input.as_ref(),
        output: &mut output,
        errors: &mut errors,
    };
    let code = front.run(arguments);
    let text = |bytes| String::from_utf8(bytes).expect("output is text");
    Answer { code, output: text(output), errors: text(errors) }
}

/// Runs a line whose arguments are parted by blanks.
pub(crate) fn run_line(director: &mut InMemory, line: &str) -> Answer {
    let arguments: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    run(director, &arguments, "")
}

/// The names the recorded answers need: Debian's services, and only the host itself.
pub(crate) struct NamesOfTheMachine;

impl NamesOfTheMachine {
    fn ports() -> PortNames {
        PortNames::parse(
            "domain 53/tcp\ndomain 53/udp\nhttp 80/tcp\nhttps 443/tcp\nhttps 443/udp\nhttp-alt 8080/tcp\nkerberos 88/tcp\n",
        )
    }
}

impl Names for NamesOfTheMachine {
    fn port(&self, name: &str, transport: Transport) -> Option<u16> {
        Self::ports().port(name, transport)
    }

    fn service(&self, port: u16, transport: Transport) -> Option<String> {
        Self::ports().name(port, transport)
    }

    fn address(&self, host: &str) -> Option<Ipv4Addr> {
        (host == "localhost").then_some(Ipv4Addr::LOCALHOST)
    }

    fn hosts(&self, addresses: &[IpAddr]) -> Vec<Option<String>> {
        addresses
            .iter()
            .map(|address| (*address == Ipv4Addr::LOCALHOST).then(|| "localhost".to_owned()))
            .collect()
    }
}
