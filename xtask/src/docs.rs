//! `cargo xtask docs`: manual pages and shell completions, as packages install them; and the document that is made from the code
//! and committed.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use clap::CommandFactory;
use clap_complete::Shell;
use lbxdp::cli::arguments::Arguments;

use crate::{project, step};

/// The pages that are written by hand: what clap does not know.
const WRITTEN: &str = "docs/man";

/// Made from the families of metrics.
const METRICS: &str = "docs/metrics.md";

const SHELLS: [Shell; 3] = [Shell::Bash, Shell::Zsh, Shell::Fish];

pub(crate) fn run() -> Result<()> {
    let docs = project::target()?.join("docs");
    let pages = make(&docs)?;
    step::say(format_args!(
        "{pages} manual pages and completions for {} shells are in {}",
        SHELLS.len(),
        docs.display()
    ));
    let metrics = project::root().join(METRICS);
    fs::write(&metrics, lbxdp::metrics::document())
        .with_context(|| format!("writing {}", metrics.display()))?;
    step::say(format_args!("{METRICS} says what is exported"));
    Ok(())
}

/// Makes all of it, in `man/man1`, `man/man8` and `completions` of a directory, and gives the number of pages.
fn make(docs: &Path) -> Result<usize> {
    let [man1, man8, completions] =
        ["man/man1", "man/man8", "completions"].map(|directory| docs.join(directory));
    for directory in [&man1, &man8, &completions] {
        // A page of a command that is no more would stay.
        if directory.exists() {
            fs::remove_dir_all(directory).with_context(|| format!("emptying {}", directory.display()))?;
        }
        fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
    }
    let mut command = Arguments::command();
    for shell in SHELLS {
        clap_complete::generate_to(shell, &mut command, "lbxdp", &completions)
            .with_context(|| format!("writing completions for {shell}"))?;
    }
    // Another one: completions have given theirs a command `help` for each.
    clap_mangen::generate_to(Arguments::command(), &man1).context("writing the pages of lbxdp")?;
    let mut pages = fs::read_dir(&man1).context("counting them")?.count();
    for page in fs::read_dir(project::root().join(WRITTEN)).context("reading the pages that are written")? {
        let page = page?.path();
        let to = man8.join(page.file_name().unwrap_or_default());
        fs::copy(&page, &to).with_context(|| format!("copying {}", page.display()))?;
        pages += 1;
    }
    Ok(pages)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_command_has_its_page_and_its_completion() -> Result<()> {
        let docs = std::env::temp_dir().join(format!("lbxdp-docs-{}", std::process::id()));
        let made = make(&docs);
        let names = |directory: &str| -> Result<BTreeSet<String>> {
            let entries = fs::read_dir(docs.join(directory))?;
            Ok(entries
                .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()))
                .collect())
        };
        let (man1, man8, bash) =
            (names("man/man1"), names("man/man8"), fs::read_to_string(docs.join("completions/lbxdp.bash")));
        let page = fs::read_to_string(docs.join("man/man1/lbxdp-drain.1"));
        fs::remove_dir_all(&docs)?;
        let (man1, man8) = (man1?, man8?);
        assert_eq!(made?, man1.len() + man8.len());
        for name in [
            "lbxdp.1",
            "lbxdp-run.1",
            "lbxdp-drain.1",
            "lbxdp-service-list.1",
            "lbxdp-mark-add.1",
            "lbxdp-realserver-start.1",
            "lbxdp-doctor.1",
        ] {
            assert!(man1.contains(name), "{name}: {man1:?}");
        }
        assert!(man1.iter().all(|name| !name.contains("help")), "{man1:?}");
        assert!(man8.contains("ipvsadm.8") && man8.contains("ipvsadm-save.8"), "{man8:?}");
        assert!(page?.contains("tcp/10.0.0.100:80"), "the page tells what a service is called");
        assert!(bash?.contains("ip_vs_stats_percpu"), "values are completed too");
        Ok(())
    }
}
