//! Counters in eight columns: rounded down with K, M, G, T, or exact.

/// The number with the blank before it, at least nine characters.
pub(super) fn column(number: u64, is_exact: bool) -> String {
    if is_exact {
        let digits = number.to_string();
        return if digits.len() > 8 { format!(" {digits}") } else { format!("{digits:>9}") };
    }
    match number {
        0..100_000_000 => format!("{number:>9}"),
        100_000_000..1_000_000_000 => format!("{:>8}K", number / 1_000),
        1_000_000_000..100_000_000_000 => format!("{:>8}M", number / 1_000_000),
        100_000_000_000..100_000_000_000_000 => format!("{:>8}G", number / 1_000_000_000),
        _ => format!("{:>8}T", number / 1_000_000_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::column;

    #[test]
    fn numbers_are_rounded_down() {
        for (number, text) in [
            (0, "        0"),
            (99_999_999, " 99999999"),
            (100_000_000, "  100000K"),
            (999_999_999, "  999999K"),
            (1_000_000_000, "    1000M"),
            (99_999_999_999, "   99999M"),
            (100_000_000_000, "     100G"),
            (99_999_999_999_999, "   99999G"),
            (100_000_000_000_000, "     100T"),
            (u64::MAX, "18446744T"),
        ] {
            assert_eq!(column(number, false), text);
        }
    }

    #[test]
    fn exact_numbers_keep_one_blank() {
        assert_eq!(column(12_345_678, true), " 12345678");
        assert_eq!(column(123_456_789, true), " 123456789");
    }
}
