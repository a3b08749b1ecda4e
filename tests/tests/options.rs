//! Options of services, thresholds and marks against a real daemon: they are kept, whatever happens to the daemon.

use anyhow::Result;
use lbxdp_tests::service::status;
use lbxdp_tests::{Daemon, Lab, Plan, daemon};
use nix::sys::signal::Signal;

/// In ipvsadm's order, and as it writes them: a mark above 2^31 - 1 counts as negative.
const SERVICES: &str = "\
-A -f -1 -s wlc
-A -t 10.0.0.2:0 -s wlc -p 360
-a -t 10.0.0.2:0 -r 127.0.0.1:0 -g -w 1
-A -t 10.0.0.3:80 -s rr -p 60 -M 255.255.255.0
-a -t 10.0.0.3:80 -r 127.0.0.1:80 -g -w 2
-A -u 10.0.0.2:53 -s wrr -o -b flag-1,flag-3
-A -f 7 -s wlc -p 90 -M 255.0.0.0
-a -f 7 -r 127.0.0.1:8080 -g -w 0
";

const MARKS: &str = "\
7 --destination 10.0.0.0/24 --source 192.0.2.0/25 --protocol tcp --port 80
8 --destination 10.0.0.0/24 --interface eth0
9 --destination 10.0.0.0/24 --port 5000-5010
10 --destination 0.0.0.0/0
";

/// All that listings tell of the configuration.
fn shown(daemon: &Daemon) -> Result<[String; 4]> {
    let lines = ["-S -n", "-L -n", "-L -n --thresholds", "mark list"];
    let mut shown = lines.map(|_| String::new());
    for (shown, line) in shown.iter_mut().zip(lines) {
        *shown = daemon.must(line)?;
    }
    Ok(shown)
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn options_and_marks_outlive_the_daemon() -> Result<()> {
    let lab = Lab::build(Plan::default())?;
    let mut daemon = lab.start_daemon(&daemon::binary()?)?;
    let restored = daemon.ipvsadm_reading("-R", SERVICES)?;
    assert_eq!((restored.code, restored.stderr.as_str()), (Some(0), ""));
    daemon.must("-e -t 10.0.0.3:80 -r 127.0.0.1 -w 2 -x 9 -y 3")?;
    for rule in MARKS.lines().rev() {
        daemon.must(&format!("mark add {rule}"))?;
    }
    let before = shown(&daemon)?;
    assert_eq!((before[0].as_str(), before[3].as_str()), (SERVICES, MARKS));
    assert!(before[2].contains("  -> 127.0.0.1:80                 9          3          "), "{}", before[2]);
    for _ in 0..2 {
        daemon.end_by(Signal::SIGKILL)?;
        daemon.start_again(&lab.director, lab.interfaces(), &[])?;
        assert_eq!(shown(&daemon)?, before);
        assert!(!status(&daemon)?.contains("repaired"));
    }
    daemon.must("-C")?;
    assert_eq!(daemon.must("mark list")?, MARKS, "marks are not services");
    for rule in MARKS.lines() {
        daemon.must(&format!("mark delete {rule}"))?;
    }
    assert_eq!(daemon.must("mark list")?, "");
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn rules_that_are_refused_change_nothing() -> Result<()> {
    let lab = Lab::build(Plan::default())?;
    let daemon = lab.start_daemon(&daemon::binary()?)?;
    let rule = "7 --destination 10.0.0.0/24 --protocol tcp --port 80";
    daemon.must(&format!("mark add {rule}"))?;
    for (line, code, says) in [
        (format!("mark add {rule}"), 1, "the rule exists already"),
        (format!("mark add {}", rule.replace('7', "8")), 1, "contradicts one of the same packets for mark 7"),
        (format!("mark delete {}", rule.replace("80", "81")), 1, "there is no such rule"),
        ("mark add 7".to_owned(), 2, "--destination <PREFIX>"),
        (format!("mark add {}", rule.replace("10.0.0.0", "10.0.0.1")), 2, "write 10.0.0.0/24"),
    ] {
        let answer = daemon.ipvsadm(&line)?;
        assert_eq!((answer.code, answer.stdout.as_str()), (Some(code), ""), "{line}");
        assert!(answer.stderr.contains(says), "{line}: {}", answer.stderr);
    }
    assert_eq!(daemon.must("mark list")?, format!("{rule}\n"));
    Ok(())
}
