//! `lbxdp realserver start --decap kernel`: the kernel's own devices open tunnels. They are modules, which not every kernel has. The
//! director is the kernel too: what counts here is the server.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use lbxdp_tests::http::HTTP_PORT;
use lbxdp_tests::network::lore::{Back, one_net};
use lbxdp_tests::network::snapshot::{differences, snapshot};
use lbxdp_tests::network::{Family, Network};
use lbxdp_tests::{Client, command, daemon};

/// Nobody answers: that takes no longer.
const PATIENCE: Duration = Duration::from_secs(3);

/// A kind of tunnel: lbxdp's word for it, its module, the kernel's words for the director's end, and what is inside.
const TUNNELS: [(&str, &str, &str, Family); 3] = [
    ("ipip", "ipip", "type ipip", Family::V4),
    ("ipip", "sit", "type sit mode ip6ip", Family::V6),
    ("gre", "ip_gre", "type gre", Family::V4),
];

#[test]
#[ignore = "needs root and the kernel's tunnels: run by cargo xtask test"]
fn the_kernel_opens_tunnels() -> Result<()> {
    for (_, module, ..) in TUNNELS {
        if command::read(Command::new("modprobe").arg(module)).is_err() {
            eprintln!("not tested: this kernel has no module {module}");
            return Ok(());
        }
    }
    for (kind, module, device, family) in TUNNELS {
        opens(kind, device, family).with_context(|| module)?;
    }
    Ok(())
}

fn opens(kind: &str, device: &str, family: Family) -> Result<()> {
    let mut network = Network::build_bare(one_net(Back::Straight))?;
    let vip = network.vip(family);
    let [director, server]: [IpAddr; 2] =
        [network.director(), network.site("s1")].map(|site| network.address(site, Family::V4));
    // A device that has been up once has a queue and settings of IPv6 from then on, up or down.
    for state in ["up", "down"] {
        for device in ["tunl0", "sit0", "gre0"] {
            network.site("s1").namespace.ip(&format!("link set {device} {state}"))?;
        }
    }
    let before = snapshot(network.site("s1"))?;
    let sender = &network.director().namespace;
    sender.ip(&format!("link add out {device} local {director} remote {server}"))?;
    sender.ip("link set out up")?;
    // What it sends itself comes into XDP at the switch, which forgets that a checksum is still to be filled in.
    sender.run("ethtool -K eth0 tx off")?;
    sender.ip(&format!(
        "{} route add {vip} dev out src {}",
        family.option(),
        network.address(network.director(), family)
    ))?;
    let instance = format!("{}-s1", network.instance());
    let lbxdp = |network: &Network, words: &str| -> Result<()> {
        let mut command = network.site("s1").namespace.command(daemon::binary()?);
        command.args(words.split_whitespace()).env("LBXDP_INSTANCE", &instance);
        command::read(&mut command).map(drop)
    };
    // A strict filter would drop what comes out of a tunnel.
    network.site("s1").namespace.set("ipv4/conf/all/rp_filter", "1")?;
    let go = |network: &mut Network| -> Result<()> {
        let words =
            format!("realserver start --vip {vip} --tunnel {kind} --decap kernel --director {director}");
        lbxdp(network, &words)?;
        lbxdp(network, "realserver status")?;
        network.serve_again("s1", false)?;
        let ask = |network: &Network| {
            let client = Client::new(&network.director().namespace).with_deadline(PATIENCE);
            client.who(SocketAddr::new(vip, HTTP_PORT))
        };
        let name = ask(network)?;
        ensure!(name == "s1", "{name} answers");
        lbxdp(network, "realserver stop")?;
        if ask(network).is_ok() {
            bail!("it answers still");
        }
        Ok(())
    };
    let gone = go(&mut network);
    // A test that has failed leaves no memory behind.
    let _ = fs::remove_file(format!("/run/lbxdp/{instance}.realserver"));
    gone?;
    network.site("s1").namespace.set("ipv4/conf/all/rp_filter", "0")?;
    let now = snapshot(network.site("s1"))?;
    ensure!(now == before, "{}", differences(&before, &now));
    Ok(())
}
