//! The packet's connection and its template in words, and what becomes of them.

use std::net::{IpAddr, SocketAddr};

use lbxdp_common::connection::Word;
use lbxdp_common::server::ServerId;

use super::entries::{Entry, Identity};
use super::{About, Narrator, Step};
use crate::explain::read::Contained;
use crate::explain::rehearsal::Source;

impl<S: Source> Narrator<'_, S> {
    /// The packet's own connection, or that of the packet it is about.
    pub(super) fn own(&self) -> Option<&Entry> {
        let mut packets = std::iter::successors(self.packet(), |packet| packet.inner.as_deref());
        packets.find_map(|packet| {
            let own = |entry: &&Entry| entry.identity.is_connection() && self.belongs(packet, entry);
            // One that has gone and another one that has come: what the packet leaves counts last.
            self.entries.iter().find(own)
        })
    }

    /// Whether a packet is one of a connection: from its client to the VIP or its server, or back.
    fn belongs(&self, packet: &Contained, entry: &Entry) -> bool {
        let Some((from, to)) = packet.ports else {
            return false;
        };
        let (from, to) = ((packet.source, from), (packet.destination, to));
        let Identity { client, vip, protocol, .. } = entry.identity;
        if protocol.is_none_or(|protocol| protocol.raw() != packet.protocol) {
            return false;
        }
        let is_other_end = |end: (IpAddr, u16)| end == vip || self.server_end(entry) == Some(end);
        client == from && is_other_end(to) || client == to && is_other_end(from)
    }

    /// Address and port of an entry's server, as by VS/NAT.
    fn server_end(&self, entry: &Entry) -> Option<(IpAddr, u16)> {
        let row = self.server_row(entry.word()?.server())?;
        let port = u16::from_be_bytes(row.port_number);
        Some((row.ip(), if port == 0 { entry.identity.vip.1 } else { port }))
    }

    /// What the table says of the packet.
    pub(super) fn connection(&self) -> Option<Step> {
        let known = self.own().and_then(|entry| Some((entry, entry.was?)));
        let words = match known {
            Some((entry, word)) => {
                format!("{} is known: {}", named(&entry.identity), self.described(entry, word))
            }
            None => match self.packet()?.ports {
                Some(_) => "none of these addresses and ports is known".to_owned(),
                None if self.packet()?.inner.is_some() => "of the packet inside none is known".to_owned(),
                None => return None,
            },
        };
        Some(Step::new(About::Connection, words))
    }

    /// What becomes of it.
    pub(super) fn connection_after(&self) -> Vec<Step> {
        let own = self.own().map(|entry| entry.identity);
        let changed = self.entries.iter().filter(|entry| !entry.is_unchanged());
        let (of_packet, of_others): (Vec<_>, Vec<_>) = changed.partition(|entry| Some(entry.identity) == own);
        let mut steps: Vec<Step> = of_packet.into_iter().map(|entry| self.after(entry)).collect();
        // It was found, and nothing of it is written.
        if let Some(word) = self.own().filter(|entry| entry.is_unchanged()).and_then(|entry| entry.now)
            && self.counted().is_some()
        {
            let state = word.state().name(own.and_then(|own| own.protocol));
            steps.push(Step::new(
                About::Connection,
                format!("stays {state}: nothing of it has to be written"),
            ));
        }
        steps.extend(of_others.into_iter().map(|entry| self.of_other(entry)));
        steps
    }

    fn after(&self, entry: &Entry) -> Step {
        let state = |word: Word| word.state().name(entry.identity.protocol);
        let words = match (entry.was, entry.now) {
            (Some(was), Some(now)) if was.state() == now.state() => {
                format!("stays {}, now {}", state(was), self.expiry(now))
            }
            (Some(was), Some(now)) => {
                format!("goes from {} to {}, {}", state(was), state(now), self.expiry(now))
            }
            (None, Some(now)) => format!("begins: {}, {}", state(now), self.expiry(now)),
            (_, None) => "ends: its time is over, or this packet begins another one".to_owned(),
        };
        Step::new(About::Connection, words)
    }

    /// An entry that is another one's, or no connection's.
    fn of_other(&self, entry: &Entry) -> Step {
        let Entry { identity, was, now } = entry;
        let (about, what) = if identity.is_template() {
            (About::Template, "the client's template".to_owned())
        } else if identity.is_connection() {
            (About::Connection, format!("another one, {},", named(identity)))
        } else {
            (About::Connection, "the entry by which replies find it".to_owned())
        };
        let words = match (was, now) {
            (None, Some(now)) => {
                format!("{what} is made: to {}, {}", self.server_name(now.server()), self.expiry(*now))
            }
            (Some(was), Some(now)) if was.server() != now.server() => format!(
                "{what} leads to {} from now on, {}",
                self.server_name(now.server()),
                self.expiry(*now)
            ),
            (_, Some(now)) => format!("{what} is renewed: {}", self.expiry(*now)),
            (_, None) => format!("{what} goes"),
        };
        Step::new(about, words)
    }

    /// What a consultation of the client's template has said.
    pub(super) fn template(&self, server: ServerId) -> Step {
        let entry = self.entries.iter().find(|entry| entry.identity.is_template() && entry.was.is_some());
        let words = match (server, entry) {
            (ServerId::NONE, None) => "the client has none".to_owned(),
            (ServerId::NONE, Some(entry)) => {
                let server = entry.was.map_or_else(String::new, |word| self.server_name(word.server()));
                format!("the client's leads to {server}, which gets no new connections: it does not count")
            }
            (server, entry) => {
                let client =
                    entry.map_or_else(String::new, |entry| format!(" ({})", entry.identity.client.0));
                let until =
                    entry.and_then(|entry| entry.was).map_or_else(String::new, |word| self.expiry(word));
                format!("the client's{client} leads to {}, {until}", self.server_name(server))
            }
        };
        Step::new(About::Template, words)
    }

    fn described(&self, entry: &Entry, word: Word) -> String {
        let state = word.state().name(entry.identity.protocol);
        let half_open = if word.is_half_open() { ", only its opening packet has been seen" } else { "" };
        format!("{state}, {}{half_open}, to {}", self.expiry(word), self.server_name(word.server()))
    }
}

/// `client -> vip`.
fn named(identity: &Identity) -> String {
    let end = |(address, port): (IpAddr, u16)| SocketAddr::new(address, port);
    format!("{} -> {}", end(identity.client), end(identity.vip))
}
