//! A packet as JSON, one object a line.

use serde_json::{Value, json};

use super::packet::Packet;
use super::told::{Told, method};

/// What is told of a packet. Words that have nothing to say are missing.
pub(super) fn object(told: &Told<'_>) -> Value {
    let watched = &told.sighting.watched;
    let mut object = json!({
        "unix_ns": watched.nanos,
        "interface": told.sighting.ingress(),
        "bytes": watched.bytes,
        "packet": packet(&told.packet),
        "verdict": told.happened.word(),
    });
    let mut put = |name: &str, value: Option<Value>| {
        if let (Some(fields), Some(value)) = (object.as_object_mut(), value) {
            fields.insert(name.into(), value);
        }
    };
    put("reason", told.happened.reason().map(|reason| reason.name().into()));
    put(
        "server",
        told.server.map(|server| {
            let mut fields = json!({
                "address": server.address.to_string(),
                "port": server.port,
                "method": method(server.forward),
            });
            if let (lbxdp_common::Forward::Tunnel, Some(fields)) = (server.forward, fields.as_object_mut()) {
                fields.insert("tunnel".into(), server.tunnel.name().into());
            }
            fields
        }),
    );
    let egress = told.sighting.egress();
    put("out_interface", (!egress.is_empty()).then(|| egress.into()));
    put(
        "as_sent",
        told.after().map(|after| json!({ "bytes": watched.bytes_after, "packet": packet(&after) })),
    );
    object
}

fn packet(packet: &Packet) -> Value {
    let mut object = json!({ "protocol": packet.protocol() });
    if let (Some((source, destination)), Some(fields)) = (packet.ends(), object.as_object_mut()) {
        for (name, end) in [("source", source), ("destination", destination)] {
            fields.insert(name.into(), end.ip().to_string().into());
            if end.port() != 0 {
                fields.insert(format!("{name}_port"), end.port().into());
            }
        }
        if !packet.rest().is_empty() {
            fields.insert("detail".into(), packet.rest().into());
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use lbxdp_common::Reason;

    use super::*;
    use crate::watch::sighting::ServerSeen;
    use crate::watch::told::tests::{forwarded, seen};

    #[test]
    fn an_object_says_what_is_known() {
        let packet = json!({
            "protocol": "tcp", "source": "192.0.2.7", "source_port": 4242,
            "destination": "10.0.0.100", "destination_port": 80, "detail": "S",
        });
        let sighting = forwarded();
        let expected = json!({
            "unix_ns": 1_767_225_599_123_456_789_u64, "interface": "eth0", "bytes": 54, "packet": packet,
            "verdict": "forwarded", "server": { "address": "10.0.0.11", "port": 8080, "method": "DR" },
            "as_sent": { "bytes": 54, "packet": packet },
        });
        assert_eq!(object(&Told::of(&sighting).expect("an outcome")), expected);
        let sighting = seen(Err(Reason::ServerGone), None, ServerSeen::default());
        let expected = json!({
            "unix_ns": 1_767_225_599_123_456_789_u64, "interface": "eth0", "bytes": 54, "packet": packet,
            "verdict": "dropped", "reason": "server_gone",
        });
        assert_eq!(object(&Told::of(&sighting).expect("an outcome")), expected);
    }
}
