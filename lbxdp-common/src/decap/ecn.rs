//! Congestion that was marked on the outer header (RFC 6040, 4.2; `INET_ECN_decapsulate` in the kernel).

/// The ECN field in a traffic class.
const ECN: u8 = 0b11;
const NOT_ECT: u8 = 0b00;
const ECT_1: u8 = 0b01;
const ECT_0: u8 = 0b10;
const CE: u8 = 0b11;

/// The inner packet's traffic class once the outer one is gone; `None`: the packet must be lost, or nobody would hear of
/// the congestion.
#[inline(always)]
pub(super) const fn combined(outer: u8, inner: u8) -> Option<u8> {
    match (outer & ECN, inner & ECN) {
        (CE, NOT_ECT) => None,
        (CE, _) => Some(inner | CE),
        (ECT_1, ECT_0) => Some(inner & !ECN | ECT_1),
        _ => Some(inner),
    }
}

#[cfg(test)]
mod tests {
    use super::combined;

    #[test]
    fn the_table_of_rfc_6040() {
        // Rows: inner Not-ECT, ECT(0), ECT(1), CE. Columns: outer the same.
        let table = [
            (0b00, [Some(0b00), Some(0b00), Some(0b00), None]),
            (0b10, [Some(0b10), Some(0b10), Some(0b01), Some(0b11)]),
            (0b01, [Some(0b01), Some(0b01), Some(0b01), Some(0b11)]),
            (0b11, [Some(0b11); 4]),
        ];
        for (inner, row) in table {
            for (outer, expected) in [0b00, 0b10, 0b01, 0b11].into_iter().zip(row) {
                let dscp = 0xb8;
                let class = expected.map(|ecn| dscp | ecn);
                assert_eq!(combined(outer, dscp | inner), class, "outer {outer:02b}, inner {inner:02b}");
            }
        }
    }
}
