//! The terminal: taken for a while, and given back as it was, however this ends.

use std::io::{self, IsTerminal, Stdout};
use std::panic;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};

use ratatui_core::terminal::{Frame, Terminal};
use ratatui_crossterm::CrosstermBackend;
use ratatui_crossterm::crossterm::cursor::Show;
use ratatui_crossterm::crossterm::execute;
use ratatui_crossterm::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};

/// It has been taken, and not been given back.
static IS_TAKEN: AtomicBool = AtomicBool::new(false);

/// Whether there is a terminal that can be drawn on and typed at.
pub(super) fn is_there() -> bool {
    let is_dumb = std::env::var_os("TERM").is_some_and(|name| name == "dumb");
    io::stdout().is_terminal() && io::stdin().is_terminal() && !is_dumb
}

/// The terminal while it is taken.
pub(super) struct Taken(Terminal<CrosstermBackend<Stdout>>);

impl Taken {
    /// Takes it: keys come one by one, and what was on the screen is put aside.
    pub(super) fn take() -> io::Result<Self> {
        give_back_on_panic();
        IS_TAKEN.store(true, Ordering::SeqCst);
        let take = || {
            enable_raw_mode()?;
            execute!(io::stdout(), EnterAlternateScreen)?;
            Terminal::new(CrosstermBackend::new(io::stdout()))
        };
        take().map(Self).inspect_err(|_| give_back())
    }

    /// Lines on the screen.
    pub(super) fn height(&self) -> io::Result<u16> {
        Ok(self.0.size()?.height)
    }

    pub(super) fn draw(&mut self, frame: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.0.draw(frame)?;
        Ok(())
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        give_back();
    }
}

/// Once for each time it was taken: a second time would put the cursor onto what was written since.
fn give_back() {
    if IS_TAKEN.swap(false, Ordering::SeqCst) {
        // A terminal that is gone has no modes any more.
        let _ = disable_raw_mode();
        let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
    }
}

/// Whichever thread panics: what it says is to be read, on the screen that was there before.
fn give_back_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            give_back();
            before(panic);
        }));
    });
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use lbxdp_tests::Terminal;

    use super::*;

    /// What is done in the terminal of the test below: by a process of its own, which is this very one started again.
    #[test]
    #[ignore = "no test by itself: it panics"]
    fn somebody_panics_in_a_terminal_that_is_taken() {
        let mut taken = Taken::take().expect("a terminal");
        taken.draw(|frame| frame.render_widget("it is taken", frame.area())).expect("a frame");
        std::thread::spawn(|| {
            // Only when the other side has seen it.
            io::stdin().read_line(&mut String::new()).expect("a key");
            panic!("on purpose");
        })
        .join()
        .expect_err("a panic");
        assert!(
            !IS_TAKEN.load(Ordering::SeqCst),
            "given back already, though there is still somebody who holds it"
        );
    }

    #[test]
    fn a_terminal_is_given_back_by_a_panic_of_any_thread() {
        let mut again = Command::new(std::env::current_exe().expect("this process"));
        let name = "cli::top::terminal::tests::somebody_panics_in_a_terminal_that_is_taken";
        again.args(["--exact", name, "--ignored", "--nocapture"]);
        let mut terminal = Terminal::open(&again, 24, 80).expect("a terminal");
        terminal.wait_for("it is taken", |screen| screen.contains("it is taken")).expect("taken");
        assert!(terminal.is_put_aside() && terminal.has_no_cursor());
        assert!(!terminal.has_modes_as_before().expect("modes"), "keys come one by one");
        terminal.press("\n").expect("a key");
        let (code, signal) = terminal.wait_for_a_clean_end().expect("a clean end");
        assert_eq!((code, signal), (Some(0), None), "{}", terminal.screen());
        assert!(
            terminal.screen().contains("on purpose"),
            "what was said can be read:\n{}",
            terminal.screen()
        );
    }
}
