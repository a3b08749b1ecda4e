//! The command itself.

use std::io::{self, Write};

use lbxdp_common::Protocol;

use super::arguments::ExplainArguments;
use super::capture::{Captured, Wanted};
use super::craft::{Moment, Shape};
use super::rehearsal::Rehearsal;
use super::story::{InterfaceNames, tell};
use super::words::{Kind, Words};
use super::{ExplainError, Explanation, Live, Outcome, capture, craft, document, here, text};
use crate::cli::paint::Paint;

/// Explains a packet, or those of a file; the exit code: 0 all would be forwarded, 3 some would be passed to the stack, 4 some
/// would be dropped, answered or held.
pub fn run(arguments: &ExplainArguments) -> Result<u8, ExplainError> {
    // What is wrong with the words is said before anything is asked.
    let words = arguments.pcap.is_none().then(|| Words::of(&arguments.packet)).transpose()?;
    let captured = match &arguments.pcap {
        Some(path) => {
            let wanted = if arguments.all { Wanted::All } else { Wanted::One(arguments.frame) };
            capture::read(path, wanted)?
        }
        None => Vec::new(),
    };
    if let Some(words) = &words {
        craft::frame(words, &shape(arguments, [0; 6], Moment::GoesOn))?;
    }
    let here = here::look(&arguments.instance.name, arguments.interface.as_deref())?;
    let name = here.interface.name.clone();
    let live = Live::new(&here.tables)?;
    let mut rehearsal = Rehearsal::new(&live, here.interface);
    let explained = match words {
        Some(words) => vec![(None, of_words(&mut rehearsal, &here.names, arguments, &words)?)],
        None => captured.iter().map(|frame| of_file(&rehearsal, &here.names, arguments, frame)).collect(),
    };
    if let Some(error) = live.failure() {
        return Err(error);
    }
    let text = if arguments.json {
        document::json(&arguments.instance.name, &name, &explained)
    } else {
        lines(arguments, &explained)
    };
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(ExplainError::Output(error)),
        _ => {}
    }
    Ok(explained.iter().map(|(_, explanation)| exit_code(explanation.outcome)).max().unwrap_or(0))
}

fn exit_code(outcome: Outcome) -> u8 {
    match outcome {
        Outcome::Forwarded | Outcome::Local => 0,
        Outcome::Passed => 3,
        Outcome::Answered | Outcome::Held | Outcome::Dropped => 4,
    }
}

fn lines(arguments: &ExplainArguments, explained: &[(Option<u64>, Explanation)]) -> String {
    let paint = Paint::of_output();
    let each = explained.iter().map(|(number, explanation)| {
        let number = number.map_or_else(String::new, |number| format!("frame {number}: "));
        number + &text::text(explanation, arguments.hex, paint)
    });
    each.collect::<Vec<_>>().join("\n")
}

fn shape(arguments: &ExplainArguments, mac: [u8; 6], moment: Moment) -> Shape {
    Shape {
        moment: arguments.flags.map_or(moment, Moment::Flags),
        ip_bytes: arguments.length,
        ttl: arguments.ttl,
        may_be_cut: arguments.may_fragment,
        vlans: arguments.vlans.clone(),
        from: arguments.from_mac,
        to: arguments.to_mac.unwrap_or(mac),
    }
}

/// A packet of which only words are known. Where they do not say whether it begins a connection, it is the next one of the
/// connection that there is, else the first one: what a client would send now.
fn of_words(
    rehearsal: &mut Rehearsal<&Live<'_>>,
    names: &InterfaceNames,
    arguments: &ExplainArguments,
    words: &Words,
) -> Result<Explanation, ExplainError> {
    if arguments.flags.is_some() && !matches!(words.kind, Kind::Transport(Protocol::Tcp)) {
        return Err(ExplainError::FlagsOfTcp);
    }
    let mac = rehearsal.interface().mac;
    let mut explain = |moment| -> Result<Explanation, ExplainError> {
        rehearsal.forget();
        let frame = craft::frame(words, &shape(arguments, mac, moment))?;
        Ok(tell(rehearsal, names, &frame, &rehearsal.perform(&frame)))
    };
    let (next, first) = match (words.kind, arguments.flags) {
        (Kind::Transport(Protocol::Tcp), None) => ("an ACK", "a SYN"),
        (Kind::Transport(Protocol::Sctp), _) => ("DATA", "INIT"),
        _ => return explain(Moment::Begins),
    };
    let going_on = explain(Moment::GoesOn)?;
    if going_on.is_known {
        let assumed = format!("(there is such a connection: taken for {next})");
        return Ok(Explanation { assumed: Some(assumed), ..going_on });
    }
    let beginning = explain(Moment::Begins)?;
    let assumed = format!("(no such connection is known: taken for {first})");
    Ok(Explanation { assumed: Some(assumed), ..beginning })
}

fn of_file(
    rehearsal: &Rehearsal<&Live<'_>>,
    names: &InterfaceNames,
    arguments: &ExplainArguments,
    captured: &Captured,
) -> (Option<u64>, Explanation) {
    let mut frame = captured.bytes.clone();
    if let (Some(mac), Some(to)) = (arguments.to_mac, frame.first_chunk_mut()) {
        *to = mac;
    }
    let explanation = tell(rehearsal, names, &frame, &rehearsal.perform(&frame));
    let assumed = captured
        .is_cut
        .then(|| "(not all of it was captured: it is taken for a frame that ends there)".into());
    (Some(captured.number), Explanation { assumed, ..explanation })
}
