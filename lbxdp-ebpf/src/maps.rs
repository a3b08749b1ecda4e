//! The maps, and the world `steer` sees through them.

use core::arch::asm;
use core::ffi::c_void;

use aya_ebpf::EbpfContext;
use aya_ebpf::Global;
use aya_ebpf::bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC, BPF_NOEXIST, bpf_fib_lookup, xdp_action};
use aya_ebpf::helpers::generated::{
    bpf_fib_lookup as bpf_fib_lookup_, bpf_get_prandom_u32, bpf_jiffies64, bpf_loop, bpf_redirect,
    bpf_xdp_load_bytes,
};
use aya_ebpf::macros::map;
use aya_ebpf::maps::lpm_trie::Key as Prefix;
use aya_ebpf::maps::{Array, DevMap, HashMap, LpmTrie, LruHashMap, PerCpuArray, ProgramArray, ring_buf};
use aya_ebpf::programs::XdpContext;
use lbxdp_common::client_hop::{ClientHop, WayOut};
use lbxdp_common::counters::ServerCounters;
use lbxdp_common::fragment::{FRAGMENT_CELLS, FragmentKey};
use lbxdp_common::held::{Held, HeldHeader, MAX_HELD_BYTES};
use lbxdp_common::mark::MarkRun;
use lbxdp_common::schedule::cache::CACHE_CELLS;
use lbxdp_common::schedule::{CacheKey, Pool};
use lbxdp_common::server::{Load, ServerId};
use lbxdp_common::service::ServiceKey;
use lbxdp_common::settings::{SettingsView, ZERO_CELL};
use lbxdp_common::steer::{Desk, PREFIX_CELL, REPORT_SLOT, Route, Stage, Stages, Ways, World};
use lbxdp_common::table::{Buckets, Hash};
use lbxdp_common::tend::Errand;
use lbxdp_common::walk::{Step, Walker};
use lbxdp_common::watch::Outcome;
use lbxdp_common::wire::ethernet::Tag;
use lbxdp_common::{Address, Cells, Notice, Overflow, Reason, Ticks, V4, V6, Verdict, for_each_map};

use crate::act::act;
use crate::atomic::Row;
use crate::frame::Packet;
use crate::parts;

/// A ring that the daemon reads, with its size where that of other maps stands.
#[repr(transparent)]
struct RingBuf(ring_buf::RingBuf);

impl RingBuf {
    const fn with_max_entries(bytes: u32, flags: u32) -> Self {
        Self(ring_buf::RingBuf::with_byte_size(bytes, flags))
    }
}

macro_rules! define_maps {
    (
        cells { $( $(#[$cells_doc:meta])* $cells:ident : $cells_name:literal, $width:expr, $rows:expr; )* }
        maps { $( $(#[$doc:meta])* $map:ident : $name:literal, $kind:ident $(< $($type:ty),* >)?, $entries:expr $(, on $when:ident)?; )* }
    ) => {
        $(
            $(#[$cells_doc])*
            #[map(name = $cells_name)]
            static $cells: Array<[u64; $width]> = Array::with_max_entries($rows, BPF_F_MMAPABLE);
        )*
        $(
            $(#[$doc])*
            #[map(name = $name)]
            static $map: $kind $(< $($type),* >)? =
                $kind::with_max_entries($entries, 0 $( | define_maps!(@$when) )?);
        )*
    };
    (@demand) => { BPF_F_NO_PREALLOC };
}
for_each_map!(define_maps);

/// MAC address of the interface this program is loaded for (`wire::ethernet::number`).
#[unsafe(no_mangle)]
static PORT_MAC: Global<u64> = Global::new(0);
/// Index of that interface.
#[unsafe(no_mangle)]
static PORT_IFINDEX: Global<u32> = Global::new(0);

/// Families of addresses, as Linux numbers them.
const AF_INET: u64 = 2;
const AF_INET6: u64 = 10;

/// A new row of the cache. Not on the stack, which is small.
static NOTHING_CACHED: [u64; CACHE_CELLS] = [0; CACHE_CELLS];

/// What is remembered of a new datagram in fragments.
static NO_FRAGMENT: [u64; FRAGMENT_CELLS] = [0; FRAGMENT_CELLS];

/// The real tables. `AT_PORT`: seen by the program that is made for its interface; the stages are the same for all.
pub(crate) struct Kernel<const AT_PORT: bool>;

#[inline(always)]
fn row<const CELLS: usize>(map: &Array<[u64; CELLS]>, index: u32) -> Option<Row> {
    // SAFETY: the map's values are `CELLS` cells, and whoever asks for this map knows how many that is.
    map.get_ptr_mut(index).map(|cells| unsafe { Row::new(cells.cast()) })
}

impl<const AT_PORT: bool> Pool for Kernel<AT_PORT> {
    type Shared = Row;

    #[inline(always)]
    fn service_row(&self, index: u32) -> Option<Row> {
        row(&SERVICES, index)
    }

    #[inline(always)]
    fn member_cell(&self, index: u32) -> Option<u64> {
        row(&MEMBERS, index).map(|row| row.load(0))
    }

    #[inline(always)]
    fn load(&self, server: ServerId) -> Load {
        self.load_row(server).map_or(Load(0), |row| Load(row.load(0)))
    }

    #[inline(always)]
    fn turn(&self, service: u32) -> Option<Row> {
        row(&TURNS, service)
    }

    #[inline(always)]
    fn now(&self) -> Ticks {
        // SAFETY: a helper without arguments.
        Ticks(unsafe { bpf_jiffies64() } as u32)
    }

    #[inline(always)]
    fn lblcr_expiration(&self) -> u32 {
        self.settings().map_or(0, |row| SettingsView(row).lblcr_expiration())
    }

    #[inline(always)]
    fn cached(&self, key: CacheKey) -> Option<Row> {
        // SAFETY: the map's values are rows of `CACHE_CELLS` cells.
        CACHE.get_ptr_mut(&key).map(|cells| unsafe { Row::new(cells.cast()) })
    }

    #[inline(always)]
    fn cache(&self, key: CacheKey) -> Option<Row> {
        // It fails if the row is there already, which is as good.
        let _ = CACHE.insert(&key, &NOTHING_CACHED, BPF_NOEXIST.into());
        self.cached(key)
    }

    #[inline(always)]
    fn random(&self) -> u32 {
        // SAFETY: a helper without arguments.
        unsafe { bpf_get_prandom_u32() }
    }
}

impl<const AT_PORT: bool> Walker for Kernel<AT_PORT> {
    #[inline(always)]
    fn zero(&self) -> u32 {
        // A part of the settings that is always zero; the verifier sees only that it was loaded.
        row(&SETTINGS, 0).map_or(0, |row| row.load(ZERO_CELL) as u32)
    }

    #[inline(always)]
    fn repeat<S: Step<Self>>(&self, times: u32, steps: &mut S) {
        // SAFETY: `steps` outlives the call, which is the only user of it meanwhile, and `step` takes it for what it is.
        unsafe { bpf_loop(times, step::<AT_PORT, S> as *mut c_void, (&raw mut *steps).cast(), 0) };
    }
}

/// One step of a walk, as `bpf_loop` wants it: 0 to go on, 1 to stop.
unsafe extern "C" fn step<const AT_PORT: bool, S: Step<Kernel<AT_PORT>>>(
    index: u32,
    steps: *mut c_void,
) -> i64 {
    // SAFETY: `repeat` passes the walk it got, and calls nobody else.
    let steps = unsafe { &mut *steps.cast::<S>() };
    i64::from(steps.step(&Kernel::<AT_PORT>, index).is_break())
}

impl<const AT_PORT: bool> World for Kernel<AT_PORT> {
    type Row = Row;
    type Sent = crate::Sent;

    #[inline(always)]
    fn sent(&self, verdict: Verdict) -> Self::Sent {
        crate::sent(verdict)
    }

    #[inline(always)]
    fn settings(&self) -> Option<Row> {
        row(&SETTINGS, 0)
    }

    #[inline(always)]
    fn vip_bucket(&self, index: u32) -> Option<Row> {
        row(&VIPS, index)
    }

    #[inline(always)]
    fn vip_v6_bucket(&self, index: u32) -> Option<Row> {
        row(&VIPS_V6, index)
    }

    #[inline(always)]
    fn source_bucket(&self, index: u32) -> Option<Row> {
        row(&SOURCES, index)
    }

    #[inline(always)]
    fn source_v6_bucket(&self, index: u32) -> Option<Row> {
        row(&SOURCES_V6, index)
    }

    #[inline(always)]
    fn service(&self, key: ServiceKey) -> Option<u32> {
        SERVICE_IDS.get_ptr(&key).map(|index| {
            // SAFETY: the pointer is a live map value; the daemon replaces values whole.
            unsafe { *index }
        })
    }

    #[inline(always)]
    fn service_hint(&self, place: u32) -> Option<Row> {
        row(&SERVICE_HINTS, place)
    }

    #[inline(always)]
    fn server_row(&self, server: ServerId) -> Option<Row> {
        row(&SERVERS, server.row())
    }

    #[inline(always)]
    fn load_row(&self, server: ServerId) -> Option<Row> {
        row(&LOADS, server.row())
    }

    #[inline(always)]
    fn ingress_mac(&self) -> u64 {
        // The stages are the same for all interfaces.
        if AT_PORT { PORT_MAC.load() } else { 0 }
    }

    #[inline(always)]
    fn ingress_ifindex(&self) -> u32 {
        if AT_PORT { PORT_IFINDEX.load() } else { self.desk().map_or(0, |desk| Desk(desk).ifindex()) }
    }

    #[inline(always)]
    fn pressure(&self, at: u32) -> Option<Row> {
        row(&PRESSURE, at)
    }

    #[inline(always)]
    fn limit(&self, index: u32) -> Option<Row> {
        row(&LIMITS, index)
    }

    #[inline(always)]
    fn fragment(&self, key: FragmentKey) -> Option<Row> {
        // SAFETY: the map's values are rows of `FRAGMENT_CELLS` cells.
        FRAGMENTS.get_ptr_mut(&key).map(|cells| unsafe { Row::new(cells.cast()) })
    }

    #[inline(always)]
    fn new_fragment(&self, key: FragmentKey) -> Option<Row> {
        FRAGMENTS.insert(&key, &NO_FRAGMENT, 0).ok()?;
        self.fragment(key)
    }

    #[inline(always)]
    fn errand(&self, index: u32) -> Option<Errand> {
        row(&ERRANDS, index).map(|row| Errand(row.load(0)))
    }

    #[inline(always)]
    fn mark_row(&self, index: u32) -> Option<Row> {
        row(&MARK_RULES, index)
    }

    #[inline(always)]
    fn desk(&self) -> Option<Row> {
        // SAFETY: the map's values are rows of `ARRIVAL_CELLS` cells.
        DESK.get_ptr_mut(0).map(|cells| unsafe { Row::new(cells.cast()) })
    }

    #[inline(always)]
    fn client_hop(&self, index: u32) -> Option<Row> {
        // SAFETY: the map's values are rows of `CLIENT_HOP_CELLS` cells.
        CLIENT_HOPS.get_ptr_mut(index).map(|cells| unsafe { Row::new(cells.cast()) })
    }

    #[inline(always)]
    fn vlan(&self, ifindex: u32) -> Option<[u64; 2]> {
        // The daemon replaces values whole.
        VLANS.get_ptr(&ifindex).map(|vlan| {
            // SAFETY: the pointer is a live map value.
            unsafe { *vlan }
        })
    }

    #[inline(always)]
    fn wanted(&self, index: u32) -> Option<Row> {
        row(&WANTED, index)
    }

    #[inline(always)]
    fn by_scheduler(&self, index: u32, client: u32, vip: u32, client_port: u16) -> u64 {
        parts::by_scheduler(index, client, vip, client_port.into())
    }

    #[inline(always)]
    fn by_hash(&self, index: u32, hash: Hash) -> u64 {
        parts::by_hash(index, hash.0)
    }

    #[inline(always)]
    fn note(&self, overflow: Overflow) {
        if let Some(count) = OVERFLOWS.get_ptr_mut(overflow.raw()) {
            // SAFETY: as in `count`.
            unsafe { *count += 1 };
        }
    }

    #[inline(always)]
    fn count_notice(&self, notice: Notice) {
        if let Some(count) = NOTICES.get_ptr_mut(notice.raw()) {
            // SAFETY: as in `count`.
            unsafe { *count += 1 };
        }
    }

    #[inline(always)]
    fn count(&self, server: ServerId, more: ServerCounters) -> u64 {
        if let Some(row) = COUNTERS.get_ptr_mut(server.row()) {
            // SAFETY: the row is this CPU's own, and an XDP program is not interrupted by another one.
            let row = unsafe { &mut *row };
            row.packets += more.packets;
            row.bytes += more.bytes;
            row.connections += more.connections;
            row.reply_packets += more.reply_packets;
            row.reply_bytes += more.reply_bytes;
            return row.packets;
        }
        0
    }
}

/// The longest prefix there is: an address, where maps can read it. Not on the stack: a prefix is its length (4 bytes) and the
/// address, packed, and the compiler would write it across the stack's slots of eight bytes.
#[inline(always)]
fn prefix_of<A: Address>(address: A) -> Option<&'static Prefix<A>> {
    let desk = DESK.get_ptr_mut(0)?.cast::<u64>();
    let [first, second]: [u64; 2] = zerocopy::transmute!(address.wide());
    // SAFETY: the row is this CPU's own and longer than that; a prefix has no alignment, any bytes are one, and it is read
    // before anybody writes there again.
    unsafe {
        let length = desk.add(PREFIX_CELL).cast::<u32>().add(1);
        length.write(8 * size_of::<A>() as u32);
        desk.add(PREFIX_CELL + 1).write(first);
        desk.add(PREFIX_CELL + 2).write(second);
        Some(&*length.cast::<Prefix<A>>())
    }
}

macro_rules! ways {
    ($width:ty: $connections:ident, $mark_runs:ident, $meet:ident, $confirm:ident, $expect_reply:ident, $publish_reply:ident,
        $plan:ident, $claim:ident, $template:ident, $consult:ident, $remember:ident,
        $remember_fragment:ident, $finish:ident) => {
        impl<const AT_PORT: bool> Buckets<$width> for Kernel<AT_PORT> {
            type Bucket = Row;

            #[inline(always)]
            fn bucket(&self, index: u32) -> Option<Row> {
                row(&$connections, index)
            }
        }

        impl<const AT_PORT: bool> Ways<$width> for Kernel<AT_PORT> {
            #[inline(always)]
            fn mark_run(&self, destination: $width) -> Option<MarkRun> {
                // The value is read whole: the daemon replaces it whole.
                $mark_runs.get(prefix_of(destination)?).map(|run| zerocopy::transmute!(*run))
            }

            #[inline(always)]
            fn meet(&self) -> u64 {
                parts::$meet()
            }

            #[inline(always)]
            fn confirm(&self, bond: u64, is_established: u32) -> u64 {
                parts::$confirm(bond, is_established)
            }

            #[inline(always)]
            fn expect_reply(&self, begins: u32) -> u64 {
                parts::$expect_reply(begins)
            }

            #[inline(always)]
            fn publish_reply(&self, place: u64) -> u64 {
                parts::$publish_reply(place)
            }

            #[inline(always)]
            fn plan(&self) -> u64 {
                parts::$plan()
            }

            #[inline(always)]
            fn claim(&self, hash: Hash) -> u64 {
                parts::$claim(hash.0)
            }

            #[inline(always)]
            fn template(&self, index: u32) -> u64 {
                parts::$template(index)
            }

            #[inline(always)]
            fn consult(&self, index: u32, is_datagram: u32) -> u64 {
                parts::$consult(index, is_datagram)
            }

            #[inline(always)]
            fn remember(&self, place: u64, index: u32, is_datagram: u32, choice: u64) -> u64 {
                parts::$remember(place, index, is_datagram, choice)
            }

            #[inline(always)]
            fn remember_fragment(&self, fortune: u64) -> u64 {
                parts::$remember_fragment(fortune)
            }

            #[inline(always)]
            fn finish(&self, place: u64, plan: u64, choice: u64) -> u64 {
                parts::$finish(place, plan, choice)
            }
        }
    };
}

ways!(V4: CONNECTIONS, MARK_RUNS, meet_v4, confirm_v4, expect_reply_v4, publish_reply_v4, plan_v4, claim_v4, template_v4,
    consult_v4, remember_v4, remember_fragment_v4, finish_v4);
ways!(V6: CONNECTIONS_V6, MARK_RUNS_V6, meet_v6, confirm_v6, expect_reply_v6, publish_reply_v6, plan_v6, claim_v6,
    template_v6, consult_v6, remember_v6, remember_fragment_v6, finish_v6);

impl<const AT_PORT: bool> Stages<Packet> for Kernel<AT_PORT> {
    #[inline(always)]
    fn enter(&self, stage: Stage, frame: &mut Packet) -> Result<Verdict, Reason> {
        // SAFETY: a tail call does not come back if it succeeds.
        unsafe { STAGES.tail_call(&frame.0, stage.raw()) };
        Err(Reason::NotReady)
    }

    #[inline(always)]
    fn hold(&self, frame: &Packet, header: HeldHeader) -> bool {
        let bytes = header.frame_bytes;
        if bytes == 0 || bytes > MAX_HELD_BYTES as u32 {
            return false;
        }
        let mut last = u64::from(bytes - 1);
        // SAFETY: nothing but the number is touched; it stays as it is. The verifier sees now that it is small, which the
        // comparison above does not tell it: the compiler compares another number than the one it uses.
        unsafe {
            asm!("{last} &= {mask}", last = inlateout(reg) last, mask = const MAX_HELD_BYTES - 1,
                options(pure, nomem, nostack, preserves_flags));
        }
        let Some(mut held) = HELD.0.reserve::<Held>(0) else {
            return false;
        };
        let place = held.as_mut_ptr();
        // SAFETY: the ring has given us room for a whole `Held`, and `bytes` are no more than its frame has.
        let copied = unsafe {
            (&raw mut (*place).header).write(header);
            bpf_xdp_load_bytes(frame.0.as_ptr().cast(), 0, (&raw mut (*place).frame).cast(), last as u32 + 1)
        };
        if copied == 0 {
            held.submit(0);
            true
        } else {
            held.discard(0);
            false
        }
    }

    #[inline(always)]
    fn route<A: Address>(&self, frame: &Packet, from: A, to: A, row: ClientHop<Row>) -> Route {
        // A `bpf_fib_lookup` in cells: its MAC addresses stand where the stack cannot be read by words.
        let mut question = [0u64; size_of::<bpf_fib_lookup>() / 8];
        let family = if A::IS_V6 { AF_INET6 } else { AF_INET };
        let [[from, from_end], [to, to_end]]: [[u64; 2]; 2] = zerocopy::transmute!([from.wide(), to.wide()]);
        question[0] = family;
        question[1] = self.ingress_ifindex().into();
        (question[2], question[3], question[4], question[5]) = (from, from_end, to, to_end);
        // SAFETY: the context is the program's own, and the question is as long as it says.
        let answer = unsafe {
            bpf_fib_lookup_(
                frame.0.as_ptr(),
                (&raw mut question).cast(),
                size_of::<bpf_fib_lookup>() as i32,
                0,
            )
        };
        if answer != 0 {
            return Route::none(answer as u32);
        }
        // The interface; then the source behind a VLAN's number, and the destination; the MTU stands in the packet's length.
        let (ifindex, source, destination) =
            (question[1] << 32, question[6] >> 32 | question[7] << 48 >> 16, question[7] >> 16);
        let way: WayOut = zerocopy::transmute!([destination | source << 48, source >> 16 | ifindex]);
        row.set_way(way, [Tag::default(); 2]);
        Route::of_mtu((question[0] >> 48) as u32)
    }
}

/// Begins a stage: from now on the interface that the packet came in by is on the desk.
#[inline(always)]
pub(crate) fn begin(context: &XdpContext) {
    // SAFETY: the context is the program's own.
    let ifindex = unsafe { (*context.ctx).ingress_ifindex };
    if let Some(desk) = World::desk(&Kernel::<false>) {
        Desk(desk).set_ifindex(ifindex);
    }
}

/// Ends a packet about which all is decided: its action, given back by the program `report` if somebody watches the packet.
///
/// The question comes before the action, and the way of a packet that is watched is one of its own: what was decided need not be
/// kept beyond the action then, and the verifier has fewer states to tell apart.
#[inline(always)]
pub(crate) fn end(desk: Row, frame: &Packet, decided: Result<Verdict, Reason>) -> u32 {
    let mark = Desk(desk).mark();
    if !mark.is_any() {
        return act(decided);
    }
    let action = act(decided);
    Desk(desk).set_outcome(Outcome::new(decided, action, mark));
    // SAFETY: a tail call does not come back if it succeeds. If it fails, nobody watches any more.
    unsafe { STAGES.tail_call(&frame.0, REPORT_SLOT) };
    action
}

/// Counts a packet that is not forwarded.
#[inline(always)]
pub(crate) fn count_reason(reason: Reason) {
    if let Some(count) = REASONS.get_ptr_mut(reason.raw()) {
        // SAFETY: as in `count`.
        unsafe { *count += 1 };
    }
}

/// Sends the frame out by the interface in a slot of the device map.
#[inline(always)]
pub(crate) fn redirect(port: u16) -> u32 {
    PORTS.redirect(u32::from(port), 0).unwrap_or_else(|_| {
        count_reason(Reason::NoWayOut);
        xdp_action::XDP_DROP
    })
}

/// Sends the frame out by an interface.
#[inline(always)]
pub(crate) fn leave(ifindex: u32) -> u32 {
    // SAFETY: a helper of numbers.
    unsafe { bpf_redirect(ifindex, 0) as u32 }
}

/// The kernel asks for the licence of whoever calls its GPL helpers.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
