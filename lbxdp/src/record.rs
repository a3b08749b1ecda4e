//! A connection on its way from the daemon to who lists it: 64 bytes, as they are.
//!
//! ```text
//!   0 CIP (16)   16 VIP (16)   32 RIP (16)   48 client's port (2)   50 port of the VIP (2)   52 server's port (2)
//!  54 protocol (1)   55 state (1)   56 seconds until it expires (4)   60 zero (4)
//! ```
//!
//! A template of persistence has the client's network, client's port 0, and the port of the VIP 0 where it stands for all
//! ports; that of a service by mark has protocol 0 and the mark in the place of the VIP, as IPVS lists it.
//!
//! Addresses and ports in network order, IPv4 as IPv4-mapped IPv6 (RFC 4291, 2.5.5.2), the seconds little-endian.

use std::net::{IpAddr, Ipv6Addr};

use lbxdp_common::Protocol;
use lbxdp_common::state::State;
use zerocopy::byteorder::{little_endian, network_endian};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// The record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
pub struct Record {
    client: [u8; 16],
    vip: [u8; 16],
    server: [u8; 16],
    client_port: network_endian::U16,
    vip_port: network_endian::U16,
    server_port: network_endian::U16,
    /// IANA number; 0 for none.
    protocol: u8,
    /// [`State`], raw.
    state: u8,
    expires_s: little_endian::U32,
    /// Always zero.
    pad: [u8; 4],
}

/// An address and a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    pub address: IpAddr,
    pub port: u16,
}

/// A connection, or a template, as `-L -c` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// `None` for the template of a service by mark, whatever the protocols of its connections.
    pub protocol: Option<Protocol>,
    pub state: State,
    /// Whole seconds until it expires.
    pub expires_s: u32,
    pub client: End,
    pub vip: End,
    pub server: End,
}

impl Record {
    /// Bytes of a record.
    pub const BYTES: usize = size_of::<Self>();

    /// The connection; `None` for a protocol that this version does not know.
    pub fn read(&self) -> Option<Connection> {
        let protocol = match self.protocol {
            0 => None,
            known => Some(Protocol::from_raw(known)?),
        };
        Some(Connection {
            protocol,
            state: State::from_raw(self.state),
            expires_s: self.expires_s.get(),
            client: End::new(self.client, self.client_port),
            vip: End::new(self.vip, self.vip_port),
            server: End::new(self.server, self.server_port),
        })
    }
}

impl From<Connection> for Record {
    fn from(connection: Connection) -> Self {
        let Connection { protocol, state, expires_s, client, vip, server } = connection;
        Self {
            client: client.bytes(),
            vip: vip.bytes(),
            server: server.bytes(),
            client_port: client.port.into(),
            vip_port: vip.port.into(),
            server_port: server.port.into(),
            protocol: protocol.map_or(0, Protocol::raw),
            state: state.raw(),
            expires_s: expires_s.into(),
            pad: [0; 4],
        }
    }
}

impl End {
    fn new(address: [u8; 16], port: network_endian::U16) -> Self {
        Self { address: Ipv6Addr::from(address).to_canonical(), port: port.get() }
    }

    fn bytes(self) -> [u8; 16] {
        match self.address {
            IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
            IpAddr::V6(address) => address.octets(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lbxdp_common::state::TcpState;

    fn end(address: &str, port: u16) -> End {
        End { address: address.parse().unwrap(), port }
    }

    fn connection() -> Connection {
        Connection {
            protocol: Some(Protocol::Tcp),
            state: State::tcp(TcpState::FinWait),
            expires_s: 0x0102_0304,
            client: end("192.0.2.1", 0x1234),
            vip: end("2001:db8::1", 80),
            server: end("10.0.0.11", 8080),
        }
    }

    #[test]
    fn a_record_stands_as_it_is_documented() {
        let record = Record::from(connection());
        let bytes = record.as_bytes();
        assert_eq!(bytes.len(), 64);
        assert_eq!(bytes[..16], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 192, 0, 2, 1]);
        assert_eq!(bytes[16..32], [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(bytes[44..48], [10, 0, 0, 11]);
        assert_eq!(bytes[48..], [0x12, 0x34, 0, 80, 0x1f, 0x90, 6, 4, 4, 3, 2, 1, 0, 0, 0, 0]);
    }

    #[test]
    fn what_was_written_is_read() {
        assert_eq!(Record::from(connection()).read(), Some(connection()));
        let udp = Connection { protocol: Some(Protocol::Udp), state: State::UDP, ..connection() };
        assert_eq!(Record::from(udp).read(), Some(udp));
        let template = Connection { protocol: None, state: State::TEMPLATE, ..connection() };
        assert_eq!(Record::from(template).read(), Some(template));
    }

    #[test]
    fn an_unknown_protocol_is_no_connection() {
        assert_eq!(Record { protocol: 7, ..Record::from(connection()) }.read(), None);
    }
}
