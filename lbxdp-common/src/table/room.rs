//! How full a table is to be.
//!
//! Where keys come and go at random, a new one finds both of its buckets full once in
//!
//! ```text
//! of all places taken    30 %         35 %      40 %     45 %    50 %    60 %
//! new keys               20,000,000   770,000   67,000   9,000   1,700   130
//! ```

/// Of so many places as many may be taken: two fifths.
#[inline]
pub const fn entries_in(places: u64) -> u64 {
    places * 2 / 5
}

/// Whether so many entries are four fifths of those that there is room for: while there is still some time to do something.
pub const fn is_nearly_full(entries: u64, most_places: u64) -> bool {
    most_places > 0 && entries * 5 >= entries_in(most_places) * 4
}

/// Places for so many entries.
#[inline]
pub const fn places_for(entries: u64) -> u64 {
    (entries * 5).div_ceil(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn there_is_room_for_what_room_was_made_for(entries in 0..u64::MAX / 8) {
            prop_assert!(entries_in(places_for(entries)) >= entries);
            prop_assert!(entries_in(places_for(entries)) <= entries + 1);
        }
    }
}
