//! The Internet checksum (RFC 1071) and its incremental update (RFC 1624).

/// The IPv4 header checksum after the TTL went down by one, as the kernel's `ip_decrease_ttl` has it.
///
/// TTL is the upper byte of its 16-bit word, so the header's sum falls by 0x0100 and the checksum, its complement, rises
/// by as much, with the carry added at the low end.
#[inline(always)]
pub const fn after_ttl_decrement(checksum: [u8; 2]) -> [u8; 2] {
    let sum = u16::from_be_bytes(checksum) as u32 + 0x0100;
    // 0xffff and 0 are the same number here; the kernel turns the first into the second.
    let folded = (sum + (sum >= 0xffff) as u32) as u16;
    folded.to_be_bytes()
}

#[cfg(test)]
mod tests {

    use crate::wire::ipv4::{Ipv4, TtlAndChecksum};
    use proptest::prelude::*;
    use zerocopy::{FromBytes, IntoBytes};

    /// RFC 1071, section 4.1, the plain way.
    fn of(header: &[u8]) -> u16 {
        let mut sum: u32 = header.chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum();
        while sum >> 16 != 0 {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        !u16::try_from(sum).expect("folded")
    }

    proptest! {
        #[test]
        fn incremental_is_recomputed(mut header: [u8; 20], ttl in 2u8..) {
            header[8] = ttl;
            header[10..12].fill(0);
            let checksum = of(&header);
            header[10..12].copy_from_slice(&checksum.to_be_bytes());
            let before = TtlAndChecksum::read_from_bytes(&header[8..12]).expect("four bytes");
            let after = before.decremented().expect("hops are left");
            header[8..12].copy_from_slice(after.as_bytes());
            prop_assert_eq!(after.ttl, ttl - 1);
            // A right checksum makes the header sum up to 0 (complemented).
            prop_assert_eq!(of(&header), 0);
        }
    }

    #[test]
    fn without_hops_left_there_is_no_next_packet() {
        for ttl in [0, 1] {
            assert_eq!(TtlAndChecksum { ttl, protocol: 6, checksum: [0; 2] }.decremented(), None);
        }
    }

    #[test]
    fn a_header_tells_its_length_only_if_it_can_be_one() {
        let mut header = Ipv4::read_from_bytes(&[0u8; 20]).expect("20 bytes");
        for (byte, length) in [(0x45, 20), (0x4f, 60), (0x44, 0), (0x65, 0), (0x40, 0)] {
            header.version_and_length = byte;
            assert_eq!(header.header_bytes(), length);
        }
    }
}
