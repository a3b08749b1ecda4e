//! Room in a connection table. It grows while packets flow, but a bench opens connections faster than anything that grows:
//! what finds no room goes by hash, and would be measured in the place of what is meant.

use std::time::Duration;

use anyhow::{Context, Result};
use lbxdp::tables::Tables;
use lbxdp_common::server::{Load, SERVER_CELLS, ServerRow};
use lbxdp_common::service::ServiceKey;
use lbxdp_common::settings::SettingsView;
use lbxdp_common::table::{Shape, WAYS, places_for};
use lbxdp_common::{Cells, V4, V6};
use lbxdp_tests::wait;

use crate::packet::Family;

/// How long a table may take to grow.
const DEADLINE: Duration = Duration::from_mins(1);

/// The shape of a family's table now.
pub(crate) fn shape(tables: &Tables, family: Family) -> Result<Shape> {
    let settings = SettingsView(tables.SETTINGS.row(0).context("the instance has no settings")?);
    Ok(match family {
        Family::V4 => settings.shape_of::<V4>(),
        Family::V6 => settings.shape_of::<V6>(),
    })
}

/// Places in use, of a table that does not grow just now.
pub(crate) fn places(tables: &Tables, family: Family) -> Result<u64> {
    Ok(u64::from(shape(tables, family)?.home()) * WAYS as u64)
}

/// Places that there may ever be.
pub(crate) fn most_places(tables: &Tables, family: Family) -> u64 {
    let buckets = match family {
        Family::V4 => tables.connections::<V4>().rows(),
        Family::V6 => tables.connections::<V6>().rows(),
    };
    u64::from(buckets) * WAYS as u64
}

/// Makes the daemon let the table grow until it has room for so many entries more (`places_for`), or until it is as large as it may
/// be. For as long as that takes, a server seems to have as many connections more: the daemon goes by its servers' counts.
pub(crate) fn make(tables: &Tables, family: Family, entries: u64) -> Result<()> {
    let (load, taken) = loads(tables, family)?;
    let wanted = places_for(taken + entries).min(most_places(tables, family));
    let has_room = || {
        let is_steady = shape(tables, family).is_ok_and(Shape::is_steady);
        is_steady && places(tables, family).is_ok_and(|places| places >= wanted)
    };
    if has_room() {
        return Ok(());
    }
    let more = Load::gained(true).wrapping_mul(entries + 1);
    load.add(0, more);
    let grown = wait::until("the connection table has room", DEADLINE, has_room);
    load.add(0, more.wrapping_neg());
    grown
}

/// How many connections there are, by the servers' counts.
pub(crate) fn connections(tables: &Tables, family: Family) -> Result<u64> {
    Ok(loads(tables, family)?.1)
}

/// The row of a family's first server, and the connections of all its servers.
fn loads(tables: &Tables, family: Family) -> Result<(impl Cells, u64)> {
    let mut first = None;
    let mut taken = 0;
    for number in 0..tables.LOADS.rows() {
        let (Some(server), Some(load)) = (tables.SERVERS.row(number), tables.LOADS.row(number)) else {
            continue;
        };
        let server =
            ServerRow::from_cells(std::array::from_fn::<_, SERVER_CELLS, _>(|cell| server.load(cell)));
        let is_ours =
            server.service != ServiceKey::default() && server.service.is_v6() == (family == Family::V6);
        if is_ours {
            first.get_or_insert(load);
            taken += Load(load.load(0)).total();
        }
    }
    Ok((first.context("there is no server whose connections need room")?, taken))
}
