//! The features of an interface, asked of the kernel as ethtool(8) asks (`ETHTOOL_MSG_FEATURES_GET`, generic netlink).

use std::collections::BTreeSet;
use std::io;

use rtnetlink::sys::Socket;

const NETLINK_GENERIC: isize = 16;
const GENL_ID_CTRL: u16 = 16;
const NLM_F_REQUEST: u16 = 1;
const NLMSG_ERROR: u16 = 2;

// linux/genetlink.h
const CTRL_CMD_GETFAMILY: u8 = 3;
const CTRL_ATTR_FAMILY_ID: u16 = 1;
const CTRL_ATTR_FAMILY_NAME: u16 = 2;

// linux/ethtool_netlink.h
const ETHTOOL_MSG_FEATURES_GET: u8 = 11;
const ETHTOOL_A_FEATURES_HEADER: u16 = 1;
const ETHTOOL_A_FEATURES_ACTIVE: u16 = 4;
const ETHTOOL_A_HEADER_DEV_NAME: u16 = 2;
const ETHTOOL_A_BITSET_BITS: u16 = 3;
const ETHTOOL_A_BITSET_BITS_BIT: u16 = 1;
const ETHTOOL_A_BITSET_BIT_NAME: u16 = 2;

/// What nested attributes are marked with (`NLA_F_NESTED`).
const NESTED: u16 = 1 << 15;

/// Bytes of `struct nlmsghdr` and of `struct genlmsghdr`.
const HEADERS: usize = 16 + 4;

/// The features that are on, by the kernel's names.
pub(super) fn active(interface: &str) -> io::Result<BTreeSet<String>> {
    let mut socket = Socket::new(NETLINK_GENERIC)?;
    socket.bind_auto()?;
    let name = attribute(CTRL_ATTR_FAMILY_NAME, b"ethtool\0");
    let answer = ask(&socket, GENL_ID_CTRL, CTRL_CMD_GETFAMILY, &name)?;
    let family = value(&answer, CTRL_ATTR_FAMILY_ID).and_then(|id| id.try_into().ok());
    let family = u16::from_ne_bytes(family.ok_or_else(|| io::Error::other("the kernel has no ethtool"))?);
    let device = attribute(ETHTOOL_A_HEADER_DEV_NAME, format!("{interface}\0").as_bytes());
    let header = attribute(ETHTOOL_A_FEATURES_HEADER | NESTED, &device);
    let answer = ask(&socket, family, ETHTOOL_MSG_FEATURES_GET, &header)?;
    let bits = value(&answer, ETHTOOL_A_FEATURES_ACTIVE).and_then(|set| value(set, ETHTOOL_A_BITSET_BITS));
    // The set of what is on is a list: each of its bits is.
    let bits = attributes(bits.unwrap_or_default()).filter(|(kind, _)| *kind == ETHTOOL_A_BITSET_BITS_BIT);
    let names = bits.filter_map(|(_, bit)| value(bit, ETHTOOL_A_BITSET_BIT_NAME));
    Ok(names.map(|name| String::from_utf8_lossy(name).trim_end_matches('\0').to_owned()).collect())
}

/// One question, one answer: its attributes.
fn ask(socket: &Socket, family: u16, command: u8, attributes: &[u8]) -> io::Result<Vec<u8>> {
    let length = u32::try_from(HEADERS + attributes.len()).unwrap_or_default();
    let mut message = Vec::new();
    message.extend(length.to_ne_bytes());
    message.extend(family.to_ne_bytes());
    message.extend(NLM_F_REQUEST.to_ne_bytes());
    message.extend([0; 8]);
    message.extend([command, 1, 0, 0]);
    message.extend(attributes);
    socket.send(&message, 0)?;
    let (answer, _) = socket.recv_from_full()?;
    let kind = answer.get(4..6).and_then(|kind| kind.try_into().ok()).map(u16::from_ne_bytes);
    if kind == Some(NLMSG_ERROR) {
        let code = answer.get(16..20).and_then(|code| code.try_into().ok()).map_or(0, i32::from_ne_bytes);
        return Err(io::Error::from_raw_os_error(-code));
    }
    Ok(answer.get(HEADERS..).unwrap_or_default().to_vec())
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + value.len()).unwrap_or_default();
    let mut bytes = [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), value].concat();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// All attributes in some bytes.
fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let header: [u8; 4] = bytes.get(..4)?.try_into().ok()?;
        let [length_0, length_1, kind_0, kind_1] = header;
        let length = usize::from(u16::from_ne_bytes([length_0, length_1]));
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((u16::from_ne_bytes([kind_0, kind_1]) & !NESTED, value))
    })
}

fn value(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_come_out_as_they_went_in() {
        let bytes = [attribute(2, b"eth0\0"), attribute(7 | NESTED, &attribute(1, &[9]))].concat();
        assert_eq!(value(&bytes, 2), Some(&b"eth0\0"[..]));
        assert_eq!(value(value(&bytes, 7).unwrap(), 1), Some(&[9][..]));
        assert_eq!(value(&bytes, 3), None);
        for cut in 0..bytes.len() {
            assert!(attributes(&bytes[..cut]).count() <= 2);
        }
    }

    /// Every machine has a loopback, and that has features; whoever may not ask is not root.
    #[test]
    fn the_loopback_has_features() {
        let features = active("lo").unwrap();
        assert!(features.contains("tx-lockless") || features.contains("loopback"), "{features:?}");
        assert!(active("no-such-if").is_err());
    }
}
