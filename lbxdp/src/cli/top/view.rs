//! How somebody looks at a scene: which screen, sorted how, what is folded, where the cursor stands.

use std::collections::HashSet;
use std::net::IpAddr;

use super::column::Column;
use super::director;
use super::filter::Filter;
use super::rows::{Row, rows};
use super::scene::{Pace, Scene};
use crate::state::ServiceKey;

/// The most rows for which all services are open at the beginning.
const MOST_OPEN: usize = 100;

/// What is on the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Screen {
    Services,
    Reasons,
    Director,
}

impl Screen {
    pub(super) const ALL: [Self; 3] = [Self::Services, Self::Reasons, Self::Director];
}

/// The look of somebody; keys change it (`keys.rs`).
#[derive(Debug)]
pub(super) struct View {
    pub(super) screen: Screen,
    pub(super) column: Column,
    pub(super) is_reversed: bool,
    pub(super) pace: Pace,
    pub(super) filter: Filter,
    /// While a filter is typed: the one before.
    pub(super) typing: Option<Filter>,
    pub(super) is_paused: bool,
    pub(super) has_help: bool,
    /// Why there is nothing new, in words.
    pub(super) trouble: Option<String>,
    folding: Folding,
    /// What [`View::settle`] has found.
    pub(super) rows: Vec<Row>,
    pub(super) cursor: Cursor,
    /// The first line of the other screens.
    pub(super) first_line: usize,
    /// Lines of the body.
    height: usize,
}

/// Which services show their servers: all but the others, or none but them.
#[derive(Debug)]
struct Folding {
    is_open: bool,
    others: HashSet<ServiceKey>,
}

impl Folding {
    fn all(is_open: bool) -> Self {
        Self { is_open, others: HashSet::new() }
    }
}

/// The chosen row: it is followed wherever it goes, but at the top the cursor stays at the top.
#[derive(Debug, Default)]
pub(super) struct Cursor {
    /// Its place in the rows.
    pub(super) at: usize,
    /// The first row that is seen.
    pub(super) first: usize,
    chosen: Option<Chosen>,
}

/// A row, whatever place it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chosen {
    Service(ServiceKey),
    Server(ServiceKey, IpAddr, u16),
}

impl View {
    /// The look one begins with: all services open if they are few.
    pub(super) fn new(scene: &Scene) -> Self {
        let count: usize = scene.services.iter().map(|service| 1 + service.servers.len()).sum();
        Self {
            screen: Screen::Services,
            column: Column::default(),
            is_reversed: false,
            pace: Pace::Average,
            filter: Filter::default(),
            typing: None,
            is_paused: false,
            has_help: false,
            trouble: None,
            folding: Folding::all(count <= MOST_OPEN),
            rows: Vec::new(),
            cursor: Cursor::default(),
            first_line: 0,
            height: 1,
        }
    }

    /// The same with all services open.
    pub(super) fn whole(scene: &Scene) -> Self {
        let mut view = Self { folding: Folding::all(true), ..Self::new(scene) };
        view.rows = rows(scene, &view);
        view
    }

    /// The servers of a service are shown.
    pub(super) fn is_open(&self, service: ServiceKey) -> bool {
        self.folding.is_open != self.folding.others.contains(&service)
    }

    /// Opens all services, or closes them.
    pub(super) fn fold_all(&mut self, is_open: bool) {
        self.folding = Folding::all(is_open);
    }

    /// Opens or closes the service of the row at the cursor; a server's service is closed with the cursor on it.
    pub(super) fn fold(&mut self, scene: &Scene, how: Fold) {
        let Some(Row::Service(at) | Row::Server(at, _)) = self.rows.get(self.cursor.at).copied() else {
            return;
        };
        let Some(service) = scene.services.get(at) else { return };
        let is_open = self.is_open(service.key);
        if how.wanted(is_open) != is_open {
            if !self.folding.others.remove(&service.key) {
                self.folding.others.insert(service.key);
            }
            self.cursor.chosen = Some(Chosen::Service(service.key));
        }
    }

    /// Moves the cursor to a row, or scrolls to a line.
    pub(super) fn go(&mut self, scene: &Scene, step: Step) {
        let page = self.height.saturating_sub(1).max(1);
        let moved = |at: usize, last: usize| match step {
            Step::Up => at.saturating_sub(1),
            Step::Down => (at + 1).min(last),
            Step::PageUp => at.saturating_sub(page),
            Step::PageDown => at.saturating_add(page).min(last),
            Step::First => 0,
            Step::Last => last,
        };
        if self.screen == Screen::Services {
            self.cursor.at = moved(self.cursor.at, self.rows.len().saturating_sub(1));
            self.cursor.chosen = match self.cursor.at {
                0 => None,
                at => self.rows.get(at).and_then(|row| chosen(scene, *row)),
            };
        } else {
            self.first_line = moved(self.first_line, self.last_line(scene));
        }
    }

    /// Another screen, from its beginning.
    pub(super) fn show(&mut self, screen: Screen) {
        self.screen = screen;
        self.first_line = 0;
    }

    /// Finds the rows of a scene, and the cursor among them, for a body of so many lines.
    pub(super) fn settle(&mut self, scene: &Scene, height: usize) {
        let height = height.max(1);
        self.height = height;
        self.rows = rows(scene, self);
        let last = self.rows.len().saturating_sub(1);
        let Cursor { at, first, chosen: wanted } = &mut self.cursor;
        *at = match *wanted {
            None => 0,
            Some(wanted) => {
                let is_wanted = |row: &Row| chosen(scene, *row) == Some(wanted);
                self.rows.iter().position(is_wanted).unwrap_or(*at).min(last)
            }
        };
        *first = (*first).clamp((*at + 1).saturating_sub(height), *at);
        // No empty lines below the last row.
        *first = (*first).min(self.rows.len().saturating_sub(height));
        self.first_line = self.first_line.min(self.last_line(scene));
    }

    /// The last line that may be the first one on a screen that only scrolls.
    fn last_line(&self, scene: &Scene) -> usize {
        let lines = match self.screen {
            Screen::Services => 0,
            Screen::Reasons => scene.reasons.len(),
            Screen::Director => director::count(scene),
        };
        lines.saturating_sub(self.height)
    }
}

fn chosen(scene: &Scene, row: Row) -> Option<Chosen> {
    match row {
        Row::Service(at) => scene.services.get(at).map(|service| Chosen::Service(service.key)),
        Row::Server(at, place) => {
            let service = scene.services.get(at)?;
            let server = service.servers.get(place)?;
            Some(Chosen::Server(service.key, server.address, server.port))
        }
    }
}

/// Where to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Up,
    Down,
    PageUp,
    PageDown,
    First,
    Last,
}

/// What becomes of a service that is open or closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fold {
    Open,
    Close,
    Turn,
}

impl Fold {
    fn wanted(self, is_open: bool) -> bool {
        match self {
            Self::Open => true,
            Self::Close => false,
            Self::Turn => !is_open,
        }
    }
}
