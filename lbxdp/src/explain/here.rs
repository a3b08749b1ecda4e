//! Where an instance's packets come in: its pinned links, and the interfaces they are on.

use std::collections::BTreeMap;
use std::io;

use super::ExplainError;
use super::story::InterfaceNames;
use crate::daemon::links;
use crate::daemon::load::{Interface, is_permission};
use crate::host::Netlink;
use crate::tables::LookTables;
use crate::tables::pins::Instance;

/// An instance as it is loaded.
pub(super) struct Here {
    pub(super) tables: LookTables,
    /// The interface that packets are to come in by.
    pub(super) interface: Interface,
    pub(super) names: InterfaceNames,
}

/// Finds an instance's tables and an interface of it: that of a name, or the only one.
pub(super) fn look(instance: &Instance, wanted: Option<&str>) -> Result<Here, ExplainError> {
    is_there(instance)?;
    let tables = LookTables::open(&instance.map_pins())
        .map_err(|error| if is_permission(&error) { ExplainError::NotPermitted } else { error.into() })?;
    let links = Netlink::open()?.links()?;
    let names: InterfaceNames = links.iter().map(|link| (link.index, link.name.clone())).collect();
    let pinned = links::interfaces(instance).map_err(ExplainError::Links)?;
    // Indices mean something in one network namespace: in this one, if the interface has the program.
    let attached: BTreeMap<&str, u32> = links
        .iter()
        .filter(|link| pinned.iter().any(|pin| (link.index, link.xdp_program) == (pin.0, Some(pin.1))))
        .map(|link| (link.name.as_str(), link.index))
        .collect();
    let (name, ifindex) = match (wanted, attached.len()) {
        (Some(wanted), _) => *attached
            .get_key_value(wanted)
            .map(|(name, ifindex)| (*name, *ifindex))
            .as_ref()
            .ok_or_else(|| ExplainError::NotAttached(wanted.to_owned(), listed(&attached)))?,
        (None, 1) => attached.into_iter().next().ok_or(ExplainError::Nowhere)?,
        (None, 0) => return Err(ExplainError::Nowhere),
        (None, _) => return Err(ExplainError::WhichInterface(listed(&attached))),
    };
    let mac = links.iter().find(|link| link.index == ifindex).and_then(|link| link.mac).unwrap_or_default();
    let interface = Interface { name: name.to_owned(), ifindex, mac };
    Ok(Here { tables, interface, names })
}

fn listed(attached: &BTreeMap<&str, u32>) -> String {
    if attached.is_empty() {
        return "none in this network namespace".to_owned();
    }
    attached.keys().copied().collect::<Vec<_>>().join(", ")
}

/// Whether the instance has tables of this version that may be looked at.
fn is_there(instance: &Instance) -> Result<(), ExplainError> {
    let there = |error: io::Error| match error.kind() {
        io::ErrorKind::PermissionDenied => ExplainError::NotPermitted,
        _ => ExplainError::NotLoaded(instance.clone()),
    };
    match std::fs::metadata(instance.map_pins()) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound && instance.pins().exists() => {
            Err(ExplainError::OtherVersion(instance.clone()))
        }
        Err(error) => Err(there(error)),
    }
}
