//! How the demo looks: what is told, what is typed, what is answered, and bars.

/// The widest bar, in characters.
const WIDEST: usize = 40;

/// Prints, with colours if they are wanted.
#[derive(Clone, Copy)]
pub(crate) struct Paint {
    has_colours: bool,
}

impl Paint {
    pub(crate) fn new(has_colours: bool) -> Self {
        Self { has_colours }
    }

    pub(crate) fn has_colours(self) -> bool {
        self.has_colours
    }

    /// What is told.
    pub(crate) fn say(self, text: &str) {
        println!("\n{}", self.coloured("1", text));
    }

    /// A command line, as it is typed.
    pub(crate) fn command(self, line: &str) {
        println!("{} {}", self.coloured("32", "#"), self.coloured("1;32", line));
    }

    /// What a command printed, down to `most` lines.
    pub(crate) fn output(self, text: &str, most: usize) {
        let lines: Vec<_> = text.lines().collect();
        for line in lines.iter().take(most) {
            println!("{line}");
        }
        if lines.len() > most {
            println!("{}", self.coloured("2", &format!("… and {} more", lines.len() - most)));
        }
    }

    /// How many of all requests a server has answered.
    pub(crate) fn bar(self, server: &str, answered: usize, all: usize) {
        let length = (answered * WIDEST).checked_div(all).unwrap_or(0);
        let bar = "█".repeat(length);
        println!("  {server:<4} {answered:>3}  {}", self.coloured("36", &bar));
    }

    fn coloured(self, code: &str, text: &str) -> String {
        if self.has_colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
