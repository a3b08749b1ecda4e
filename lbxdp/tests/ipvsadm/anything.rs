//! Arguments that make no sense: one clear line and an exit code, never a panic, and nothing is changed.

use proptest::prelude::*;

use crate::director::InMemory;
use crate::run::{Answer, run, run_line};

const OPTIONS: &[&str] = &[
    "-A",
    "-E",
    "-D",
    "-C",
    "-L",
    "-l",
    "-Z",
    "-a",
    "-e",
    "-d",
    "-R",
    "-S",
    "--set",
    "--start-daemon",
    "--stop-daemon",
    "-h",
    "-v",
    "-t",
    "-u",
    "--sctp-service",
    "-f",
    "-6",
    "-s",
    "-p",
    "-M",
    "-r",
    "-g",
    "-i",
    "-m",
    "-w",
    "-x",
    "-y",
    "-n",
    "-c",
    "--mcast-interface",
    "--timeout",
    "--daemon",
    "--stats",
    "--rate",
    "--thresholds",
    "--persistent-conn",
    "--nosort",
    "--sort",
    "-X",
    "--exact",
    "-o",
    "--pe",
    "-b",
    "--syncid",
    "--mcast-group",
    "--mcast-port",
    "--mcast-ttl",
    "--sync-maxlen",
    "--tun-info",
    "--tun-type",
    "--tun-port",
    "--tun-nocsum",
    "--tun-csum",
    "--tun-remcsum",
    "--list",
    "--weight=7",
    "-Lnc",
    "-p50",
    "--",
    "-",
    "--bogus",
    "-w=3",
    "-n=3",
];

const VALUES: &[&str] = &[
    "10.0.0.100:80",
    "10.0.0.100:0",
    "255.255.255.0",
    "sip",
    "flag-1",
    "10.0.0.1",
    "10.0.0.1:8080",
    "localhost:http",
    "[fd00::1]:80",
    "fd00::1",
    "rr",
    "wlc",
    "lc",
    "nosuch",
    "0",
    "1",
    "60",
    "2678400",
    "4294967296",
    "-1",
    "",
    "master",
    "gue",
    "sh-port",
    "224.0.0.81",
    "é\u{1}",
];

fn argument() -> impl Strategy<Value = String> {
    prop_oneof![
        5 => proptest::sample::select(OPTIONS).prop_map(str::to_owned),
        4 => proptest::sample::select(VALUES).prop_map(str::to_owned),
        1 => proptest::collection::vec(any::<u8>(), 0..12)
            .prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
    ]
}

/// A director with one service and one server.
fn director() -> InMemory {
    let mut director = InMemory::default();
    for line in ["-A -t 10.0.0.100:80 -s rr", "-a -t 10.0.0.100:80 -r 10.0.0.1"] {
        assert_eq!(run_line(&mut director, line).code, 0);
    }
    director
}

/// Success says nothing on stderr. Failure says one line there and none on stdout; ipvsadm adds an empty one once.
fn is_clear(answer: &Answer) -> bool {
    let lines = answer.errors.split_terminator('\n').filter(|line| !line.is_empty()).count();
    if answer.code == 0 { answer.errors.is_empty() } else { answer.output.is_empty() && lines == 1 }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn any_arguments_have_a_clear_answer(arguments in proptest::collection::vec(argument(), 0..8)) {
        let mut director = director();
        let before = director.state.clone();
        let answer = run(&mut director, &arguments, "");
        // A word of its own may hold line breaks; then so does the message that names it.
        prop_assume!(arguments.iter().all(|argument| !argument.contains('\n')));
        prop_assert!(is_clear(&answer), "{:?}: {:?}", arguments, answer);
        prop_assert!(answer.code == 0 || director.state == before, "{:?}", arguments);
    }

    #[test]
    fn a_likely_line_has_a_clear_answer(
        verb in proptest::sample::select(vec!["-A", "-E", "-D", "-a", "-e", "-d", "-L", "-Z"]),
        arguments in proptest::collection::vec(argument(), 0..5),
    ) {
        let mut director = director();
        let before = director.state.clone();
        let words = [verb, "-t", "10.0.0.100:80"].map(str::to_owned).into_iter().chain(arguments);
        let words: Vec<String> = words.filter(|word| !word.contains('\n')).collect();
        let answer = run(&mut director, &words, "");
        prop_assert!(is_clear(&answer), "{:?}: {:?}", words, answer);
        prop_assert!(answer.code == 0 || director.state == before, "{:?}", words);
    }
}
