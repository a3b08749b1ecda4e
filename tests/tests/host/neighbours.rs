//! What the neighbours of a director have to do with it: they are told where the VIP is now, and it goes on listening to routers.

use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lbxdp_tests::http::HTTP_PORT;
use lbxdp_tests::link::mac;
use lbxdp_tests::network::lore::{Back, gateway, one_net};
use lbxdp_tests::network::snapshot::{differences, snapshot};
use lbxdp_tests::network::{Family, Method};
use lbxdp_tests::{Namespace, wait};
use nix::net::if_::if_nametoindex;
use socket2::{Domain, Protocol, Socket, Type};

use crate::lab::Lab;

const DEADLINE: Duration = Duration::from_secs(10);

/// Nobody's.
const FORMER: &str = "02:00:00:00:00:99";

/// Whoever has the VIP's former place in memory learns the new one, without having asked.
#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn neighbours_learn_where_a_vip_is_now() -> Result<()> {
    let lab = Lab::bare(one_net(Back::Straight), Method::Direct)?;
    let client = &lab.network.client().namespace;
    let director = mac(lab.network.director().end("eth0"))?.map(|byte| format!("{byte:02x}")).join(":");
    let vips = Family::BOTH.map(|family| lab.network.vip(family));
    let known = || -> Result<Vec<bool>> {
        let shown = |vip| client.ip(&format!("neigh show {vip} dev eth0"));
        vips.iter().map(|vip| Ok(shown(vip)?.contains(&director))).collect()
    };
    let words = vips.map(|vip| format!("--vip {vip}")).join(" ");
    for command in [
        format!("director start {words}"),
        "director announce".to_owned(),
        format!("director announce {words}"),
    ] {
        for vip in vips {
            client.ip(&format!("neigh replace {vip} lladdr {FORMER} dev eth0 nud stale"))?;
        }
        ensure!(known()? == [false, false]);
        lab.must("director", &command)?;
        wait::until("both are learnt", DEADLINE, || known().is_ok_and(|known| known == [true, true]))
            .with_context(|| command)?;
    }
    // What is not here is not announced.
    let answer = lab.lbxdp("director", "director announce --vip 10.0.0.222")?;
    ensure!(
        answer.code == Some(3) && answer.stderr.contains("10.0.0.222 is on no interface here"),
        "{answer:?}"
    );
    Ok(())
}

/// A router's advertisement, from its link-local address: it is a way to everywhere, for half an hour.
fn advertise(router: &Namespace, interface: &str) -> Result<()> {
    // Type 134, then the hop limit, flags, and the lifetime in seconds; the kernel adds the checksum.
    let advertisement: [u8; 16] = [134, 0, 0, 0, 64, 0, 0x07, 0x08, 0, 0, 0, 0, 0, 0, 0, 0];
    let all_nodes = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let sent = router.inside(|| -> Result<usize> {
        let index = if_nametoindex(interface)?;
        let socket = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::ICMPV6))?;
        // What has come by a router is no word of a neighbour's (RFC 4861, section 6.1.2).
        socket.set_multicast_hops_v6(255)?;
        Ok(socket.send_to(&advertisement, &SocketAddrV6::new(all_nodes, 0, 0, index).into())?)
    })?;
    ensure!(sent? == advertisement.len());
    Ok(())
}

/// A director whose way out is what a router advertises keeps it when it begins to forward.
#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_director_by_nat_goes_on_listening_to_routers() -> Result<()> {
    let mut lab = Lab::bare(gateway(), Method::Masquerade)?;
    let director = || &lab.network.director().namespace;
    let way = || director().ip("-6 route show default");
    director().ip("-6 route del default")?;
    director().set("ipv6/conf/eth0/accept_ra", "1")?;
    let router = &lab.network.site("r1").namespace;
    wait::until("the advertisement is taken", DEADLINE, || {
        advertise(router, "eth1").is_ok() && way().is_ok_and(|way| way.contains("proto ra"))
    })?;
    lab.start()?;
    let director = || &lab.network.director().namespace;
    let way = || director().ip("-6 route show default");
    ensure!(way()?.contains("proto ra"), "the way is lost: {}", way()?);
    ensure!(director().run("cat /proc/sys/net/ipv6/conf/eth0/accept_ra")?.trim() == "2");
    lab.traffic()?;
    // Somebody puts the setting back, and the way runs out.
    director().set("ipv6/conf/eth0/accept_ra", "1")?;
    director().ip("-6 route del default")?;
    let found = lab.lbxdp("director", "doctor --json")?;
    ensure!(found.stdout.contains("\"accept-ra\""), "{found:?}");
    let document: serde_json::Value = serde_json::from_str(&found.stdout)?;
    lab.enter("director", document["findings"][0]["remedy"].as_str().context("no remedy")?)?;
    advertise(&lab.network.site("r1").namespace, "eth1")?;
    wait::until("the way is there again", DEADLINE, || {
        lab.network.director().namespace.ip("-6 route show default").is_ok_and(|way| way.contains("proto ra"))
    })?;
    lab.must("director", "doctor")?;
    lab.stop()?;
    let setting_now = lab.network.director().namespace.run("cat /proc/sys/net/ipv6/conf/eth0/accept_ra")?;
    ensure!(setting_now.trim() == "1", "{setting_now}");
    Ok(())
}

/// Forwarding was on for one interface, and is for all when the start fails: every one gets its own value back.
#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn forwarding_that_was_begun_in_vain_is_taken_back() -> Result<()> {
    let lab = Lab::bare(gateway(), Method::Masquerade)?;
    let site = lab.network.director();
    site.namespace.set("ipv4/conf/eth1/forwarding", "1")?;
    // No address of IPv6 can be added there.
    site.namespace.set("ipv6/conf/eth0/disable_ipv6", "1")?;
    let vip = SocketAddr::new(lab.network.vip(Family::V4), HTTP_PORT);
    let rules = lab.file("rules", &format!("-A -t {vip} -s rr\n-a -t {vip} -r 10.0.1.11:80 -m\n"))?;
    let before = snapshot(site)?;
    let words =
        format!("director start --services {rules} --interface eth0 --vip {} --vip fd00::64", vip.ip());
    let answer = lab.lbxdp("director", &words)?;
    ensure!(answer.code == Some(3) && answer.stderr.contains("ip addr add fd00::64/128"), "{answer:?}");
    let now = snapshot(site)?;
    ensure!(now == before, "{}", differences(&before, &now));
    ensure!(lab.daemon.must("-S -n")?.is_empty(), "services are left");
    Ok(())
}
