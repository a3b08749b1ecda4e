//! Another machine's clock, from the `Date` of an answer by HTTP.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_millis(500);

/// How far the clock of a server is ahead of this one's, in seconds: at least the first, at most the second. `None` if it does
/// not say.
pub(super) fn ahead(server: SocketAddr) -> io::Result<Option<(f64, f64)>> {
    let deadline = Instant::now() + PATIENCE;
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    let asked = now();
    stream.write_all(format!("HEAD / HTTP/1.0\r\nHost: {server}\r\n\r\n").as_bytes())?;
    let head = head(deadline, |bytes, left| {
        stream.set_read_timeout(Some(left))?;
        stream.read(bytes)
    });
    let answered = now();
    let said = date(&String::from_utf8_lossy(&head));
    // It was said between asking and answering, and is cut to whole seconds.
    Ok(said.map(|said| (said - answered, said + 1.0 - asked)))
}

/// At most so many bytes of an answer are read.
const MOST_BYTES: usize = 8_192;

/// The head of an answer, or what came of it until the deadline: a server may keep the connection open, or trickle. `read` is told how
/// long it may take.
fn head(deadline: Instant, mut read: impl FnMut(&mut [u8], Duration) -> io::Result<usize>) -> Vec<u8> {
    let mut head = Vec::new();
    let mut bytes = [0; 512];
    while head.len() < MOST_BYTES && !head.windows(4).any(|end| end == b"\r\n\r\n") {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        // What has come is enough, however it ends.
        match read(&mut bytes, left) {
            Ok(length) if length > 0 => head.extend(bytes.iter().take(length)),
            _ => break,
        }
    }
    head
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";

/// Seconds since 1970, of the header `Date` (RFC 9110, its preferred form).
fn date(head: &str) -> Option<f64> {
    let line =
        head.lines().find(|line| line.get(..5).is_some_and(|name| name.eq_ignore_ascii_case("date:")))?;
    let words: Vec<&str> = line.get(5..)?.split_whitespace().collect();
    let [_, day, month, year, time, _] = words.as_slice() else { return None };
    let month = i64::try_from(MONTHS.find(month)? / 3).ok()? + 1;
    let (day, year): (i64, i64) = (day.parse().ok()?, year.parse().ok()?);
    let mut seconds = days(year, month, day) * 86_400;
    let mut parts = time.split(':');
    for unit in [3_600, 60, 1] {
        seconds += parts.next()?.parse::<i64>().ok()? * unit;
    }
    // Exact: far below 2^53.
    #[expect(clippy::cast_precision_loss, reason = "seconds since 1970 are exact in 53 bits")]
    Some(seconds as f64)
}

/// Days from 1970 to a date of the Gregorian calendar: years that begin in March have their leap day at the end.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month <= 2 { (year - 1, month + 9) } else { (year, month - 3) };
    let of_years = year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    // 0000-03-01 is 719,468 days before 1970-01-01.
    of_years + (month * 153 + 2) / 5 + day - 1 - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_to_the_end_of_its_head() {
        let mut pieces = ["HTTP/1.0 200 OK\r\nDate: x\r\n", "\r", "\n", "more"].into_iter();
        let read = |bytes: &mut [u8], _| {
            let piece = pieces.next().unwrap().as_bytes();
            bytes[..piece.len()].copy_from_slice(piece);
            Ok(piece.len())
        };
        let whole = head(Instant::now() + Duration::from_hours(1), read);
        assert_eq!(whole, b"HTTP/1.0 200 OK\r\nDate: x\r\n\r\n");
        assert_eq!(pieces.next(), Some("more"));
    }

    /// Each byte in time would be hours for all of them.
    #[test]
    fn all_of_an_answer_has_one_deadline() {
        let deadline = Instant::now() + Duration::from_millis(20);
        let mut before = Duration::from_millis(20);
        let trickled = head(deadline, |bytes, left| {
            assert!(left <= before);
            before = left;
            // This one comes at the last moment.
            while Instant::now() < deadline {
                std::hint::spin_loop();
            }
            bytes[0] = b'x';
            Ok(1)
        });
        assert_eq!(trickled, b"x");
    }

    #[test]
    fn dates_are_read_as_rfc_9110_writes_them() {
        for (words, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0.0),
            ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777.0),
            ("Thu, 29 Feb 2024 23:59:59 GMT", 1_709_251_199.0),
            ("Fri, 01 Mar 2024 00:00:00 GMT", 1_709_251_200.0),
        ] {
            let head = format!("HTTP/1.1 200 OK\r\nserver: x\r\ndate: {words}\r\n\r\n");
            assert_eq!(date(&head), Some(seconds), "{words}");
        }
        for head in
            ["", "HTTP/1.1 200 OK\r\n\r\n", "Date: yesterday\r\n", "Date: Sun, 06 Foo 1994 08:49:37 GMT"]
        {
            assert_eq!(date(head), None, "{head}");
        }
    }
}
