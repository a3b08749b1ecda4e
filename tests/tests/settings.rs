//! `lbxdp set` and `lbxdp settings` against a real daemon, down to what the packet path reads.

use anyhow::{Context, Result, ensure};
use lbxdp::tables::Tables;
use lbxdp::tables::pins::Instance;
use lbxdp_common::Protocol;
use lbxdp_common::server::Method;
use lbxdp_common::settings::{Rules, SettingsView};
use lbxdp_common::state::{State, TcpState};
use lbxdp_tests::{Daemon, Lab, Plan, daemon};

const DEFAULTS: &str = "conn_reuse_mode = 1
expire_nodest_conn = 0
expire_quiescent_template = 0
lblc_expiration = 86400
lblcr_expiration = 86400
pmtu_disc = 1
secure_tcp = 0
sloppy_sctp = 0
sloppy_tcp = 0
tunnel_spread = 0
";

/// The row that the packet path reads.
fn row(daemon: &Daemon) -> Result<SettingsView<&'static [std::sync::atomic::AtomicU64]>> {
    let tables = Tables::open(&daemon.instance().parse::<Instance>()?.map_pins())?;
    Ok(SettingsView(tables.SETTINGS.row(0).context("no settings")?))
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_setting_is_shown_and_in_force_at_once_and_outlives_a_flush() -> Result<()> {
    let lab = Lab::build(Plan::default())?;
    let daemon = lab.start_daemon(&daemon::binary()?)?;
    assert_eq!(daemon.must("settings")?, DEFAULTS);
    let row = row(&daemon)?;
    let is_reusable = |state| row.is_reusable(Protocol::Tcp, State::tcp(state), Method::DIRECT);
    ensure!(!row.rules().has(Rules::SLOPPY_TCP) && is_reusable(TcpState::TimeWait));
    ensure!(!is_reusable(TcpState::FinWait));
    daemon.must("set sloppy_tcp=1 net.ipv4.vs.conn_reuse_mode=2 expire_nodest_conn=0x1")?;
    let rules = Rules::SLOPPY_TCP.and(Rules::EXPIRE_NODEST_CONN).and(Rules::PMTU_DISC);
    ensure!(row.rules() == rules, "{:?}", row.rules());
    ensure!(is_reusable(TcpState::TimeWait) && is_reusable(TcpState::FinWait));
    daemon.must("-C")?;
    let shown = daemon.must("settings sloppy_tcp net/ipv4/vs/conn_reuse_mode")?;
    assert_eq!(shown, "sloppy_tcp = 1\nconn_reuse_mode = 2\n");
    daemon.must("set lblcr_expiration=-1 pmtu_disc=0")?;
    let rules = Rules::SLOPPY_TCP.and(Rules::EXPIRE_NODEST_CONN);
    ensure!(row.lblcr_expiration() == 0);
    daemon.must("set conn_reuse_mode=0")?;
    ensure!(!row.reuses(Protocol::Tcp) && row.rules() == rules);
    Ok(())
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn settings_that_are_refused_change_nothing() -> Result<()> {
    let lab = Lab::build(Plan::default())?;
    let daemon = lab.start_daemon(&daemon::binary()?)?;
    for (line, says) in [
        ("set sloppy_tcp=1 secure_tcp=4", "secure_tcp takes whole numbers from 0 to 3"),
        (
            "set sloppy_tcp=1 drop_entry=1",
            "drop_entry is no setting of lbxdp: lbxdp's own defence is always on",
        ),
        ("set sloppy_tcp=1 conntrack=1", "conntrack is no setting of lbxdp: lbxdp works before netfilter"),
        ("set sloppy_tcp=1 no_such=1", "there is no setting `no_such`; there are conn_reuse_mode, "),
        ("set sloppy_tcp=1 secure_tcp", "NAME=VALUE is wanted"),
        (
            "settings sync_ports",
            "sync_ports is no setting of lbxdp: connection synchronization is not supported yet",
        ),
    ] {
        let answer = daemon.ipvsadm(line)?;
        assert_eq!((answer.code, answer.stdout.as_str()), (Some(2), ""), "{line}");
        assert!(answer.stderr.contains(says), "{line}: {}", answer.stderr);
    }
    assert_eq!(daemon.must("settings")?, DEFAULTS);
    Ok(())
}
