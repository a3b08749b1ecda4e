//! Every line that was recorded, replayed: same output, same errors, same exit code, same state behind it.

use std::convert::Infallible;

use crate::director::InMemory;
use crate::line::{self, MADE, RECORDED, Said};
use crate::run::{run, run_line};

/// What there is to compare must not silently drop out.
const LINES: usize = 287;
const MADE_LINES: usize = 3061;

fn all_are_equal(what: &str, recorded: &str, least: usize) {
    let mut director = InMemory::default();
    let compared = line::compare(what, recorded, |line, is_first| {
        if is_first {
            director = InMemory::default();
        }
        let answer = run(&mut director, &line.arguments(), line.input());
        let ours = Said { code: Some(answer.code.into()), stdout: answer.output, stderr: answer.errors };
        let state = run_line(&mut director, "-Sn").output;
        let daemons = run_line(&mut director, "-L --daemon").output;
        Ok::<_, Infallible>(line.difference(ours, &state, Some(&daemons)))
    });
    let Ok(compared) = compared;
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
