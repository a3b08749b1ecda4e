//! `ipvsadm-save` and `ipvsadm-restore`, which come with ipvsadm as shell scripts: what these do, by their names.

use std::ffi::OsString;
use std::io::{self, BufRead, Write};

use super::client::Director;
use super::ipvsadm::Front;
use super::names::Names;

/// One of the two scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Script {
    Save,
    Restore,
}

/// How the scripts call ipvsadm: its name in hints.
const IPVSADM: &str = "ipvsadm";

impl Script {
    /// The script of a program's name, without its directories.
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "ipvsadm-save" => Some(Self::Save),
            "ipvsadm-restore" => Some(Self::Restore),
            _ => None,
        }
    }

    /// Does its work and gives its exit code.
    pub fn run<D: Director>(self, arguments: &[OsString], director: D, names: &dyn Names) -> u8 {
        let (input, output, errors) = (io::stdin().lock(), io::stdout().lock(), io::stderr().lock());
        let mut run = Run { director, names, output: io::BufWriter::new(output), errors };
        match self {
            Self::Save => run.save(arguments),
            Self::Restore => run.restore(input),
        }
    }
}

/// A run of a script: who carries it out, and where its words go.
pub struct Run<'a, D, O, E> {
    pub director: D,
    pub names: &'a dyn Names,
    pub output: O,
    pub errors: E,
}

impl<D: Director, O: Write, E: Write> Run<'_, D, O, E> {
    /// `ipvsadm-save [-n]`. Arguments that are no options mean nothing.
    pub fn save(&mut self, arguments: &[OsString]) -> u8 {
        let mut words = vec!["-S".to_owned()];
        for argument in arguments {
            match argument.as_encoded_bytes() {
                b"-n" => words = vec!["-S".to_owned(), "-n".to_owned()],
                [b'-', ..] => {
                    // There is nowhere to complain about a stderr that takes nothing.
                    let _ = writeln!(
                        self.errors,
                        "ipvsadm-save: Script to save the IPVS table to stdout.\n   \
                         With the -n option, prints out the table in numeric format."
                    );
                    return 1;
                }
                _ => {}
            }
        }
        self.ipvsadm(&words, &[])
    }

    /// `ipvsadm-restore`: lines that begin with `#` are comments; what was there before is cleared first, once all has been
    /// read. If it cannot be cleared, nothing is restored beside it.
    pub fn restore(&mut self, mut input: impl BufRead) -> u8 {
        let mut text = Vec::new();
        if let Err(error) = input.read_to_end(&mut text) {
            let _ = writeln!(self.errors, "cannot read the input: {error}");
            return 1;
        }
        let lines = text.split_inclusive(|byte| *byte == b'\n').filter(|line| !line.starts_with(b"#"));
        let rules: Vec<u8> = lines.flatten().copied().collect();
        match self.ipvsadm(&["-C".to_owned()], &[]) {
            0 => self.ipvsadm(&["-R".to_owned()], &rules),
            failed => failed,
        }
    }

    fn ipvsadm(&mut self, words: &[String], input: &[u8]) -> u8 {
        let Self { director, names, output, errors } = self;
        Front { program: IPVSADM, director, names: *names, input, output, errors }.run(words)
    }
}
