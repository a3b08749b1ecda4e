//! `-L --daemon`.

use std::fmt::Write;

use crate::state::SyncDaemons;

/// A line for each daemon that was started; nothing if none was.
pub(crate) fn daemons(daemons: &SyncDaemons) -> String {
    let mut text = String::new();
    for (role, daemon) in daemons.all() {
        let (interface, sync_id) = (&daemon.interface, daemon.sync_id);
        // Writing into a string cannot fail.
        let _ = write!(text, "{role} sync daemon (mcast={interface}, syncid={sync_id}");
        let group = daemon.group.map(|group| group.to_string());
        let number = |number: u16| (number != 0).then(|| number.to_string());
        for (name, value) in [
            ("maxlen", number(daemon.max_length)),
            ("group", group),
            ("port", number(daemon.port)),
            ("ttl", number(daemon.ttl.into())),
        ] {
            if let Some(value) = value {
                let _ = write!(text, ", {name}={value}");
            }
        }
        text += ")\n";
    }
    text
}
