//! Explanations for programs. `docs/json.md` is the contract.

use std::fmt::Write;

use lbxdp_common::Reason;
use serde::Serialize;

use super::story::Explanation;
use crate::cli::native::document::VERSION;
use crate::tables::pins::Instance;

#[derive(Serialize)]
struct Document<'a> {
    version: u32,
    instance: String,
    interface: &'a str,
    packets: Vec<Explained<'a>>,
}

#[derive(Serialize)]
struct Explained<'a> {
    frame: Option<u64>,
    packet: &'a str,
    assumed: Option<&'a str>,
    verdict: &'static str,
    reason: Option<&'static str>,
    fate: Option<&'static str>,
    service: Option<&'a str>,
    server: Option<&'a str>,
    out: Option<&'a str>,
    stages: &'a [&'static str],
    steps: Vec<Step<'a>>,
    frame_in: String,
    frame_out: Option<String>,
}

#[derive(Serialize)]
struct Step<'a> {
    about: &'static str,
    words: &'a str,
    more: &'a [String],
}

/// The document of packets, those of a file with their numbers.
pub(super) fn json(instance: &Instance, interface: &str, packets: &[(Option<u64>, Explanation)]) -> String {
    let packets = packets.iter().map(|(number, explanation)| packet(*number, explanation)).collect();
    let document = Document { version: VERSION, instance: instance.to_string(), interface, packets };
    // Strings and numbers alone cannot fail to be JSON.
    serde_json::to_string_pretty(&document).unwrap_or_default() + "\n"
}

fn packet(frame: Option<u64>, explanation: &Explanation) -> Explained<'_> {
    let steps = explanation.steps.iter();
    Explained {
        frame,
        packet: &explanation.packet,
        assumed: explanation.assumed.as_deref(),
        verdict: explanation.outcome.name(),
        reason: explanation.reason.map(Reason::name),
        fate: explanation.reason.map(|reason| reason.fate().name()),
        service: explanation.service.as_deref(),
        server: explanation.server.as_deref(),
        out: explanation.out.as_deref(),
        stages: &explanation.stages,
        steps: steps
            .map(|step| Step { about: step.about.name(), words: &step.words, more: &step.more })
            .collect(),
        frame_in: hex(&explanation.frame_in),
        frame_out: explanation.frame_out.as_deref().map(hex),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing into a string cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
