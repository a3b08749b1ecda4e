//! Where a rehearsal's rows come from.

use lbxdp_common::Ticks;
use lbxdp_common::address::Address;
use lbxdp_common::client_hop::WayOut;
use lbxdp_common::fragment::FragmentKey;
use lbxdp_common::mark::MarkRun;
use lbxdp_common::schedule::CacheKey;
use lbxdp_common::service::ServiceKey;

use crate::tables::CellTable;

/// The tables of a director, and what else packets ask of a kernel. Nothing can be written.
pub trait Source {
    /// A copy of a row of cells.
    fn row(&self, table: CellTable, index: u32) -> Option<Vec<u64>>;
    /// The index of a service.
    fn service(&self, key: ServiceKey) -> Option<u32>;
    /// The rules for the marks of packets to a destination.
    fn mark_run<A: Address>(&self, destination: A) -> Option<MarkRun>;
    /// What lblc and lblcr remember under a key.
    fn cached(&self, key: CacheKey) -> Option<Vec<u64>>;
    /// What is remembered of a datagram in fragments.
    fn fragment(&self, key: FragmentKey) -> Option<Vec<u64>>;
    /// Of an interface that is a VLAN the one below it, and its tags.
    fn vlan(&self, ifindex: u32) -> Option<[u64; 2]>;
    /// The interface that a slot of the device map redirects to.
    fn port(&self, slot: u16) -> Option<u32>;
    /// What is remembered of a way to a client: by the CPU that has asked last.
    fn client_hop(&self, index: u32) -> Option<Vec<u64>>;
    /// The time.
    fn now(&self) -> Ticks;
    /// A number by chance.
    fn random(&self) -> u32;
    /// The kernel's answer for the way of a packet that came in by an interface; the way and the longest packet that fits, or
    /// why there is none (`BPF_FIB_LKUP_RET_…`).
    fn route<A: Address>(&self, ifindex: u32, from: A, to: A) -> Result<(WayOut, u32), u32>;
}
