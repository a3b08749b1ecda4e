//! Which services and servers are shown, in which order: a list of places in the scene, so that only what is seen is written.

use std::cmp::Reverse;

use super::scene::{Scene, ServiceScene};
use super::view::View;

/// A row: a service, or one of its servers, by their places in the scene.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Row {
    Service(usize),
    Server(usize, usize),
}

/// All rows, seen or not.
pub(super) fn rows(scene: &Scene, view: &View) -> Vec<Row> {
    let mut services: Vec<_> = scene.services.iter().enumerate().collect();
    let is_falling = view.column.is_largest_first() != view.is_reversed;
    if view.column.is_largest_first() {
        sort(&mut services, is_falling, |(_, service)| view.column.rank_of_service(service, view.pace));
    } else if view.is_reversed {
        services.reverse();
    }
    let mut rows = Vec::new();
    for (at, service) in services {
        let is_whole = view.filter.takes_service(service);
        let mut servers = servers(service, is_whole, view);
        if !is_whole && servers.is_empty() {
            continue;
        }
        rows.push(Row::Service(at));
        if view.is_open(service.key) {
            order(&mut servers, service, is_falling, view);
            rows.extend(servers.into_iter().map(|place| Row::Server(at, place)));
        }
    }
    rows
}

/// The servers that the filter leaves.
fn servers(service: &ServiceScene, is_whole: bool, view: &View) -> Vec<usize> {
    let servers = service.servers.iter().enumerate();
    let taken = servers.filter(|(_, server)| is_whole || view.filter.takes_server(service, server));
    taken.map(|(place, _)| place).collect()
}

fn order(places: &mut [usize], service: &ServiceScene, is_falling: bool, view: &View) {
    if view.column.is_largest_first() {
        sort(places, is_falling, |place| {
            service.servers.get(*place).map_or(0, |server| view.column.rank_of_server(server, view.pace))
        });
    } else if view.is_reversed {
        places.reverse();
    }
}

/// What is equal keeps the order of the listing.
fn sort<T>(list: &mut [T], is_falling: bool, rank: impl Fn(&T) -> u64) {
    if is_falling {
        list.sort_by_cached_key(|item| Reverse(rank(item)));
    } else {
        list.sort_by_cached_key(rank);
    }
}
