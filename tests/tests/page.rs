//! The status page in a real browser, and the documents it is made of.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use lbxdp_tests::browser::{Browser, ENTER, TAB};
use lbxdp_tests::http::{ECHO_PORT, HTTP_PORT};
use lbxdp_tests::service::offer;
use lbxdp_tests::{Client, Daemon, Lab, Plan, daemon};
use serde_json::Value;

/// Where the daemon serves, in the director's namespace.
const ADDRESS: &str = "127.0.0.1:9812";
/// Set where there is no chromium to be had.
const NO_BROWSER: &str = "LBXDP_NO_BROWSER";
/// A directory that pictures are left in, for people to look at.
const PICTURES: &str = "LBXDP_PICTURES";

/// A director with something of everything: services that work, one without a server, a server nobody has seen.
fn begin() -> Result<(Lab, Daemon)> {
    let lab = Lab::build(Plan::default())?;
    let arguments = ["--metrics", ADDRESS];
    let daemon =
        Daemon::start(&daemon::binary()?, &lab.director, &lab.instance(), lab.interfaces(), &arguments)?;
    offer(&lab, &daemon, "-t", HTTP_PORT, "wlc", &[2, 1])?;
    offer(&lab, &daemon, "-u", ECHO_PORT, "rr", &[1, 1])?;
    let lost = lab.service(81);
    for line in [
        format!("-A -t {lost} -s rr"),
        format!("-a -t {lost} -r 10.0.0.99 -g"),
        format!("-A -u {} -s rr -p 60", lab.service(9)),
        "-A -t [2001:db8::1:0]:443 -s mh -b mh-port".into(),
        "-a -t [2001:db8::1:0]:443 -r [2001:db8::11]:443 -i -w 5".into(),
    ] {
        daemon.must(&line)?;
    }
    Ok((lab, daemon))
}

fn document(lab: &Lab, name: &str) -> Result<Value> {
    let path = format!("/api/v1/{name}");
    let answer = Client::new(&lab.director).get(ADDRESS.parse::<SocketAddr>()?, &path)?;
    serde_json::from_slice(&answer).with_context(|| format!("{path} is no JSON"))
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn the_documents_are_those_of_the_lists_and_of_the_status() -> Result<()> {
    let (lab, daemon) = begin()?;
    lab.client().datagram(lab.service(ECHO_PORT), b"x")?;
    for (kind, name) in [("service", "services"), ("server", "servers")] {
        let mut listed: Value =
            serde_json::from_str(&daemon_says(&daemon, &[kind, "list", "--json"])?).context("a list")?;
        let mut served = document(&lab, name)?;
        // Averages move on.
        for list in [&mut listed, &mut served] {
            still(list);
        }
        assert_eq!(served, listed);
    }
    let status = document(&lab, "status")?;
    assert_eq!((&status["version"], &status["instance"]), (&1.into(), &lab.instance().into()));
    assert_eq!(
        (&status["interfaces"][0]["name"], &status["interfaces"][0]["mode"]),
        (&"eth0".into(), &"native".into())
    );
    assert!(status["interfaces"][0]["program"].as_u64().is_some_and(|program| program > 0), "{status}");
    let hops = status["next_hops"].as_array().context("next hops")?;
    let state =
        |server: &str| hops.iter().find(|hop| hop["server"] == server).map(|hop| hop["state"].clone());
    assert_eq!(state("10.0.0.11"), Some("up".into()));
    assert_eq!(state("10.0.0.99"), Some("unknown".into()));
    assert_eq!(status["counters"]["in_packets"], 1);
    assert_eq!(status["tables"][0]["connections"], 1);
    let reasons = document(&lab, "reasons")?;
    let reasons = reasons["reasons"].as_array().context("reasons")?.clone();
    let no_server = reasons.iter().find(|reason| reason["reason"] == "no_server").context("no_server")?;
    assert_eq!((&no_server["fate"], &no_server["packets"]), (&"drop".into(), &0.into()));
    Ok(())
}

fn daemon_says(daemon: &Daemon, arguments: &[&str]) -> Result<String> {
    let mut command = std::process::Command::new(daemon::binary()?);
    let output = command.args(arguments).args(["--instance", daemon.instance()]).output()?;
    ensure!(output.status.success(), "{output:?}");
    Ok(String::from_utf8(output.stdout)?)
}

/// Takes rates out, wherever they stand.
fn still(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.remove("rates");
            object.values_mut().for_each(still);
        }
        Value::Array(values) => values.iter_mut().for_each(still),
        _ => {}
    }
}

/// The words of the row of a service or server, by what it begins with.
fn cell(begins: &str, place: u32) -> String {
    format!(
        "(Array.from(document.querySelectorAll('#services tr')).find((row) => row.innerText.trim().startsWith('{begins}'))\
         ?.children[{place}].innerText ?? '').trim()"
    )
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn the_page_shows_what_happens_without_a_mouse() -> Result<()> {
    if std::env::var_os(NO_BROWSER).is_some() {
        println!("left out: there is no chromium here");
        return Ok(());
    }
    let (lab, _daemon) = begin()?;
    let files = std::env::temp_dir().join(format!("{}-browser", lab.instance()));
    let mut browser = Browser::open(&lab.director, files, &format!("http://{ADDRESS}/"))?;
    browser.wait_for("document.querySelectorAll('tr.service').length === 5")?;
    browser.wait_for(&format!("document.querySelector('#instance').innerText === '{}'", lab.instance()))?;
    for (service, state) in [
        ("tcp/10.0.0.100:80", "2 of 2 usable"),
        ("tcp/10.0.0.100:81", "0 of 1 usable"),
        ("udp/10.0.0.100:9", "no servers"),
    ] {
        browser.wait_for(&format!("{} === '{state}'", cell(service, 1)))?;
    }
    browser
        .wait_for("document.querySelector('#warnings').innerText.includes('no way to server 10.0.0.99')")?;
    browser.wait_for("document.querySelector('#state').innerText.includes('looked after')")?;
    // Numbers follow, by themselves.
    for _ in 0..7 {
        lab.client().datagram(lab.service(ECHO_PORT), b"x")?;
    }
    let talk = lab.client().with_deadline(std::time::Duration::from_millis(50)).talk(lab.service(9))?;
    assert!(talk.ask(b"is anybody there?").is_err());
    browser.wait_for(&format!("{} === '7'", cell("udp/10.0.0.100:7", 9)))?;
    browser.wait_for("document.querySelector('#reasons').innerText.includes('no_server')")?;
    browser.wait_for("document.querySelectorAll('#charts svg polyline')[0].points.length > 2")?;
    // By the keyboard alone: to the button of a service, which opens it; and the focus stays there when numbers change.
    let mut is_there = false;
    for _ in 0..30 {
        browser.press(TAB)?;
        is_there = browser.evaluate("document.activeElement.innerText === 'udp/10.0.0.100:7'")? == true;
        if is_there {
            break;
        }
    }
    assert!(is_there, "no way to the services by the keyboard");
    browser.press(ENTER)?;
    browser.wait_for(&format!("{} === 'up, eth0'", cell("10.0.0.11:7", 1)))?;
    lab.client().datagram(lab.service(ECHO_PORT), b"x")?;
    browser.wait_for(&format!("{} === '8'", cell("udp/10.0.0.100:7", 9)))?;
    browser.wait_for(
        "document.activeElement.innerText === 'udp/10.0.0.100:7' && document.activeElement.ariaExpanded === 'true'",
    )?;
    pictures(&mut browser, &lab)?;
    // A filter is typed.
    browser.evaluate("document.querySelector('#pause').focus()")?;
    browser.press(TAB)?;
    browser.enter("udp")?;
    browser.wait_for("document.querySelectorAll('tr.service').length === 2")?;
    // Nothing from elsewhere, and nothing for the browser to complain of.
    let here = format!("http://{ADDRESS}/");
    let elsewhere: Vec<_> = browser.requests.iter().filter(|request| !request.starts_with(&here)).collect();
    assert!(elsewhere.is_empty(), "{elsewhere:?}");
    assert!(browser.complaints.is_empty(), "{:?}", browser.complaints);
    Ok(())
}

/// On screens wide and narrow, light and dark: nothing may stick out.
fn pictures(browser: &mut Browser, lab: &Lab) -> Result<()> {
    let kept = std::env::var_os(PICTURES).map(PathBuf::from);
    for (name, width, height, colours) in
        [("wide", 1280, 1300, "light"), ("dark", 1280, 1300, "dark"), ("narrow", 360, 1500, "light")]
    {
        browser.look_like(width, height, colours)?;
        browser.wait_for(&format!("window.innerWidth === {width}"))?;
        browser.wait_for("document.documentElement.scrollWidth <= window.innerWidth")?;
        let back = browser.evaluate("getComputedStyle(document.body).backgroundColor")?;
        let is_dark = back == "rgb(18, 22, 28)";
        assert_eq!(is_dark, colours == "dark", "{back}");
        let file =
            kept.clone().unwrap_or_else(std::env::temp_dir).join(format!("{}-{name}.png", lab.instance()));
        let bytes = browser.take_picture(&file);
        if kept.is_none() {
            let _ = std::fs::remove_file(&file);
        }
        assert!(bytes? > 10_000, "an empty picture");
    }
    Ok(())
}
