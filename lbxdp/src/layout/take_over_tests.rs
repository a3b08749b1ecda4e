//! A layout made of tables is the one that wrote them; and tables that a daemon left in the midst of a change mean the old
//! configuration or the new one, and can be brought to either.

use std::time::{Duration, Instant};

use lbxdp_common::Forward;
use lbxdp_common::hint::{self, Hint};
use proptest::prelude::*;

use super::tests::{Played, SEED, any_servers, by, key, resolved, server, state, state_by, v6};
use super::*;
use crate::state::Persistence;

const SIZES: [u32; 3] = [64, 8, 16384];

/// Those with tables, and one without.
fn by_port(port: u16) -> Scheduler {
    use Scheduler::{DestinationHashing, MaglevHashing, SourceHashing, WeightedRoundRobin};
    [WeightedRoundRobin, DestinationHashing, SourceHashing, MaglevHashing][usize::from(port % 4)]
}

fn layout() -> Layout {
    Layout::new(SIZES[0], SIZES[1], SIZES[2])
}

/// The next so many ids that a layout would give to new servers, in the order of their rows.
fn next_ids(layout: &Layout) -> Vec<ServerId> {
    let mut ids = layout.server_ids.clone();
    let mut next: Vec<_> = std::iter::from_fn(|| ids.take()).collect();
    next.sort_by_key(|id| id.row());
    next
}

fn waiting(layout: &Layout) -> Vec<(ServerKey, ServerId, ServerRow)> {
    layout.gone.iter().map(|(key, gone)| (*key, gone.id, gone.row)).collect()
}

/// Fails if two layouts would not do the same from now on.
fn must_be_equal(made: &Layout, wrote: &Layout) {
    assert_eq!(waiting(made), waiting(wrote));
    assert_eq!(next_ids(made), next_ids(wrote));
    assert_eq!(made.service_rows.left(), wrote.service_rows.left());
    assert_eq!(made.vips.in_tables(), wrote.vips.in_tables());
    assert_eq!(made.ways.sources().in_tables(), wrote.ways.sources().in_tables());
    assert_eq!((made.may_masquerade(), made.may_tunnel()), (wrote.may_masquerade(), wrote.may_tunnel()));
    assert!(made.services.keys().eq(wrote.services.keys()));
    for (made, wrote) in made.services.values().zip(wrote.services.values()) {
        assert_eq!((made.index, made.list, &made.service), (wrote.index, wrote.list, &wrote.service));
        assert_eq!((&made.ids, &made.rows), (&wrote.ids, &wrote.rows));
        assert_eq!((&made.members, &made.table, &made.slots), (&wrote.members, &wrote.table, &wrote.slots));
    }
}

/// Whether a service is the one before or the one after; but the way to each of its servers is edited by itself.
fn is_between(found: Option<&Service>, before: Option<&Service>, after: Option<&Service>) -> bool {
    let servers = |service: Option<&Service>| service.map_or(vec![], |service| service.servers.clone());
    let any_way = |service: Option<&Service>| {
        let plain = |known: Server| Server { forward: Forward::Direct, tunnel: Tunnel::IPIP, ..known };
        let servers = servers(service).into_iter().map(plain).collect();
        service.map(|service| Service { servers, ..*service })
    };
    let ways: Vec<_> = [servers(before), servers(after)]
        .concat()
        .iter()
        .map(|known| (known.address, known.forward, known.tunnel))
        .collect();
    let has_way = |known: &Server| ways.contains(&(known.address, known.forward, known.tunnel));
    [any_way(before), any_way(after)].contains(&any_way(found)) && servers(found).iter().all(has_way)
}

/// Edits, and pauses after which deleted servers are forgotten.
fn any_history() -> impl Strategy<Value = Vec<Option<State>>> {
    let edit = proptest::collection::btree_map(80..84u16, any_servers(), 0..4).prop_map(|services| {
        let services: Vec<_> = services.iter().map(|(port, servers)| (*port, &servers[..])).collect();
        Some(state_by(&services, by_port))
    });
    proptest::collection::vec(prop_oneof![4 => edit, 1 => Just(None)], 1..14)
}

/// Plays a history; the writes of its last step are handed back instead.
fn play(history: &[Option<State>], now: &mut Instant) -> (Layout, Played, Vec<Write>, [State; 2]) {
    let (mut layout, mut played) = (layout(), Played::new(SIZES));
    let (mut before, mut after, mut writes) = (State::default(), State::default(), Vec::new());
    for step in history {
        for write in &writes {
            played.play(write);
        }
        before = after.clone();
        layout.readers_are_gone();
        writes = if let Some(state) = step {
            after = state.clone();
            layout.change(state, &resolved, *now).expect("room")
        } else {
            *now += TRASH_TIME + Duration::from_secs(1);
            layout.empty_trash(&|_| 0, *now).1
        };
    }
    (layout, played, writes, [before, after])
}

#[test]
fn a_service_by_mark_is_taken_over_by_its_mark_and_family() {
    let (mut layout, mut played, now) = (layout(), Played::new(SIZES), Instant::now());
    let (mark, mut wanted) = (ServiceKey::marked(0x0a00_0064), state(&[(80, &[server(1, 1)])]));
    let servers = vec![Server { port: 0, ..server(2, 3) }];
    let options = wanted.services[&key(80)].options;
    wanted.services.insert(mark, Service { options, servers });
    let netmask = 64;
    let persistence = Some(Persistence { timeout_s: 9, netmask });
    let servers = vec![Server { address: v6(2), ..by(Forward::Tunnel, 2, 3) }, by(Forward::Tunnel, 2, 3)];
    wanted.services.insert(
        ServiceKey::marked_v6(0x0a00_0064),
        Service { options: Options { persistence, ..options }, servers },
    );
    for write in layout.change(&wanted, &resolved, now).expect("room") {
        played.play(&write);
    }
    let taken = Layout::take_over(&played, now).expect("consistent");
    assert_eq!(taken.services, wanted.services);
    must_be_equal(&taken.layout, &layout);
}

proptest! {
    #[test]
    fn a_layout_made_of_tables_is_the_one_that_wrote_them(history in any_history()) {
        let mut now = Instant::now();
        let (wrote, mut played, writes, [_, after]) = play(&history, &mut now);
        for write in &writes {
            played.play(write);
        }
        prop_assert_eq!(wrote.drift(&played, SEED).expect("readable"), vec![]);
        let taken = Layout::take_over(&played, now).expect("consistent");
        prop_assert_eq!(taken.unfinished, vec![]);
        prop_assert_eq!(&taken.services, &after.services);
        must_be_equal(&taken.layout, &wrote);
        prop_assert_eq!(taken.layout.drift(&played, SEED).expect("readable"), vec![]);
        let mut layout = taken.layout;
        prop_assert_eq!(layout.change(&after, &resolved, now), Ok(vec![]));
    }

    #[test]
    fn a_daemon_may_be_killed_between_any_two_writes(
        history in any_history(),
        cut in any::<prop::sample::Index>(),
        wants_the_new_one in any::<bool>(),
    ) {
        let mut now = Instant::now();
        let (_, mut played, writes, states) = play(&history, &mut now);
        let done = cut.index(writes.len() + 1);
        writes[..done].iter().for_each(|write| played.play(write));
        if let Some(write) = writes.get(done) {
            played.play_half(write);
        }
        let used: Vec<u32> = (1..SIZES[0]).map(|row| played.server(row).id).collect();
        let TakenOver { mut layout, services, unfinished } =
            Layout::take_over(&played, now).expect("consistent");
        let [before, after] = &states;
        for port in 80..84 {
            let found = services.get(&key(port));
            prop_assert!(is_between(found, before.services.get(&key(port)), after.services.get(&key(port))), "{:?}", found);
        }
        let wanted = if wants_the_new_one { after } else { before };
        for write in &unfinished {
            played.play(write);
        }
        let writes = layout.change(wanted, &resolved, now).expect("room");
        for write in &writes {
            played.play(write);
        }
        for write in layout.drift(&played, SEED).expect("readable") {
            played.play(&write);
        }
        prop_assert_eq!(layout.drift(&played, SEED).expect("readable"), vec![]);
        let taken = Layout::take_over(&played, now).expect("consistent");
        prop_assert_eq!(&taken.services, &wanted.services);
        must_be_equal(&taken.layout, &layout);
        // No name that a connection may carry is ever given again.
        let next = next_ids(&layout);
        prop_assert!(used.iter().filter(|id| **id != 0).all(|id| !next.contains(&ServerId(*id))));
    }
}

#[test]
fn every_wrong_row_is_found_and_put_right() {
    let (mut layout, mut played, now) = (layout(), Played::new(SIZES), Instant::now());
    let nat = by(Forward::Masquerade, 1, 1);
    let of_both = state(&[(80, &[nat, server(2, 3)]), (81, &[server(3, 1)]), (83, &[nat])]);
    layout.change(&of_both, &resolved, now).expect("room").iter().for_each(|write| played.play(write));
    let one = state(&[(80, &[nat]), (81, &[server(3, 1)]), (83, &[nat])]);
    layout.change(&one, &resolved, now).expect("room").iter().for_each(|write| played.play(write));
    assert_eq!(layout.waiting_ids(&key(80)).count(), 1);
    let right: Vec<Write> = Layout::take_over(&Played::new(SIZES), now)
        .expect("empty tables are fine")
        .layout
        .change(&one, &resolved, now)
        .expect("room");
    for write in right {
        let mut wrong = played.clone();
        let (id, index) = (ServerId::new(1, 1), 0);
        let damage = match &write {
            Write::Server { .. } => Write::Server { id, row: ServerRow { port: 9, ..played.server(1) } },
            Write::Service { .. } => {
                let row = played.service(index);
                let list = List { scheduler: 99, ..row.list };
                Write::Service { index, row: ServiceRow { list, ..row } }
            }
            Write::Members { members, .. } => {
                let list = played.service(index).list;
                let members = members.iter().map(|member| member.avoided()).collect();
                Write::Members { list, members, table: vec![], slots: vec![] }
            }
            Write::ServiceId { key, .. } => Write::RemoveServiceId { key: *key },
            Write::Address { set, address } => Write::RemoveAddress { set: *set, address: *address },
            _ => continue,
        };
        wrong.play(&damage);
        let repairs = layout.drift(&wrong, SEED).expect("readable");
        assert_eq!(repairs.len(), 1, "{damage:?}: {repairs:?}");
        wrong.play(&repairs[0]);
        assert_eq!(layout.drift(&wrong, SEED).expect("readable"), vec![], "{damage:?}");
    }
    // A hint that is missing is none; one that leads elsewhere goes.
    let place = hint::place_of(service_id(&key(80)));
    let mut wrong = played.clone();
    wrong.play(&Write::ClearHint { place });
    assert_eq!(layout.drift(&wrong, SEED).expect("readable"), vec![]);
    for (place, hint) in [(place, Hint::to(7)), (place + 1, Hint::to(0))] {
        let mut wrong = played.clone();
        wrong.hints.insert(place, hint);
        assert_eq!(layout.drift(&wrong, SEED).expect("readable"), vec![Write::ClearHint { place }]);
    }
    // Strangers go.
    let id = service_id(&key(99));
    played.play(&Write::ServiceId { key: id, index: 0 });
    for set in AddressSet::ALL {
        for address in [[10, 0, 0, 66].into(), v6(66)] {
            played.play(&Write::Address { set, address });
        }
    }
    let repairs = layout.drift(&played, SEED).expect("readable");
    let is_clear = |write: &Write| matches!(write, Write::ClearAddress { .. });
    let [Write::RemoveServiceId { .. }, clears @ ..] = &repairs[..] else { panic!("{repairs:?}") };
    assert!(clears.len() == 4 && clears.iter().all(is_clear), "{repairs:?}");
}

#[test]
fn tables_that_contradict_themselves_are_refused() {
    let (mut layout, mut played, now) = (layout(), Played::new(SIZES), Instant::now());
    let state = state(&[(80, &[server(1, 1), server(2, 3)]), (81, &[server(1, 1)])]);
    layout.change(&state, &resolved, now).expect("room").iter().for_each(|write| played.play(write));
    let (row, service) = (played.server(1), played.service(0));
    let refusal = |damage: Write| {
        let mut wrong = played.clone();
        wrong.play(&damage);
        Layout::take_over(&wrong, now).map(|_| ()).expect_err("refused").to_string()
    };
    let id = ServerId::new(1, 1);
    let other = ServerRow { id: ServerId::new(1, 2).0, ..row };
    assert!(refusal(Write::Server { id, row: other }).contains("another's"));
    let strange = ServerRow { id: ServerId::new(9, 1).0, ..row };
    assert!(refusal(Write::Server { id: ServerId::new(9, 1), row: strange }).contains("of the same server"));
    assert!(
        refusal(Write::Service {
            index: 0,
            row: ServiceRow { list: List { scheduler: 99, ..service.list }, ..service }
        })
        .contains("scheduler 99")
    );
    let far = List { start: SIZES[2] - 1, ..service.list };
    let empty = ServiceRow { list: List { length: 0, ..far }, ..service };
    assert!(
        Layout::take_over(
            &{
                let mut fine = played.clone();
                fine.play(&Write::Service { index: 0, row: empty });
                fine
            },
            now
        )
        .is_ok()
    );
    let key_of_80 = service_id(&key(80));
    assert!(refusal(Write::ServiceId { key: key_of_80, index: 77 }).contains("not its own"));
    assert!(refusal(Write::ServiceId { key: key_of_80, index: 1 }).contains("another's"));
    let strange = service::ServiceKey { protocol: 99, ..key_of_80 };
    assert!(refusal(Write::ServiceId { key: strange, index: 5 }).contains("protocol 99"));
    let over = List { slot_bits: 20, ..service.list };
    assert!(
        refusal(Write::Service { index: 0, row: ServiceRow { list: over, ..service } })
            .contains("lies outside")
    );
}
