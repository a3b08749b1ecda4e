//! The recorded answers of ipvsadm that stand beside this file, line by line: for the tests that give each line to the front
//! alone, and for those that give it to the real command and daemon.
//!
//! Each file begins with a line that says where it was recorded. Lines come in groups: a group begins with an empty table,
//! default timeouts and no daemons, and each of its lines meets what those before it have left.

use serde::Deserialize;

/// Answers of ipvsadm 1.31 on Linux 6.1, by topic.
pub(crate) const RECORDED: &str = include_str!("ipvsadm.jsonl");
/// More of them, made to meet every option, number and name there may be, and at random; with daemons.
pub(crate) const MADE: &str = include_str!("ipvsadm-made.jsonl");

/// A command line and what came of it.
#[derive(Deserialize)]
pub(crate) struct Line {
    pub(crate) group: String,
    /// Either a line that blanks part, `<none>` for no argument, and with ` <<< ` before what is read; or `argv` and `input`.
    args: Option<String>,
    argv: Option<Vec<String>>,
    input: Option<String>,
    pub(crate) rc: u8,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    /// `ipvsadm -Sn` behind it.
    pub(crate) state: String,
    /// `ipvsadm -L --daemon` behind it, if that was looked at.
    pub(crate) daemons: Option<String>,
    /// Addresses or marks of the table are in a circle, each less than the next: ipvsadm's order then comes from the kernel's
    /// table, which is a hash's.
    #[serde(default)]
    is_in_circle: bool,
}

/// What was or is answered.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// The lines of a file.
pub(crate) fn lines(recorded: &str) -> impl Iterator<Item = Line> {
    recorded.lines().skip(1).map(|line| serde_json::from_str(line).expect("a recorded line"))
}

impl Line {
    pub(crate) fn arguments(&self) -> Vec<String> {
        if let Some(argv) = &self.argv {
            return argv.clone();
        }
        let words = self.args.as_deref().unwrap_or_default().split(" <<< ").next().unwrap_or_default();
        let words = words.split_whitespace().filter(|word| *word != "<none>");
        words.map(|word| word.replace("\"\"", "")).collect()
    }

    pub(crate) fn input(&self) -> &str {
        let behind = self.args.as_deref().and_then(|args| args.split_once(" <<< "));
        self.input.as_deref().or(behind.map(|(_, input)| input)).unwrap_or_default()
    }

    /// The difference of an answer and what is behind it to what was recorded, if there is one.
    pub(crate) fn difference(&self, mut ours: Said, state: &str, daemons: Option<&str>) -> Option<String> {
        let mut theirs =
            Said { code: Some(self.rc.into()), stdout: self.stdout.clone(), stderr: self.stderr.clone() };
        let is_in_any_order = self.is_in_circle || self.arguments().iter().any(|word| word == "--nosort");
        for answer in [&mut ours, &mut theirs] {
            if self.stdout.contains("\nUsage:") {
                // The text is our own; that it comes, and where, is not.
                answer.stdout = answer.stdout.lines().take(1).collect();
            }
            if is_in_any_order {
                answer.stdout = in_any_order(&answer.stdout);
            }
        }
        if ours != theirs {
            return Some(format!("ours {ours:#?}\ntheirs {theirs:#?}"));
        }
        let is_state = |state: &str| {
            state == self.state || self.is_in_circle && in_any_order(state) == in_any_order(&self.state)
        };
        if !is_state(state) {
            return Some(format!("state {state}\ntheirs {}", self.state));
        }
        match (&self.daemons, daemons) {
            (Some(theirs), Some(ours)) if theirs != ours => Some(format!("daemons {ours}\ntheirs {theirs}")),
            _ => None,
        }
    }
}

/// For what is in the order of the kernel's table.
fn in_any_order(text: &str) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    lines.join("\n")
}

/// Compares line by line, and prints how many there were.
pub(crate) fn compare<E>(
    what: &str,
    recorded: &str,
    mut difference: impl FnMut(&Line, bool) -> Result<Option<String>, E>,
) -> Result<usize, E> {
    let (mut equal, mut different, mut group) = (0, Vec::new(), String::new());
    for line in lines(recorded) {
        let is_first = line.group != group;
        group.clone_from(&line.group);
        match difference(&line, is_first)? {
            None => equal += 1,
            Some(difference) => {
                different.push(format!("{group}: {:?} {:?}\n{difference}", line.arguments(), line.input()));
            }
        }
    }
    println!("{what}: {} lines compared, {equal} equal", equal + different.len());
    assert!(different.is_empty(), "{}\n\n{} differ", different.join("\n\n"), different.len());
    Ok(equal)
}
