//! `ipvsadm-save` and `ipvsadm-restore`, as Debian's scripts answer.

use std::ffi::OsString;

use lbxdp::cli::scripts::{Run, Script};

use crate::director::InMemory;
use crate::run::{NamesOfTheMachine, run_line};

/// Exit code, output, errors.
type Answer = (u8, String, String);

fn run(
    director: &mut InMemory,
    work: impl FnOnce(&mut Run<'_, &mut InMemory, &mut Vec<u8>, &mut Vec<u8>>) -> u8,
) -> Answer {
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let mut script = Run { director, names: &NamesOfTheMachine, output: &mut output, errors: &mut errors };
    let code = work(&mut script);
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (code, text(output), text(errors))
}

fn saved(director: &mut InMemory, words: &[&str]) -> Answer {
    let words: Vec<OsString> = words.iter().map(OsString::from).collect();
    run(director, |script| script.save(&words))
}

fn restored(director: &mut InMemory, text: &str) -> Answer {
    run(director, |script| script.restore(text.as_bytes()))
}

#[test]
fn what_was_saved_is_restored_by_name_or_by_number() {
    let mut director = InMemory::default();
    let rules = "# rules\n-A -t 127.0.0.1:80 -s rr\n#-A -t 10.0.0.9:80\n-a -t 127.0.0.1:80 -r 10.0.0.5:80 -g -w 1\n\n";
    assert_eq!(restored(&mut director, rules), (0, String::new(), String::new()));
    let by_number = "-A -t 127.0.0.1:80 -s rr\n-a -t 127.0.0.1:80 -r 10.0.0.5:80 -g -w 1\n";
    let by_name = "-A -t localhost:http -s rr\n-a -t localhost:http -r 10.0.0.5:http -g -w 1\n";
    assert_eq!(saved(&mut director, &["-n"]), (0, by_number.to_owned(), String::new()));
    assert_eq!(saved(&mut director, &["-n", "all"]).1, by_number);
    assert_eq!(saved(&mut director, &[]).1, by_name);
    for text in [by_name, by_number] {
        assert_eq!(restored(&mut director, text).0, 0);
        assert_eq!(saved(&mut director, &["-n"]).1, by_number);
    }
}

#[test]
fn what_was_there_before_goes_first() {
    let mut director = InMemory::default();
    assert_eq!(run_line(&mut director, "-A -t 10.0.0.1:80").code, 0);
    let answer = restored(&mut director, "-A -t 10.0.0.2:80\n-A -t 10.0.0.2:80\n");
    assert_eq!(answer, (255, String::new(), "Service already exists\n".to_owned()));
    assert_eq!(saved(&mut director, &["-n"]).1, "-A -t 10.0.0.2:80 -s wlc\n");
    assert_eq!(restored(&mut director, "").0, 0);
    assert_eq!(saved(&mut director, &["-n"]).1, "");
}

#[test]
fn other_options_have_a_word_of_help() {
    let (code, output, errors) = saved(&mut InMemory::default(), &["-n", "--help"]);
    assert_eq!((code, output.as_str()), (1, ""));
    assert!(errors.starts_with("ipvsadm-save: Script to save the IPVS table to stdout.\n"), "{errors}");
    assert_eq!((Script::named("ipvsadm-save"), Script::named("ipvsadm")), (Some(Script::Save), None));
}
