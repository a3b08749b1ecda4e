//! What the decision code sees: the traits that the kernel's maps implement in the kernel. Every answer is the tables' own, or
//! the decision code's.

use std::net::IpAddr;

use lbxdp_common::address::{Address, V4, V6};
use lbxdp_common::cells::Cells;
use lbxdp_common::client_hop::ClientHop;
use lbxdp_common::counters::ServerCounters;
use lbxdp_common::fragment::{FRAGMENT_CELLS, FragmentKey};
use lbxdp_common::held::{HeldHeader, MAX_HELD_BYTES};
use lbxdp_common::mark::MarkRun;
use lbxdp_common::schedule::cache::CACHE_CELLS;
use lbxdp_common::schedule::{CacheKey, Pool};
use lbxdp_common::server::{Load, ServerId};
use lbxdp_common::service::{ServiceKey, ip};
use lbxdp_common::settings::SettingsView;
use lbxdp_common::steer::{Route, Stage, Stages, Ways, World, parts};
use lbxdp_common::table::{Buckets, Hash};
use lbxdp_common::tend::Errand;
use lbxdp_common::walk::Walker;
use lbxdp_common::wire::Frame;
use lbxdp_common::wire::ethernet::{self, Tag};
use lbxdp_common::{Notice, Overflow, Reason, Ticks, Verdict};

use super::{Note, Place, Rehearsal, Routed, Row, Source, server_of};
use crate::tables::CellTable;

impl<S: Source> Walker for &Rehearsal<S> {}

impl<'a, A: Address, S: Source> Buckets<A> for &'a Rehearsal<S> {
    type Bucket = Row<'a>;

    fn bucket(&self, index: u32) -> Option<Row<'a>> {
        self.cells(CellTable::connections::<A>(), index)
    }
}

impl<'a, S: Source> Pool for &'a Rehearsal<S> {
    type Shared = Row<'a>;

    fn service_row(&self, index: u32) -> Option<Row<'a>> {
        self.cells(CellTable::Services, index)
    }

    fn member_cell(&self, index: u32) -> Option<u64> {
        self.cells(CellTable::Members, index).map(|row| row.load(0))
    }

    fn load(&self, server: ServerId) -> Load {
        self.load_row(server).map_or(Load(0), |row| Load(row.load(0)))
    }

    fn turn(&self, service: u32) -> Option<Row<'a>> {
        self.cells(CellTable::Turns, service)
    }

    fn now(&self) -> Ticks {
        self.source.now()
    }

    fn lblcr_expiration(&self) -> u32 {
        self.settings().map_or(0, |row| SettingsView(row).lblcr_expiration())
    }

    fn cached(&self, key: CacheKey) -> Option<Row<'a>> {
        self.row(Place::Cache(key), || self.source.cached(key))
    }

    fn cache(&self, key: CacheKey) -> Option<Row<'a>> {
        self.row(Place::Cache(key), || Some(self.source.cached(key).unwrap_or_else(|| vec![0; CACHE_CELLS])))
    }

    fn random(&self) -> u32 {
        self.jot(Note::Drawn);
        self.source.random()
    }
}

impl<'a, S: Source> World for &'a Rehearsal<S> {
    type Sent = Verdict;

    fn sent(&self, verdict: Verdict) -> Verdict {
        verdict
    }

    type Row = Row<'a>;

    fn settings(&self) -> Option<Row<'a>> {
        self.cells(CellTable::Settings, 0)
    }

    fn vip_bucket(&self, index: u32) -> Option<Row<'a>> {
        self.cells(CellTable::Vips, index)
    }

    fn vip_v6_bucket(&self, index: u32) -> Option<Row<'a>> {
        self.cells(CellTable::VipsV6, index)
    }

    fn source_bucket(&self, index: u32) -> Option<Row<'a>> {
        self.cells(CellTable::Sources, index)
    }

    fn source_v6_bucket(&self, index: u32) -> Option<Row<'a>> {
        self.cells(CellTable::SourcesV6, index)
    }

    fn service(&self, key: ServiceKey) -> Option<u32> {
        let index = self.source.service(key);
        self.jot(Note::Service(key, index));
        index
    }

    fn service_hint(&self, place: u32) -> Option<Row<'a>> {
        self.cells(CellTable::ServiceHints, place)
    }

    fn followed_hint(&self, key: ServiceKey, index: u32) {
        self.jot(Note::Service(key, Some(index)));
    }

    fn server_row(&self, server: ServerId) -> Option<Row<'a>> {
        self.cells(CellTable::Servers, server.row())
    }

    fn load_row(&self, server: ServerId) -> Option<Row<'a>> {
        self.cells(CellTable::Loads, server.row())
    }

    fn ingress_mac(&self) -> u64 {
        if self.is_in_a_stage.get() { 0 } else { ethernet::number(self.interface.mac) }
    }

    fn ingress_ifindex(&self) -> u32 {
        self.interface.ifindex
    }

    fn pressure(&self, row: u32) -> Option<Row<'a>> {
        self.cells(CellTable::Pressure, row)
    }

    fn limit(&self, index: u32) -> Option<Row<'a>> {
        self.cells(CellTable::Limits, index)
    }

    fn fragment(&self, key: FragmentKey) -> Option<Row<'a>> {
        self.row(Place::Fragment(key), || self.source.fragment(key))
    }

    fn new_fragment(&self, key: FragmentKey) -> Option<Row<'a>> {
        let row = self.row(Place::Fragment(key), || Some(vec![0; FRAGMENT_CELLS]))?;
        (0..FRAGMENT_CELLS).for_each(|cell| row.store(cell, 0));
        Some(row)
    }

    fn errand(&self, _: u32) -> Option<Errand> {
        None
    }

    fn mark_row(&self, index: u32) -> Option<Row<'a>> {
        self.cells(CellTable::MarkRules, index)
    }

    fn desk(&self) -> Option<Row<'a>> {
        self.desk_row()
    }

    fn client_hop(&self, index: u32) -> Option<Row<'a>> {
        self.row(Place::ClientHop(index), || self.source.client_hop(index))
    }

    fn vlan(&self, ifindex: u32) -> Option<[u64; 2]> {
        self.source.vlan(ifindex)
    }

    fn wanted(&self, index: u32) -> Option<Row<'a>> {
        self.cells(CellTable::Wanted, index)
    }

    fn note(&self, overflow: Overflow) {
        self.jot(Note::Overflow(overflow));
    }

    fn count_notice(&self, notice: Notice) {
        self.jot(Note::Notice(notice));
    }

    /// How many packets a CPU has counted is nowhere but with that CPU: it gives the outer headers of tunnels their numbers.
    fn count(&self, server: ServerId, more: ServerCounters) -> u64 {
        self.jot(Note::Counted(server, more));
        0
    }

    fn by_scheduler(&self, index: u32, client: u32, vip: u32, client_port: u16) -> u64 {
        self.chosen(index, || parts::by_scheduler(self, index, client, vip, client_port))
    }

    fn by_hash(&self, index: u32, hash: Hash) -> u64 {
        let picked = parts::by_hash(self, index, hash);
        self.jot(Note::Hashed(index, server_of(picked)));
        picked
    }
}

impl<A: Address, S: Source> Ways<A> for &Rehearsal<S> {
    fn mark_run(&self, destination: A) -> Option<MarkRun> {
        let run = self.source.mark_run(destination);
        if run.is_some() {
            self.jot(Note::MarkRules);
        }
        run
    }

    fn consult(&self, index: u32, is_datagram: u32) -> u64 {
        let server = parts::consult::<A, _>(self, index, is_datagram);
        self.jot(Note::Consulted(index, server_of(server)));
        server
    }
}

impl<F: Frame, S: Source> Stages<F> for &Rehearsal<S>
where
    Self: Ways<V4> + Ways<V6>,
{
    /// It runs when whoever asked for it is done, as in the kernel, where nobody comes back from a stage.
    fn enter(&self, stage: Stage, _: &mut F) -> Result<Verdict, Reason> {
        self.next.set(Some(stage));
        Err(Reason::NotReady)
    }

    fn hold(&self, _: &F, header: HeldHeader) -> bool {
        let fits = (1..=MAX_HELD_BYTES).contains(&(header.frame_bytes as usize));
        if fits {
            self.jot(Note::Held(header));
        }
        fits
    }

    fn route<A: Address>(&self, _: &F, from: A, to: A, row: ClientHop<<Self as World>::Row>) -> Route {
        let answer = self.source.route(self.interface.ifindex, from, to);
        let address = |address: A| -> IpAddr { ip(address.wide(), A::IS_V6) };
        self.jot(Note::Routed(Routed { from: address(from), to: address(to), answer }));
        match answer {
            Ok((way, mtu)) => {
                row.set_way(way, [Tag::default(); 2]);
                Route::of_mtu(mtu)
            }
            Err(reason) => Route::none(reason),
        }
    }
}
