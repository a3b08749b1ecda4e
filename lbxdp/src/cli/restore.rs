//! `-R`: how standard input becomes lines, and lines become arguments.

use std::io::{self, BufRead};

/// The lines of an input. Those that one read has given come together, so that they can be carried out together; and
/// whoever types line by line is still answered line by line.
#[derive(Debug, Default)]
pub(crate) struct Blocks {
    /// The beginning of a line whose end is still to be read.
    begun: Vec<u8>,
}

impl Blocks {
    /// The lines that the next read has ended, without their ends; `None` behind the last one. The last one needs no end.
    pub(crate) fn next(&mut self, input: &mut impl BufRead) -> io::Result<Option<Vec<Vec<u8>>>> {
        let block = loop {
            match input.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                block => break block?,
            }
        };
        let length = block.len();
        if length == 0 {
            let last = std::mem::take(&mut self.begun);
            return Ok((!last.is_empty()).then(|| vec![last]));
        }
        let mut lines = Vec::new();
        for piece in block.split_inclusive(|byte| *byte == b'\n') {
            let line = piece.strip_suffix(b"\n");
            self.begun.extend_from_slice(line.unwrap_or(piece));
            if line.is_some() {
                lines.push(std::mem::take(&mut self.begun));
            }
        }
        input.consume(length);
        Ok(Some(lines))
    }
}

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

/// The same as it was meant by `-S`, which in ipvsadm's way writes marks above 2^31 - 1 as negative numbers, and `-b` without a
/// word where the scheduler has none for the flags that are set.
pub(crate) fn as_meant(mut arguments: Vec<String>) -> Vec<String> {
    arguments.pop_if(|last| last == "-b");
    for at in 1..arguments.len() {
        if matches!(arguments[at - 1].as_str(), "-f" | "--fwmark-service")
            && let Ok(mark @ i32::MIN..0) = arguments[at].parse::<i32>()
        {
            arguments[at] = mark.cast_unsigned().to_string();
        }
    }
    arguments
}

/// As in C a zero byte ends a word.
fn argument(word: &[u8]) -> String {
    let end = word.iter().position(|&byte| byte == 0).unwrap_or(word.len());
    String::from_utf8_lossy(&word[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Read};

    use super::{Blocks, arguments};

    /// An input whose every read gives one piece.
    struct Pieces(Vec<&'static str>);

    impl Read for Pieces {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            let piece = if self.0.is_empty() { "" } else { self.0.remove(0) };
            into[..piece.len()].copy_from_slice(piece.as_bytes());
            Ok(piece.len())
        }
    }

    #[test]
    fn lines_that_one_read_has_ended_come_together() {
        let mut input = BufReader::new(Pieces(vec!["a\nb\nc", "d", "\n\ne\n", "f"]));
        let mut blocks = Blocks::default();
        let mut all = Vec::new();
        while let Some(lines) = blocks.next(&mut input).unwrap() {
            let lines = lines.into_iter().map(|line| String::from_utf8(line).unwrap());
            all.push(lines.collect::<Vec<_>>());
        }
        assert_eq!(all, [vec!["a", "b"], vec![], vec!["cd", "", "e"], vec![], vec!["f"]]);
    }

    #[test]
    fn blanks_part_words_and_nothing_quotes_them() {
        assert_eq!(arguments(b" -A\t-t  'a b'\r\n"), ["-A", "-t", "'a", "b'"]);
        assert_eq!(arguments(b"ipvsadm -C ipvsadm"), ["-C"]);
        assert_eq!(arguments(b"/sbin/ipvsadm -C"), ["/sbin/ipvsadm", "-C"]);
        assert_eq!(arguments(b"-C\0x \0"), ["-C", ""]);
        assert!(arguments(b" \r\n").is_empty());
    }
}
