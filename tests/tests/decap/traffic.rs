//! At work: a client's traffic reaches the server's own stack through every tunnel, and only from those who may.

use std::time::Duration;

use anyhow::{Context, Result};
use lbxdp_tests::link::End;
use lbxdp_tests::pass::Pass;
use lbxdp_tests::tunnel::Kind;
use lbxdp_tests::wait;

use crate::lab::{DEADLINE, DIRECTOR_4, DIRECTOR_6, GENERIC_END, Lab, TUNNEL_END};

const MEGABYTE: usize = 1 << 20;
/// How long a datagram is waited for that is not to come, once it has been counted.
const MOMENT: Duration = Duration::from_millis(100);

/// All tunnels of both families, with packets of both inside.
fn carry_everything(lab: &Lab, bytes: usize) -> Result<()> {
    for kind in Kind::ALL {
        for (by_6, is_6) in [(false, false), (false, true), (true, false), (true, true)] {
            let what = || format!("{kind:?}, by 6: {by_6}, 6 inside: {is_6}");
            lab.go_by(kind, by_6)?;
            assert!(lab.datagram_arrives(is_6, DEADLINE).with_context(what)?, "{}: no datagram", what());
            lab.transfer(is_6, bytes).with_context(what)?;
        }
    }
    // By each tunnel went two datagrams of each family at least, and the segments.
    let packets = u64::try_from(bytes / 1400)?;
    for (tunnel, kinds) in [("ipip", 1), ("gue", 2), ("gre", 2)] {
        let count = lab.count(tunnel)?;
        assert!(count > 4 * kinds * packets, "{tunnel}: {count}");
    }
    let (status, _) = lab.must("status")?;
    assert!(!status.contains("to the stack") && !status.contains("dropped"), "{status}");
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn every_tunnel_carries_tcp_and_udp() -> Result<()> {
    let lab = Lab::build(TUNNEL_END)?;
    assert!(!lab.datagram_arrives(false, MOMENT)?, "the kernel opens tunnels by itself");
    let (_, warnings) =
        lab.must(&format!("start -i {TUNNEL_END} --from {DIRECTOR_4} --from {DIRECTOR_6}"))?;
    assert_eq!(warnings, "");
    let (status, _) = lab.must("status")?;
    assert!(status.starts_with(&format!("interface    {TUNNEL_END}, native XDP\n")), "{status}");
    carry_everything(&lab, MEGABYTE)
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_driver_without_xdp_does_it_in_generic_mode_and_says_so() -> Result<()> {
    let lab = Lab::build(GENERIC_END)?;
    let start = format!("start -i {GENERIC_END} --from 10.2.0.0/24 --from fd00:2::/64");
    for _ in 0..2 {
        let (_, warnings) = lab.must(&start)?;
        assert!(warnings.contains("GENERIC XDP"), "{warnings}");
    }
    let (status, _) = lab.must("status")?;
    assert!(status.contains("GENERIC XDP: several times slower"), "{status}");
    carry_everything(&lab, MEGABYTE / 8)?;
    lab.must(&format!("stop -i {GENERIC_END}"))?;
    Ok(())
}

/// Devices of Linux's own, by which family they go, which they carry (4, 6), and what is counted.
const KERNELS_OWN: [(&str, bool, &[bool], &str); 12] = [
    ("ipip", false, &[false], "ipip"),
    ("sit", false, &[true], "ipip"),
    // With an encapsulation limit, as they are if nothing is said, and without.
    ("ip6tnl mode any", true, &[false, true], "ipip"),
    ("ip6tnl mode any encaplimit none", true, &[false, true], "ipip"),
    ("gre", false, &[false, true], "gre"),
    ("gre ocsum", false, &[false, true], "gre"),
    ("ip6gre", true, &[false, true], "gre"),
    ("ip6gre ocsum encaplimit none", true, &[false, true], "gre"),
    ("ipip encap gue encap-sport auto encap-dport 6080 noencap-csum", false, &[false], "gue"),
    ("ipip encap gue encap-sport auto encap-dport 6080 encap-csum", false, &[false], "gue"),
    ("ipip encap gue encap-sport auto encap-dport 6080 encap-csum encap-remcsum", false, &[false], "gue"),
    ("sit encap gue encap-sport auto encap-dport 6080 encap-csum encap-remcsum", false, &[true], "gue"),
];

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn what_linux_puts_around_is_taken_off() -> Result<()> {
    let mut lab = Lab::build(TUNNEL_END)?;
    lab.must(&format!("start -i {TUNNEL_END} --from {DIRECTOR_4} --from {DIRECTOR_6}"))?;
    for (device, by_6, families, counter) in KERNELS_OWN {
        if !lab.go_by_kernel(device, by_6)? {
            continue;
        }
        // Only what has no complete checksum yet can have it left to the receiver.
        let is_remote = device.contains("remcsum");
        lab.client.run(&format!("ethtool -K way tx {}", if is_remote { "on" } else { "off" }))?;
        for is_6 in families {
            let what = || format!("{device}, 6 inside: {is_6}");
            let before = lab.count(counter)?;
            assert!(lab.datagram_arrives(*is_6, DEADLINE).with_context(what)?, "{}: no datagram", what());
            lab.transfer(*is_6, MEGABYTE / 4).with_context(what)?;
            assert!(lab.count(counter)? > before + 100, "{}", what());
        }
    }
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn only_those_who_may_are_opened() -> Result<()> {
    let lab = Lab::build(TUNNEL_END)?;
    lab.must(&format!("start -i {TUNNEL_END} --from 10.2.0.128/25 --from {DIRECTOR_6}"))?;
    for sent in 1..=3 {
        assert!(!lab.datagram_arrives(false, MOMENT)?);
        wait::until("it is counted", DEADLINE, || {
            lab.count("source_not_allowed").is_ok_and(|count| count == sent)
        })?;
    }
    assert_eq!(lab.count("ipip")?, 0);
    lab.go_by(Kind::Ipip, true)?;
    assert!(lab.datagram_arrives(false, DEADLINE)?);
    // Other sources in the place of those, without a gap; what was counted stays.
    lab.must(&format!("start -i {TUNNEL_END} --from {DIRECTOR_4}"))?;
    assert!(!lab.datagram_arrives(false, MOMENT)?);
    lab.go_by(Kind::Ipip, false)?;
    assert!(lab.datagram_arrives(false, DEADLINE)?);
    assert_eq!((lab.count("source_not_allowed")?, lab.count("ipip")?), (4, 2));
    let (status, _) = lab.must("status")?;
    assert!(status.contains(&format!("\nfrom         {DIRECTOR_4}/32\n")), "{status}");
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn gue_comes_to_the_ports_that_were_named() -> Result<()> {
    let lab = Lab::build(TUNNEL_END)?;
    lab.go_by(Kind::Gue, false)?;
    let start = format!("start -i {TUNNEL_END} --from {DIRECTOR_4}");
    lab.must(&format!("{start} --gue-port 5555"))?;
    assert!(!lab.datagram_arrives(false, MOMENT)?);
    lab.must(&format!("{start} --gue-port 5555 --gue-port 6080"))?;
    assert!(lab.datagram_arrives(false, DEADLINE)?);
    assert_eq!(lab.count("gue")?, 1);
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_stop_undoes_exactly_what_a_start_did() -> Result<()> {
    let lab = Lab::build(TUNNEL_END)?;
    let link = || lab.server.ip(&format!("link show dev {TUNNEL_END}"));
    let before = link()?;
    let start = format!("start -i {TUNNEL_END} --from {DIRECTOR_4}");
    for _ in 0..3 {
        lab.must(&start)?;
        assert!(link()?.contains("prog/xdp"));
    }
    lab.must(&format!("stop -i {TUNNEL_END}"))?;
    assert_eq!(link()?, before);
    assert!(!lab.pins().exists());
    assert!(!lab.datagram_arrives(false, MOMENT)?);
    refuses(&lab, &format!("stop -i {TUNNEL_END}"), "no decapsulator of instance")?;
    let (status, _) = lab.must("status")?;
    assert!(status.starts_with("no decapsulator of instance"), "{status}");
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn an_interface_that_changes_is_told_of() -> Result<()> {
    let lab = Lab::build(GENERIC_END)?;
    let start = format!("start -i {GENERIC_END} --from {DIRECTOR_4}");
    lab.must(&start)?;
    let status = || Ok::<_, anyhow::Error>(lab.must("status")?.0);
    lab.server.ip(&format!("link set {GENERIC_END} address 02:00:00:00:00:77"))?;
    assert!(status()?.contains("ANOTHER MAC ADDRESS"), "{}", status()?);
    lab.must(&start)?;
    assert!(!status()?.contains("ANOTHER MAC ADDRESS"));
    // Another interface by its name.
    lab.server.ip(&format!("link set {GENERIC_END} down"))?;
    lab.server.ip(&format!("link set {GENERIC_END} name old0"))?;
    assert!(status()?.contains("ELSEWHERE"), "{}", status()?);
    lab.server.ip(&format!("link add link {TUNNEL_END} name {GENERIC_END} type macvlan mode bridge"))?;
    refuses(&lab, &start, "is on another interface now")?;
    lab.server.ip("link delete old0")?;
    wait::until("the old one is gone", DEADLINE, || status().is_ok_and(|status| status.contains("GONE")))?;
    lab.must(&start)?;
    assert!(!status()?.contains("GONE"));
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn what_cannot_be_started_says_so_and_leaves_nothing() -> Result<()> {
    let lab = Lab::build(TUNNEL_END)?;
    let from = format!("--from {DIRECTOR_4}");
    let pass = Pass::attach(End { namespace: &lab.server, interface: TUNNEL_END })?;
    refuses(&lab, &format!("start -i {TUNNEL_END} {from}"), "already carries another XDP program")?;
    drop(pass);
    refuses(&lab, &format!("start -i eth9 {from}"), "there is no interface eth9")?;
    let ports: Vec<String> = (1..10).map(|port| format!("--gue-port {port}")).collect();
    refuses(&lab, &format!("start -i {TUNNEL_END} {from} {}", ports.join(" ")), "at most 8 ports of GUE")?;
    assert!(!lab.pins().exists());
    Ok(())
}

/// It must fail, with one line on standard error that says this.
fn refuses(lab: &Lab, words: &str, says: &str) -> Result<()> {
    let output = lab.decap(words)?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && stderr.lines().count() == 1 && stderr.contains(says),
        "`{says}`: {stderr}"
    );
    Ok(())
}
