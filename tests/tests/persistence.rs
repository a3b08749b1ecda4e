//! Persistent services with real connections: who is kept together, for how long, and what a template outlives.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lbxdp::tables::Tables;
use lbxdp::tables::pins::Instance;
use lbxdp_common::settings::SettingsView;
use lbxdp_tests::client::is_refused;
use lbxdp_tests::fill::Filler;
use lbxdp_tests::recorded::{CLIENT, Net, further_clients, server, vip};
use lbxdp_tests::service::{Listed, connections, load, numbers, status};
use lbxdp_tests::table::tcp_key;
use lbxdp_tests::wait;
use nix::sys::signal::Signal;

const SOON: Duration = Duration::from_secs(10);
const PORT: u16 = 9801;
const OTHER_PORT: u16 = 9802;
/// Clients of other networks of 16 addresses each than the usual one.
const SECOND: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 20);
const THIRD: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 40);

/// The templates there are.
fn templates(net: &Net) -> Result<Vec<Listed>> {
    Ok(connections(&net.daemon)?.into_iter().filter(|listed| listed.client.port() == 0).collect())
}

/// The only template there is.
fn template(net: &Net) -> Result<Listed> {
    let mut all = templates(net)?;
    ensure!(all.len() == 1, "one template was expected: {all:?}");
    Ok(all.remove(0))
}

fn serve(options: &str) -> Result<(Net, SocketAddrV4)> {
    let (net, to) = (Net::build()?, vip(PORT));
    net.offer(&format!("-t {to}"), options, &[1, 1, 1])?;
    Ok((net, to))
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_client_keeps_its_server_and_the_scheduler_is_asked_once_for_each() -> Result<()> {
    let (net, to) = serve("-s rr -p 60")?;
    for (client, expected) in [(CLIENT, "333"), (SECOND, "222"), (THIRD, "111"), (CLIENT, "333")] {
        assert_eq!(net.run(client, to, 3)?, expected, "{client}");
    }
    for (number, inactive) in [(1, 3), (2, 3), (3, 6)] {
        let name = SocketAddrV4::new(server(number), PORT);
        // Weight, PersistConn, ActiveConn, InActConn; and in the plain listing templates are in neither count.
        assert_eq!(
            numbers(&net.daemon, "-L -n --persistent-conn", &name.to_string())?,
            [1, 1, 0, inactive.into()]
        );
        assert_eq!(load(&net.daemon, name)?, (0, inactive));
    }
    assert_eq!(
        numbers(&net.daemon, "-L -n --stats --exact", &to.to_string())?[0],
        12,
        "templates are no connections"
    );
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_netmask_keeps_networks_together() -> Result<()> {
    let (net, to) = serve("-s rr -p 60 -M 255.255.255.240")?;
    let last = |last| Ipv4Addr::new(10, 0, 0, last);
    let went: Vec<char> = [10, 20, 31, 32, 43, 20]
        .map(|client| net.who(last(client), to))
        .into_iter()
        .collect::<Result<_>>()?;
    assert_eq!(went, ['3', '2', '2', '1', '1', '2']);
    let mut networks: Vec<_> = templates(&net)?.into_iter().map(|template| template.client).collect();
    networks.sort();
    assert_eq!(networks, [0, 16, 32].map(|network| SocketAddrV4::new(last(network), 0)));
    // Another netmask makes other templates.
    net.must(&format!("-E -t {to} -s rr -p 60 -M 255.255.255.0"))?;
    let went: Vec<char> = further_clients().map(|client| net.who(client, to)).collect::<Result<_>>()?;
    ensure!(went.iter().all(|server| *server == went[0]), "{went:?}");
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn all_ports_of_a_port_0_service_share_a_template_but_not_with_udp() -> Result<()> {
    let net = Net::build()?;
    for option in ["-t", "-u"] {
        net.offer(&format!("{option} {}", vip(0)), "-s rr -p 60", &[1, 1, 1])?;
    }
    // TCP's turn goes on; UDP has one of its own.
    net.who(THIRD, vip(80))?;
    for port in [PORT, OTHER_PORT, 80, PORT] {
        assert_eq!(net.who(CLIENT, vip(port))?, '2', "{port}");
    }
    assert_eq!(net.who(SECOND, vip(OTHER_PORT))?, '1');
    assert_eq!(net.who_answers(CLIENT, vip(9999))?, '3');
    assert_eq!(net.who_answers(CLIENT, vip(9998))?, '3');
    let mut of_client: Vec<_> =
        templates(&net)?.into_iter().filter(|template| *template.client.ip() == CLIENT).collect();
    of_client.sort_by_key(|template| template.protocol.clone());
    let ends: Vec<_> = of_client.iter().map(|one| (one.protocol.as_str(), one.service, one.server)).collect();
    let all_ports = |number| SocketAddrV4::new(server(number), 0);
    assert_eq!(ends, [("TCP", vip(0), all_ports(2)), ("UDP", vip(0), all_ports(3))]);
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn data_connections_of_ftp_follow_their_control_connection() -> Result<()> {
    const DATA: [u16; 2] = [5000, 40_000];
    let net = Net::build()?;
    net.offer(&format!("-t {}", vip(21)), "-s rr -p 60", &[1, 1, 1])?;
    for (client, expected) in [(CLIENT, '3'), (SECOND, '2'), (CLIENT, '3')] {
        let (control, served_by) = net.open_from(client, vip(21))?;
        assert_eq!(served_by, expected);
        for port in DATA {
            assert_eq!(net.who(client, vip(port))?, expected, "{port}");
        }
        control.close()?;
    }
    // Also when the data connection comes first; but no port is data's below 1024.
    assert_eq!(net.who(THIRD, vip(DATA[0]))?, '1');
    assert_eq!(net.who(THIRD, vip(21))?, '1');
    ensure!(net.who(CLIENT, vip(80)).is_err_and(|error| is_refused(&error)));
    let all = templates(&net)?;
    assert_eq!(all.len(), 3, "{all:?}");
    ensure!(all.iter().all(|template| template.service == vip(0) && template.server.port() == 0), "{all:?}");
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_mark_keeps_ports_and_addresses_together() -> Result<()> {
    let net = Net::build()?;
    let second_vip = Ipv4Addr::new(10, 0, 0, 120);
    let all = [80, 443].map(|port| [vip(port), SocketAddrV4::new(second_vip, port)]).concat();
    for to in &all {
        net.must(&format!("mark add 5 --destination {} --protocol tcp --port {}", to.ip(), to.port()))?;
    }
    net.offer("-f 5", "-s rr -p 60", &[1, 1, 1])?;
    for (client, expected) in [(CLIENT, '3'), (SECOND, '2'), (THIRD, '1'), (CLIENT, '3')] {
        for to in &all {
            assert_eq!(net.who(client, *to)?, expected, "{client} to {to}");
        }
    }
    let template =
        templates(&net)?.into_iter().find(|one| *one.client.ip() == CLIENT).context("a template")?;
    assert_eq!(template.protocol, "IP");
    assert_eq!(template.service, SocketAddrV4::new(Ipv4Addr::new(0, 0, 0, 5), 0));
    assert_eq!(template.server, SocketAddrV4::new(server(3), 0));
    ensure!(net.who(CLIENT, vip(PORT)).is_err_and(|error| is_refused(&error)), "another port has no mark");
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_template_without_connections_goes_when_its_time_is_over() -> Result<()> {
    let (net, to) = serve("-s rr -p 2")?;
    net.must("--set 0 1 0")?;
    assert_eq!(net.run(CLIENT, to, 3)?, "333");
    let expires_s = template(&net)?.expires_s;
    ensure!(expires_s <= 2, "{expires_s} s are left of 2");
    wait::until("its last second begins", SOON, || {
        template(&net).is_ok_and(|template| template.expires_s == 0)
    })?;
    assert_eq!(net.who(CLIENT, to)?, '3');
    ensure!(template(&net)?.expires_s >= 1, "a new connection begins its time anew");
    // The connections are over after 1 s in FIN_WAIT: nothing holds the template.
    wait::until("the template is gone", SOON, || templates(&net).is_ok_and(|all| all.is_empty()))?;
    assert_eq!(net.who(CLIENT, to)?, '2');
    wait::until("nothing is counted any more", SOON, || {
        let name = SocketAddrV4::new(server(3), PORT).to_string();
        numbers(&net.daemon, "-L -n --persistent-conn", &name).is_ok_and(|numbers| numbers == [1, 0, 0, 0])
    })
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_template_waits_a_minute_at_a_time_while_a_connection_of_it_lives() -> Result<()> {
    let (net, to) = serve("-s rr -p 1")?;
    net.must("--set 0 1 0")?;
    let (mut held, served_by) = net.open(to)?;
    assert_eq!(served_by, '3');
    // Longer than its second: then it waits, for 60 s.
    let waiting = wait::until_some("the template waits", SOON, || {
        template(&net).ok().filter(|template| template.expires_s > 1)
    })?;
    ensure!(waiting.expires_s <= 60, "{waiting:?}");
    assert_eq!(waiting.state, "ASSURED");
    assert_eq!(held.echo("still here")?, "still here");
    assert_eq!(net.run(CLIENT, to, 2)?, "33");
    // The minute remains its timeout: a new connection has restarted it, and the end of all connections does not shorten it.
    held.close()?;
    wait::until("only the template is left", SOON, || {
        connections(&net.daemon).is_ok_and(|all| all.len() == 1)
    })?;
    let left = template(&net)?;
    ensure!((40..=60).contains(&left.expires_s), "{left:?}");
    assert_eq!(net.who(CLIENT, to)?, '3');
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_template_holds_when_the_daemon_is_killed_and_when_the_next_takes_over() -> Result<()> {
    let (mut net, to) = serve("-s rr -p 60 -M 255.255.255.240")?;
    assert_eq!(net.run(CLIENT, to, 2)?, "33");
    net.daemon.end_by(Signal::SIGKILL)?;
    assert_eq!(net.run(CLIENT, to, 2)?, "33");
    assert_eq!(net.run(SECOND, to, 2)?, "22", "templates are made without a daemon, too");
    net.start_again()?;
    for (client, expected) in [(CLIENT, "33"), (SECOND, "22"), (THIRD, "11")] {
        assert_eq!(net.run(client, to, 2)?, expected, "{client}");
    }
    assert_eq!(templates(&net)?.len(), 3);
    for number in 1..=3 {
        let name = SocketAddrV4::new(server(number), PORT).to_string();
        assert_eq!(numbers(&net.daemon, "-L -n --persistent-conn", &name)?[1], 1, "{name}");
    }
    ensure!(!status(&net.daemon)?.contains("repaired"), "{}", status(&net.daemon)?);
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn an_edit_ends_persistence_and_begins_it_with_the_templates_that_are_left() -> Result<()> {
    let (net, to) = serve("-s rr -p 60")?;
    assert_eq!(net.run(CLIENT, to, 2)?, "33");
    net.must(&format!("-E -t {to} -s rr"))?;
    assert_eq!(net.run(CLIENT, to, 4)?, "2132");
    net.must(&format!("-E -t {to} -s rr -p 100"))?;
    assert_eq!(net.run(CLIENT, to, 2)?, "33");
    assert_eq!(net.run(SECOND, to, 2)?, "11");
    // A new timeout is for new templates.
    let expires = |client| -> Result<u32> {
        let template = templates(&net)?.into_iter().find(|template| *template.client.ip() == client);
        Ok(template.context("no template")?.expires_s)
    };
    ensure!((1..=60).contains(&expires(CLIENT)?) && (61..=100).contains(&expires(SECOND)?));
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_template_of_a_deleted_server_gives_way_unless_the_server_is_back_in_time() -> Result<()> {
    let (net, to) = serve("-s rr -p 60")?;
    assert_eq!((net.run(CLIENT, to, 2)?, net.run(SECOND, to, 2)?), ("33".into(), "22".into()));
    let (delete, add) = (format!("-d -t {to} -r"), format!("-a -t {to} -g -r"));
    net.must(&format!("{delete} {}", server(3)))?;
    net.must(&format!("{delete} {}", server(2)))?;
    assert_eq!(net.run(CLIENT, to, 2)?, "11");
    for number in [3, 2] {
        net.must(&format!("{add} {}", server(number)))?;
    }
    net.wait_for_servers()?;
    assert_eq!(net.run(CLIENT, to, 2)?, "11", "it has a new template");
    assert_eq!(net.run(SECOND, to, 2)?, "22", "it has come when its server was back");
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn templates_of_a_deleted_service_lead_again_when_it_is_back() -> Result<()> {
    let (net, to) = serve("-s rr -p 60")?;
    assert_eq!((net.run(CLIENT, to, 2)?, net.run(SECOND, to, 2)?), ("33".into(), "22".into()));
    net.must("-C")?;
    ensure!(net.who(CLIENT, to).is_err_and(|error| is_refused(&error)), "nobody serves");
    net.offer(&format!("-t {to}"), "-s rr -p 60", &[1, 1, 1])?;
    // The turn of rr begins anew, so who has no template gets server 3.
    for (client, expected) in [(SECOND, "22"), (CLIENT, "33"), (THIRD, "33")] {
        assert_eq!(net.run(client, to, 2)?, expected, "{client}");
    }
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn with_expire_nodest_conn_templates_end_with_their_server() -> Result<()> {
    let (net, to) = serve("-s rr -p 60")?;
    net.must("set expire_nodest_conn=1")?;
    assert_eq!((net.run(CLIENT, to, 2)?, net.run(SECOND, to, 2)?), ("33".into(), "22".into()));
    net.must(&format!("-d -t {to} -r {}", server(3)))?;
    let second_alone = |all: Vec<Listed>| all.iter().all(|template| *template.client.ip() == SECOND);
    wait::until("its templates are gone", SOON, || templates(&net).is_ok_and(second_alone))?;
    net.must(&format!("-a -t {to} -r {} -g", server(3)))?;
    net.wait_for_servers()?;
    assert_eq!((net.run(CLIENT, to, 2)?, net.run(SECOND, to, 2)?), ("11".into(), "22".into()));
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_template_does_not_care_for_weight_and_thresholds() -> Result<()> {
    let (net, to) = serve("-s rr -p 60")?;
    let edit = |options: &str| net.must(&format!("-e -t {to} -r {} -g {options}", server(3)));
    edit("-w 1 -x 1")?;
    let (_held, served_by) = net.open(to)?;
    assert_eq!(served_by, '3');
    assert_eq!(net.run(CLIENT, to, 2)?, "33", "beyond the threshold");
    edit("-w 0")?;
    assert_eq!(net.run(CLIENT, to, 2)?, "33", "quiescent");
    for (client, expected) in [(SECOND, "22"), (THIRD, "11"), (Ipv4Addr::new(10, 0, 0, 30), "22")] {
        assert_eq!(net.run(client, to, 2)?, expected, "{client}");
    }
    net.must("set expire_quiescent_template=1")?;
    let went = net.run(CLIENT, to, 2)?;
    assert_eq!(went, "11");
    edit("-w 1")?;
    assert_eq!(net.run(CLIENT, to, 2)?, went, "it has a new template");
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_full_table_keeps_clients_together_too() -> Result<()> {
    const EACH: usize = 6;
    let net = Net::build_with(&["--connections", "32"])?;
    let to = vip(PORT);
    net.offer(&format!("-t {to}"), "-s rr -p 60", &[1, 1, 1])?;
    let clients: Vec<Ipv4Addr> = further_clients().collect();
    let (mut held, mut served) = (Vec::new(), vec![String::new(); clients.len()]);
    for _ in 0..EACH {
        for (client, served) in clients.iter().zip(&mut served) {
            let (connection, server) = net.open_from(*client, to)?;
            held.push(connection);
            served.push(server);
        }
    }
    let listed = connections(&net.daemon)?.len();
    ensure!(listed < held.len(), "all of {} found room: {listed} entries", held.len());
    let mut servers = std::collections::BTreeSet::new();
    for (client, served) in clients.iter().zip(&served) {
        let first = &served[..1];
        ensure!(*served == first.repeat(EACH), "{client} went to {served}");
        servers.insert(first);
    }
    assert_eq!(servers.len(), 3, "{served:?}");
    for connection in &mut held {
        assert_eq!(connection.echo("still here")?, "still here");
    }
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_table_that_grows_loses_no_template() -> Result<()> {
    /// More than half of the places there are at first.
    const COUNT: u32 = 60_000;
    let net = Net::build_with(&["--connections", &(2 * COUNT).to_string()])?;
    let (to, filled) = (vip(PORT), vip(OTHER_PORT));
    net.offer(&format!("-t {to}"), "-s rr -p 600", &[1, 1, 1])?;
    net.offer(&format!("-t {filled}"), "-s rr", &[1, 1, 1])?;
    let clients: Vec<Ipv4Addr> = further_clients().collect();
    let serves = || clients.iter().map(|client| net.who(*client, to)).collect::<Result<String>>();
    let before = serves()?;
    assert_eq!(before, "321".repeat(8));
    let (held, _) = net.open(filled)?;
    let pattern = tcp_key(SocketAddrV4::new(CLIENT, held.source_port()?), filled);
    let tables = Tables::open(&net.daemon.instance().parse::<Instance>()?.map_pins())?;
    let filler = Filler {
        connections: tables.CONNECTIONS,
        settings: SettingsView(tables.SETTINGS.row(0).context("no settings")?),
        load: |row| tables.LOADS.row(row),
    };
    filler.add_like(pattern, COUNT)?;
    ensure!(net.daemon.log().contains("the connection table has grown"), "{}", net.daemon.log());
    let mut with_template: Vec<_> = templates(&net)?.iter().map(|template| *template.client.ip()).collect();
    with_template.sort();
    assert_eq!(with_template, clients);
    assert_eq!(serves()?, before);
    assert_eq!(templates(&net)?.len(), clients.len());
    Ok(())
}
