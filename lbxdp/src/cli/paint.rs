//! Colours: only on a terminal, and not where `NO_COLOR` (no-color.org) says otherwise.

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
        let says_no = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let is_dumb = std::env::var_os("TERM").is_some_and(|name| name == "dumb");
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

    #[test]
    fn what_is_no_terminal_gets_words_alone() {
        assert_eq!(Paint::on(false), Paint::Plain);
        assert_eq!(Paint::Plain.ink(Ink::Warning, "GONE"), "GONE");
        assert_eq!(Paint::Coloured.ink(Ink::Warning, "GONE"), "\x1b[1;31mGONE\x1b[0m");
    }
}
