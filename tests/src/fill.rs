//! Fills a director's connection table, far faster than packets could.

use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Result, ensure};
use lbxdp_common::address::Address;
use lbxdp_common::cells::Cells;
use lbxdp_common::connection::{Key, Word};
use lbxdp_common::server::Load;
use lbxdp_common::service::widened;
use lbxdp_common::settings::SettingsView;
use lbxdp_common::table::{Buckets, Entry, Hash, Inserted, Slot, WAYS, entries_in, insert};

use crate::wait;

/// How long a table may take to grow.
const DEADLINE: Duration = Duration::from_secs(20);

/// The mapped tables of a director: `CONNECTIONS` or `CONNECTIONS_V6`, the row of `SETTINGS`, and the rows of `LOADS`.
#[derive(Clone, Copy)]
pub struct Filler<B, C, L> {
    pub connections: B,
    pub settings: SettingsView<C>,
    /// The load row of a server's row.
    pub load: L,
}

impl<B, C: Cells, L: Fn(u32) -> Option<C>> Filler<B, C, L> {
    /// Adds `count` connections that differ from `pattern`, which must be in the table, in nothing but the client: state,
    /// server and due time are its own. The clients are 100.64.0.0/10, or of IPv6 in the pattern's net, with 32 ports each.
    ///
    /// The server's load is raised first, so that the daemon makes the table grow as it would by itself.
    pub fn add_like<A: Address>(&self, pattern: Key<A>, count: u32) -> Result<()>
    where
        B: Buckets<A>,
    {
        let word = self.find(pattern)?;
        self.raise_load(pattern, word, count)?;
        wait::until("the table has grown", DEADLINE, || {
            let shape = self.settings.shape_of::<A>();
            let places = u64::from(shape.home()) * WAYS as u64;
            shape.is_steady() && u64::from(count) <= entries_in(places)
        })?;
        self.put_like(pattern, word, count)
    }

    /// As [`Filler::add_like`], into a table that has grown to its limit, however many of its places that takes.
    pub fn add_however_full<A: Address>(&self, pattern: Key<A>, count: u32) -> Result<()>
    where
        B: Buckets<A>,
    {
        let word = self.find(pattern)?;
        self.raise_load(pattern, word, count)?;
        self.put_like(pattern, word, count)
    }

    fn raise_load<A: Address>(&self, pattern: Key<A>, word: Word, count: u32) -> Result<()> {
        let Some(load) = (self.load)(word.server().row()) else {
            anyhow::bail!("the server of the pattern has no row");
        };
        let is_active = pattern.protocol().is_some_and(|protocol| word.state().is_active(protocol));
        load.add(0, Load::gained(is_active).wrapping_mul(count.into()));
        Ok(())
    }

    fn put_like<A: Address>(&self, pattern: Key<A>, word: Word, count: u32) -> Result<()>
    where
        B: Buckets<A>,
    {
        // Nothing is overdue at this time, so nothing has to make room.
        let long_ago = word.due() + 3 * (1 << 30);
        let (shape, seed) = (self.settings.shape_of::<A>(), self.settings.seed());
        let mut clients = (0..).map(|number| client(pattern, number));
        let mut added = 0;
        while added < count {
            let Some(key) = clients.next() else { break };
            // Of ten thousand a few find both their buckets full, when most places are taken.
            let inserted =
                insert(&self.connections, shape, Hash::of(key, seed), Entry::new(key, word), long_ago);
            added += u32::from(matches!(inserted, Inserted::New(_)));
        }
        ensure!(
            self.settings.shape_of::<A>() == shape,
            "the table grew while it was filled: some are not where they belong"
        );
        Ok(())
    }

    /// The word of a connection, wherever it is.
    fn find<A: Address>(&self, key: Key<A>) -> Result<Word>
    where
        B: Buckets<A>,
    {
        let buckets = 0..self.settings.shape_of::<A>().buckets();
        let mut entries = buckets
            .filter_map(|index| self.connections.bucket(index))
            .flat_map(|bucket| (0..WAYS).filter_map(move |way| Slot::<_, A>::new(bucket, way).read()));
        let found = entries.find(|(known, _)| *known == key);
        found.map(|(_, word)| word).ok_or_else(|| anyhow::anyhow!("the pattern is not in the table"))
    }
}

/// The key of the pattern for another client.
fn client<A: Address>(pattern: Key<A>, number: u32) -> Key<A> {
    let client = if A::IS_V6 {
        let mut address = pattern.client.wide();
        address[8..12].copy_from_slice(&(number / 32 + 1).to_be_bytes());
        address
    } else {
        widened((u32::from(Ipv4Addr::new(100, 64, 0, 0)) + number / 32).to_be_bytes())
    };
    let port = 1024 + (number % 32) as u16;
    Key { client: A::of_wide(client), client_port: port.to_be_bytes(), ..pattern }
}
