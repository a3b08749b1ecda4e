//! The first screen: services with their servers, a row each.

use ratatui_core::style::Modifier;
use ratatui_core::text::{Line, Span};

use super::column::Column;
use super::hand::{Hand, Tone, number};
use super::rows::Row;
use super::scene::{Health, Numbers, Pace, SERVER_INDENT, SERVICE_INDENT, Scene, ServerScene, ServiceScene};
use super::view::View;

/// The least places of a bar, the blank before it not counted; where there are fewer there is none.
const LEAST_BAR: usize = 4;
const MOST_BAR: usize = 20;

/// Which columns there are, and how wide names and bars are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Widths {
    name: usize,
    /// Those behind the name.
    columns: Vec<Column>,
    bar: usize,
}

/// What is left out first where there is little room.
const RARER_FIRST: [Column; 8] = [
    Column::Persistent,
    Column::Inactive,
    Column::Weight,
    Column::Bytes,
    Column::Connections,
    Column::Active,
    Column::State,
    Column::Packets,
];
/// Room that names have before there are other columns.
const LEAST_NAME: usize = 20;

impl Widths {
    /// For so many places in all: names have what they need, and leave a bar some room.
    pub(super) fn new(places: usize, longest_name: usize) -> Self {
        let mut columns: Vec<Column> = Self::all();
        let others = |columns: &[Column]| columns.iter().map(|column| column.width()).sum::<usize>();
        for rare in RARER_FIRST {
            if others(&columns) + LEAST_NAME > places {
                columns.retain(|column| *column != rare);
            }
        }
        let left = places.saturating_sub(others(&columns));
        let name = longest_name.max(Column::Name.title().len());
        let with_bar = left.saturating_sub(1 + LEAST_BAR);
        let name =
            if with_bar < LEAST_NAME { name.min(left) } else { name.min(with_bar.max(left.min(name))) };
        let bar = left.saturating_sub(name + 1).min(MOST_BAR);
        Self { name, columns, bar: if bar < LEAST_BAR { 0 } else { bar } }
    }

    /// Nothing is cut.
    pub(super) fn whole(longest_name: usize) -> Self {
        Self { name: longest_name.max(Column::Name.title().len()), columns: Self::all(), bar: 10 }
    }

    fn all() -> Vec<Column> {
        Column::ALL.into_iter().filter(|column| *column != Column::Name).collect()
    }
}

/// What stands above the columns; the one that is sorted by stands out.
pub(super) fn title(hand: Hand, view: &View, widths: &Widths) -> Line<'static> {
    let mut spans: Vec<Span> = [Column::Name]
        .iter()
        .chain(&widths.columns)
        .map(|&column| {
            let words = match column {
                Column::Name => hand.fit(column.title(), widths.name),
                other => format!("{:>width$}", other.title(), width = other.width()),
            };
            let style = hand.style(Tone::Heading);
            let style = if column == view.column { style.add_modifier(Modifier::UNDERLINED) } else { style };
            Span::styled(words, style)
        })
        .collect();
    if widths.bar > 0 {
        spans.push(hand.span(Tone::Heading, format!(" {:<width$}", "SHARE", width = widths.bar)));
    }
    Line::from(spans)
}

/// A row; of one that is not there nothing.
pub(super) fn line(hand: Hand, scene: &Scene, view: &View, widths: &Widths, row: Row) -> Line<'static> {
    let (Row::Service(at) | Row::Server(at, _)) = row;
    let Some(service) = scene.services.get(at) else { return Line::default() };
    match row {
        Row::Service(_) => service_line(hand, scene, view, widths, service),
        Row::Server(_, place) => service
            .servers
            .get(place)
            .map(|server| server_line(hand, view, widths, service, server))
            .unwrap_or_default(),
    }
}

fn service_line(
    hand: Hand,
    scene: &Scene,
    view: &View,
    widths: &Widths,
    service: &ServiceScene,
) -> Line<'static> {
    let sign = if view.is_open(service.key) { hand.signs.open } else { hand.signs.closed };
    let name = hand.fit(&format!("{sign:<SERVICE_INDENT$}{}", service.name), widths.name);
    let (usable, all) = (service.usable, service.servers.len());
    let tone = match usable {
        0 => Tone::Bad,
        usable if usable == all => Tone::Good,
        _ => Tone::Plain,
    };
    let state = if all == 0 { "none".into() } else { format!("{usable}/{all}") };
    // Many thousands of servers: how many are in use is what counts.
    let state = if state.len() < Column::State.width() { state } else { number(usable as u64) };
    let whole = whole_of(scene, view);
    let mut spans = vec![hand.span(Tone::Heading, name)];
    spans.extend(cells(hand, widths, view.pace, (&state, tone), &service.numbers));
    spans.push(bar(hand, view, widths, &service.numbers, whole));
    Line::from(spans)
}

fn server_line(
    hand: Hand,
    view: &View,
    widths: &Widths,
    service: &ServiceScene,
    server: &ServerScene,
) -> Line<'static> {
    let name = hand.fit(&format!("{:SERVER_INDENT$}{}", "", server.name), widths.name);
    let state = match server.health {
        Health::Up => ("up", Tone::Good),
        Health::Local => ("local", Tone::Good),
        Health::Unknown => ("NO WAY", Tone::Bad),
    };
    let whole = view.column.of_bars().value(&service.numbers, view.pace).unwrap_or(0);
    let mut spans = vec![Span::raw(name)];
    spans.extend(cells(hand, widths, view.pace, state, &server.numbers));
    spans.push(bar(hand, view, widths, &server.numbers, whole));
    Line::from(spans)
}

/// What all services together have of the column of bars.
fn whole_of(scene: &Scene, view: &View) -> u64 {
    let column = view.column.of_bars();
    let values = scene.services.iter().filter_map(|service| column.value(&service.numbers, view.pace));
    values.fold(0, u64::saturating_add)
}

/// The columns behind the name; the state is said in a word.
fn cells(
    hand: Hand,
    widths: &Widths,
    pace: Pace,
    (state, tone): (&str, Tone),
    of: &Numbers,
) -> Vec<Span<'static>> {
    let cell = |column: &Column| {
        let width = column.width();
        if *column == Column::State {
            return hand.span(tone, format!("{state:>width$}"));
        }
        let value = column.value(of, pace);
        let words = value.map_or_else(|| "-".into(), number);
        let tone = if value.unwrap_or(0) == 0 { Tone::Quiet } else { Tone::Plain };
        hand.span(tone, format!("{words:>width$}"))
    };
    widths.columns.iter().map(cell).collect()
}

fn bar(hand: Hand, view: &View, widths: &Widths, numbers: &Numbers, whole: u64) -> Span<'static> {
    if widths.bar == 0 {
        return Span::default();
    }
    let part = view.column.of_bars().value(numbers, view.pace).unwrap_or(0);
    hand.span(Tone::Bar, format!(" {}", hand.bar(part, whole, widths.bar)))
}
