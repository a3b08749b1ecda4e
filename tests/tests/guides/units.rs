//! The units for systemd that the guides name: they are such as systemd takes, and what they start does what the guide says.

use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lbxdp_tests::network::lore::{Back, one_net};

use crate::Room;
use crate::book::{Act, Guide};

const CHAPTER: &str = "After a reboot";

/// How long the daemon may take until it says that it is ready.
const DEADLINE: Duration = Duration::from_mins(1);

/// What a unit does at a verb, `ExecStart` or `ExecStop`; its variables are those of /etc/default/lbxdp.
fn command(unit: &str, verb: &str) -> Result<String> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/systemd").join(unit);
    let text = std::fs::read_to_string(file)?;
    let line = text.lines().find_map(|line| line.strip_prefix(verb)?.strip_prefix('='));
    let line = line.with_context(|| format!("{unit} has no {verb}"))?;
    Ok(format!("(set -a; . /etc/default/lbxdp; exec {line})"))
}

/// What the guide says to type on a machine with systemd, but for what speaks to systemd itself.
fn set_up(room: &mut Room, act: &Act) -> Result<()> {
    let at = act.at.strip_suffix(", with systemd").context("a chapter for systemd")?;
    let (to_systemd, others): (Vec<_>, Vec<_>) =
        act.commands.iter().cloned().partition(|command| command.starts_with("systemctl "));
    for unit in to_systemd.iter().flat_map(|command| command.split_whitespace().skip(3)) {
        let copied = others.iter().any(|command| command.contains(&format!("/{unit}.service ")));
        ensure!(copied, "{unit} is started, but not there");
    }
    room.play(&Act { at: at.to_owned(), commands: others, seen: Vec::new() })
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn what_units_start_balances() -> Result<()> {
    let guide = Guide::read("guide-dr.md")?;
    let mut room = Room::build(one_net(Back::Straight))?;
    let before = room.snapshots()?;
    for act in &guide.chapter("Install")?.acts {
        room.play(act)?;
    }
    for act in &guide.chapter(CHAPTER)?.acts {
        set_up(&mut room, act)?;
    }
    let rules = guide.chapter("Set up")?.acts.iter().flat_map(|act| &act.commands);
    let rules = rules.clone().find(|command| command.contains("/etc/lbxdp.rules")).context("no rules")?;
    for server in ["s1", "s2"] {
        room.console(server)?.enter(&command("lbxdp-realserver.service", "ExecStart")?)?;
    }
    let director = room.console("director")?;
    director.enter(rules)?;
    let socket = director.file("home/notify");
    let ear = UnixDatagram::bind(&socket)?;
    ear.set_read_timeout(Some(DEADLINE))?;
    let daemon = command("lbxdp.service", "ExecStart")?;
    director.enter(&format!("export NOTIFY_SOCKET={}; {daemon} &", socket.display()))?;
    let mut word = [0; 16];
    let length = ear.recv(&mut word).context("the daemon does not say that it is ready")?;
    ensure!(word.get(..length) == Some(b"READY=1"), "{word:?}");
    // Now, not a little later.
    director.enter(&command("lbxdp-director.service", "ExecStart")?)?;
    let look = guide.chapter("Look")?;
    room.play(look.acts.first().context("nothing to look at")?)?;
    let director = room.console("director")?;
    director.enter(&command("lbxdp-director.service", "ExecStop")?)?;
    director.enter("kill %1; wait")?;
    director.enter("lbxdp unload")?;
    for server in ["s1", "s2"] {
        room.console(server)?.enter(&command("lbxdp-realserver.service", "ExecStop")?)?;
    }
    room.is_as(&before)
}

#[test]
#[ignore = "needs root: run by cargo xtask test"]
fn systemd_takes_the_units() -> Result<()> {
    let guide = Guide::read("guide-dr.md")?;
    let mut room = Room::build(one_net(Back::Straight))?;
    for act in guide.chapter("Install")?.acts.iter().chain(&guide.chapter(CHAPTER)?.acts) {
        if act.at.ends_with(", with systemd") { set_up(&mut room, act)? } else { room.play(act)? }
    }
    for (host, units) in
        [("director", "lbxdp.service lbxdp-director.service"), ("s1", "lbxdp-realserver.service")]
    {
        let console = room.console(host)?;
        let (_, missing) = console.answer("command -v systemd-analyze")?;
        if missing != "0" {
            eprintln!("not tested: this machine has no systemd-analyze");
            return Ok(());
        }
        let printed =
            console.enter(&format!("cd /etc/systemd/system && systemd-analyze --man=no verify {units}"))?;
        // It complains of other units of this machine too.
        ensure!(!printed.contains("lbxdp"), "{printed}");
    }
    Ok(())
}
