//! From facts to findings: pure. Each family of findings has its file.

mod arp;
mod director;
mod interface;
mod server;
mod vip;

use serde::Serialize;

use super::facts::Facts;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// It works, but slower, or not for long.
    Warning,
    /// Traffic is lost, or soon will be.
    Error,
}

/// Something that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    /// Its name, which does not change.
    pub(crate) id: &'static str,
    pub(crate) severity: Severity,
    /// What is to be seen.
    pub(crate) symptom: String,
    /// Why that is wrong.
    pub(crate) reason: String,
    /// A command that mends it.
    pub(crate) remedy: String,
}

impl Finding {
    fn error(id: &'static str, symptom: String, reason: &str, remedy: String) -> Self {
        Self { id, severity: Severity::Error, symptom, reason: reason.to_owned(), remedy }
    }

    fn warning(id: &'static str, symptom: String, reason: &str, remedy: String) -> Self {
        Self { id, severity: Severity::Warning, symptom, reason: reason.to_owned(), remedy }
    }
}

/// All that is wrong, the worst first.
pub(crate) fn findings(facts: &Facts) -> Vec<Finding> {
    let judgements = [
        vip::missing,
        vip::misplaced,
        vip::answered_twice,
        arp::ignore,
        arp::announce,
        arp::stale,
        server::reverse_path,
        server::route_past_director,
        server::tunnel_mtu,
        server::no_listener,
        director::daemon_down,
        director::next_hop,
        director::martian_source,
        director::not_forwarding,
        director::no_advertisements,
        director::no_tunnel,
        director::table_full,
        director::clock,
        director::kernel_ipvs,
        director::kube_proxy,
        interface::generic,
        interface::gone,
        interface::lro,
        interface::rx_vlan,
    ];
    let mut all: Vec<Finding> = judgements.iter().flat_map(|judge| judge(facts)).collect();
    all.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
    all
}

#[cfg(test)]
mod tests;
