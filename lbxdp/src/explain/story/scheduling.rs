//! A scheduler's choice in words: among whom, by what rule, and who could not be chosen.

use lbxdp_common::Scheduler;
use lbxdp_common::server::ServerId;
use lbxdp_common::service::{Service, ServiceFlags};

use super::{About, Narrator, Step};
use crate::explain::rehearsal::{Candidate, Choice, Source, Still};
use crate::tables::CellTable;

/// So many of a service's servers are shown, and the chosen one.
const MOST_CANDIDATES: usize = 20;

/// By what a scheduler goes.
const fn rule(scheduler: Scheduler, by_port: bool) -> &'static str {
    match (scheduler, by_port) {
        (Scheduler::RoundRobin, _) => "takes the servers in turn",
        (Scheduler::WeightedRoundRobin, _) => "takes the servers in turn, each as often as its weight says",
        (Scheduler::WeightedLeastConnection, _) => {
            "takes the fewest connections for the weight (an active one counts as 256 inactive ones)"
        }
        (Scheduler::LeastConnection, _) => {
            "takes the fewest connections (an active one counts as 256 inactive ones)"
        }
        (Scheduler::ShortestExpectedDelay, _) => {
            "takes the fewest active connections for the weight, this one counted"
        }
        (Scheduler::NeverQueue, _) => {
            "takes a server without active connections, else the fewest active ones for the weight"
        }
        (Scheduler::Failover, _) => "takes the highest weight",
        (Scheduler::Overflow, _) => {
            "takes the highest weight that is more than the server's active connections"
        }
        (Scheduler::TwoChoices, _) => {
            "draws two servers by lot and takes the less busy one: another packet may get another server"
        }
        (Scheduler::DestinationHashing, _) => "goes by the VIP",
        (Scheduler::SourceHashing | Scheduler::MaglevHashing, false) => "goes by the client's address",
        (Scheduler::SourceHashing | Scheduler::MaglevHashing, true) => {
            "goes by the client's address and port"
        }
        (Scheduler::LocalityBased, _) => {
            "takes the server that this VIP went to before, unless that is too busy, else as wlc"
        }
        (Scheduler::LocalityBasedReplicated, _) => {
            "takes the least busy of the servers that this VIP went to before, else as wlc"
        }
        (Scheduler::Nobody, _) => "chooses nobody",
    }
}

impl<S: Source> Narrator<'_, S> {
    pub(super) fn scheduled(&self, choice: &Choice) -> Step {
        let row = self.row(CellTable::Services, choice.index).unwrap_or_default();
        let (list, flags) = (Service(Still(&row)).list(), Service(Still(&row)).flags());
        let Some(scheduler) = list.scheduler() else {
            return Step::new(About::Scheduler, "the service's scheduler is not known to this version");
        };
        let chosen = if choice.server == ServerId::NONE {
            "nobody can be chosen".to_owned()
        } else {
            self.server_name(choice.server)
        };
        let rule = rule(scheduler, flags.has(ServiceFlags::PORT));
        let words = format!("{scheduler} {rule}: {chosen}");
        let (shown, others): (Vec<_>, Vec<_>) =
            choice.candidates.iter().enumerate().partition(|(at, candidate)| {
                *at < MOST_CANDIDATES || candidate.member.server() == choice.server
            });
        let mut more: Vec<String> =
            shown.iter().map(|(_, candidate)| self.candidate(candidate, choice.server, flags)).collect();
        if !others.is_empty() {
            more.push(format!("and {} others", others.len()));
        }
        Step { about: About::Scheduler, words, more }
    }

    fn candidate(&self, candidate: &Candidate, chosen: ServerId, flags: ServiceFlags) -> String {
        let Candidate { member, load } = *candidate;
        let fate = if member.server() == chosen {
            " <- chosen"
        } else if member.weight() == 0 {
            ", cannot be chosen: weight 0"
        } else if member.usable_weight() == 0 {
            ", avoided: its next hop is not known, and others' are"
        } else if flags.has(ServiceFlags::HAS_THRESHOLDS) && load.is_overloaded() {
            ", cannot be chosen: it has reached its upper threshold"
        } else {
            ""
        };
        let (name, weight) = (self.server_name(member.server()), member.weight());
        format!("{name}  weight {weight}, {} active, {} inactive{fate}", load.active(), load.inactive())
    }
}
