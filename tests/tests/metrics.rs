//! Metrics by HTTP: what is shown is what was sent; what Prometheus's own tools say of it; limits.

#![expect(clippy::float_cmp, reason = "what is counted are whole numbers, and a float has these exactly")]

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, SocketAddrV4, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lbxdp::tables::pins::Instance;
use lbxdp::tables::{Mapped, Tables};
use lbxdp_tests::http::{ECHO_PORT, HTTP_PORT};
use lbxdp_tests::metrics::Page;
use lbxdp_tests::service::{offer, offer_by, status};
use lbxdp_tests::{Client, Daemon, Lab, Namespace, Plan, daemon, wait};
use serde_json::Value;

/// Where the daemon serves, in the director's namespace.
const ADDRESS: &str = "127.0.0.1:9812";
/// How long programs of others may take to start, and Prometheus to scrape.
const DEADLINE: Duration = Duration::from_secs(30);
const ALERTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/grafana/alerts.yml");
const DASHBOARD: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/grafana/dashboard.json");

fn start(lab: &Lab, arguments: &[&str]) -> Result<Daemon> {
    let arguments = [&["--metrics", ADDRESS], arguments].concat();
    Daemon::start(&daemon::binary()?, &lab.director, &lab.instance(), lab.interfaces(), &arguments)
}

/// Asks from the director's own namespace.
fn get(lab: &Lab, path: &str) -> Result<String> {
    let answer = Client::new(&lab.director).get(ADDRESS.parse::<SocketAddr>()?, path)?;
    String::from_utf8(answer).context("metrics that are no text")
}

fn scrape(lab: &Lab) -> Result<Page> {
    Page::read(&get(lab, "/metrics")?)
}

/// Sends a request as it is, and gives the whole answer.
fn raw(lab: &Lab, address: &str, request: &str) -> Result<String> {
    let mut stream = lab.director.inside(|| TcpStream::connect(address))??;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// The body of an answer, by HTTP/1.0: so it comes in one piece, whoever sends it.
fn fetch(lab: &Lab, address: &str, path: &str) -> Result<String> {
    let answer = raw(lab, address, &format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n"))?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an answer without an end of its head")?;
    ensure!(head.contains(" 200 "), "{path}: {head}\n{body}");
    Ok(body.into())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn what_is_counted_is_what_was_sent() -> Result<()> {
    let lab = Lab::build(Plan::default())?;
    let daemon = start(&lab, &[])?;
    offer(&lab, &daemon, "-u", ECHO_PORT, "rr", &[1, 1])?;
    offer(&lab, &daemon, "-t", HTTP_PORT, "rr", &[2, 1])?;
    daemon.must(&format!("-A -u {}", lab.service(9)))?;
    // The first scrape lets the director read the counters, the next ones read them beforehand.
    let before = scrape(&lab)?;
    let udp = [("service", "udp/10.0.0.100:7")];
    assert_eq!(before.value("lbxdp_service_incoming_packets_total", &udp)?, 0.0);
    for _ in 0..4 {
        let talk = lab.client().talk(lab.service(ECHO_PORT))?;
        for _ in 0..5 {
            talk.ask(&[b'x'; 100])?;
        }
    }
    let mut held = lab.client().open(lab.service(HTTP_PORT))?;
    held.get("/")?;
    // Nobody serves the one, and the other is no service at all.
    for port in [9, 99] {
        let talk = lab.client().with_deadline(Duration::from_millis(50)).talk(lab.service(port))?;
        assert!(talk.ask(b"who is there?").is_err());
    }
    let page = scrape(&lab)?;
    let value = |name: &str, labels: &[(&str, &str)]| page.value(name, labels);
    assert_eq!(value("lbxdp_service_connections_total", &udp)?, 4.0);
    assert_eq!(value("lbxdp_service_incoming_packets_total", &udp)?, 20.0);
    // 100 bytes, and the headers of UDP and IP.
    assert_eq!(value("lbxdp_service_incoming_bytes_total", &udp)?, 20.0 * 128.0);
    assert_eq!(value("lbxdp_service_inactive_connections", &udp)?, 4.0);
    for server in ["10.0.0.11:7", "10.0.0.12:7"] {
        let server = [udp[0], ("server", server)];
        assert_eq!(value("lbxdp_server_connections_total", &server)?, 2.0);
        assert_eq!(value("lbxdp_server_incoming_packets_total", &server)?, 10.0);
        assert_eq!(value("lbxdp_server_next_hop_up", &server)?, 1.0);
    }
    let tcp = [("service", "tcp/10.0.0.100:80")];
    assert_eq!(value("lbxdp_service_active_connections", &tcp)?, 1.0);
    assert_eq!(page.sum("lbxdp_server_weight", tcp[0]), 3.0);
    assert_eq!(value("lbxdp_service_usable_servers", &tcp)?, 2.0);
    assert_eq!(value("lbxdp_connections_total", &[])?, 5.0);
    assert_eq!(value("lbxdp_table_connections", &[("family", "ipv4")])?, 5.0);
    assert_eq!(value("lbxdp_packets_dropped_total", &[("reason", "no_server")])?, 1.0);
    assert_eq!(value("lbxdp_packets_passed_total", &[("reason", "no_service")])?, 1.0);
    assert_eq!(value("lbxdp_service_usable_servers", &[("service", "udp/10.0.0.100:9")])?, 0.0);
    let native = [("interface", "eth0"), ("mode", "native")];
    assert_eq!(value("lbxdp_interface_xdp_mode", &native)?, 1.0);
    assert!(value("lbxdp_interface_program_id", &[("interface", "eth0")])? > 0.0);
    // Three services and four servers.
    assert_eq!(value("lbxdp_configuration_generation", &[])?, 7.0);
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn counters_follow_what_ipvsadm_shows_whatever_happens_between_two_scrapes() -> Result<()> {
    let lab = Lab::build(Plan::default())?;
    let daemon = start(&lab, &[])?;
    offer(&lab, &daemon, "-u", ECHO_PORT, "rr", &[1, 1])?;
    let ask = |times: u32| {
        (0..times).try_for_each(|_| lab.client().datagram(lab.service(ECHO_PORT), b"x").map(drop))
    };
    let shown = || -> Result<[f64; 4]> {
        let (page, udp) = (scrape(&lab)?, ("service", "udp/10.0.0.100:7"));
        Ok([
            page.value("lbxdp_service_incoming_packets_total", &[udp])?,
            page.sum("lbxdp_server_incoming_packets_total", udp),
            page.value("lbxdp_incoming_packets_total", &[])?,
            page.value("lbxdp_service_servers", &[udp])?,
        ])
    };
    assert_eq!(shown()?, [0.0, 0.0, 0.0, 2.0]);
    ask(3)?;
    assert_eq!(shown()?, [3.0, 3.0, 3.0, 2.0]);
    daemon.must("-Z")?;
    assert_eq!(shown()?, [0.0, 0.0, 0.0, 2.0]);
    ask(2)?;
    assert_eq!(shown()?, [2.0, 2.0, 2.0, 2.0]);
    // Of a deleted server the service keeps what was counted.
    let server = lab.servers[0].address;
    daemon.must(&format!("-d -u {} -r {server}", lab.service(ECHO_PORT)))?;
    assert_eq!(shown()?, [2.0, 1.0, 2.0, 1.0]);
    offer_by(&lab, &daemon, "-g", "-t", HTTP_PORT, "rr", &[1, 1])?;
    assert_eq!(shown()?, [2.0, 1.0, 2.0, 1.0]);
    daemon.must("-C")?;
    let page = scrape(&lab)?;
    assert_eq!(page.value("lbxdp_incoming_packets_total", &[])?, 2.0);
    assert!(!page.samples.keys().any(|sample| sample.name == "lbxdp_service_info"));
    Ok(())
}

/// A program of others, which is ended when this is dropped.
struct Program(Child, PathBuf);

impl Program {
    fn start(namespace: &Namespace, program: &str, arguments: &[String], directory: PathBuf) -> Result<Self> {
        let log = fs::File::create(directory.join("log"))?;
        let mut command = namespace.command(program);
        command.args(arguments).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Ok(Self(command.spawn().with_context(|| format!("starting {program}"))?, directory))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.1.join("log")).unwrap_or_default()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // One that has ended is not there to be killed.
        let _ = self.0.kill();
        let _ = self.0.wait();
        let _ = fs::remove_dir_all(&self.1);
    }
}

fn directory(lab: &Lab, name: &str) -> Result<PathBuf> {
    let directory = std::env::temp_dir().join(format!("{}-{name}", lab.instance()));
    fs::create_dir_all(&directory)?;
    Ok(directory)
}

/// Prometheus on the director, which scrapes both pages each second and knows the alerts.
fn prometheus(lab: &Lab) -> Result<Program> {
    let directory = directory(lab, "prometheus")?;
    let config = format!(
        "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\n\
         rule_files: [\"{ALERTS}\"]\n\
         scrape_configs:\n\
         - {{job_name: lbxdp, static_configs: [{{targets: [\"{ADDRESS}\"]}}]}}\n\
         - {{job_name: ipvs, params: {{names: [node_ipvs]}}, static_configs: [{{targets: [\"{ADDRESS}\"]}}]}}\n"
    );
    let file = directory.join("prometheus.yml");
    fs::write(&file, config)?;
    let arguments = [
        format!("--config.file={}", file.display()),
        format!("--storage.tsdb.path={}", directory.join("data").display()),
        "--web.listen-address=127.0.0.1:9090".into(),
    ];
    Program::start(&lab.director, "prometheus", &arguments, directory)
}

/// What Prometheus's API answers.
fn ask_prometheus(lab: &Lab, path: &str) -> Result<Value> {
    let answer: Value =
        serde_json::from_str(&fetch(lab, "127.0.0.1:9090", path)?).context("Prometheus's answer")?;
    ensure!(answer["status"] == "success", "{path}: {answer}");
    Ok(answer["data"].clone())
}

/// What an expression is now: its only value, if it has just one.
fn query(lab: &Lab, expression: &str) -> Result<Option<f64>> {
    let data = ask_prometheus(lab, &format!("/api/v1/query?query={}", percent(expression)))?;
    let values = data["result"].as_array().context("a vector")?;
    let [only] = &values[..] else { return Ok(None) };
    Ok(only["value"][1].as_str().and_then(|value| value.parse().ok()))
}

/// A text for the query of an address.
fn percent(text: &str) -> String {
    let escape = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'_' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(escape).collect()
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_real_prometheus_scrapes_and_answers() -> Result<()> {
    let lab = Lab::build(Plan::default())?;
    let daemon = start(&lab, &[])?;
    offer(&lab, &daemon, "-u", ECHO_PORT, "rr", &[1, 0])?;
    let prometheus = prometheus(&lab)?;
    for _ in 0..3 {
        lab.client().datagram(lab.service(ECHO_PORT), b"x")?;
    }
    let expect = |expression: &str, value: f64| {
        wait::until(&format!("{expression} is {value}"), DEADLINE, || {
            query(&lab, expression).is_ok_and(|found| found == Some(value))
        })
        .with_context(|| {
            format!("it is {:?}; Prometheus says:\n{}", query(&lab, expression), prometheus.log())
        })
    };
    let server = "service=\"udp/10.0.0.100:7\",server=\"10.0.0.11:7\"";
    expect(&format!("lbxdp_server_incoming_packets_total{{job=\"lbxdp\",{server}}}"), 3.0)?;
    expect("sum(node_ipvs_incoming_packets_total{job=\"ipvs\"})", 3.0)?;
    expect("node_ipvs_backend_weight{remote_address=\"10.0.0.11\",remote_port=\"7\",proto=\"UDP\"}", 1.0)?;
    expect("sum(up)", 2.0)?;
    // Every line of the page has become a series.
    let series = u32::try_from(scrape(&lab)?.samples.len())?;
    expect("count({job=\"lbxdp\",__name__=~\"lbxdp_.+\"})", f64::from(series))?;
    // An alert sees what it is made for.
    daemon.must(&format!("-e -u {} -r {} -g -w 0", lab.service(ECHO_PORT), lab.servers[0].address))?;
    expect("count(ALERTS{alertname=\"LbxdpServiceWithoutServer\",service=\"udp/10.0.0.100:7\"})", 1.0)?;
    let rules = ask_prometheus(&lab, "/api/v1/rules")?;
    let rules = rules["groups"][0]["rules"].as_array().context("rules")?.clone();
    assert!(!rules.is_empty() && rules.iter().all(|rule| rule["health"] == "ok"), "{rules:?}");
    // All that the dashboard asks for can be answered.
    let dashboard: Value = serde_json::from_str(&fs::read_to_string(DASHBOARD)?)?;
    let targets = dashboard["panels"].as_array().context("panels")?.iter();
    let targets = targets.filter_map(|panel| panel["targets"].as_array()).flatten();
    let mut asked = 0;
    for target in targets {
        let expression = target["expr"].as_str().context("an expression")?;
        let expression =
            expression.replace("$__rate_interval", "1m").replace("$instance", ".*").replace("$service", ".*");
        ask_prometheus(&lab, &format!("/api/v1/query?query={}", percent(&expression)))?;
        asked += 1;
    }
    assert!(asked > 20, "{asked}");
    Ok(())
}

fn promtool(arguments: &[&str], input: &str) -> Result<Output> {
    let mut child = Command::new("promtool")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("starting promtool")?;
    child.stdin.take().context("its input")?.write_all(input.as_bytes())?;
    Ok(child.wait_with_output()?)
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn promtool_finds_nothing_to_complain_of() -> Result<()> {
    let lab = Lab::build(Plan::default())?;
    let daemon = start(&lab, &["--metrics-servers", "1"])?;
    offer(&lab, &daemon, "-t", HTTP_PORT, "rr", &[1, 1])?;
    for path in ["/metrics", "/metrics?names=node_ipvs"] {
        let judged = promtool(&["check", "metrics"], &get(&lab, path)?)?;
        assert!(judged.status.success() && judged.stderr.is_empty(), "{path}: {judged:?}");
    }
    let judged = promtool(&["check", "rules", ALERTS], "")?;
    assert!(judged.status.success(), "{judged:?}");
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_real_node_exporter_says_the_same_of_the_same_tables() -> Result<()> {
    let lab = Lab::build(Plan::default())?;
    let daemon = start(&lab, &[])?;
    offer(&lab, &daemon, "-t", HTTP_PORT, "wlc", &[3, 1])?;
    offer(&lab, &daemon, "-u", ECHO_PORT, "rr", &[1, 2])?;
    for line in [
        "-A -f 171 -s rr",
        "-a -f 171 -r 10.0.0.11 -g -w 7",
        "-A -t [2001:db8::1:0]:443 -s rr",
        "-a -t [2001:db8::1:0]:443 -r [fd00::a:0:0:11]:443 -g -w 4",
    ] {
        daemon.must(line)?;
    }
    let mut held = lab.client().open(lab.service(HTTP_PORT))?;
    held.get("/")?;
    lab.client().datagram(lab.service(ECHO_PORT), b"x")?;
    // It reads files, which say what the kernel's IPVS would.
    let directory = directory(&lab, "node-exporter")?;
    fs::create_dir_all(directory.join("net"))?;
    for file in ["ip_vs", "ip_vs_stats"] {
        let said =
            Command::new(daemon::binary()?).args(["proc", file, "--instance", daemon.instance()]).output()?;
        ensure!(said.status.success(), "{said:?}");
        fs::write(directory.join("net").join(file), said.stdout)?;
    }
    let arguments = [
        format!("--path.procfs={}", directory.display()),
        "--collector.disable-defaults".into(),
        "--collector.ipvs".into(),
        "--web.listen-address=127.0.0.1:9100".into(),
    ];
    let exporter = Program::start(&lab.director, "prometheus-node-exporter", &arguments, directory)?;
    let theirs = wait::until_some("node_exporter answers", DEADLINE, || {
        let text = fetch(&lab, "127.0.0.1:9100", "/metrics").ok()?;
        let lines = text.lines().filter(|line| line.contains("node_ipvs_"));
        Page::read(&lines.collect::<Vec<_>>().join("\n")).ok().filter(|page| !page.samples.is_empty())
    });
    let theirs = theirs.with_context(|| exporter.log())?;
    assert_eq!(Page::read(&get(&lab, "/metrics?names=node_ipvs")?)?, theirs);
    // Five totals, and three numbers of each of six servers.
    assert_eq!(theirs.samples.len(), 5 + 3 * 6);
    Ok(())
}

/// So many services, each with as many servers.
fn many(services: u32, servers: u32) -> String {
    let mut lines = Vec::new();
    for service in 0..services {
        let vip = format!("10.9.{}.{}:80", service / 256, service % 256);
        lines.push(format!("-A -t {vip} -s wlc\n"));
        lines.extend((11..11 + servers).map(|last| format!("-a -t {vip} -r 10.0.0.{last}:80 -g -w 1\n")));
    }
    lines.concat()
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_thousand_services_are_scraped_whole_and_it_disturbs_neither_packets_nor_commands() -> Result<()> {
    /// Questions that are asked meanwhile, at least, and scrapes.
    const LEAST: u32 = 500;
    let lab = Lab::build(Plan::default())?;
    let daemon = start(&lab, &[])?;
    offer(&lab, &daemon, "-u", ECHO_PORT, "rr", &[1, 1])?;
    let restored = daemon.ipvsadm_reading("-R", &many(1000, 10))?;
    assert_eq!(restored.code, Some(0), "{}", restored.stderr);
    let page = scrape(&lab)?;
    let servers = page.samples.keys().filter(|sample| sample.name == "lbxdp_server_weight").count();
    assert_eq!(servers, 10_002);
    // Others scrape without a pause, while somebody asks and somebody changes weights.
    let (stop, scrapes) = (AtomicBool::new(false), AtomicU32::new(0));
    let asked = std::thread::scope(|scope| {
        let scraper = scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                let page = scrape(&lab)?;
                ensure!(page.samples.len() > 10_000 * 11, "{} samples", page.samples.len());
                scrapes.fetch_add(1, Ordering::Relaxed);
            }
            anyhow::Ok(())
        });
        let asked = ask_and_change(&lab, &daemon, LEAST, || scrapes.load(Ordering::Relaxed) >= 5);
        stop.store(true, Ordering::Relaxed);
        scraper.join().map_err(|_| anyhow::anyhow!("the scraper panicked"))??;
        asked
    })?;
    let page = scrape(&lab)?;
    let udp = [("service", "udp/10.0.0.100:7")];
    let packets = page.value("lbxdp_service_incoming_packets_total", &udp)?;
    assert_eq!(packets, f64::from(asked), "each question is counted once");
    assert_eq!(page.sum("lbxdp_server_incoming_packets_total", udp[0]), f64::from(asked));
    assert_eq!(page.value("lbxdp_service_connections_total", &udp)?, 1.0);
    Ok(())
}

/// Asks so many questions at least, each of which must be answered, with a command after each hundred, until there is enough. How
/// many there were.
fn ask_and_change(lab: &Lab, daemon: &Daemon, least: u32, is_enough: impl Fn() -> bool) -> Result<u32> {
    let talk = lab.client().talk(lab.service(ECHO_PORT))?;
    let mut asked = 0;
    while asked < least || !is_enough() {
        talk.ask(b"still there?").with_context(|| format!("question {asked}"))?;
        asked += 1;
        if asked % 100 == 0 {
            let weight = asked / 100;
            daemon.must(&format!("-e -t 10.9.0.0:80 -r 10.0.0.11:80 -g -w {weight}"))?;
            assert!(daemon.must("-L -n -t 10.9.0.0:80")?.contains(&format!("Route   {weight} ")));
        }
    }
    Ok(asked)
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_scrape_writes_to_no_table() -> Result<()> {
    let lab = Lab::build(Plan::default())?;
    let daemon = start(&lab, &["--connections", "1000"])?;
    offer(&lab, &daemon, "-u", ECHO_PORT, "rr", &[1, 1])?;
    offer(&lab, &daemon, "-t", HTTP_PORT, "wlc", &[2, 1])?;
    let mut held = lab.client().open(lab.service(HTTP_PORT))?;
    held.get("/")?;
    for _ in 0..10 {
        lab.client().datagram(lab.service(ECHO_PORT), b"x")?;
    }
    let instance: Instance = daemon.instance().parse()?;
    let tables = Tables::open(&instance.map_pins())?;
    let before = contents(&tables)?;
    let words: usize = before.iter().flat_map(|(_, cells)| cells).filter(|cell| **cell != 0).count();
    assert!(words > 100, "there is something to be changed: {words}");
    for path in
        ["/metrics", "/metrics?names=node_ipvs", "/api/v1/services", "/api/v1/status", "/api/v1/reasons"]
    {
        for _ in 0..10 {
            get(&lab, path)?;
        }
    }
    for ((name, before), (_, after)) in before.iter().zip(&contents(&tables)?) {
        assert!(before == after, "table {name} was written to");
    }
    // A packet is a change: so it would be seen.
    lab.client().datagram(lab.service(ECHO_PORT), b"x")?;
    assert!(before != contents(&tables)?);
    Ok(())
}

/// All that the tables in memory hold, by their names, and what is counted.
fn contents(tables: &Tables) -> Result<Vec<(&'static str, Vec<u64>)>> {
    let cells = |table: &Mapped| -> Vec<u64> {
        let rows = (0..table.rows()).filter_map(|row| table.row(row));
        rows.flatten().map(|cell| cell.load(Ordering::Relaxed)).collect()
    };
    let mut contents: Vec<_> = [
        ("settings", &tables.SETTINGS),
        ("vips", &tables.VIPS),
        ("sources", &tables.SOURCES),
        ("connections", &tables.CONNECTIONS),
        ("connections_v6", &tables.CONNECTIONS_V6),
        ("servers", &tables.SERVERS),
        ("loads", &tables.LOADS),
        ("services", &tables.SERVICES),
        ("turns", &tables.TURNS),
        ("members", &tables.MEMBERS),
        ("server_bases", &tables.SERVER_BASES),
        ("service_bases", &tables.SERVICE_BASES),
        ("pressure", &tables.PRESSURE),
        ("limits", &tables.LIMITS),
    ]
    .into_iter()
    .map(|(name, table)| (name, cells(table)))
    .collect();
    contents.push(("reasons", tables.reason_counts()?));
    let counted = tables.counted_by_cpu(0, 100)?;
    contents.push((
        "counters",
        counted.iter().flat_map(|cpu| [cpu.packets, cpu.bytes, cpu.connections]).collect(),
    ));
    Ok(contents)
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn an_address_in_use_ends_the_start_with_a_line_before_anything_is_done() -> Result<()> {
    let lab = Lab::build(Plan::default())?;
    let _taken = lab.director.inside(|| std::net::TcpListener::bind(ADDRESS))??;
    let mut command = lab.director.command(daemon::binary()?);
    command.args(["run", "--instance", &lab.instance(), "-i", lab.interfaces()[0], "--metrics", ADDRESS]);
    let output = command.output()?;
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8(output.stderr)?;
    assert_eq!(said, "lbxdp: cannot serve metrics at 127.0.0.1:9812: Address already in use (os error 98)\n");
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn it_is_read_only_and_says_so() -> Result<()> {
    let lab = Lab::build(Plan::default())?;
    let _daemon = start(&lab, &[])?;
    let ask = |line: &str| {
        raw(&lab, ADDRESS, &format!("{line} HTTP/1.1\r\nHost: {ADDRESS}\r\nConnection: close\r\n\r\n"))
    };
    for path in ["/metrics", "/", "/nowhere"] {
        for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"] {
            let answer = ask(&format!("{method} {path}"))?;
            assert!(
                answer.starts_with("HTTP/1.1 405 ") && answer.contains("allow: GET, HEAD\r\n"),
                "{answer}"
            );
        }
    }
    let answer = ask("GET /metrics")?;
    for header in [
        "content-type: text/plain; version=0.0.4; charset=utf-8",
        "x-content-type-options: nosniff",
        "cache-control: no-store",
        "content-security-policy: default-src 'none'",
    ] {
        assert!(answer.contains(header), "{header} is not in {answer}");
    }
    assert!(ask("GET /<script>")?.starts_with("HTTP/1.1 400 "));
    let nowhere = ask("GET /elsewhere?what=ever")?;
    assert!(nowhere.starts_with("HTTP/1.1 404 ") && !nowhere.contains("elsewhere"), "{nowhere}");
    let other = ask("GET /metrics?names=else")?;
    assert!(other.starts_with("HTTP/1.1 400 ") && !other.contains("else\r"), "{other}");
    let head = ask("HEAD /metrics")?;
    assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
    let long = raw(
        &lab,
        ADDRESS,
        &format!("GET /metrics HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(20_000)),
    )?;
    assert!(long.starts_with("HTTP/1.1 431 "), "{long}");
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn it_is_asked_for_by_its_own_names_alone() -> Result<()> {
    let lab = Lab::build(Plan::default())?;
    let _daemon = start(&lab, &["--metrics-host", "lb.example.org"])?;
    let own = fs::read_to_string("/proc/sys/kernel/hostname")?;
    let ask = |host: &str, path: &str| {
        raw(&lab, ADDRESS, &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"))
    };
    for host in [ADDRESS, "localhost:9812", "lb.example.org", own.trim()] {
        assert!(ask(host, "/metrics")?.starts_with("HTTP/1.1 200 "), "{host}");
    }
    for path in ["/", "/metrics", "/api/v1/services", "/nowhere"] {
        let answer = ask("evil.example:9812", path)?;
        assert!(answer.starts_with("HTTP/1.1 421 ") && !answer.contains("lbxdp_"), "{path}: {answer}");
    }
    // An address in full may not say another name.
    assert!(ask(ADDRESS, "http://evil.example/metrics")?.starts_with("HTTP/1.1 421 "));
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn clients_that_say_nothing_lose_their_places() -> Result<()> {
    let lab = Lab::build(Plan::default())?;
    let daemon = start(&lab, &[])?;
    let idle = (0..100)
        .map(|_| Ok(lab.director.inside(|| TcpStream::connect(ADDRESS))??))
        .collect::<Result<Vec<TcpStream>>>()?;
    let client = Client::new(&lab.director).with_deadline(DEADLINE);
    let text = client.get(ADDRESS.parse::<SocketAddrV4>()?, "/metrics")?;
    assert!(text.starts_with(b"# HELP lbxdp_"));
    assert!(status(&daemon)?.contains("native XDP"));
    drop(idle);
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn many_who_scrape_at_once_are_all_answered_and_so_is_who_comes_after_one_that_does_not_read() -> Result<()> {
    let lab = Lab::build(Plan::default())?;
    let daemon = start(&lab, &[])?;
    let restored = daemon.ipvsadm_reading("-R", &many(300, 10))?;
    assert_eq!(restored.code, Some(0), "{}", restored.stderr);
    // Its answer is far more than the kernel takes for it.
    let mut lazy = lab.director.inside(|| TcpStream::connect(ADDRESS))??;
    lazy.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
    lazy.read_exact(&mut [0; 9])?;
    let lengths = std::thread::scope(|scope| {
        let scrapers: Vec<_> = (0..40).map(|_| scope.spawn(|| fetch(&lab, ADDRESS, "/metrics"))).collect();
        let lengths = scrapers.into_iter().map(|scraper| {
            let text = scraper.join().map_err(|_| anyhow::anyhow!("a scraper panicked"))??;
            Ok(Page::read(&text)?.samples.len())
        });
        lengths.collect::<Result<Vec<_>>>()
    })?;
    assert!(lengths.iter().all(|length| *length == lengths[0] && *length > 300 * 10 * 11), "{lengths:?}");
    drop(lazy);
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn it_is_served_by_ipv6_and_only_if_asked_for() -> Result<()> {
    let lab = Lab::build(Plan::default())?;
    let arguments = ["--metrics", "[::1]:9812"];
    let mut daemon =
        Daemon::start(&daemon::binary()?, &lab.director, &lab.instance(), lab.interfaces(), &arguments)?;
    let address: SocketAddr = "[::1]:9812".parse()?;
    assert!(Client::new(&lab.director).get(address, "/metrics")?.starts_with(b"# HELP"));
    assert!(get(&lab, "/metrics").is_err(), "by IPv4 nobody listens");
    // The next daemon takes over, and has the address at once.
    daemon.end_by(nix::sys::signal::Signal::SIGKILL)?;
    daemon.start_again(&lab.director, lab.interfaces(), &arguments)?;
    assert!(Client::new(&lab.director).get(address, "/metrics")?.starts_with(b"# HELP"));
    daemon.end_by(nix::sys::signal::Signal::SIGKILL)?;
    daemon.start_again(&lab.director, lab.interfaces(), &[])?;
    assert!(Client::new(&lab.director).get(address, "/metrics").is_err(), "nobody asked for it");
    Ok(())
}
