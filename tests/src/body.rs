//! Bodies of transfers: a pattern in which a lost, doubled or swapped part shows, and its checksum.

/// The first `bytes` bytes of the pattern. Its period is a prime, so no segment equals its neighbour.
pub fn pattern(bytes: usize) -> Vec<u8> {
    (0..=250_u8).cycle().take(bytes).collect()
}

/// FNV-1a, 64 bits: the order of the bytes counts.
pub fn checksum(body: &[u8]) -> u64 {
    body.iter()
        .fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

/// What `/sink` answers to a body: its length in bytes, and its checksum.
pub fn receipt(body: &[u8]) -> String {
    format!("{} {:016x}", body.len(), checksum(body))
}

#[cfg(test)]
mod tests {
    use super::{checksum, pattern};

    #[test]
    fn the_checksum_is_fnv() {
        assert_eq!(checksum(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(checksum(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn the_pattern_has_the_length_asked_for() {
        assert_eq!(pattern(1000).len(), 1000);
        assert_eq!(pattern(252)[250..], [250, 0]);
    }
}
