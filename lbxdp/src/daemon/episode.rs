//! Times of pressure: said once when one begins, and once when it is over.

use std::time::{Duration, Instant};

/// A time of pressure is over when nothing went by hash for so long.
const CALM: Duration = Duration::from_secs(10);

/// Whether the table has room for new connections, and since when it has not.
#[derive(Debug, Default)]
pub(super) struct Episode {
    /// How often a packet went by hash, up to now.
    total: u64,
    current: Option<Pressed>,
}

#[derive(Clone, Copy, Debug)]
struct Pressed {
    since: Instant,
    last: Instant,
    /// What the total was when it began.
    from: u64,
}

/// What is to be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum News {
    Begun,
    /// How many packets went by hash, and for how long.
    Over {
        packets: u64,
        lasted: Duration,
    },
}

impl Episode {
    /// Takes up after a daemon before this one: what it has counted is no news.
    pub(super) fn begin_with(total: u64) -> Self {
        Self { total, current: None }
    }

    /// Takes in the total of now.
    pub(super) fn look(&mut self, total: u64, now: Instant) -> Option<News> {
        let from = std::mem::replace(&mut self.total, total);
        let has_grown = total != from;
        match &mut self.current {
            None if has_grown => {
                self.current = Some(Pressed { since: now, last: now, from });
                Some(News::Begun)
            }
            Some(pressed) if has_grown => {
                pressed.last = now;
                None
            }
            Some(pressed) if now.duration_since(pressed.last) >= CALM => {
                let over = News::Over {
                    packets: total.wrapping_sub(pressed.from),
                    lasted: pressed.last.duration_since(pressed.since),
                };
                self.current = None;
                Some(over)
            }
            _ => None,
        }
    }

    /// Whether one goes on.
    pub(super) fn is_on(&self) -> bool {
        self.current.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_episode_is_told_of_when_it_begins_and_when_it_is_over() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut episode = Episode::begin_with(7);
        assert_eq!(episode.look(7, at(0)), None);
        assert_eq!(episode.look(9, at(1)), Some(News::Begun));
        assert!(episode.is_on());
        assert_eq!(episode.look(20, at(2)), None);
        assert_eq!(episode.look(20, at(8)), None);
        assert_eq!(episode.look(21, at(9)), None);
        assert_eq!(episode.look(21, at(18)), None);
        assert_eq!(
            episode.look(21, at(19)),
            Some(News::Over { packets: 14, lasted: Duration::from_secs(8) })
        );
        assert!(!episode.is_on());
        assert_eq!(episode.look(22, at(20)), Some(News::Begun));
    }
}
