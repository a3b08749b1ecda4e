//! Every map of the kernel, once: both halves expand this list, so names, shapes and sizes cannot drift apart.

/// Hands every map to the macro `$then`, in two groups.
///
/// `cells`: rows of cells in mappable memory, `NAME: "name", cells of a row, rows`. `maps`: all others,
/// `NAME: "name", kind<types>, entries`, and `, on demand` if its memory is taken entry by entry. A map's name has at most 15 characters: the kernel cuts the rest.
/// Sizes given here are defaults; the daemon sets those that depend on its options when it loads the program.
#[macro_export]
macro_rules! for_each_map {
    ($then:path) => {
        $then! {
            cells {
                /// The one row of [`settings::Settings`]($crate::settings::Settings).
                SETTINGS: "settings", $crate::settings::SETTINGS_CELLS, 1;
                /// Buckets of VIPs ([`vip`]($crate::vip)).
                VIPS: "vips", $crate::vip::VIP_CELLS, $crate::vip::VIP_BUCKETS;
                /// Buckets of IPv6 VIPs.
                VIPS_V6: "vips_v6", $crate::vip::VIP_CELLS_V6, $crate::vip::VIP_BUCKETS;
                /// Buckets of the addresses of servers that some connection may reach by VS/NAT: of what replies come from.
                SOURCES: "sources", $crate::vip::VIP_CELLS, $crate::vip::VIP_BUCKETS;
                /// The same of IPv6.
                SOURCES_V6: "sources_v6", $crate::vip::VIP_CELLS_V6, $crate::vip::VIP_BUCKETS;
                /// Buckets of connections ([`table`]($crate::table)).
                CONNECTIONS: "connections", $crate::table::BUCKET_CELLS, 1;
                /// Buckets of IPv6 connections.
                CONNECTIONS_V6: "connections_v6", $crate::table::BUCKET_V6_CELLS, 1;
                /// Rows of servers ([`server::ServerRow`]($crate::server::ServerRow)).
                SERVERS: "servers", $crate::server::SERVER_CELLS, 1;
                /// How many connections each server has ([`server::Load`]($crate::server::Load)).
                LOADS: "loads", $crate::server::LOAD_CELLS, 1;
                /// Rows of services ([`service::ServiceRow`]($crate::service::ServiceRow)).
                SERVICES: "services", $crate::service::SERVICE_CELLS, 1;
                /// Where the rows of services probably are ([`hint`]($crate::hint)).
                SERVICE_HINTS: "service_hints", 1, $crate::hint::HINTS;
                /// The turn of each service's scheduler ([`schedule`]($crate::schedule)).
                TURNS: "turns", $crate::service::TURN_CELLS, 1;
                /// The lists of all services: members and hash slots ([`service::List`]($crate::service::List)).
                MEMBERS: "members", 1, 1;
                /// Where the counters shown of each server begin ([`counters::Base`]($crate::counters::Base)).
                SERVER_BASES: "server_bases", $crate::counters::BASE_CELLS, 1;
                /// Where the counters shown of each service begin ([`counters::Base`]($crate::counters::Base)).
                SERVICE_BASES: "service_bases", $crate::counters::BASE_CELLS, 1;
                /// When a packet last went by hash for want of room, in all and of each sector ([`pressure`]($crate::pressure)).
                PRESSURE: "pressure", $crate::pressure::PRESSURE_CELLS, $crate::pressure::PRESSURE_ROWS;
                /// How many ICMP errors may be sent, to each client and in all ([`limit`]($crate::limit)).
                LIMITS: "limits", $crate::limit::LIMIT_CELLS, $crate::limit::LIMIT_ROWS;
                /// Indices of buckets for [`tend`]($crate::tend): the daemon's errands.
                ERRANDS: "errands", 1, $crate::tend::MAX_ERRANDS;
                /// Clients that the daemon is to look for ([`client_hop::Wanted`]($crate::client_hop::Wanted)).
                WANTED: "wanted", $crate::client_hop::WANTED_CELLS, $crate::client_hop::WANTED;
                /// Rules for marks ([`mark`]($crate::mark)).
                MARK_RULES: "mark_rules", $crate::mark::MARK_CELLS, $crate::mark::MARK_ROWS;
            }
            maps {
                /// The run of rules for the marks of packets to a destination.
                MARK_RUNS: "mark_runs", LpmTrie<[u8; 4], u64>, $crate::mark::MAX_DESTINATIONS;
                /// The same for IPv6.
                MARK_RUNS_V6: "mark_runs_v6", LpmTrie<[u8; 16], u64>, $crate::mark::MAX_DESTINATIONS;
                /// Index of a service by what a packet carries.
                SERVICE_IDS: "service_ids", HashMap<$crate::service::ServiceKey, u32>, 1;
                /// What lblc and lblcr remember of addresses ([`schedule::cache`]($crate::schedule::cache)).
                CACHE: "cache", HashMap<$crate::schedule::CacheKey, [u64; $crate::schedule::cache::CACHE_CELLS]>,
                    $crate::schedule::cache::MAX_CACHED, on demand;
                /// What is counted for each server.
                COUNTERS: "counters", PerCpuArray<$crate::counters::ServerCounters>, 1;
                /// The packet that a CPU handles ([`steer::Desk`]($crate::steer::Desk)).
                DESK: "desk", PerCpuArray<[u64; $crate::steer::ARRIVAL_CELLS]>, 1;
                /// What is remembered of datagrams that come in fragments ([`fragment`]($crate::fragment)).
                FRAGMENTS: "fragments",
                    LruHashMap<$crate::fragment::FragmentKey, [u64; $crate::fragment::FRAGMENT_CELLS]>,
                    $crate::fragment::MAX_FRAGMENTED;
                /// Packets for the daemon ([`held`]($crate::held)).
                HELD: "held", RingBuf, $crate::held::HELD_RING_BYTES;
                /// Of each interface that is a VLAN the one below all VLANs, 0 if there is no way, and the tags of its frames.
                VLANS: "vlans", HashMap<u32, [u64; 2]>, $crate::client_hop::MAX_VLANS;
                /// The ways to clients ([`client_hop::ClientHop`]($crate::client_hop::ClientHop)).
                CLIENT_HOPS: "client_hops", PerCpuArray<[u64; $crate::client_hop::CLIENT_HOP_CELLS]>,
                    $crate::client_hop::CLIENT_HOPS;
                /// How many packets were not forwarded, by [`Reason`]($crate::Reason).
                REASONS: "reasons", PerCpuArray<u64>, $crate::Reason::COUNT as u32;
                /// How often something was done for want of room, by [`Overflow`]($crate::Overflow).
                OVERFLOWS: "overflows", PerCpuArray<u64>, $crate::Overflow::COUNT as u32;
                /// How often a sender was told why its packet was not forwarded, by [`Notice`]($crate::Notice).
                NOTICES: "notices", PerCpuArray<u64>, $crate::Notice::COUNT as u32;
                /// The programs of the stages, by [`steer::Stage`]($crate::steer::Stage).
                STAGES: "stages", ProgramArray, $crate::steer::STAGE_SLOTS;
                /// The interfaces packets may be redirected to.
                PORTS: "ports", DevMap, 64;
            }
        }
    };
}
