//! Every line that was recorded, replayed: same output, same errors, same exit code, same state behind it.
//!
//! Each file begins with a line that says where it was recorded. Lines come in groups: a group begins with an empty table,
//! default timeouts and no daemons, and each of its lines meets what those before it have left. After each line our state is
//! made the recorded one, so that one difference is one difference.

use serde::Deserialize;

use crate::director::InMemory;
use crate::run::{Answer, run, run_line};

/// Answers of ipvsadm 1.31 on Linux 6.1, by topic.
const RECORDED: &str = include_str!("../data/ipvsadm.jsonl");
/// More of them, made to meet every option, number and name there may be, and at random; with daemons.
const MADE: &str = include_str!("../data/ipvsadm-made.jsonl");

/// What there is to compare must not silently drop out.
const LINES: usize = 287;
const MADE_LINES: usize = 3061;

#[derive(Deserialize)]
struct Line {
    group: String,
    /// Either a line that blanks part, `<none>` for no argument, and with ` <<< ` before what is read; or `argv` and `input`.
    args: Option<String>,
    argv: Option<Vec<String>>,
    input: Option<String>,
    rc: u8,
    stdout: String,
    stderr: String,
    /// `ipvsadm -Sn` behind it.
    state: String,
    /// `ipvsadm -L --daemon` behind it, if that was looked at.
    daemons: Option<String>,
    /// Addresses or marks of the table are in a circle, each less than the next: ipvsadm's order then comes from the kernel's
    /// table, which is a hash's.
    #[serde(default)]
    is_in_circle: bool,
}

impl Line {
    fn arguments(&self) -> Vec<String> {
        if let Some(argv) = &self.argv {
            return argv.clone();
        }
        let words = self.args.as_deref().unwrap_or_default().split(" <<< ").next().unwrap_or_default();
        let words = words.split_whitespace().filter(|word| *word != "<none>");
        words.map(|word| word.replace("\"\"", "")).collect()
    }

    fn input(&self) -> &str {
        let behind = self.args.as_deref().and_then(|args| args.split_once(" <<< "));
        self.input.as_deref().or(behind.map(|(_, input)| input)).unwrap_or_default()
    }

    fn is_help(&self) -> bool {
        self.stdout.contains("\nUsage:")
    }

    fn answer(&self) -> Answer {
        Answer { code: self.rc, output: self.stdout.clone(), errors: self.stderr.clone() }
    }
}

/// For what is in the order of the kernel's table.
fn in_any_order(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

/// The difference to what was recorded, if there is one.
fn compare(director: &mut InMemory, line: &Line) -> Result<(), String> {
    let arguments = line.arguments();
    let (mut ours, mut theirs) = (run(director, &arguments, line.input()), line.answer());
    if line.is_help() {
        // The text is our own; that it comes, and where, is not.
        (ours.output, theirs.output) =
            (ours.output.lines().take(1).collect(), theirs.output.lines().take(1).collect());
    }
    if line.is_in_circle || arguments.iter().any(|argument| argument == "--nosort") {
        for answer in [&mut ours, &mut theirs] {
            answer.output = in_any_order(&answer.output);
        }
    }
    if ours != theirs {
        return Err(format!("ours {ours:#?}\ntheirs {theirs:#?}"));
    }
    let state = run_line(director, "-Sn").output;
    if state != line.state && !(line.is_in_circle && in_any_order(&state) == in_any_order(&line.state)) {
        return Err(format!("state {state}\ntheirs {}", line.state));
    }
    let daemons = run_line(director, "-L --daemon").output;
    match &line.daemons {
        Some(theirs) if *theirs != daemons => Err(format!("daemons {daemons}\ntheirs {theirs}")),
        _ => Ok(()),
    }
}

fn all_are_equal(what: &str, recorded: &str, least: usize) {
    let lines = recorded.lines().skip(1).map(|line| serde_json::from_str(line).expect("a recorded line"));
    let (mut equal, mut different) = (0, Vec::new());
    let (mut director, mut group) = (InMemory::default(), String::new());
    for line in lines {
        let line: Line = line;
        if line.group != group {
            director = InMemory::default();
            group.clone_from(&line.group);
        }
        match compare(&mut director, &line) {
            Ok(()) => equal += 1,
            Err(difference) => {
                let (group, arguments) = (&line.group, line.arguments());
                different.push(format!("{group}: {arguments:?} {:?}\n{difference}", line.input()));
            }
        }
    }
    let compared = equal + different.len();
    println!("{what}: {compared} lines compared, {equal} equal");
    assert!(different.is_empty(), "{}\n\n{} differ", different.join("\n\n"), different.len());
    assert!(compared >= least, "only {compared} lines, {least} were there");
}

#[test]
fn every_recorded_line_has_the_same_answer() {
    all_are_equal("recorded by topic", RECORDED, LINES);
}

#[test]
fn every_line_that_was_made_has_the_same_answer() {
    all_are_equal("made and recorded", MADE, MADE_LINES);
}
