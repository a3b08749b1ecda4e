//! A record with what the kernel does not say: the names of interfaces, and the server of the packet's connection. That is
//! looked up after the packet has gone; a connection that has ended meanwhile has no server any more.

use std::collections::HashMap;
use std::net::IpAddr;

use lbxdp_common::address::{Address, V4, V6};
use lbxdp_common::connection::{Key, kind};
use lbxdp_common::server::{SERVER_CELLS, ServerRow};
use lbxdp_common::settings::SettingsView;
use lbxdp_common::table::{Hash, find};
use lbxdp_common::watch::{Ending, Outcome, Seen, Watched};
use lbxdp_common::wire::Buffer;
use lbxdp_common::{Cells, Verdict};
use zerocopy::FromZeros;

use crate::daemon::listing::Listing;
use crate::tables::Mapped;
use crate::watch::{ServerSeen, Sighting, interface_name};

/// Who completes.
pub(super) struct Completion {
    listing: Listing,
    /// Of interfaces, by their indices. An interface that gets another name while it is watched keeps this one.
    names: HashMap<u32, [u8; 16]>,
}

impl Completion {
    pub(super) fn new(listing: Listing) -> Self {
        Self { listing, names: HashMap::new() }
    }

    /// A record with all there is to say.
    pub(super) fn complete(&mut self, watched: &Watched, port: impl Fn(u16) -> Option<u32>) -> Sighting {
        let mut sighting =
            Sighting { watched: *watched, ingress: self.name(watched.ifindex), ..Sighting::new_zeroed() };
        let egress = match Outcome(watched.outcome).ending() {
            Some(Ending::Went(Verdict::Transmit)) => Some(watched.ifindex),
            Some(Ending::Went(Verdict::Redirect(slot))) => port(slot),
            Some(Ending::Went(Verdict::Leave(ifindex))) => Some(ifindex),
            Some(Ending::Went(Verdict::Answered(_))) => {
                sighting.egress = sighting.ingress;
                return sighting;
            }
            _ => return sighting,
        };
        sighting.egress = egress.map(|ifindex| self.name(ifindex)).unwrap_or_default();
        sighting.server = self.server(watched).unwrap_or_default();
        sighting
    }

    fn name(&mut self, ifindex: u32) -> [u8; 16] {
        *self.names.entry(ifindex).or_insert_with(|| {
            let name = nix::net::if_::if_indextoname(ifindex);
            name.map_or_else(
                |_| interface_name(&format!("if{ifindex}")),
                |name| interface_name(&name.to_string_lossy()),
            )
        })
    }

    /// The server of a packet's connection.
    fn server(&self, watched: &Watched) -> Option<ServerSeen> {
        let mut head = watched.head().to_vec();
        let seen = Seen::of(&&mut Buffer::new(&mut head, 0));
        let [source, destination]: [[u8; 16]; 2] = zerocopy::transmute!([seen.source, seen.destination]);
        if seen.family == 4 {
            let ends = (V4::of_wide(source), V4::of_wide(destination));
            self.server_of::<V4>(self.listing.connections, &seen, ends)
        } else {
            let ends = (V6::of_wide(source), V6::of_wide(destination));
            self.server_of::<V6>(self.listing.connections_v6, &seen, ends)
        }
    }

    fn server_of<A: Address + Into<IpAddr>>(
        &self,
        connections: Mapped,
        seen: &Seen,
        (client, vip): (A, A),
    ) -> Option<ServerSeen> {
        let port = |port: u32| u16::try_from(port).unwrap_or(0).to_be_bytes();
        let key = Key {
            client,
            vip,
            client_port: port(seen.source_port),
            vip_port: port(seen.port),
            protocol: u8::try_from(seen.protocol).ok()?,
            kind: kind::CONNECTION,
            pad: [0; 2],
        };
        key.protocol()?;
        let settings = SettingsView(self.listing.settings.row(0)?);
        let hash = Hash::of_cells::<A>(key.cells(), settings.seed());
        let word = find::<A, _>(&connections, settings.shape_of::<A>(), hash, key)?.word();
        let row = self.listing.servers.row(word.server().row())?;
        let mut cells = [0; SERVER_CELLS];
        for (at, cell) in cells.iter_mut().enumerate() {
            *cell = row.load(at);
        }
        let server = ServerRow::from_cells(cells);
        if server.id != word.server().0 {
            return None;
        }
        let to = if server.port_number == [0; 2] { key.vip_port } else { server.port_number };
        Some(ServerSeen::new(server.ip(), u16::from_be_bytes(to), word.method(), server.tunnel.kind))
    }
}
