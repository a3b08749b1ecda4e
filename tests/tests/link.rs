//! `lbxdp link --divert` and Debian's package manager, the real one, in a root directory of the test's own: whatever is installed
//! or upgraded meanwhile, `/sbin/ipvsadm` is lbxdp, and `lbxdp unlink --divert` gives the place back.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use lbxdp_tests::{Label, command, daemon};

const NAMES: [&str; 3] = ["ipvsadm", "ipvsadm-save", "ipvsadm-restore"];

/// A system whose `/sbin` is a link, with a package manager that knows no package yet. Gone when this is dropped.
struct System(PathBuf);

impl System {
    fn make() -> Result<Self> {
        let root = std::env::temp_dir().join(format!("{}-root", Label::unique()));
        for directory in ["usr/sbin", "var/lib/dpkg/info", "var/lib/dpkg/updates"] {
            fs::create_dir_all(root.join(directory))?;
        }
        fs::write(root.join("var/lib/dpkg/status"), "")?;
        symlink("usr/sbin", root.join("sbin"))?;
        let system = Self(root);
        // dpkg removes what belongs to no package any more, `/sbin` too.
        system.install("base", "1", "sbin", &["base"])?;
        Ok(system)
    }

    /// Installs ipvsadm's package, or upgrades to this version; its programs stand in this directory and say the version.
    fn install_ipvsadm(&self, version: &str, directory: &str) -> Result<()> {
        self.install("ipvsadm", version, directory, &NAMES)
    }

    fn install(&self, name: &str, version: &str, directory: &str, files: &[&str]) -> Result<()> {
        let package = self.0.join(format!("{name}-{version}"));
        let (control, programs) = (package.join("DEBIAN"), package.join(directory));
        fs::create_dir_all(&control)?;
        fs::create_dir_all(&programs)?;
        let about = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: all\nMaintainer: nobody <nobody@localhost>\nDescription: a stand-in\n"
        );
        fs::write(control.join("control"), about)?;
        for file in files {
            fs::write(programs.join(file), version)?;
        }
        let file = self.0.join(format!("{name}-{version}.deb"));
        let mut build = Command::new("dpkg-deb");
        command::read(build.args(["--root-owner-group", "--build"]).arg(&package).arg(&file))?;
        let mut install = Command::new("dpkg");
        command::read(install.arg("--root").arg(&self.0).arg("--install").arg(&file))?;
        Ok(())
    }

    fn lbxdp(&self, verb: &str) -> Result<String> {
        let mut lbxdp = Command::new(daemon::binary()?);
        command::read(lbxdp.args([verb, "--divert", "--root"]).arg(&self.0))
    }

    /// What stands in the places of ipvsadm's programs: links to lbxdp.
    fn assert_linked(&self) -> Result<()> {
        for name in NAMES {
            for directory in ["sbin", "usr/sbin"] {
                let path = self.0.join(directory).join(name);
                let target =
                    fs::read_link(&path).with_context(|| format!("{} is no link", path.display()))?;
                assert_eq!(target, daemon::binary()?);
            }
        }
        Ok(())
    }

    fn assert_says(&self, suffix: &str, version: &str) -> Result<()> {
        for name in NAMES {
            let path = self.0.join("sbin").join(format!("{name}{suffix}"));
            let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            assert_eq!(text, version, "{}", path.display());
        }
        Ok(())
    }

    /// All that is in the directory of programs, and all diversions.
    fn is_as_without_us(&self, programs: &[&str]) -> Result<()> {
        let entries = fs::read_dir(self.0.join("usr/sbin"))?;
        let mut found: Vec<_> = entries.map(|entry| Ok(entry?.file_name())).collect::<Result<_>>()?;
        found.sort_unstable();
        assert_eq!(found, programs);
        let mut list = Command::new("dpkg-divert");
        let diversions = command::read(list.arg("--root").arg(&self.0).args(["--list", "*ipvsadm*"]))?;
        assert_eq!(diversions, "");
        Ok(())
    }
}

impl Drop for System {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("cannot remove {}: {error}", self.0.display());
        }
    }
}

const INSTALLED: [&str; 4] = ["base", "ipvsadm", "ipvsadm-restore", "ipvsadm-save"];

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn the_package_keeps_its_files_beside_the_links_through_upgrades() -> Result<()> {
    let system = System::make()?;
    system.install_ipvsadm("1", "sbin")?;
    system.assert_says("", "1")?;
    for _ in 0..2 {
        system.lbxdp("link")?;
        system.assert_linked()?;
        system.assert_says(".kernel-sbin", "1")?;
    }
    // As within Debian 12; and as from there to Debian 13, whose package has its programs in another directory.
    let upgrades =
        [("2", "sbin", ".kernel-sbin"), ("3", "usr/sbin", ".kernel"), ("4", "usr/sbin", ".kernel")];
    for (version, directory, suffix) in upgrades {
        system.install_ipvsadm(version, directory)?;
        system.assert_linked()?;
        system.assert_says(suffix, version)?;
    }
    for _ in 0..2 {
        system.lbxdp("unlink")?;
        system.assert_says("", "4")?;
        system.is_as_without_us(&INSTALLED)?;
    }
    system.install_ipvsadm("5", "usr/sbin")?;
    system.assert_says("", "5")
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn a_package_that_comes_later_leaves_the_links() -> Result<()> {
    let system = System::make()?;
    system.lbxdp("link")?;
    system.assert_linked()?;
    system.install_ipvsadm("1", "sbin")?;
    system.assert_linked()?;
    system.assert_says(".kernel-sbin", "1")?;
    let mut remove = Command::new("dpkg");
    command::read(remove.arg("--root").arg(&system.0).args(["--purge", "ipvsadm"]))?;
    system.assert_linked()?;
    system.lbxdp("unlink")?;
    system.is_as_without_us(&["base"])
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn what_somebody_else_has_diverted_stays_diverted() -> Result<()> {
    let system = System::make()?;
    system.install_ipvsadm("1", "sbin")?;
    let divert = |arguments: &[&str]| {
        command::read(Command::new("dpkg-divert").arg("--root").arg(&system.0).args(arguments))
    };
    divert(&["--local", "--rename", "--divert", "/sbin/ipvsadm.other", "--add", "/sbin/ipvsadm"])?;
    let link =
        Command::new(daemon::binary()?).args(["link", "--divert", "--root"]).arg(&system.0).output()?;
    assert!(!link.status.success());
    assert!(String::from_utf8_lossy(&link.stderr).contains("/sbin/ipvsadm.other already"), "{link:?}");
    assert_eq!(divert(&["--list", "*.kernel*"])?, "");
    system.lbxdp("unlink")?;
    assert!(system.0.join("sbin/ipvsadm.other").exists());
    assert_eq!(divert(&["--truename", "/sbin/ipvsadm"])?.trim(), "/sbin/ipvsadm.other");
    Ok(())
}
