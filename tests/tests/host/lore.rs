//! The topologies that LVS is known for, each set up by `lbxdp realserver` and `lbxdp director` alone: traffic passes, and after a
//! `stop` everything is as it was.

use anyhow::{Context, Result, ensure};
use lbxdp_tests::network::lore::{Back, Place, gateway, one_net, routed};
use lbxdp_tests::network::snapshot::snapshot;
use lbxdp_tests::network::{Checksum, Method, Plan, Tunnel};

use crate::lab::Lab;

fn passes(plan: Plan, method: Method) -> Result<()> {
    let mut lab = Lab::started(plan, method)?;
    lab.traffic().context("after the start")?;
    // Twice is once.
    for name in lab.server_names() {
        if method != Method::Masquerade {
            let again = lab.must(name, &format!("{} --print", lab.realserver()))?;
            ensure!(again.is_empty(), "{name} would still do: {again}");
            lab.must(name, &lab.realserver())?;
            lab.must(name, "realserver status")?;
        }
    }
    lab.must("director", "director status")?;
    lab.stop()?;
    lab.is_as_before()
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn direct_routing_on_one_net() -> Result<()> {
    passes(one_net(Back::Straight), Method::Direct)
}

/// Of the servers' net the VIP is none, nor is the clients': all three are routed.
#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn direct_routing_between_three_nets() -> Result<()> {
    passes(routed(Place::Inner, Back::Straight), Method::Direct)
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn tunnels_to_servers_far_away() -> Result<()> {
    for tunnel in [Tunnel::Ipip, Tunnel::Gue(Checksum::Absent), Tunnel::Gre(Checksum::Present)] {
        passes(routed(Place::Far, Back::Straight), Method::Tunnel(tunnel))
            .with_context(|| tunnel.to_string())?;
    }
    Ok(())
}

/// The plan's director does not forward before: that is the command's part.
#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn nat_through_the_gateway() -> Result<()> {
    passes(gateway(), Method::Masquerade)
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn nat_on_one_net() -> Result<()> {
    passes(one_net(Back::ByDirector), Method::Masquerade)
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_director_that_is_a_server_too() -> Result<()> {
    let plan = one_net(Back::Straight).with_director(|director| director.serves = true);
    passes(plan, Method::Direct)
}

/// What is done is exactly what was printed: the printed commands, typed on a machine of the same kind, make the same of it.
#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn what_is_printed_is_what_is_done() -> Result<()> {
    let lab = Lab::bare(routed(Place::Far, Back::Straight), Method::Direct)?;
    let words = lab.realserver();
    let printed = lab.must("s1", &format!("{words} --print"))?;
    lab.must("s2", &words)?;
    for command in printed.lines().filter(|line| !line.starts_with('#')) {
        lab.network.site("s1").namespace.run(command)?;
    }
    // The one thing that tells the two apart is their addresses.
    let state = |name: &str| -> Result<String> {
        let text = snapshot(lab.network.site(name))?;
        let kept = text.lines().filter(|line| {
            line.contains("100")
                || line.contains("101")
                || line.contains("arp_")
                || line.contains("rp_filter")
        });
        Ok(kept
            .filter(|line| !line.contains("fe80") && !line.contains("eth0@"))
            .collect::<Vec<_>>()
            .join("\n"))
    };
    assert_eq!(state("s1")?, state("s2")?);
    // And lbxdp is content with what was typed.
    let vips = words.trim_start_matches("realserver start");
    lab.must("s1", &format!("realserver status{vips}"))?;
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn what_fails_half_way_is_taken_back() -> Result<()> {
    let lab = Lab::bare(one_net(Back::Straight), Method::Direct)?;
    // An address of another kind than the kernel takes comes after the settings.
    let answer = lab.lbxdp("s1", "realserver start --vip 10.0.0.100 --vip 224.0.0.300")?;
    ensure!(answer.code == Some(3), "{answer:?}");
    let site = lab.network.site("s1");
    site.namespace.set("ipv6/conf/all/disable_ipv6", "1")?;
    let before = snapshot(site)?;
    let answer = lab.lbxdp("s1", "realserver start --vip 10.0.0.100 --vip fd00::100")?;
    ensure!(answer.code == Some(3) && answer.stderr.contains("ip addr add fd00::100/128"), "{answer:?}");
    assert_eq!(snapshot(site)?, before);
    // Nothing was started.
    let answer = lab.lbxdp("s1", "realserver stop")?;
    ensure!(answer.code == Some(3) && answer.stderr.contains("nothing was started"), "{answer:?}");
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn status_says_what_is_wrong_and_what_mends_it() -> Result<()> {
    let lab = Lab::bare(one_net(Back::Straight), Method::Direct)?;
    let server = &lab.network.site("s1").namespace;
    ensure!(lab.lbxdp("s1", "realserver status")?.code == Some(3));
    lab.must("s1", &lab.realserver())?;
    server.set("ipv4/conf/all/arp_ignore", "0")?;
    let answer = lab.lbxdp("s1", "realserver status")?;
    ensure!(answer.code == Some(2), "{answer:?}");
    let mend = answer.stdout.lines().find_map(|line| line.trim().strip_prefix("mend: "));
    assert_eq!(mend, Some("sysctl -w net.ipv4.conf.all.arp_ignore=1"));
    server.run(mend.unwrap_or_default())?;
    lab.must("s1", "realserver status")?;
    Ok(())
}
