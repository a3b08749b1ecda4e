//! `-R`: how the lines of standard input become arguments.

/// The arguments of a line: blanks part them, there is no quoting, and the word `ipvsadm` may stand before them (or
/// anywhere else).
pub(crate) fn arguments(line: &[u8]) -> Vec<String> {
    let is_blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    line.split(is_blank)
        .filter(|word| !word.is_empty())
        .map(argument)
        .filter(|word| word != "ipvsadm")
        .collect()
}

/// As in C a zero byte ends a word.
fn argument(word: &[u8]) -> String {
    let end = word.iter().position(|&byte| byte == 0).unwrap_or(word.len());
    String::from_utf8_lossy(&word[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::arguments;

    #[test]
    fn blanks_part_words_and_nothing_quotes_them() {
        assert_eq!(arguments(b" -A\t-t  'a b'\r\n"), ["-A", "-t", "'a", "b'"]);
        assert_eq!(arguments(b"ipvsadm -C ipvsadm"), ["-C"]);
        assert_eq!(arguments(b"/sbin/ipvsadm -C"), ["/sbin/ipvsadm", "-C"]);
        assert_eq!(arguments(b"-C\0x \0"), ["-C", ""]);
        assert!(arguments(b" \r\n").is_empty());
    }
}
