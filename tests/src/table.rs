//! A director's connection table, read as the packet path reads it: where a listing would be too slow.

use std::net::SocketAddrV4;

use lbxdp_common::connection::{Key, Word};
use lbxdp_common::settings::SettingsView;
use lbxdp_common::table::{Buckets, Found, Hash, find};
use lbxdp_common::{Cells, Protocol};

/// The mapped tables of a director: `CONNECTIONS`, and the row of `SETTINGS`.
#[derive(Clone, Copy)]
pub struct Table<B, C> {
    pub connections: B,
    pub settings: SettingsView<C>,
}

impl<B: Buckets, C: Cells> Table<B, C> {
    /// The word of a TCP connection. Nobody waits for this reader: an entry that is carried at this moment may be missed.
    pub fn tcp(&self, client: SocketAddrV4, service: SocketAddrV4) -> Option<Word> {
        let key = tcp_key(client, service);
        let hash = Hash::of(key, self.settings.seed());
        match find(&self.connections, self.settings.shape(), hash, key)? {
            Found::Here(_, word) | Found::OnItsWay(word) => Some(word),
        }
    }
}

/// The key of a TCP connection.
pub fn tcp_key(client: SocketAddrV4, service: SocketAddrV4) -> Key {
    Key {
        client: client.ip().octets(),
        vip: service.ip().octets(),
        client_port: client.port().to_be_bytes(),
        vip_port: service.port().to_be_bytes(),
        protocol: Protocol::Tcp.raw(),
        kind: Key::CONNECTION,
        pad: [0; 2],
    }
}
