//! The kernel's own answers and events, in a network of two hosts.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lbxdp_tests::link::{End, join, mac};
use lbxdp_tests::{Label, Namespace, leftovers, wait};

use super::NextHops;
use crate::layout::{Hop, Tag, VlanTags};

/// How long a kernel may take to tell what has happened.
const DEADLINE: Duration = Duration::from_secs(10);

/// A director and a server, their interfaces `eth0` joined. The director is `fd00::1` and 10.0.0.1, the server `fd00::2`,
/// `fe80::2` and 10.0.0.2.
struct Net {
    director: Namespace,
    server: Namespace,
}

impl Net {
    fn build() -> Result<Self> {
        leftovers::remove()?;
        let label = Label::unique();
        let host = |role: &str| -> Result<Namespace> {
            let host = Namespace::create(format!("{label}-{role}"))?;
            // Addresses are good at once, and the network is told when hardware addresses change.
            host.set("ipv6/conf/default/accept_dad", "0")?;
            host.set("ipv6/conf/default/ndisc_notify", "1")?;
            host.set("ipv4/conf/default/arp_notify", "1")?;
            Ok(host)
        };
        let net = Self { director: host("director")?, server: host("server")? };
        join(eth0(&net.director), eth0(&net.server), 1500)?;
        // A host that does not answer is given up soon.
        net.director.set("ipv6/neigh/eth0/retrans_time_ms", "50")?;
        net.director.ip("addr add fd00::1/64 dev eth0")?;
        net.director.ip("addr add 10.0.0.1/24 dev eth0")?;
        net.server.ip("addr add fd00::2/64 dev eth0")?;
        net.server.ip("addr add fe80::2/64 dev eth0")?;
        net.server.ip("addr add 10.0.0.2/24 dev eth0")?;
        Ok(net)
    }

    /// Runs a check on the director's host.
    fn follow(&self, check: impl AsyncFnOnce(&mut NextHops) -> Result<()> + Send) -> Result<()> {
        self.director.inside(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
            runtime.block_on(async {
                let mut hops = NextHops::connect().await?;
                check(&mut hops).await
            })
        })?
    }

    fn server_mac(&self) -> Result<Option<[u8; 6]>> {
        mac(eth0(&self.server)).map(Some)
    }
}

fn eth0(namespace: &Namespace) -> End<'_> {
    End { namespace, interface: "eth0" }
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// Takes in events until the hop of an address is as it should be.
async fn until(hops: &mut NextHops, address: IpAddr, is_right: impl Fn(Hop) -> bool) -> Result<Hop> {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        let hop = hops.hop(address);
        if is_right(hop) {
            return Ok(hop);
        }
        let event = tokio::time::timeout_at(deadline, hops.event()).await;
        let event = event.with_context(|| format!("the hop of {address} stays {hop:?}"))?;
        hops.digest(event.context("no more events")?).await;
    }
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn an_ipv6_server_is_followed_as_it_changes() -> Result<()> {
    let net = Net::build()?;
    let server = address("fd00::2");
    net.follow(async |hops| {
        let was = net.server_mac()?;
        hops.watch(server).await;
        let hop = until(hops, server, |hop| hop.mac.is_some()).await?;
        let (ifindex, link) = hops.link_named("eth0").context("no eth0")?;
        let expected = Hop {
            mac: was,
            source: link.mac,
            ifindex,
            mtu: 1500,
            tunnel_source: Some(address("fd00::1")),
            ..Hop::default()
        };
        ensure!(hop == expected, "{hop:?} is not {expected:?}");
        ensure!(hops.new_ports() == [(0, ifindex)]);

        net.server.ip("link set dev eth0 address 02:00:00:00:77:77")?;
        until(hops, server, |hop| hop.mac == Some([2, 0, 0, 0, 0x77, 0x77])).await?;
        net.director.ip("link set dev eth0 address 02:00:00:00:66:66")?;
        until(hops, server, |hop| hop.source == [2, 0, 0, 0, 0x66, 0x66]).await?;
        // With its old address the interface has lost its neighbours.
        hops.keep_alive().await;
        until(hops, server, |hop| hop.mac.is_some()).await?;
        net.director.ip("link set dev eth0 mtu 1400")?;
        until(hops, server, |hop| hop.mtu == 1400).await?;
        net.director.ip("route add fd00::2 dev eth0 mtu 1300 src fd00::1")?;
        until(hops, server, |hop| hop.mtu == 1300).await?;
        net.director.ip("addr add fd00::a/64 dev eth0")?;
        net.director.ip("route change fd00::2 dev eth0 mtu 1300 src fd00::a")?;
        until(hops, server, |hop| hop.tunnel_source == Some(address("fd00::a"))).await?;

        net.director.ip("neigh del fd00::2 dev eth0")?;
        until(hops, server, |hop| hop.mac.is_none()).await?;
        hops.keep_alive().await;
        until(hops, server, |hop| hop.mac.is_some()).await?;
        net.director.ip("route add unreachable fd00::2 metric 1")?;
        until(hops, server, |hop| hop == Hop::default()).await.map(drop)
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_gateway_may_be_link_local_and_of_the_other_family() -> Result<()> {
    let net = Net::build()?;
    net.director.ip("route add fd01::/64 via fe80::2 dev eth0")?;
    net.director.ip("route add 192.0.2.0/24 via inet6 fe80::2 dev eth0")?;
    net.follow(async |hops| {
        for (server, source) in [("fd01::5", "fd00::1"), ("192.0.2.5", "10.0.0.1"), ("10.0.0.2", "10.0.0.1")]
        {
            let server = address(server);
            hops.watch(server).await;
            let hop = until(hops, server, |hop| hop.mac.is_some()).await?;
            ensure!(hop.mac == net.server_mac()?, "{hop:?}");
            ensure!(hop.tunnel_source == Some(address(source)), "{hop:?}");
        }
        Ok(())
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn the_director_knows_itself_and_what_is_nowhere() -> Result<()> {
    let net = Net::build()?;
    net.director.ip("route add blackhole 198.51.100.0/24")?;
    net.follow(async |hops| {
        for own in ["127.0.0.1", "::1", "10.0.0.1", "fd00::1"] {
            hops.watch(address(own)).await;
            ensure!(hops.hop(address(own)) == Hop { is_local: true, ..Hop::default() }, "{own}");
        }
        for nowhere in ["198.51.100.1", "203.0.113.1", "2001:db8::1"] {
            ensure!(!hops.watch(address(nowhere)).await, "{nowhere}");
            ensure!(hops.hop(address(nowhere)) == Hop::default(), "{nowhere}");
        }
        net.director.ip("addr add 2001:db8::1/128 dev eth0")?;
        until(hops, address("2001:db8::1"), |hop| hop.is_local).await.map(drop)
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn vlans_lead_out_by_the_interface_below_with_their_tags() -> Result<()> {
    let net = Net::build()?;
    if let Err(error) = net.director.ip("link add link eth0 name v1 type vlan id 1") {
        ensure!(error.to_string().contains("Unknown device type"), error);
        eprintln!("skipped: this kernel was built without VLANs (CONFIG_VLAN_8021Q)");
        return Ok(());
    }
    for (host, number) in [(&net.director, 1), (&net.server, 2)] {
        host.ip("link add link eth0 name v5 address 02:00:00:00:00:05 type vlan id 5 egress-qos-map 0:3")?;
        host.ip("link add link eth0 name s6 type vlan proto 802.1ad id 6")?;
        host.ip("link add link s6 name q7 mtu 1496 type vlan id 7")?;
        for (name, subnet) in [("v5", 5), ("s6", 6), ("q7", 7)] {
            host.ip(&format!("link set {name} up"))?;
            host.ip(&format!("addr add fd00:{subnet}::{number}/64 dev {name}"))?;
            host.ip(&format!("addr add 10.0.{subnet}.{number}/24 dev {name}"))?;
        }
    }
    net.follow(async |hops| {
        let q = |id| Tag { ethertype: 0x8100, control: id };
        let ad = |id| Tag { ethertype: 0x88a8, control: id };
        let eth0 = hops.link_named("eth0").context("no eth0")?.0;
        for (subnet, mtu, outer, inner) in
            [(5, 1500, q(3 << 13 | 5), None), (6, 1500, ad(6), None), (7, 1496, ad(6), Some(q(7)))]
        {
            for server in [format!("fd00:{subnet}::2"), format!("10.0.{subnet}.2")] {
                let server = address(&server);
                hops.watch(server).await;
                let hop = until(hops, server, |hop| hop.mac.is_some()).await?;
                ensure!(hop.vlan == Some(VlanTags { outer, inner }), "{hop:?}");
                ensure!((hop.ifindex, hop.port, hop.mtu) == (eth0, 0, mtu), "{hop:?}");
            }
        }
        ensure!(hops.new_ports() == [(0, eth0)]);
        ensure!(hops.hop(address("10.0.5.2")).source == [2, 0, 0, 0, 0, 5]);

        net.director.ip("link set dev v5 address 02:00:00:00:00:55")?;
        until(hops, address("fd00:5::2"), |hop| hop.source == [2, 0, 0, 0, 0, 0x55]).await?;
        net.director.ip("link set dev q7 mtu 1450")?;
        until(hops, address("10.0.7.2"), |hop| hop.mtu == 1450).await?;
        net.director.ip("link set dev s6 down")?;
        until(hops, address("10.0.6.2"), |hop| hop == Hop::default()).await?;
        net.director.ip("link del dev v5")?;
        until(hops, address("fd00:5::2"), |hop| hop == Hop::default()).await?;

        net.director.ip("link set dev s6 up")?;
        net.director.ip("link add link q7 name t8 type vlan id 8")?;
        net.director.ip("link set dev t8 up")?;
        net.director.ip("addr add 10.0.8.1/24 dev t8")?;
        until(hops, address("10.0.6.2"), |hop| hop.mac.is_some()).await?;
        hops.watch(address("10.0.8.2")).await;
        ensure!(hops.hop(address("10.0.8.2")) == Hop::default(), "three tags are too many");
        Ok(())
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn what_was_known_before_holds_until_nobody_answers() -> Result<()> {
    let net = Net::build()?;
    let (there, not_there) = (address("fd00::2"), address("fd00::99"));
    net.follow(async |hops| {
        let ifindex = hops.link_named("eth0").context("no eth0")?.0;
        let before = Hop { mac: Some([2, 0, 0, 0, 0, 9]), ifindex, ..Hop::default() };
        for server in [there, not_there] {
            hops.inherit(server, before).await;
            let hop = hops.hop(server);
            ensure!(hop.mac == before.mac || server == there && hop.mac == net.server_mac()?, "{hop:?}");
            ensure!(hop.mtu == 1500, "{hop:?}");
        }
        until(hops, not_there, |hop| hop.mac.is_none()).await?;
        let found = net.server_mac()?;
        until(hops, there, |hop| hop.mac == found).await.map(drop)
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn an_error_lowers_the_mtu_for_ten_minutes() -> Result<()> {
    let net = Net::build()?;
    net.director.ip("route add 192.0.2.0/24 via 10.0.0.2 dev eth0 mtu lock 1450")?;
    net.follow(async |hops| {
        let (v4, v6, locked) = (address("10.0.0.2"), address("fd00::2"), address("192.0.2.1"));
        ensure!(!hops.lower_mtu(v4, 1400), "of an address that nobody follows");
        for server in [v4, v6, locked] {
            hops.watch(server).await;
        }
        ensure!(hops.lower_mtu(v4, 1400) && hops.lower_mtu(v6, 1300) && !hops.lower_mtu(locked, 1400));
        let mtus = |hops: &NextHops| [v4, v6, locked].map(|server| hops.hop(server).mtu);
        ensure!(mtus(hops) == [1400, 1300, 1450]);
        // It stays through other news of the same route.
        net.director.ip("addr add 10.9.9.9/32 dev eth0")?;
        net.director.ip("link set dev eth0 mtu 1490")?;
        let other = address("10.0.0.77");
        hops.watch(other).await;
        until(hops, other, |hop| hop.mtu == 1490).await?;
        ensure!(mtus(hops) == [1400, 1300, 1450]);
        ensure!(!hops.lower_mtu(v4, 1400) && !hops.lower_mtu(v6, 1000) && !hops.lower_mtu(v6, 1400));
        ensure!(hops.lower_mtu(v4, 60) && hops.hop(v4).mtu == 552);
        let begin = Instant::now();
        ensure!(hops.expire(begin + Duration::from_secs(590)).await.is_empty());
        ensure!(hops.expire(begin + Duration::from_secs(601)).await == [v4, v6]);
        ensure!(mtus(hops) == [1490, 1490, 1450], "{:?}", mtus(hops));
        Ok(())
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn what_the_kernel_has_heard_of_a_path_counts_too() -> Result<()> {
    let net = Net::build()?;
    net.server.set("ipv4/ip_forward", "1")?;
    net.server.ip("link add narrow mtu 1300 type veth peer name end")?;
    net.server.ip("link set end up")?;
    net.server.ip("link set narrow up")?;
    net.server.ip("addr add 192.0.2.1/24 dev narrow")?;
    net.director.ip("route add 192.0.2.0/24 via 10.0.0.2 dev eth0")?;
    net.follow(async |hops| {
        let server = address("192.0.2.5");
        let socket = std::net::UdpSocket::bind("10.0.0.1:0")?;
        wait::until("the kernel has heard of the narrow link", DEADLINE, || {
            // The second may be told of what the first has met.
            let _ = socket.send_to(&[0; 1400], (server, 9));
            net.director.ip("route get 192.0.2.5").is_ok_and(|route| route.contains("mtu 1300"))
        })?;
        hops.watch(server).await;
        ensure!(hops.hop(server).mtu == 1300, "{:?}", hops.hop(server));
        // Asked again when what it said is over, the kernel still says so.
        let later = Instant::now() + Duration::from_secs(601);
        ensure!(hops.expire(later).await.is_empty() && hops.hop(server).mtu == 1300);
        Ok(())
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn any_address_can_be_looked_for() -> Result<()> {
    let net = Net::build()?;
    net.director.ip("route add 2001:db8::/32 via fe80::2 dev eth0")?;
    net.director.ip("route add 203.0.113.0/24 via 10.0.0.2")?;
    net.follow(async |hops| {
        for (client, gateway) in [("2001:db8::7", "fe80::2"), ("203.0.113.7", "10.0.0.2")] {
            ensure!(!net.director.ip("neigh")?.contains(gateway));
            hops.look_for(address(client)).await;
            wait::until("the gateway is known", DEADLINE, || {
                let line = net.director.ip(&format!("neigh show {gateway} dev eth0"));
                line.is_ok_and(|line| line.contains("lladdr"))
            })?;
        }
        // Nobody can make it look for everybody at once.
        for last in 1..=200 {
            hops.look_for(address(&format!("10.0.0.{}", last + 2))).await;
        }
        let asked = net.director.ip("neigh show dev eth0")?;
        ensure!(asked.lines().filter(|line| line.starts_with("10.0.0.")).count() <= 64, "{asked}");
        Ok(())
    })
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn a_route_may_have_any_metric() -> Result<()> {
    let net = Net::build()?;
    net.director.ip("route add 192.0.2.0/24 via 10.0.0.2 congctl reno advmss 1000 quickack 1 mtu 1400")?;
    net.director.ip("route add fd01::/64 via fd00::2 congctl reno rto_min 20ms mtu 1400")?;
    net.follow(async |hops| {
        for server in ["192.0.2.1", "fd01::1"] {
            hops.watch(address(server)).await;
            let hop = until(hops, address(server), |hop| hop.mac.is_some()).await?;
            ensure!(hop.mtu == 1400, "{hop:?}");
        }
        Ok(())
    })
}
