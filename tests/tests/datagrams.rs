//! Services over UDP: one-packet scheduling, and what schedulers do with connections that are never active.

use std::net::SocketAddrV4;

use anyhow::{Result, ensure};
use lbxdp_tests::recorded::{CLIENT, Net, server, vip};
use lbxdp_tests::service::{connections, load, numbers};

const PORT: u16 = 9999;
const OTHER_PORT: u16 = 9998;

/// Who answers so many datagrams of one socket's address.
fn from_one_port(net: &Net, to: SocketAddrV4, datagrams: usize) -> Result<String> {
    let talk = net.client(CLIENT).talk(to)?;
    (0..datagrams).map(|_| Ok(char::from(talk.ask(b"x")?[0]))).collect()
}

/// Who answers so many datagrams, each from another port.
fn from_many_ports(net: &Net, to: SocketAddrV4, datagrams: usize) -> Result<String> {
    (0..datagrams).map(|_| net.who_answers(CLIENT, to)).collect()
}

/// Connections and packets in, of a service or server.
fn counters(net: &Net, what: SocketAddrV4) -> Result<(u64, u64)> {
    let numbers = numbers(&net.daemon, "-L -n --stats --exact", &what.to_string())?;
    Ok((numbers[0], numbers[1]))
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn each_datagram_of_a_one_packet_service_is_scheduled_counted_and_forgotten() -> Result<()> {
    let (net, to) = (Net::build()?, vip(PORT));
    net.offer(&format!("-u {to}"), "-s rr -o", &[1, 1, 1])?;
    let listed = net.must("-L -n")?;
    ensure!(listed.contains(&format!("UDP  {to} rr ops")), "{listed}");
    assert_eq!(from_one_port(&net, to, 7)?, "3213213");
    assert!(connections(&net.daemon)?.is_empty());
    assert_eq!(counters(&net, to)?, (7, 7));
    for (number, datagrams) in [(1, 2), (2, 2), (3, 3)] {
        let server = SocketAddrV4::new(server(number), PORT);
        assert_eq!(counters(&net, server)?, (datagrams, datagrams));
        assert_eq!(load(&net.daemon, server)?, (0, 0));
    }
    // Without the option the next datagram begins a connection, and with it the connection that is there goes on.
    net.must(&format!("-E -u {to} -s rr"))?;
    assert_eq!(from_one_port(&net, to, 3)?, "222");
    assert_eq!(connections(&net.daemon)?.len(), 1);
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_one_packet_service_that_is_persistent_keeps_the_template_alone() -> Result<()> {
    let (net, to) = (Net::build()?, vip(PORT));
    net.offer(&format!("-u {to}"), "-s rr -o -p 60", &[1, 1, 1])?;
    assert_eq!(from_one_port(&net, to, 4)?, "3333");
    assert_eq!(from_many_ports(&net, to, 2)?, "33");
    let listed = connections(&net.daemon)?;
    let clients: Vec<_> = listed.iter().map(|listed| listed.client).collect();
    assert_eq!(clients, [SocketAddrV4::new(CLIENT, 0)]);
    assert_eq!(counters(&net, to)?, (6, 6));
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn one_packet_scheduling_of_a_mark_is_for_datagrams_only() -> Result<()> {
    let net = Net::build()?;
    net.must("mark add 7 --destination 10.0.0.100")?;
    net.offer("-f 7", "-s rr -o", &[1, 1, 1])?;
    assert_eq!(from_one_port(&net, vip(PORT), 3)?, "321");
    assert!(connections(&net.daemon)?.is_empty());
    let (_held, served_by) = net.open(vip(9801))?;
    assert_eq!(served_by, '3');
    assert_eq!(connections(&net.daemon)?.len(), 1);
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn schedulers_take_datagrams_for_connections_that_are_never_active() -> Result<()> {
    const DATAGRAMS: usize = 12;
    let net = Net::build()?;
    for (number, (scheduler, weights, recorded)) in (0..).zip([
        // No connection is active, so the heaviest is always the best.
        ("sed", [3, 2, 1], "111111111111"),
        ("sed", [1, 2, 2], "333333333333"),
        // The first without an active one is always the first.
        ("nq", [3, 2, 1], "333333333333"),
        ("fo", [1, 3, 2], "222222222222"),
        // It never runs over.
        ("ovf", [2, 3, 1], "222222222222"),
        // These count inactive ones too.
        ("lc", [3, 2, 1], "321321321321"),
        ("wlc", [3, 2, 1], "321121321121"),
    ]) {
        let to = SocketAddrV4::new(std::net::Ipv4Addr::new(10, 0, 0, 120 + number), OTHER_PORT);
        net.offer(&format!("-u {to}"), &format!("-s {scheduler}"), &weights)?;
        assert_eq!(from_many_ports(&net, to, DATAGRAMS)?, recorded, "{scheduler} {weights:?}");
        let loads: u32 = (1..=3).map(|number| load_of(&net, to, number)).sum::<Result<u32>>()?;
        assert_eq!(loads, 12, "{scheduler}: all inactive");
    }
    Ok(())
}

/// The inactive connections of a server of a service; there must be no active ones.
fn load_of(net: &Net, service: SocketAddrV4, number: u8) -> Result<u32> {
    let name = SocketAddrV4::new(server(number), service.port()).to_string();
    let numbers = numbers(&net.daemon, &format!("-L -n -u {service}"), &name)?;
    ensure!(numbers[1] == 0, "{name}: {numbers:?}");
    Ok(numbers[2].try_into()?)
}
