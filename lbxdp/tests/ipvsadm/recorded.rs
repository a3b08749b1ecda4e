//! Every line that was recorded, replayed: same output, same errors, same exit code, same state behind it.
//!
//! A line is not covered when it uses, or speaks of, something that is still to come; nobody writes down which ones
//! these are. Complaints about wrong lines do not depend on any state, so all of them must be the same.

use serde::Deserialize;

use crate::director::InMemory;
use crate::projection::Projection;
use crate::run::{Answer, run, run_line};

/// Answers recorded from ipvsadm 1.31 on Linux 6.1.
const RECORDED: &str = include_str!("../data/ipvsadm.jsonl");

/// So many lines are covered at least: what once worked must not silently drop out.
const COVERED: usize = 282;

#[derive(Deserialize)]
struct Line {
    group: String,
    args: String,
    rc: u8,
    stdout: String,
    stderr: String,
    /// `ipvsadm -Sn` behind it.
    state: String,
}

impl Line {
    /// As a shell would split them.
    fn arguments(&self) -> Vec<String> {
        let words = self.args.split(" <<< ").next().unwrap_or_default().split_whitespace();
        words.filter(|word| *word != "<none>").map(|word| word.replace("\"\"", "")).collect()
    }

    fn input(&self) -> &str {
        self.args.split_once(" <<< ").map_or("", |(_, input)| input)
    }

    /// Whether ipvsadm itself complained, without asking the kernel.
    fn is_wrong(&self) -> bool {
        let words = ["Try `", ": unknown option", ": missing argument"];
        self.rc == 2 || words.iter().any(|text| self.stderr.contains(text))
    }

    /// Whether services are shown by number, and can be told apart.
    fn is_numeric(&self) -> bool {
        self.args
            .split_whitespace()
            .any(|word| word.starts_with('-') && !word.starts_with("--") && word.contains('n'))
    }

    fn is_unordered(&self) -> bool {
        self.args.contains("--nosort")
    }

    fn answer(&self) -> Answer {
        Answer { code: self.rc, output: self.stdout.clone(), errors: self.stderr.clone() }
    }
}

fn lines() -> Vec<Line> {
    let lines = RECORDED.lines().skip(1).map(|line| serde_json::from_str(line).expect("a recorded line"));
    lines.map(|line: Line| Line { state: with_plain_marks(&line.state), ..line }).collect()
}

/// `-S` of ipvsadm writes marks above 2^31 - 1 as negative numbers, which it does not read again; ours does not.
fn with_plain_marks(state: &str) -> String {
    let plain = |line: &str| match line.split_once("-f -") {
        Some((verb, rest)) => {
            let (number, rest) = rest.split_once(' ').expect("more behind the mark");
            let mark = number.parse::<u32>().expect("a number").wrapping_neg();
            format!("{verb}-f {mark} {rest}\n")
        }
        None => format!("{line}\n"),
    };
    state.lines().map(plain).collect()
}

fn in_any_order(answer: Answer) -> Answer {
    let mut lines: Vec<&str> = answer.output.lines().collect();
    lines.sort_unstable();
    Answer { output: lines.join("\n"), ..answer }
}

/// The difference to what was recorded, if there is one. None: the line is not covered.
fn compare(director: &mut InMemory, line: &Line, before: &str) -> Option<Result<(), String>> {
    let arguments = line.arguments();
    let before = Projection::restore(director, before);
    let ours = run(director, &arguments, line.input());
    if ours.is_unsupported() {
        return line.is_wrong().then(|| Err(format!("wrong use is taken for {ours:?}")));
    }
    let saved = run_line(director, "-Sn").output;
    let mut theirs = line.answer();
    let after = Projection::restore(&mut InMemory::default(), &line.state);
    if !before.is_whole() && !line.is_wrong() {
        let beginnings = ["IP Virtual Server", "Prot ", "-A "];
        let shows_services = beginnings.iter().any(|beginning| theirs.output.starts_with(beginning));
        if before.misses(&arguments) || (shows_services && !line.is_numeric()) {
            return None;
        }
        if shows_services {
            theirs.output = after.of_output(&theirs.output);
        }
    }
    let (ours, theirs) =
        if line.is_unordered() { (in_any_order(ours), in_any_order(theirs)) } else { (ours, theirs) };
    let state = after.kept.iter().flat_map(|line| [*line, "\n"]).collect::<String>();
    if ours != theirs {
        Some(Err(format!("ours {ours:#?}\ntheirs {theirs:#?}")))
    } else if saved != state {
        Some(Err(format!("state {saved}\ntheirs {state}")))
    } else {
        Some(Ok(()))
    }
}

#[test]
fn every_recorded_line_has_the_same_answer() {
    let lines = lines();
    let (mut equal, mut not_covered, mut different) = (0, 0, Vec::new());
    let mut director = InMemory::default();
    let mut previous: Option<&Line> = None;
    for line in &lines {
        let before = previous.filter(|previous| previous.group == line.group);
        if before.is_none() {
            director = InMemory::default();
        }
        match compare(&mut director, line, before.map_or("", |line| &line.state)) {
            Some(Ok(())) => equal += 1,
            Some(Err(difference)) => different.push(format!("{}: {}\n{difference}", line.group, line.args)),
            None => not_covered += 1,
        }
        previous = Some(line);
    }
    let compared = equal + different.len();
    println!("{compared} lines compared, {equal} equal, {not_covered} not covered");
    assert!(different.is_empty(), "{}", different.join("\n\n"));
    assert!(compared >= COVERED, "only {compared} lines are covered, {COVERED} were");
}
