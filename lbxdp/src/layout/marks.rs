//! Where the rules for marks stand: a run for every destination that occurs, of all rules that may match there.
//!
//! All runs stand in one half of the table. A change writes the other half, and then leads each destination there; so a
//! packet goes by the old rules for its destination or by the new ones. Before a half is written again, the packets that
//! may still walk it must be gone.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use lbxdp_common::Protocol;
use lbxdp_common::mark::{MARK_ROWS, MAX_RULES, MarkRow, MarkRun};
use lbxdp_common::service::{ip, octets};

use super::{Contents, LayoutError, Write};
use crate::state::MarkRule;
use crate::tables::TableError;

/// Rows of a half of the table.
const HALF: u32 = MARK_ROWS / 2;
/// No interface has this index: a rule for one that is not there matches nothing.
const NOWHERE: u32 = u32::MAX;

/// The index of an interface that is there.
pub type IndexOf<'a> = &'a dyn Fn(&str) -> Option<u32>;

/// What stands in the tables.
#[derive(Clone, Debug, Default)]
pub(super) struct Marks {
    runs: BTreeMap<IpNet, MarkRun>,
    rows: BTreeMap<u32, MarkRow>,
}

impl Marks {
    /// As they stand in tables.
    pub(super) fn of_tables(tables: &impl Contents) -> Result<Self, TableError> {
        let mut marks = Self::default();
        for (destination, run) in tables.mark_runs()? {
            let rows = (run.start..).take(run.length.min(HALF) as usize);
            marks.rows.extend(rows.map(|row| (row, tables.mark_row(row))));
            marks.runs.insert(destination, run);
        }
        Ok(marks)
    }

    /// The rules that stand in the tables, interfaces by their names now.
    pub(super) fn rules(&self, name_of: &dyn Fn(u32) -> Option<String>) -> Vec<MarkRule> {
        let of_run = |(destination, run): (&IpNet, &MarkRun)| {
            let rows = self.rows.range(run.start..run.start.saturating_add(run.length));
            // The others are there for a destination around this one, and stand in its run too.
            let own = rows.filter(|(_, row)| row.destination_bits == destination.prefix_len());
            own.filter_map(|(_, row)| rule(*destination, row, name_of)).collect::<Vec<_>>()
        };
        let mut rules: Vec<MarkRule> = self.runs.iter().flat_map(of_run).collect();
        rules.sort();
        rules
    }

    /// The destinations that are single addresses.
    pub(super) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.runs.keys().filter(|destination| is_address(destination)).map(IpNet::addr)
    }

    /// Makes the tables mean these rules, the most special one first; what is to be written, in order.
    pub(super) fn change(
        &mut self,
        rules: &[MarkRule],
        index_of: IndexOf<'_>,
    ) -> Result<Vec<Write>, LayoutError> {
        let destinations: BTreeSet<IpNet> = rules.iter().map(|rule| rule.destination).collect();
        let rows_of = |destination: &IpNet| -> Vec<MarkRow> {
            let around = rules.iter().filter(|rule| rule.destination.contains(destination));
            around.map(|rule| row(rule, index_of)).collect()
        };
        let wanted: BTreeMap<IpNet, Vec<MarkRow>> =
            destinations.iter().map(|destination| (*destination, rows_of(destination))).collect();
        if self.mean(&wanted) {
            return Ok(Vec::new());
        }
        let all = wanted.values().map(Vec::len).sum::<usize>();
        if rules.len() > MAX_RULES as usize || all > HALF as usize {
            return Err(LayoutError::MarksFull);
        }
        let mut next = if self.runs.values().any(|run| run.start < HALF) { HALF } else { 0 };
        let mut new = Self::default();
        for (destination, rows) in wanted {
            let length = u32::try_from(rows.len()).unwrap_or(0);
            new.runs.insert(destination, MarkRun { start: next, length });
            new.rows.extend((next..).zip(rows));
            next += length;
        }
        let gone: Vec<IpNet> =
            self.runs.keys().filter(|destination| !new.runs.contains_key(destination)).copied().collect();
        *self = new;
        let removals = gone.into_iter().map(|destination| Write::RemoveMarkRun { destination });
        Ok(self.writes().chain(removals).collect())
    }

    /// Everything that stands in the tables, the rows before what leads to them.
    pub(super) fn writes(&self) -> impl Iterator<Item = Write> {
        let rows = self.rows.iter().map(|(index, row)| Write::MarkRow { index: *index, row: *row });
        let runs = self
            .runs
            .iter()
            .map(|(destination, run)| Write::MarkRun { destination: *destination, run: *run });
        rows.chain(runs)
    }

    /// Whether a destination has a run.
    pub(super) fn has(&self, destination: IpNet) -> bool {
        self.runs.contains_key(&destination)
    }

    fn mean(&self, wanted: &BTreeMap<IpNet, Vec<MarkRow>>) -> bool {
        let is_so = |(destination, rows): (&IpNet, &Vec<MarkRow>)| {
            self.runs.get(destination).is_some_and(|run| {
                self.rows.range(run.start..run.start.saturating_add(run.length)).map(|(_, row)| row).eq(rows)
            })
        };
        self.runs.len() == wanted.len() && wanted.iter().all(is_so)
    }
}

/// Whether a destination is a single address.
pub(super) fn is_address(destination: &IpNet) -> bool {
    destination.prefix_len() == destination.max_prefix_len()
}

fn row(rule: &MarkRule, index_of: IndexOf<'_>) -> MarkRow {
    let (first_port, last_port) = rule.ports.unwrap_or((0, u16::MAX));
    let ifindex = rule.interface.as_deref().map_or(0, |name| index_of(name).unwrap_or(NOWHERE));
    let of_source = |part: fn(&IpNet) -> IpAddr| rule.source.map_or([0; 16], |source| octets(part(&source)));
    MarkRow {
        source: of_source(IpNet::network),
        source_mask: of_source(IpNet::netmask),
        first_port,
        last_port,
        protocol: rule.protocol.map_or(0, Protocol::raw),
        destination_bits: rule.destination.prefix_len(),
        pad: 0,
        ifindex,
        mark: rule.mark,
    }
}

/// `None` for a rule whose interface is not there.
fn rule(destination: IpNet, row: &MarkRow, name_of: &dyn Fn(u32) -> Option<String>) -> Option<MarkRule> {
    let interface = if row.ifindex == 0 { None } else { Some(name_of(row.ifindex)?) };
    let address = |octets| ip(octets, destination.addr().is_ipv6());
    let source = IpNet::with_netmask(address(row.source), address(row.source_mask)).ok()?;
    let ports = (row.first_port, row.last_port);
    Some(MarkRule {
        mark: row.mark,
        destination,
        source: (source.prefix_len() > 0).then_some(source),
        protocol: Protocol::from_raw(row.protocol),
        ports: (ports != (0, u16::MAX)).then_some(ports),
        interface,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(mark: u32, destination: &str) -> MarkRule {
        MarkRule {
            mark,
            destination: destination.parse().expect("a prefix"),
            source: None,
            protocol: None,
            ports: None,
            interface: None,
        }
    }

    fn index_of(name: &str) -> Option<u32> {
        (name == "eth7").then_some(7)
    }

    fn name_of(index: u32) -> Option<String> {
        (index == 7).then(|| "eth7".into())
    }

    /// What packets to a destination are compared with, by the marks.
    fn marks_at(marks: &Marks, destination: &str) -> Vec<u32> {
        let run = marks.runs[&destination.parse::<IpNet>().expect("a prefix")];
        marks.rows.range(run.start..run.start + run.length).map(|(_, row)| row.mark).collect()
    }

    fn sorted(mut rules: Vec<MarkRule>) -> Vec<MarkRule> {
        rules.sort();
        rules
    }

    #[test]
    fn a_destination_has_all_rules_around_it_the_most_special_first() {
        let rules = sorted(vec![
            rule(1, "0.0.0.0/0"),
            rule(2, "10.0.0.0/8"),
            rule(3, "10.0.0.100/32"),
            MarkRule { ports: Some((80, 81)), ..rule(4, "10.0.0.100/32") },
            rule(5, "192.0.2.0/24"),
        ]);
        let mut marks = Marks::default();
        let writes = marks.change(&rules, &index_of).expect("room");
        assert_eq!(marks_at(&marks, "10.0.0.100/32"), [4, 3, 2, 1]);
        assert_eq!(marks_at(&marks, "10.0.0.0/8"), [2, 1]);
        assert_eq!(marks_at(&marks, "192.0.2.0/24"), [5, 1]);
        assert_eq!(writes.len(), marks.rows.len() + marks.runs.len());
        assert_eq!(marks.rules(&name_of), rules);
        assert!(marks.change(&rules, &index_of).expect("room").is_empty());
    }

    #[test]
    fn a_change_stands_in_the_other_half_and_takes_away_what_is_gone() {
        let mut marks = Marks::default();
        marks.change(&[rule(1, "10.0.0.0/8"), rule(2, "192.0.2.0/24")], &index_of).expect("room");
        let before: BTreeSet<u32> = marks.rows.keys().copied().collect();
        let writes = marks.change(&[rule(1, "10.0.0.0/8")], &index_of).expect("room");
        assert!(marks.rows.keys().all(|row| !before.contains(row)));
        let destination = "192.0.2.0/24".parse().expect("a prefix");
        assert_eq!(writes.last(), Some(&Write::RemoveMarkRun { destination }));
        marks.change(&[], &index_of).expect("room");
        assert!(marks.runs.is_empty() && marks.rows.is_empty());
    }

    #[test]
    fn a_rule_for_an_interface_that_is_not_there_matches_nothing_until_it_is() {
        let on = |name: &str| MarkRule { interface: Some(name.into()), ..rule(1, "10.0.0.0/8") };
        let mut marks = Marks::default();
        marks.change(&[on("eth7")], &|_| None).expect("room");
        assert_eq!(marks.rows.values().next().expect("a row").ifindex, NOWHERE);
        assert!(!marks.change(&[on("eth7")], &index_of).expect("room").is_empty());
        assert_eq!(marks.rows.values().next().expect("a row").ifindex, 7);
        assert_eq!(marks.rules(&name_of), [on("eth7")]);
    }

    #[test]
    fn too_many_rules_change_nothing() {
        let nested: Vec<MarkRule> = (1..)
            .take(MAX_RULES as usize + 1)
            .map(|last: u16| MarkRule { ports: Some((1, last)), ..rule(1, "10.0.0.0/8") })
            .collect();
        let mut marks = Marks::default();
        assert_eq!(marks.change(&nested, &index_of), Err(LayoutError::MarksFull));
        assert!(marks.runs.is_empty());
    }

    #[test]
    fn rules_of_both_families_stand_side_by_side() {
        let from = |source: &str, rule: MarkRule| MarkRule { source: source.parse().ok(), ..rule };
        let rules = sorted(vec![
            rule(1, "::/0"),
            rule(2, "0.0.0.0/0"),
            from("2001:db8::/32", rule(3, "fd00::100/128")),
            from("192.0.2.0/24", rule(4, "10.0.0.100/32")),
            from("fe80::1/128", rule(5, "fd00::/8")),
        ]);
        let mut marks = Marks::default();
        marks.change(&rules, &index_of).expect("room");
        assert_eq!(marks_at(&marks, "fd00::100/128"), [3, 5, 1]);
        assert_eq!(marks_at(&marks, "10.0.0.100/32"), [4, 2]);
        assert_eq!(marks.rules(&name_of), rules);
        let addresses: Vec<String> = marks.addresses().map(|address| address.to_string()).collect();
        assert_eq!(addresses, ["10.0.0.100", "fd00::100"]);
        let row = marks.rows.values().find(|row| row.mark == 3).expect("a row");
        assert_eq!(row.source[..5], [0x20, 1, 0xd, 0xb8, 0]);
        assert_eq!(row.source_mask, octets("ffff:ffff::".parse().expect("an address")));
    }
}
