//! The part of a recorded state that can be there today, and the part of an answer that speaks of it.
//!
//! Services do not touch each other, nor do servers: with some of them left out, all others answer as before.

use crate::director::InMemory;
use crate::run::run_line;

/// A recorded state in two parts.
pub(crate) struct Projection<'a> {
    /// The lines that could be restored.
    pub(crate) kept: Vec<&'a str>,
    /// The lines that stand on something that is still to come.
    left_out: Vec<&'a str>,
}

impl<'a> Projection<'a> {
    /// Puts the services of a state into the director, as far as they are there today. Timeouts and thresholds, which
    /// `-S` does not save, stay.
    pub(crate) fn restore(director: &mut InMemory, state: &'a str) -> Self {
        let before = std::mem::take(&mut director.state.services);
        let (kept, left_out) = state.lines().partition(|line| run_line(director, line).code == 0);
        for (key, service) in &mut director.state.services {
            for server in &mut service.servers {
                let known = before.get(key).into_iter().flat_map(|service| &service.servers);
                let mut known = known.filter(|was| (was.address, was.port) == (server.address, server.port));
                if let Some(was) = known.next() {
                    (server.upper, server.lower) = (was.upper, was.lower);
                }
            }
        }
        Self { kept, left_out }
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.left_out.is_empty()
    }

    /// Whether a line speaks of a service or server that was left out.
    pub(crate) fn misses(&self, arguments: &[String]) -> bool {
        let is_named = |word: &str| {
            let address = word.rsplit_once(':').map_or(word, |(address, _)| address);
            arguments.iter().any(|argument| {
                argument == word || (argument.strip_prefix(address)).is_some_and(|rest| rest.starts_with(':'))
            })
        };
        self.left_out.iter().any(|line| {
            let mut words = line.split(' ').skip(2);
            let mut service = words.by_ref().take_while(|word| !matches!(*word, "-s" | "-r"));
            let is_service = service.all(|word| arguments.iter().any(|argument| argument == word));
            is_service && (line.starts_with("-A ") || words.next().is_some_and(is_named))
        })
    }

    /// The lines of a numeric listing or dump that speak of what was kept.
    pub(crate) fn of_output(&self, output: &str) -> String {
        let mut service = String::new();
        let mut projected = String::new();
        for line in output.lines() {
            let is_kept = match *line.split_whitespace().collect::<Vec<_>>() {
                ["Prot" | "IP", ..] | ["->", "RemoteAddress:Port", ..] => true,
                [protocol @ ("TCP" | "UDP" | "SCTP" | "FWM"), endpoint, more, ..] => {
                    service = match (protocol, more) {
                        ("TCP", _) => format!("-t {endpoint}"),
                        ("UDP", _) => format!("-u {endpoint}"),
                        ("SCTP", _) => format!("--sctp-service {endpoint}"),
                        (_, "IPv6") => format!("-f {endpoint} -6"),
                        _ => format!("-f {endpoint}"),
                    };
                    self.has(&format!("-A {service} -s "))
                }
                ["->", server, ..] => self.has(&format!("-a {service} -r {server} ")),
                _ => self.kept.contains(&line),
            };
            if is_kept {
                projected += line;
                projected.push('\n');
            }
        }
        projected
    }

    fn has(&self, beginning: &str) -> bool {
        self.kept.iter().any(|line| line.starts_with(beginning))
    }
}
