//! SCTP through the director to a real server's network. The packets are made here, one by one, so no host needs SCTP.

use std::net::{SocketAddrV4, UdpSocket};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lbxdp_common::wire::sctp::ChunkKind;
use lbxdp_tests::cases::frame::{IP, Packet, sctp};
use lbxdp_tests::service::{Listed, connections, load, offer, status};
use lbxdp_tests::topology::CLIENT;
use lbxdp_tests::{Daemon, Lab, Namespace, Plan, daemon, wait};
use nix::sys::socket::{AddressFamily, SockFlag, SockProtocol, SockType, socket};

const SOON: Duration = Duration::from_secs(10);
const PORT: u16 = 5000;
const FROM: u16 = 40_001;
/// Bytes of an IP header without options.
const IP_HEADER: usize = 20;

/// Sends and receives SCTP packets as they are. The standard library's socket for datagrams serves for that.
fn raw(namespace: &Namespace) -> Result<UdpSocket> {
    let fd = namespace
        .inside(|| socket(AddressFamily::Inet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Sctp))?;
    let socket = UdpSocket::from(fd.with_context(|| format!("a raw socket in {}", namespace.name()))?);
    socket.set_read_timeout(Some(SOON))?;
    Ok(socket)
}

struct Association {
    lab: Lab,
    daemon: Daemon,
    client: UdpSocket,
    server: UdpSocket,
}

impl Association {
    fn build() -> Result<Self> {
        let lab = Lab::build(Plan { servers: 1, ..Plan::default() })?;
        let daemon = lab.start_daemon(&daemon::binary()?)?;
        offer(&lab, &daemon, "--sctp-service", PORT, "rr", &[1])?;
        let (client, server) = (raw(&lab.client)?, raw(&lab.servers[0].namespace)?);
        Ok(Self { lab, daemon, client, server })
    }

    fn send(&self, packet: Packet) -> Result<Vec<u8>> {
        let bytes = packet.bytes()[IP + IP_HEADER..].to_vec();
        self.client.send_to(&bytes, (self.lab.vip(), 0))?;
        Ok(bytes)
    }

    /// Sends a packet; its server must get it as it was sent, checksum and all, and the connection be in this state.
    fn goes(&self, packet: Packet, state: &str) -> Result<Listed> {
        let sent = self.send(packet)?;
        let mut got = [0; 2048];
        let (length, from) = self.server.recv_from(&mut got).context("the server gets no packet")?;
        ensure!(got[IP_HEADER..length] == sent, "{:x?} arrived as {:x?}", sent, &got[IP_HEADER..length]);
        ensure!(from.ip() == CLIENT, "it came from {from}");
        ensure!(got[16..IP_HEADER] == self.lab.vip().octets(), "it was not for the VIP");
        let mut all = connections(&self.daemon)?;
        ensure!(all.len() == 1, "one connection was expected: {all:?}");
        let listed = all.remove(0);
        ensure!(listed.protocol == "SCTP" && listed.state == state, "{state} was expected: {listed:?}");
        Ok(listed)
    }

    fn load(&self) -> Result<(u32, u32)> {
        load(&self.daemon, SocketAddrV4::new(self.lab.servers[0].address, PORT))
    }
}

fn chunk(kind: ChunkKind) -> Packet {
    sctp(FROM, PORT).chunk(kind, b"value")
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn an_association_goes_through_the_states_of_ipvs() -> Result<()> {
    let association = Association::build()?;
    let opening = association.goes(chunk(ChunkKind::INIT), "INIT1")?;
    assert!(opening.expires_s <= 4, "{opening:?}");
    assert_eq!(opening.client, SocketAddrV4::new(CLIENT, FROM));
    assert_eq!(opening.service, association.lab.service(PORT));
    assert_eq!(opening.server, SocketAddrV4::new(association.lab.servers[0].address, PORT));
    assert_eq!(association.load()?, (0, 1));
    let established = association.goes(chunk(ChunkKind::COOKIE_ECHO), "ESTABLISHED")?;
    assert!((880..=900).contains(&established.expires_s), "{established:?}");
    assert_eq!(association.load()?, (1, 0));
    association.goes(chunk(ChunkKind::DATA), "ESTABLISHED")?;
    let closing = association.goes(chunk(ChunkKind::SHUTDOWN), "S-RECEIVED")?;
    assert!((41..=61).contains(&closing.expires_s), "{closing:?}");
    assert_eq!(association.load()?, (0, 1));
    association.goes(chunk(ChunkKind::SHUTDOWN_COMPLETE), "CLOSED")?;
    // From the same port, without waiting for the old association's end.
    association.goes(chunk(ChunkKind::INIT), "INIT1")?;
    let bundle = sctp(FROM, PORT).chunk(ChunkKind::COOKIE_ECHO, &[7; 99]).chunk(ChunkKind::ABORT, &[]);
    association.goes(bundle, "CLOSED")?;
    let listing = association.daemon.must("-L -n")?;
    assert!(listing.contains(&format!("\nSCTP {} rr\n", association.lab.service(PORT))), "{listing}");
    let saved = association.daemon.must("-S -n")?;
    assert!(
        saved.contains(&format!("-A --sctp-service {} -s rr\n", association.lab.service(PORT))),
        "{saved}"
    );
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_packet_of_no_association_goes_to_the_directors_stack() -> Result<()> {
    let association = Association::build()?;
    let director = raw(&association.lab.director)?;
    let sent = association.send(chunk(ChunkKind::DATA))?;
    let mut got = [0; 2048];
    let length = director.recv(&mut got).context("the director's stack gets no packet")?;
    assert_eq!(got[IP_HEADER..length], sent);
    assert!(connections(&association.daemon)?.is_empty());
    wait::until("the packet is counted", SOON, || {
        status(&association.daemon).is_ok_and(|text| text.contains("no_connection"))
    })?;
    Ok(())
}
