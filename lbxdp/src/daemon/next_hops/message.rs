//! A message of the kernel's routing, read as far as it can be.
//!
//! The parser underneath gives up a whole message for one attribute that it takes amiss. What is lost so would never be
//! known, and a question for a route never answered.

use netlink_packet_route::RouteNetlinkMessage;
use rtnetlink::packet_core::{
    DecodeError, NetlinkDeserializable, NetlinkHeader, NetlinkPayload, NetlinkSerializable,
};

/// What the kernel says, or is told.
#[derive(Clone, Debug)]
pub(in crate::daemon) enum Message {
    Readable(RouteNetlinkMessage),
    /// Something has happened; nobody knows what.
    Unreadable,
}

impl From<Message> for NetlinkPayload<Message> {
    fn from(message: Message) -> Self {
        Self::InnerMessage(message)
    }
}

impl NetlinkDeserializable for Message {
    type Error = DecodeError;

    fn deserialize(header: &NetlinkHeader, payload: &[u8]) -> Result<Self, DecodeError> {
        let read = |payload: &[u8]| RouteNetlinkMessage::deserialize(header, payload);
        let message = read(payload).or_else(|error| {
            let is_route = [RTM_NEWROUTE, RTM_DELROUTE].contains(&header.message_type);
            let without = is_route.then(|| without_congestion_control(payload)).flatten();
            without.map_or(Err(error), |payload| read(&payload))
        });
        Ok(message.map_or_else(
            |error| {
                tracing::debug!(kind = header.message_type, %error, "the kernel says what cannot be read");
                Self::Unreadable
            },
            Self::Readable,
        ))
    }
}

impl NetlinkSerializable for Message {
    fn message_type(&self) -> u16 {
        match self {
            Self::Readable(message) => message.message_type(),
            Self::Unreadable => 0,
        }
    }

    fn buffer_len(&self) -> usize {
        match self {
            Self::Readable(message) => message.buffer_len(),
            Self::Unreadable => 0,
        }
    }

    fn serialize(&self, buffer: &mut [u8]) {
        if let Self::Readable(message) = self {
            message.serialize(buffer);
        }
    }
}

const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
/// Before a route's attributes (`struct rtmsg`), in bytes.
const ROUTE_HEADER: usize = 12;
const RTA_METRICS: u16 = 8;
/// The one metric that is a text; the parser takes it for a number.
const RTAX_CC_ALGO: u16 = 16;
/// No metric has this number.
const NOBODYS: u16 = 0x3fff;
/// Before an attribute's value: length and kind, in bytes.
const ATTRIBUTE_HEADER: usize = 4;

/// A route's message with its congestion control made something that a parser leaves alone; `None` if it names none.
fn without_congestion_control(payload: &[u8]) -> Option<Vec<u8>> {
    let (at, metrics) = attribute(payload, ROUTE_HEADER, RTA_METRICS)?;
    let (found, _) = attribute(payload.get(..at + metrics)?, at + ATTRIBUTE_HEADER, RTAX_CC_ALGO)?;
    let mut payload = payload.to_vec();
    payload.get_mut(found + 2..found + ATTRIBUTE_HEADER)?.copy_from_slice(&NOBODYS.to_ne_bytes());
    Some(payload)
}

/// Where the attribute of a kind begins, of those from an offset on, and its length with its header.
fn attribute(bytes: &[u8], mut at: usize, kind: u16) -> Option<(usize, usize)> {
    loop {
        let header: [u8; ATTRIBUTE_HEADER] = bytes.get(at..at + ATTRIBUTE_HEADER)?.try_into().ok()?;
        let [length_0, length_1, kind_0, kind_1] = header;
        let length = usize::from(u16::from_ne_bytes([length_0, length_1]));
        if length < ATTRIBUTE_HEADER {
            return None;
        }
        if u16::from_ne_bytes([kind_0, kind_1]) == kind {
            return Some((at, length));
        }
        at += length.next_multiple_of(4);
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::route::{RouteAttribute, RouteMetric};

    use super::*;

    /// A route out by interface 3 with these attributes before, as the kernel lays them.
    fn route(attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut bytes = vec![2, 32, 0, 0, 254, 3, 0, 1, 0, 0, 0, 0];
        for (kind, value) in attributes.iter().chain([&(4, &3_u32.to_ne_bytes()[..])]) {
            bytes.extend(u16::try_from(value.len() + 4).unwrap().to_ne_bytes());
            bytes.extend(kind.to_ne_bytes());
            bytes.extend(*value);
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        bytes
    }

    fn read(payload: &[u8]) -> Message {
        let mut header = NetlinkHeader::default();
        header.message_type = RTM_NEWROUTE;
        Message::deserialize(&header, payload).unwrap()
    }

    #[test]
    fn a_routes_congestion_control_hides_nothing_else() {
        let mut metrics = vec![10, 0, 16, 0];
        metrics.extend(b"cubic\0\0\0");
        metrics.extend([8, 0, 2, 0]);
        metrics.extend(1400_u32.to_ne_bytes());
        let Message::Readable(RouteNetlinkMessage::NewRoute(route)) = read(&route(&[(8, &metrics)])) else {
            panic!("it is a route");
        };
        let of_metrics = route.attributes.iter().find_map(|attribute| match attribute {
            RouteAttribute::Metrics(metrics) => Some(metrics.contains(&RouteMetric::Mtu(1400))),
            _ => None,
        });
        assert_eq!(of_metrics, Some(true));
        assert!(route.attributes.contains(&RouteAttribute::Oif(3)));
    }

    #[test]
    fn nonsense_is_unreadable_and_not_lost() {
        for value in [&[1, 0, 16, 0][..], &[10, 0, 16, 0], &[6, 0, 2, 0, 1, 1], &[0xff; 9]] {
            assert!(matches!(read(&route(&[(8, value)])), Message::Unreadable), "{value:?}");
        }
        assert!(matches!(read(&[2, 32]), Message::Unreadable));
    }
}
