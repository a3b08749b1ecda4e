//! A guide as a new user reads it: chapters, and in them what is typed where, and what is seen then.
//!
//! A fenced block `sh` begins with a comment that says where (`# on the director`); a block `text` behind it has the lines that
//! matter of what is seen there, in order, with `…` for what differs.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};

#[derive(Debug)]
pub(crate) struct Guide {
    pub(crate) name: String,
    pub(crate) chapters: Vec<Chapter>,
}

#[derive(Debug)]
pub(crate) struct Chapter {
    pub(crate) title: String,
    pub(crate) acts: Vec<Act>,
}

/// What is typed somewhere, and what is seen then.
#[derive(Debug)]
pub(crate) struct Act {
    /// As the comment says: `the director`, `each real server`, `a client`.
    pub(crate) at: String,
    pub(crate) commands: Vec<String>,
    pub(crate) seen: Vec<String>,
}

impl Guide {
    pub(crate) fn read(name: &str) -> Result<Self> {
        let text = std::fs::read_to_string(manual(name)).with_context(|| format!("reading {name}"))?;
        let mut guide = Self { name: name.to_owned(), chapters: Vec::new() };
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if let Some(title) = line.strip_prefix("## ") {
                guide.chapters.push(Chapter { title: title.to_owned(), acts: Vec::new() });
            }
            let Some(kind) = line.strip_prefix("```") else { continue };
            let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
            let chapter = guide.chapters.last_mut().context("a block before the first chapter")?;
            match kind {
                "sh" => chapter.acts.push(act(&block).with_context(|| format!("{name}: {block:?}"))?),
                "text" => {
                    let act = chapter.acts.last_mut().context("something is seen, but nothing typed")?;
                    ensure!(act.seen.is_empty(), "{name}: seen twice: {block:?}");
                    act.seen = block.into_iter().map(str::to_owned).collect();
                }
                other => bail!("{name}: a block of the kind `{other}`"),
            }
        }
        Ok(guide)
    }

    pub(crate) fn chapter(&self, title: &str) -> Result<&Chapter> {
        let found = self.chapters.iter().find(|chapter| chapter.title == title);
        found.with_context(|| format!("{} has no chapter `{title}`", self.name))
    }
}

/// A file of the manual.
pub(crate) fn manual(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name)
}

fn act(block: &[&str]) -> Result<Act> {
    let (first, rest) = block.split_first().context("an empty block")?;
    let at = first.strip_prefix("# on ").context("it does not say where")?.to_owned();
    Ok(Act { at, commands: commands(rest)?, seen: Vec::new() })
}

/// Lines of a shell as commands: a here-document goes with the line that begins it.
fn commands(lines: &[&str]) -> Result<Vec<String>> {
    let mut commands = Vec::new();
    let mut lines = lines.iter();
    while let Some(line) = lines.next() {
        let mut command = (*line).to_owned();
        if let Some((_, mark)) = line.split_once("<<'") {
            let mark = mark.strip_suffix('\'').context("a here-document without an end")?;
            loop {
                let line = lines.next().context("a here-document without an end")?;
                command = command + "\n" + line;
                if *line == mark {
                    break;
                }
            }
        }
        commands.push(command);
    }
    Ok(commands)
}

/// Whether all these lines are among what was printed, in this order.
pub(crate) fn has_all(printed: &str, seen: &[String]) -> Result<(), String> {
    let mut printed = printed.lines();
    for line in seen {
        if !printed.any(|found| is_like(found, line)) {
            return Err(line.clone());
        }
    }
    Ok(())
}

/// Whether a line is what the guide shows: blanks do not count, and `…` is anything.
fn is_like(found: &str, shown: &str) -> bool {
    let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (found, shown) = (plain(found), plain(shown));
    let mut pieces = shown.split('…').map(str::trim);
    let Some(mut rest) = pieces.next().and_then(|first| found.strip_prefix(first)) else { return false };
    let mut is_open = false;
    for piece in pieces {
        is_open = piece.is_empty();
        match rest.find(piece) {
            Some(at) => rest = &rest[at + piece.len()..],
            None => return false,
        }
    }
    is_open || rest.is_empty()
}

#[test]
fn what_is_shown_is_told_from_what_is_not() {
    assert!(is_like("TCP  01:59  FIN_WAIT 10.0.0.2:4711", "TCP …  FIN_WAIT    10.0.0.2:…"));
    assert!(is_like("-> 10.0.0.11:80   Route 1 0 2   ", "  -> 10.0.0.11:80 Route 1 0 2"));
    assert!(!is_like("-> 10.0.0.11:80 Route 1 0 21", "-> 10.0.0.11:80 Route 1 0 2"));
    assert!(!is_like("2 s1", "s1") && !is_like("s1", "s1 … s2"));
    let seen = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
    assert_eq!(has_all("a\nb\nc\n", &seen(&["a", "c"])), Ok(()));
    assert_eq!(has_all("a\nb\nc\n", &seen(&["c", "a"])), Err("a".to_owned()));
}

#[test]
fn a_here_document_is_one_command() {
    let commands = commands(&["cat > x <<'END'", "-A -t y", "END", "lbxdp status"]).unwrap();
    assert_eq!(commands, ["cat > x <<'END'\n-A -t y\nEND", "lbxdp status"]);
}
