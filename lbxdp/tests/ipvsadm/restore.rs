//! `-R` of many lines: what ends it, what it passes over, and its exit code. As seen with ipvsadm 1.31.

use crate::director::InMemory;
use crate::run::{Answer, run, run_line};

fn restored(input: &str) -> (Answer, String) {
    let mut director = InMemory::default();
    let answer = run(&mut director, &["-R".to_owned()], input);
    (answer, run_line(&mut director, "-Sn").output)
}

const TRY_HELP: &str = "Try `ipvsadm -h' or 'ipvsadm --help' for more information.\n";
const FIRST: &str = "-A -t 10.0.0.1:80 -s rr\n";

/// Between the first service and the second stands `line`.
fn between(line: &str) -> (u8, String, bool) {
    let (answer, state) = restored(&format!("{FIRST}{line}\n-A -t 10.0.0.2:80 -s rr\n"));
    assert!(state.starts_with(FIRST));
    (answer.code, answer.errors, state.contains("10.0.0.2"))
}

#[test]
fn wrong_words_and_refusals_are_passed_over() {
    assert_eq!(between("-A -q"), (0, "-q: unknown option\n".to_owned(), true));
    assert_eq!(between("-A -t"), (0, "-t: missing argument\n".to_owned(), true));
    assert_eq!(between(FIRST), (0, "Service already exists\n".to_owned(), true));
    let unknown = "Scheduler or persistence engine not found\n".to_owned();
    assert_eq!(between("-A -t 10.0.0.3:80 -s nosuch"), (0, unknown, true));
    assert_eq!(between(" \t "), (0, String::new(), true));
    assert_eq!(between("ipvsadm"), (0, String::new(), true));
}

#[test]
fn everything_else_that_fails_ends_it() {
    let missing =
        "You need to supply the 'service-address' option for the 'add-service' command\n".to_owned();
    assert_eq!(between("-A"), (2, missing, false));
    assert_eq!(between("# comment"), (255, TRY_HELP.to_owned(), false));
    assert_eq!(between("-R"), (255, TRY_HELP.to_owned(), false));
    assert_eq!(between("-L -t 10.0.0.9:80"), (1, "No such service\n".to_owned(), false));
    assert_eq!(between("-f"), (255, TRY_HELP.to_owned(), false));
    assert_eq!(between("-A -f 7 -6"), (2, "IPv6 is not supported yet\n".to_owned(), false));
}

#[test]
fn help_and_version_end_it_well() {
    assert_eq!(between("-v"), (0, String::new(), false));
    assert_eq!(between("-h"), (0, String::new(), false));
}

#[test]
fn the_last_line_gives_the_exit_code() {
    let (answer, state) = restored(&format!("{FIRST}{FIRST}"));
    assert_eq!((answer.code, state.as_str()), (255, FIRST));
    let (answer, _) = restored("-A -q\n\n");
    assert_eq!(answer.code, 255);
    let (answer, _) = restored("");
    assert_eq!((answer.code, answer.output, answer.errors), (0, String::new(), String::new()));
}

#[test]
fn the_last_line_needs_no_end_and_listings_stand_between() {
    let (answer, state) = restored("--set 1 2 3\n-L --timeout\nipvsadm -A -t 10.0.0.1:80 -s rr");
    assert_eq!(answer.output, "Timeout (tcp tcpfin udp): 1 2 3\n");
    assert_eq!(state, FIRST);
}

#[test]
fn what_was_saved_is_restored() {
    let saved = "-A -t 10.0.0.1:80 -s wlc
-a -t 10.0.0.1:80 -r 10.0.0.5:80 -g -w 1
-a -t 10.0.0.1:80 -r 10.0.0.6:80 -g -w 2147483647
-A -u 10.0.0.1:53 -s wrr
";
    let (answer, state) = restored(saved);
    assert_eq!((answer.code, state.as_str()), (0, saved));
}
