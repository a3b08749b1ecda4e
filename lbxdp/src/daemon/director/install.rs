//! What the state means comes into the tables.

use std::net::IpAddr;
use std::time::Instant;

use lbxdp_common::Cells;
use lbxdp_common::settings::{SHAPE_CELL, SHAPE_V6_CELL};

use super::{ChangeError, Director};
use crate::command::Touched;
use crate::daemon::load::chain;
use crate::daemon::settings;
use crate::layout::{LayoutError, Write};
use crate::state::{MarkRule, State};
use crate::tables::{TableError, wait_for_packets};

impl Director {
    /// Makes the tables mean `state`.
    pub(in crate::daemon) fn install(
        &mut self,
        state: &State,
        changed_hops: &[IpAddr],
    ) -> Result<(), ChangeError> {
        self.write_ports();
        self.write_plan(|director| director.plan(state))?;
        self.write_plan(|director| director.plan_marks(&state.marks))?;
        self.follow_hops(changed_hops)?;
        self.kinds = settings::kinds(state, &self.layout);
        self.write_settings_of(state);
        Ok(())
    }

    /// Makes the tables mean what has changed of the services.
    pub(super) fn install_touched(
        &mut self,
        touched: Touched,
        changed_hops: &[IpAddr],
    ) -> Result<(), ChangeError> {
        self.write_ports();
        self.write_plan(|director| director.plan_touched(touched))?;
        Ok(self.follow_hops(changed_hops)?)
    }

    fn write_plan(
        &mut self,
        plan: impl Fn(&mut Self) -> Result<Vec<Write>, LayoutError>,
    ) -> Result<(), ChangeError> {
        let mut planned = plan(self);
        if matches!(planned, Err(LayoutError::MembersFull)) && self.layout.is_waiting_for_readers() {
            wait_for_packets();
            self.layout.readers_are_gone();
            planned = plan(self);
        }
        let planned = planned?;
        self.look_for_methods();
        Ok(self.carry_out(&planned)?)
    }

    /// Packets look for what connections need before the first of these can begin.
    fn look_for_methods(&mut self) {
        let wider = self.kinds.and(settings::methods(&self.layout));
        if wider != self.kinds {
            self.kinds = wider;
            self.write_vlans();
            self.write_settings_of(&self.state);
        }
    }

    /// Makes the tables mean the old state again after a change that failed in its midst.
    pub(super) fn go_back(&mut self, touched: Touched) {
        let writes = match self.plan_touched(touched) {
            Ok(writes) => writes,
            Err(error) => return tracing::error!(%error, "the old configuration does not fit any more"),
        };
        for write in writes {
            if let Err(error) = write.carry_out(&mut self.tables, self.seed) {
                tracing::error!(error = %chain(&error), ?write, "cannot take a change back");
            }
        }
    }

    fn plan(&mut self, state: &State) -> Result<Vec<Write>, LayoutError> {
        let next_hops = &self.next_hops;
        self.layout.change(state, &|address| next_hops.hop(address), Instant::now())
    }

    /// The rules before the last ones may still be walked where the new ones are to stand: if there is anything to be
    /// written, nobody does any more when this returns.
    pub(super) fn plan_marks(&mut self, rules: &[MarkRule]) -> Result<Vec<Write>, LayoutError> {
        let next_hops = &self.next_hops;
        let index_of = |name: &str| next_hops.link_named(name).map(|(index, _)| index);
        let writes = self.layout.change_marks(rules, &index_of)?;
        if !writes.is_empty() {
            wait_for_packets();
        }
        Ok(writes)
    }

    fn plan_touched(&mut self, touched: Touched) -> Result<Vec<Write>, LayoutError> {
        let next_hops = &self.next_hops;
        let (hop, now) = (|address| next_hops.hop(address), Instant::now());
        match touched {
            Touched::None => Ok(Vec::new()),
            Touched::One(key) => self.layout.change_service(key, self.state.services.get(&key), &hop, now),
            Touched::All => self.layout.change(&self.state, &hop, now),
            Touched::Marks => {
                let rules = self.state.marks.clone();
                self.plan_marks(&rules)
            }
        }
    }

    pub(in crate::daemon) fn carry_out(&mut self, writes: &[Write]) -> Result<(), TableError> {
        for write in writes {
            match write {
                Write::FreshServer { id } => {
                    self.rows_epoch += 1;
                    self.total.begin(&self.tables, *id)?;
                    self.accounts.open_server(*id);
                }
                Write::FreshService { index, waiting } => {
                    self.rows_epoch += 1;
                    self.accounts.open_service(*index);
                    for id in waiting {
                        self.accounts.open_server(*id);
                    }
                }
                Write::ForgetServer { .. } => self.rows_epoch += 1,
                _ => {}
            }
            write.carry_out(&mut self.tables, self.seed)?;
        }
        Ok(())
    }

    /// Makes the row of settings say what the state says.
    pub(in crate::daemon) fn write_settings(&mut self) {
        self.kinds = settings::kinds(&self.state, &self.layout);
        self.write_settings_of(&self.state);
    }

    fn write_settings_of(&self, state: &State) {
        if let Some(row) = self.tables.SETTINGS.row(0) {
            // The shapes are the keeper's.
            let cells = settings::row(state, self.kinds, self.seed, &self.clock).cells();
            for (at, cell) in
                cells.iter().enumerate().filter(|(at, _)| !matches!(*at, SHAPE_CELL | SHAPE_V6_CELL))
            {
                row.store(at, *cell);
            }
        }
    }
}
