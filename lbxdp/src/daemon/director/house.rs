//! What is to be done all the time: clearing away, looking after what is too small, the steps of the rates.

use std::time::Instant;

use lbxdp_common::{Overflow, V4, V6};

use super::{ChangeError, Director};
use crate::daemon::accounts::shown;
use crate::daemon::episode::News;
use crate::daemon::keeper::{load_of, templates_to};
use crate::daemon::load::chain;
use crate::daemon::oblivion::{Expirations, IDLE_S, forgotten};
use crate::daemon::settings;
use crate::tables::{TableError, Tables};

impl Director {
    /// What is to be done every second or so.
    pub(in crate::daemon) async fn keep_house(&mut self) {
        self.next_hops.watch_only(&self.state.server_addresses());
        let mut changed = self.next_hops.catch_up().await;
        changed.extend(self.next_hops.expire(Instant::now()).await);
        self.take_over_hops(&changed);
        self.next_hops.keep_alive().await;
        self.write_vlans();
        self.sync_saved();
        self.follow_pressure();
        self.follow_secure_tcp();
        self.follow_interfaces();
        self.forget_addresses();
        let loads = self.tables.LOADS;
        let entries = |id| load_of(&loads, id).total() + u64::from(templates_to(&loads, id));
        let (forgotten, writes) = self.layout.empty_trash(&entries, Instant::now());
        self.accounts.close_servers(&forgotten);
        if let Err(error) = self.carry_out(&writes) {
            tracing::error!(error = %chain(&error), "cannot clear away deleted servers");
        }
        if settings::kinds(&self.state, &self.layout) != self.kinds {
            self.write_settings();
        }
    }

    /// Rules for marks name interfaces, which may come and go.
    fn follow_interfaces(&mut self) {
        if self.state.marks.iter().all(|rule| rule.interface.is_none()) {
            return;
        }
        let rules = self.state.marks.clone();
        let planned = self.plan_marks(&rules);
        let written = planned.map_err(ChangeError::from).and_then(|writes| Ok(self.carry_out(&writes)?));
        if let Err(error) = written {
            tracing::error!(error = %chain(&error), "cannot write the rules for marks");
        }
    }

    /// Forgets what the schedulers lblc and lblcr need not remember any more.
    fn forget_addresses(&mut self) {
        if let Some(is_thorough) = self.oblivion.is_due(Instant::now())
            && let Err(error) = self.forget_now(is_thorough)
        {
            tracing::error!(error = %chain(&error), "cannot clear away what lblc and lblcr remember");
        }
    }

    fn forget_now(&mut self, is_thorough: bool) -> Result<(), TableError> {
        let sysctls = &self.state.sysctls;
        let expirations = Expirations {
            lblc: settings::expiration(sysctls.lblc_expiration, &self.clock),
            lblcr: settings::expiration(sysctls.lblcr_expiration, &self.clock),
            idle: self.clock.ticks_of(IDLE_S),
        };
        let rows = self.tables.cached()?;
        let gone = forgotten(&rows, &self.layout.schedulers(), expirations, self.clock.now(), is_thorough);
        gone.into_iter().try_for_each(|key| self.tables.forget_cached(key))
    }

    /// The automatic `secure_tcp`: on while there is pressure, and the setting's value tells (1 off, 2 on), as in IPVS.
    fn follow_secure_tcp(&mut self) {
        let value = if self.pressure.is_on() { 2 } else { 1 };
        if matches!(self.state.sysctls.secure_tcp, 1 | 2) && self.state.sysctls.secure_tcp != value {
            self.state.sysctls.secure_tcp = value;
            self.write_settings();
        }
    }

    /// Says when the table begins to be too small, and when it is large enough again.
    fn follow_pressure(&mut self) {
        let news = match hashed(&self.tables) {
            Ok(total) => self.pressure.look(total, Instant::now()),
            Err(error) => return tracing::error!(error = %chain(&error), "cannot read counters"),
        };
        match news {
            Some(News::Begun) => tracing::warn!(
                half_open = self.keeper.half_open::<V4>(),
                half_open_v6 = self.keeper.half_open::<V6>(),
                "the connection table has no room for some new connections: they go by consistent hash (a flood, or \
                --connections or --connections-v6 is too small; `lbxdp status` counts them)"
            ),
            Some(News::Over { packets, lasted }) => {
                tracing::info!(packets, ?lasted, "the connection table has room for all again");
            }
            None => {}
        }
    }

    /// What was appended is on the disk soon; nobody waits for it.
    fn sync_saved(&mut self) {
        if let Some(file) = self.saved.catch_up(&self.state) {
            tokio::task::spawn_blocking(move || {
                if let Err(error) = file.sync_data() {
                    tracing::error!(%error, "the saved configuration may not be on the disk");
                }
            });
        }
    }

    /// One step of the rates.
    pub(in crate::daemon) fn estimate(&mut self) {
        if let Err(error) = self.step_rates() {
            tracing::error!(error = %chain(&error), "cannot read counters");
        }
    }

    fn step_rates(&mut self) -> Result<(), TableError> {
        let rows = self.tables.counter_rows(self.layout.all_server_ids())?;
        for id in self.layout.all_server_ids() {
            self.accounts.step_server(id, shown(self.tables.server_total(&rows, id)));
        }
        for key in self.state.services.keys() {
            let total = self.service_total(&rows, key);
            self.accounts.step_service(self.index(key), total);
        }
        self.total.step(&self.tables)
    }
}

/// How often packets went by hash for want of room.
pub(super) fn hashed(tables: &Tables) -> Result<u64, TableError> {
    Overflow::ALL
        .iter()
        .filter(|overflow| overflow.is_pressure())
        .try_fold(0u64, |sum, overflow| Ok(sum.wrapping_add(tables.overflow_count(*overflow)?)))
}
