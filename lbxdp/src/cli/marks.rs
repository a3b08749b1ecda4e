//! `lbxdp mark`: which packets have which firewall mark.

use std::fmt::Write;
use std::net::IpAddr;

use clap::{Args, Parser};
use ipnet::IpNet;
use lbxdp_common::Protocol;

use super::client::{Client, ClientError, Director};
use crate::command::{Command, CommandError};
use crate::message::{Request, Response};
use crate::state::{MarkRule, MarkRuleError};
use crate::tables::pins::Instance;

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub enum MarkError {
    #[error(transparent)]
    Refused(#[from] CommandError),
    #[error(transparent)]
    Director(#[from] ClientError),
}

/// A rule as it stands on a command line. Packets that fit all that is given have the mark.
#[derive(Args, Debug)]
pub struct RuleArguments {
    /// The mark, from 1 to 4294967295 (or 0x1 to 0xffffffff).
    #[arg(value_parser = mark)]
    mark: u32,
    /// The packet's destination: an address or a network.
    #[arg(short, long, value_name = "PREFIX", value_parser = prefix)]
    destination: IpNet,
    /// The packet's source: an address or a network.
    #[arg(short, long, value_name = "PREFIX", value_parser = prefix)]
    source: Option<IpNet>,
    /// tcp, udp or sctp.
    #[arg(short, long, value_parser = protocol)]
    protocol: Option<Protocol>,
    /// The packet's destination port, or the first and the last one.
    #[arg(long, value_name = "N|A-B", value_parser = ports)]
    port: Option<(u16, u16)>,
    /// The interface the packet comes in by.
    #[arg(short, long, value_name = "NAME", value_parser = interface, allow_hyphen_values = true)]
    interface: Option<String>,
}

/// A rule without a program's name before it.
#[derive(Parser)]
#[command(no_binary_name = true, disable_help_flag = true)]
struct RuleLine {
    #[command(flatten)]
    rule: RuleArguments,
}

impl RuleArguments {
    /// The rule. A source of all addresses is none.
    pub fn rule(self) -> MarkRule {
        let Self { mark, destination, source, protocol, port, interface } = self;
        let source = source.filter(|source| source.prefix_len() > 0);
        MarkRule { mark, destination, source, protocol, ports: port, interface }
    }
}

/// The command of the words behind `mark`.
pub(crate) fn command(words: &[&str]) -> Result<Command, String> {
    let (verb, words) = words.split_first().ok_or("`mark` needs `add` or `delete`")?;
    let rule = || {
        let line = RuleLine::try_parse_from(words).map_err(|error| {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            first.trim_start_matches("error: ").to_owned()
        })?;
        Ok::<_, String>(line.rule.rule())
    };
    match *verb {
        "add" => Ok(Command::AddMark { rule: rule()? }),
        "delete" => Ok(Command::DeleteMark { rule: rule()? }),
        other => Err(format!("`mark {other}` is no command")),
    }
}

/// Has a command of this noun carried out.
pub fn change(instance: &Instance, command: Command) -> Result<(), MarkError> {
    match Client::new(instance.clone()).ask(&Request::Change(command))? {
        Response::Done => Ok(()),
        Response::Refused(refusal) => Err(refusal.into()),
        other => Err(ClientError::unexpected(&other).into()),
    }
}

/// Prints all rules, the most specific first, as `lbxdp mark add` takes them.
pub fn print(instance: &Instance) -> Result<(), MarkError> {
    match Client::new(instance.clone()).ask(&Request::Marks)? {
        Response::Marks(rules) => {
            let mut output = std::io::stdout().lock();
            let written = std::io::Write::write_all(&mut output, text(&rules).as_bytes());
            Ok(written.map_err(ClientError::Output)?)
        }
        other => Err(ClientError::unexpected(&other).into()),
    }
}

fn text(rules: &[MarkRule]) -> String {
    rules.iter().fold(String::new(), |mut text, rule| {
        // Writing into a string cannot fail.
        let _ = writeln!(text, "{rule}");
        text
    })
}

fn mark(text: &str) -> Result<u32, MarkRuleError> {
    let number = match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => text.parse(),
    };
    number.ok().filter(|mark| *mark != 0).ok_or(MarkRuleError::NoMark)
}

/// An address alone is a prefix of all its bits.
fn prefix(text: &str) -> Result<IpNet, String> {
    let prefix = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
    let prefix =
        prefix.map_err(|_| "an address or network looks like 10.0.0.0/24 or 2001:db8::/32".to_owned())?;
    if prefix != prefix.trunc() {
        return Err(MarkRuleError::HostBits(prefix, prefix.trunc()).to_string());
    }
    Ok(prefix)
}

fn protocol(text: &str) -> Result<Protocol, String> {
    let known = Protocol::from_name(&text.to_uppercase());
    known.ok_or_else(|| "a protocol is tcp, udp or sctp".to_owned())
}

fn ports(text: &str) -> Result<(u16, u16), MarkRuleError> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    match (first.parse(), last.parse()) {
        (Ok(first), Ok(last)) if 0 < first && first <= last => Ok((first, last)),
        _ => Err(MarkRuleError::Ports),
    }
}

fn interface(text: &str) -> Result<String, MarkRuleError> {
    if MarkRule::is_interface(text) { Ok(text.to_owned()) } else { Err(MarkRuleError::Interface) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Command, String> {
        command(&line.split_ascii_whitespace().collect::<Vec<_>>())
    }

    #[test]
    fn a_rule_stands_as_it_is_added() {
        for (line, printed) in [
            ("7 --destination 10.0.0.100", "7 --destination 10.0.0.100/32"),
            ("0x10 -d 10.0.0.0/24 -s 0.0.0.0/0", "16 --destination 10.0.0.0/24"),
            ("7 --destination fd00:0::100", "7 --destination fd00::100/128"),
            ("7 -d ::/0 -s 2001:db8::/32 --port 80", "7 --destination ::/0 --source 2001:db8::/32 --port 80"),
            (
                "4294967295 --interface eth0 --port 80-80 --protocol TCP --source 192.0.2.0/25 --destination 0.0.0.0/0",
                "4294967295 --destination 0.0.0.0/0 --source 192.0.2.0/25 --protocol tcp --port 80 --interface eth0",
            ),
            (
                "1 --destination=10.0.0.1 --port=1-65535 --interface -x",
                "1 --destination 10.0.0.1/32 --port 1-65535 --interface -x",
            ),
        ] {
            let Ok(Command::AddMark { rule }) = read(&format!("add {line}")) else { panic!("{line}") };
            assert_eq!(text(std::slice::from_ref(&rule)), format!("{printed}\n"));
            assert_eq!(read(&format!("delete {printed}")), Ok(Command::DeleteMark { rule }));
        }
    }

    #[test]
    fn what_is_no_rule_is_told_in_one_line() {
        let all = "--destination 10.0.0.1";
        for (line, why) in [
            (format!("add 0 {all}"), "a mark is a number from 1"),
            (format!("add 4294967296 {all}"), "a mark is a number from 1"),
            ("add 7".to_owned(), "required arguments"),
            ("add 7 --destination 10.0.0.5/24".to_owned(), "write 10.0.0.0/24"),
            ("add 7 --destination fd00::/129".to_owned(), "looks like 10.0.0.0/24"),
            ("add 7 --destination fd00::1/8".to_owned(), "write fd00::/8"),
            (format!("add 7 {all} --source 1.2.3.4/33"), "looks like 10.0.0.0/24"),
            (format!("add 7 {all} --protocol icmp"), "tcp, udp or sctp"),
            (format!("add 7 {all} --port 90-80"), "the first not greater"),
            (format!("add 7 {all} --port 0"), "from 1 to 65535"),
            (format!("add 7 {all} --port 65536"), "from 1 to 65535"),
            (format!("add 7 {all} --interface a/b"), "1 to 15 characters"),
            (format!("add 7 {all} --interface 0123456789012345"), "1 to 15 characters"),
            (format!("add 7 {all} {all}"), "cannot be used multiple times"),
            (format!("add 7 {all} --bogus"), "--bogus"),
            (format!("change 7 {all}"), "`mark change` is no command"),
        ] {
            let error = read(&line).expect_err(&line);
            assert!(error.contains(why) && error.lines().count() == 1, "{line}: {error}");
        }
    }
}
