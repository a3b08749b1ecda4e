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
    let group = "invalid IPv4 mcast-group `10.0.0.1'\n".to_owned();
    assert_eq!(between("--start-daemon master --mcast-group 10.0.0.1"), (2, group, false));
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
-A -t 10.0.0.2:0 -s wlc -p 360
-a -t 10.0.0.2:0 -r 10.0.0.5:0 -g -w 1
-A -t 10.0.0.3:80 -s rr -p 60 -M 255.255.255.0
-A -u 10.0.0.1:53 -s wrr -o -b flag-1,flag-3
-A -f 7 -s wlc -p 2678400 -M 0.0.0.0 -o
-a -f 7 -r 10.0.0.5:0 -g -w 1
-a -f 7 -r 10.0.0.6:8080 -g -w 1
";
    let (answer, state) = restored(saved);
    assert_eq!((answer.code, state.as_str()), (0, saved));
}

/// ipvsadm writes such a mark as -1, and does not read that again; ours does, in `-R` only.
#[test]
fn a_great_mark_is_restored_too() {
    let saved = "-A -f -2147483648 -6 -s wlc\n-A -f -1 -s wlc\n";
    let (answer, state) = restored(saved);
    assert_eq!((answer.code, state.as_str()), (0, saved));
    let mut director = InMemory::default();
    assert_eq!(run_line(&mut director, "-A -f 4294967295").code, 0);
    assert!(run_line(&mut director, "-L -n").output.ends_with("\nFWM  -1 wlc\n"));
    let negative = run_line(&mut director, "-D -f -1");
    assert_eq!((negative.code, negative.errors.as_str()), (2, "invalid fwmark value `-1' specified\n"));
    for line in ["-A -f -2147483649", "-A -f 0", "-A -f -0"] {
        assert_eq!(restored(line).0.code, 2, "{line}");
    }
}

/// As ipvsadm, which forgets thresholds so.
#[test]
fn thresholds_are_not_saved() {
    let mut director = InMemory::default();
    for line in ["-A -t 10.0.0.1:80", "-a -t 10.0.0.1:80 -r 10.0.0.5 -x 9 -y 3"] {
        assert_eq!(run_line(&mut director, line).code, 0);
    }
    let listed = run_line(&mut director, "-Ln --thresholds").output;
    assert!(
        listed.contains("  -> 10.0.0.5:80                  9          3          0          0"),
        "{listed}"
    );
    let saved = run_line(&mut director, "-Sn").output;
    assert_eq!(saved, "-A -t 10.0.0.1:80 -s wlc\n-a -t 10.0.0.1:80 -r 10.0.0.5:80 -g -w 1\n");
}

#[test]
fn services_by_mark_are_listed_zeroed_and_deleted_by_it() {
    let mut director = InMemory::default();
    for line in ["-A -f 7 -s rr", "-a -f 7 -r 10.0.0.5", "-A -f 8 -s rr", "-Z -f 7", "-D -f 8"] {
        assert_eq!(run_line(&mut director, line).code, 0, "{line}");
    }
    let one = run_line(&mut director, "-L -n -f 7").output;
    assert!(one.starts_with("Prot ") && one.contains("\nFWM  7 rr\n  -> 10.0.0.5:0   "), "{one}");
    for (line, code) in [("-L -n -f 8", 1), ("-Z -f 8", 255), ("-D -f 8", 255), ("-E -f 8", 255)] {
        let answer = run_line(&mut director, line);
        assert_eq!((answer.code, answer.errors.as_str()), (code, "No such service\n"), "{line}");
    }
}
