//! Splits a line into words as libpopt 1.19 does: merged short options, `--long=value`, optional arguments, leftovers.

use super::error::GrammarError;
use super::words::{Argument, Row, Word};

/// One word that was found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Found<'a> {
    pub(super) word: Word,
    pub(super) argument: Option<&'a str>,
    /// The argument that was read last, for messages: the whole one it stands in (`-AL` for the `L` in it), or its value.
    pub(super) text: &'a str,
}

/// A walk over the arguments of a line.
pub(super) struct Words<'a> {
    arguments: &'a [String],
    next: usize,
    /// What is left of a group of short options.
    group: &'a str,
    leftovers: Vec<&'a str>,
    /// After `--` nothing is an option.
    options_ended: bool,
}

impl<'a> Words<'a> {
    pub(super) fn new(arguments: &'a [String]) -> Self {
        Self { arguments, next: 0, group: "", leftovers: Vec::new(), options_ended: false }
    }

    /// The next option; arguments that are none are put aside.
    pub(super) fn next(&mut self) -> Result<Option<Found<'a>>, GrammarError> {
        while self.group.is_empty() {
            let Some(argument) = self.take() else { return Ok(None) };
            match argument.strip_prefix('-') {
                Some("-") if !self.options_ended => self.options_ended = true,
                Some(name) if !self.options_ended && !name.is_empty() => {
                    if let Some(long) = name.strip_prefix('-') {
                        return self.long(long).map(Some);
                    }
                    self.group = name;
                }
                _ => self.leftovers.push(argument),
            }
        }
        self.short().map(Some)
    }

    /// What was no option, in order; complete once `next` has given `None`.
    pub(super) fn leftovers(self) -> Vec<&'a str> {
        self.leftovers
    }

    fn long(&mut self, text: &'a str) -> Result<Found<'a>, GrammarError> {
        let (name, value) = text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
        let row = Row::of_long(name).ok_or_else(|| self.unknown())?;
        self.found(row, value)
    }

    fn short(&mut self) -> Result<Found<'a>, GrammarError> {
        let mut letters = self.group.chars();
        let row = letters.next().and_then(Row::of_short).ok_or_else(|| self.unknown())?;
        let rest = letters.as_str();
        if row.argument == Argument::None {
            self.group = rest;
            return self.found(row, rest.strip_prefix('='));
        }
        self.group = "";
        let value = rest.strip_prefix('=').unwrap_or(rest);
        self.found(row, Some(value).filter(|_| !rest.is_empty()))
    }

    /// `attached` is a value that stands in the same argument.
    fn found(&mut self, row: &Row, attached: Option<&'a str>) -> Result<Found<'a>, GrammarError> {
        let text = self.last();
        let argument = match (row.argument, attached) {
            (Argument::None, Some(_)) => return Err(GrammarError::UnwantedArgument(text.to_owned())),
            (Argument::None, None) => None,
            (_, Some(value)) => Some(value),
            (Argument::Optional, None) => self.take_unless_option(),
            (Argument::Required, None) => {
                Some(self.take().ok_or_else(|| GrammarError::MissingArgument(text.to_owned()))?)
            }
        };
        Ok(Found { word: row.word, argument, text: self.last() })
    }

    fn take(&mut self) -> Option<&'a str> {
        let argument = self.arguments.get(self.next)?;
        self.next += 1;
        Some(argument)
    }

    fn take_unless_option(&mut self) -> Option<&'a str> {
        if self.arguments.get(self.next)?.starts_with('-') { None } else { self.take() }
    }

    fn last(&self) -> &'a str {
        self.next.checked_sub(1).and_then(|last| self.arguments.get(last)).map_or("", String::as_str)
    }

    fn unknown(&self) -> GrammarError {
        GrammarError::UnknownOption(self.last().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::grammar::words::{Choice, Verb, WORDS};

    type Walked = (Vec<(Word, Option<String>)>, Result<Vec<String>, String>);

    /// All words of a line with their arguments, then the leftovers or the error.
    fn walk(line: &[&str]) -> Walked {
        let arguments: Vec<String> = line.iter().map(ToString::to_string).collect();
        let mut words = Words::new(&arguments);
        let mut found = Vec::new();
        loop {
            match words.next() {
                Ok(Some(word)) => found.push((word.word, word.argument.map(str::to_owned))),
                Ok(None) => return (found, Ok(words.leftovers().iter().map(ToString::to_string).collect())),
                Err(error) => return (found, Err(error.to_string())),
            }
        }
    }

    #[test]
    fn all_ways_to_give_a_value_are_the_same() {
        let weight = (Word::Choice(Choice::Weight), Some("7".to_owned()));
        for line in [&["-w7"][..], &["-w", "7"], &["-w=7"], &["--weight=7"], &["--weight", "7"]] {
            assert_eq!(walk(line), (vec![weight.clone()], Ok(vec![])), "{line:?}");
        }
    }

    #[test]
    fn an_optional_value_does_not_swallow_an_option() {
        let persistent = |value: Option<&str>| (Word::Choice(Choice::Persistent), value.map(str::to_owned));
        assert_eq!(walk(&["-p"]).0, [persistent(None)]);
        assert_eq!(walk(&["-p", "--"]).0, [persistent(None)]);
        assert_eq!(walk(&["-p", "60"]).0, [persistent(Some("60"))]);
        assert_eq!(walk(&["-p", "-1"]).1, Err("-1: unknown option".to_owned()));
    }

    #[test]
    fn merged_options_are_named_by_their_whole_argument() {
        let (found, end) = walk(&["-Lnq"]);
        assert_eq!(found, [(Word::Verb(Verb::List), None), (Word::Choice(Choice::Numeric), None)]);
        assert_eq!(end, Err("-Lnq: unknown option".to_owned()));
        assert_eq!(walk(&["-Lw"]).1, Err("-Lw: missing argument".to_owned()));
        assert_eq!(walk(&["-Ln="]).1, Err("-Ln=: option does not take an argument".to_owned()));
        assert_eq!(walk(&["--list=1"]).1, Err("--list=1: option does not take an argument".to_owned()));
    }

    #[test]
    fn what_is_no_option_is_left_over() {
        let (found, leftovers) = walk(&["a", "-L", "-", "", "--", "-n"]);
        assert_eq!(found.len(), 1);
        assert_eq!(leftovers, Ok(["a", "-", "", "-n"].map(str::to_owned).to_vec()));
    }

    #[test]
    fn no_word_stands_twice_in_the_table() {
        for (at, row) in WORDS.iter().enumerate() {
            for other in &WORDS[at + 1..] {
                assert!(row.short.is_none() || row.short != other.short, "{}", row.long);
                assert!(row.long != other.long || row.word == other.word, "{}", row.long);
            }
        }
    }
}
