//! Colours: only on a terminal, and not where `NO_COLOR` (no-color.org) says otherwise.

use std::env;
use std::ffi::OsStr;
use std::io::IsTerminal;

/// Whether words are painted, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Paint {
    Plain,
    Coloured,
}

/// What a word is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    Heading,
    Warning,
    Good,
}

impl Paint {
    /// That of standard output.
    pub fn of_output() -> Self {
        Self::on(std::io::stdout().is_terminal())
    }

    /// That of standard error.
    pub fn of_errors() -> Self {
        Self::on(std::io::stderr().is_terminal())
    }

    fn on(is_terminal: bool) -> Self {
        Self::decide(is_terminal, env::var_os("NO_COLOR").as_deref(), env::var_os("TERM").as_deref())
    }

    /// By what the environment says: an empty `NO_COLOR` says nothing, and a dumb terminal knows no colours.
    fn decide(is_terminal: bool, no_color: Option<&OsStr>, term: Option<&OsStr>) -> Self {
        let says_no = no_color.is_some_and(|value| !value.is_empty());
        let is_dumb = term.is_some_and(|name| name == "dumb");
        if is_terminal && !says_no && !is_dumb { Self::Coloured } else { Self::Plain }
    }

    /// The words in ink.
    pub fn ink(self, ink: Ink, words: &str) -> String {
        let code = match (self, ink) {
            (Self::Plain, _) => return words.to_owned(),
            (_, Ink::Heading) => "1",
            (_, Ink::Warning) => "1;31",
            (_, Ink::Good) => "32",
        };
        format!("\x1b[{code}m{words}\x1b[0m")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decided(is_terminal: bool, no_color: Option<&str>, term: Option<&str>) -> Paint {
        Paint::decide(is_terminal, no_color.map(OsStr::new), term.map(OsStr::new))
    }

    #[test]
    fn a_terminal_has_colours_unless_it_or_the_user_says_no() {
        let term = Some("xterm");
        assert_eq!(decided(true, None, term), Paint::Coloured);
        assert_eq!(decided(true, None, None), Paint::Coloured);
        assert_eq!(decided(true, Some(""), term), Paint::Coloured, "an empty NO_COLOR does not count");
        for no in ["1", "0", "yes", " "] {
            assert_eq!(decided(true, Some(no), term), Paint::Plain, "any other does: {no:?}");
        }
        assert_eq!(decided(true, None, Some("dumb")), Paint::Plain);
        assert_eq!(decided(true, Some(""), Some("dumb")), Paint::Plain);
    }

    #[test]
    fn what_is_no_terminal_has_none_whatever_is_said() {
        for no_color in [None, Some(""), Some("1")] {
            assert_eq!(decided(false, no_color, Some("xterm")), Paint::Plain, "{no_color:?}");
        }
    }

    #[test]
    fn plain_words_are_left_alone_and_others_are_painted() {
        assert_eq!(Paint::Plain.ink(Ink::Warning, "GONE"), "GONE");
        assert_eq!(Paint::Coloured.ink(Ink::Warning, "GONE"), "\x1b[1;31mGONE\x1b[0m");
    }
}
