//! Cutting IPv4 packets into fragments (RFC 791, 2.3 and 3.2).

/// Bytes of a MAC header without tags, and where its ethertype stands.
const ETHERNET_BYTES: usize = 14;
const ETHERTYPE: usize = 12;
const TAG_BYTES: usize = 4;
/// The ethertypes of tags, and of IPv4.
const TAGS: [[u8; 2]; 2] = [[0x81, 0x00], [0x88, 0xa8]];
const IPV4: [u8; 2] = [0x08, 0x00];

const MIN_HEADER_BYTES: usize = 20;
const TOTAL_BYTES: usize = 2;
const IDENTIFICATION: usize = 4;
const FRAGMENT: usize = 6;
const CHECKSUM: usize = 10;
const DONT_FRAGMENT: u16 = 0x4000;
const MORE_FRAGMENTS: u16 = 0x2000;
const OFFSET: u16 = 0x1fff;

/// Bytes in which offsets count.
const UNIT: usize = 8;

/// Of an option's type: it is copied into all fragments.
const COPIED: u8 = 0x80;
const END_OF_OPTIONS: u8 = 0;
const NO_OPERATION: u8 = 1;

/// Who cuts.
#[derive(Default)]
pub(super) struct Cutter {
    /// The last number that was given to a packet without one.
    number: u16,
}

/// The bytes of a frame's VLAN tags, and the frame without them; `None` if it is too short for a header.
pub(super) fn untagged(frame: &[u8]) -> Option<(usize, Vec<u8>)> {
    let mut tags = 0;
    while tags < 2 * TAG_BYTES {
        let ethertype: &[u8; 2] = frame.get(ETHERTYPE + tags..)?.first_chunk()?;
        if !TAGS.contains(ethertype) {
            break;
        }
        tags += TAG_BYTES;
    }
    let (macs, rest) = (frame.get(..ETHERTYPE)?, frame.get(ETHERTYPE + tags..)?);
    (rest.len() >= ETHERNET_BYTES - ETHERTYPE).then(|| (tags, [macs, rest].concat()))
}

impl Cutter {
    /// The fragments of an IPv4 frame, each of at most `mtu` bytes from the IP header on. `None` if it cannot be cut so.
    pub(super) fn cut(&mut self, frame: &[u8], mtu: u32) -> Option<Vec<Vec<u8>>> {
        let (tags, _) = untagged(frame)?;
        let (ethernet, packet) = frame.split_at_checked(ETHERNET_BYTES + tags)?;
        if !ethernet.ends_with(&IPV4) || packet.first()? >> 4 != 4 {
            return None;
        }
        let header_bytes = usize::from(packet.first()? & 0xf) * 4;
        let total = usize::from(word(packet, TOTAL_BYTES)?);
        let (header, payload) = packet.get(..total)?.split_at_checked(header_bytes)?;
        let room = usize::try_from(mtu).ok()?.checked_sub(header_bytes)? / UNIT * UNIT;
        if header_bytes < MIN_HEADER_BYTES || room == 0 || payload.is_empty() {
            return None;
        }
        let bits = word(header, FRAGMENT)?;
        let mut header = header.to_vec();
        if bits & DONT_FRAGMENT != 0 {
            // Whole packets that say so need no number (RFC 6864), and many hosts give them none.
            self.number = self.number.wrapping_add(1);
            put(&mut header, IDENTIFICATION, self.number)?;
        }
        let (first, count) = (usize::from(bits & OFFSET), payload.len().div_ceil(room));
        let mut fragments = Vec::with_capacity(count);
        for (index, part) in payload.chunks(room).enumerate() {
            let offset =
                u16::try_from(first + index * room / UNIT).ok().filter(|offset| *offset <= OFFSET)?;
            let is_last = index + 1 == count;
            let more = if is_last { bits & MORE_FRAGMENTS } else { MORE_FRAGMENTS };
            put(&mut header, FRAGMENT, offset | more)?;
            put(&mut header, TOTAL_BYTES, u16::try_from(header_bytes + part.len()).ok()?)?;
            if index == 1 {
                leave_out(header.get_mut(MIN_HEADER_BYTES..)?);
            }
            put(&mut header, CHECKSUM, 0)?;
            let checksum = checksum(&header);
            put(&mut header, CHECKSUM, checksum)?;
            fragments.push([ethernet, &header, part].concat());
        }
        Some(fragments)
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn put(bytes: &mut [u8], at: usize, word: u16) -> Option<()> {
    *bytes.get_mut(at..)?.first_chunk_mut()? = word.to_be_bytes();
    Some(())
}

/// Overwrites options that stand in the first fragment only by "no operation", as Linux does (`ip_options_fragment`).
fn leave_out(mut options: &mut [u8]) {
    while let Some(&kind) = options.first() {
        let length = match kind {
            END_OF_OPTIONS => return,
            NO_OPERATION => 1,
            _ => usize::from(options.get(1).copied().unwrap_or(0)),
        };
        if length == 0 || length > options.len() || length == 1 && kind != NO_OPERATION {
            return;
        }
        let (option, rest) = options.split_at_mut(length);
        if kind & COPIED == 0 {
            option.fill(NO_OPERATION);
        }
        options = rest;
    }
}

/// RFC 1071.
fn checksum(header: &[u8]) -> u16 {
    let words = header.chunks(2).map(|word| match *word {
        [high, low] => u32::from(u16::from_be_bytes([high, low])),
        [high] => u32::from(high) << 8,
        _ => 0,
    });
    let sum: u32 = words.sum();
    let sum = (sum >> 16) + (sum & 0xffff);
    !u16::try_from((sum >> 16) + (sum & 0xffff)).unwrap_or(0)
}

#[cfg(test)]
mod tests;
