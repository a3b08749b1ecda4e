//! A moment as people read it, in UTC, as the daemon's log has it.

/// The time of day, to the microsecond.
pub(super) fn time_of_day(unix_nanos: u64) -> String {
    let (seconds, micros) = (unix_nanos / 1_000_000_000 % 86_400, unix_nanos / 1_000 % 1_000_000);
    format!("{:02}:{:02}:{:02}.{micros:06}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::time_of_day;

    #[test]
    fn the_time_of_day_is_read() {
        assert_eq!(time_of_day(0), "00:00:00.000000");
        assert_eq!(time_of_day(1_767_225_599_123_456_789), "23:59:59.123456");
    }
}
