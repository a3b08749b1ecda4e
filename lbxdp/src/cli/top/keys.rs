//! What each key does.

use ratatui_crossterm::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::filter::Filter;
use super::scene::{Pace, Scene};
use super::view::{Fold, Screen, Step, View};

/// Whether to go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Then {
    Stay,
    Quit,
}

/// What `?` shows.
pub(super) const HELP: &[&str] = &[
    "1 2 3, Tab     services; what was not forwarded, and why; the director itself",
    "arrows, PgUp, PgDn, Home, End    move: a chosen row is followed, the top is not",
    "Enter, right, left               show or hide a service's servers; + - of all",
    "s >, S <       sort by the next column, by the one before; r turns it round",
    "/              filter: words that are all in a name (tcp, 10.0.0.1, mark), and",
    "               :80 for just that port. Enter keeps the filter, Esc takes it away",
    "a              rates: averages, or since the last look",
    "p              pause, go on",
    "?, q           this; end (also Ctrl-C, Esc)",
    "",
    "Rates are IPVS's moving averages, the numbers of ipvsadm -L --rate: they follow",
    "within some seconds. By `a` they are what has come since the last look, by the",
    "time that has really passed; those of what was not forwarded always are.",
    "Packets and bytes are those of both directions; replies of VS/DR and VS/TUN do",
    "not come by here.",
    "STATE  of a service, how many of its servers may get new connections; of a",
    "       server, whether its next hop answers",
    "SHARE  of all services, of a server of its service: by the column that is",
    "       sorted by, else by packets",
];

/// Does what a key means.
pub(super) fn press(view: &mut View, scene: &Scene, key: KeyEvent) -> Then {
    if key.kind == KeyEventKind::Release {
        return Then::Stay;
    }
    let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
    if is_control && key.code == KeyCode::Char('c') {
        return Then::Quit;
    }
    if view.typing.is_some() {
        type_filter(view, key.code, is_control);
        return Then::Stay;
    }
    if view.has_help {
        // Whatever is pressed, the help goes away; what ends all ends all.
        view.has_help = false;
        return if key.code == KeyCode::Char('q') { Then::Quit } else { Then::Stay };
    }
    if is_control {
        return Then::Stay;
    }
    match key.code {
        KeyCode::Char('q') => return Then::Quit,
        KeyCode::Esc if view.filter.is_empty() => return Then::Quit,
        KeyCode::Esc => view.filter = Filter::default(),
        KeyCode::Char('?' | 'h') => view.has_help = true,
        KeyCode::Char('p') => view.is_paused = !view.is_paused,
        KeyCode::Char('a') => {
            view.pace = if view.pace == Pace::Average { Pace::Lately } else { Pace::Average };
        }
        KeyCode::Char('s' | '>') => sort_by(view, view.column.next()),
        KeyCode::Char('S' | '<') => sort_by(view, view.column.previous()),
        KeyCode::Char('r' | 'R') => view.is_reversed = !view.is_reversed,
        KeyCode::Char('/') => {
            view.show(Screen::Services);
            view.typing = Some(view.filter.clone());
        }
        KeyCode::Char('1') => view.show(Screen::Services),
        KeyCode::Char('2') => view.show(Screen::Reasons),
        KeyCode::Char('3') => view.show(Screen::Director),
        KeyCode::Tab => show_beside(view, 1),
        KeyCode::BackTab => show_beside(view, Screen::ALL.len() - 1),
        KeyCode::Char('+') => view.fold_all(true),
        KeyCode::Char('-') => view.fold_all(false),
        KeyCode::Enter | KeyCode::Char(' ') => view.fold(scene, Fold::Turn),
        KeyCode::Right => view.fold(scene, Fold::Open),
        KeyCode::Left => view.fold(scene, Fold::Close),
        code => go(view, scene, code),
    }
    Then::Stay
}

fn go(view: &mut View, scene: &Scene, code: KeyCode) {
    let step = match code {
        KeyCode::Up | KeyCode::Char('k') => Step::Up,
        KeyCode::Down | KeyCode::Char('j') => Step::Down,
        KeyCode::PageUp => Step::PageUp,
        KeyCode::PageDown => Step::PageDown,
        KeyCode::Home => Step::First,
        KeyCode::End => Step::Last,
        _ => return,
    };
    view.go(scene, step);
}

fn sort_by(view: &mut View, column: super::column::Column) {
    view.column = column;
    view.is_reversed = false;
}

fn show_beside(view: &mut View, by: usize) {
    let at = Screen::ALL.iter().position(|screen| *screen == view.screen).unwrap_or(0);
    if let Some(screen) = Screen::ALL.get((at + by) % Screen::ALL.len()) {
        view.show(*screen);
    }
}

/// Letters go into the filter, which counts at once.
fn type_filter(view: &mut View, code: KeyCode, is_control: bool) {
    let mut text = view.filter.text().to_owned();
    match code {
        KeyCode::Enter => view.typing = None,
        KeyCode::Esc => view.filter = view.typing.take().unwrap_or_default(),
        KeyCode::Backspace => {
            text.pop();
            view.filter = Filter::new(text);
        }
        KeyCode::Char('u') if is_control => view.filter = Filter::default(),
        KeyCode::Char(letter) if !is_control => {
            text.push(letter);
            view.filter = Filter::new(text);
        }
        _ => {}
    }
}
