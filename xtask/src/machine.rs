//! What tests and demo ask of the machine: root, a kernel that is new enough, its types, a mounted bpffs, and tools.

use std::path::Path;

use anyhow::{Context, Result, bail};
use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use nix::sys::utsname::uname;
use nix::unistd::geteuid;

use crate::{packages, step};

/// The oldest kernel that has all the packet path uses.
const OLDEST_KERNEL: (u32, u32) = (6, 1);

const BPFFS: &str = "/sys/fs/bpf";

const BROWSER: &str = "chromium";

pub(crate) fn is_root() -> bool {
    geteuid().is_root()
}

/// Makes sure of root; `verb` is what to run as root.
pub(crate) fn require_root(verb: &str) -> Result<()> {
    if !is_root() {
        bail!(
            "{verb} needs root, for network namespaces and BPF programs: run `sudo -E env PATH=\"$PATH\" cargo xtask {verb}`"
        );
    }
    Ok(())
}

/// Makes sure that programs can be loaded and namespaces made here, and that what serves them is there.
pub(crate) fn require_lab(verb: &str) -> Result<()> {
    require_root(verb)?;
    require_kernel()?;
    require_lab_programs()?;
    mount_bpffs()
}

fn require_lab_programs() -> Result<()> {
    packages::require_program("ip", "iproute2", "the lab's networks are made with ip")?;
    packages::require_program("ethtool", "ethtool", "checksum offload is set on the lab's links with it")?;
    packages::require_program("nsenter", "util-linux", "commands are run inside namespaces with it")
}

/// Makes sure of what a virtual machine is made with, and of what is run in it: it has the files of this one.
pub(crate) fn require_guest_programs() -> Result<()> {
    require_lab_programs()?;
    packages::require_program("qemu-system-x86_64", "qemu-system-x86", "it is the virtual machine")?;
    packages::require_program("busybox", "busybox-static", "the virtual machine starts by it")?;
    packages::require_program("modprobe", "kmod", "it finds what a module needs")?;
    packages::require_program("ipvsadm", "ipvsadm", "the kernel's IPVS is configured by it")
}

/// Makes sure of what the root tests run beside that.
pub(crate) fn require_test_programs() -> Result<()> {
    packages::require_program("curl", "curl", "the clients of the guides ask by it")?;
    packages::require_program("ldirectord", "ldirectord", "a test has it drive lbxdp")?;
    packages::require_program("ifconfig", "net-tools", "old scripts that a test runs set addresses by it")?;
    packages::require_program(
        "promtool",
        "prometheus",
        "a test has it scrape the daemon and judge its metrics",
    )?;
    let why = "a test compares what it says of the same tables";
    packages::require_program("prometheus-node-exporter", "prometheus-node-exporter", why)
}

/// Makes sure of the browser that a test shows the status page to, where there is one to be had: not every system has chromium as a
/// package of its own (on Ubuntu it is a snap).
pub(crate) fn find_browser() -> Result<bool> {
    if packages::find_program(BROWSER).is_none() && !packages::is_offered(BROWSER) {
        step::say("there is no package chromium here: the status page is not tested in a browser");
        return Ok(false);
    }
    packages::require_program(BROWSER, BROWSER, "a test shows it the status page")?;
    Ok(true)
}

fn require_kernel() -> Result<()> {
    let release =
        uname().context("asking the kernel for its version")?.release().to_string_lossy().into_owned();
    if version(&release).is_some_and(|version| version < OLDEST_KERNEL) {
        let (major, minor) = OLDEST_KERNEL;
        bail!(
            "this kernel is {release}, the packet path needs {major}.{minor} or newer: install one (on Debian 11: `apt-get install -t bullseye-backports linux-image-amd64`) and boot it"
        );
    }
    if !Path::new("/sys/kernel/btf/vmlinux").exists() {
        bail!(
            "this kernel has no BTF (/sys/kernel/btf/vmlinux): boot one built with CONFIG_DEBUG_INFO_BTF=y, as distributions' kernels are; `grep BTF /boot/config-{release}` shows what this one has"
        );
    }
    Ok(())
}

/// The line of kernels that this one belongs to, such as `6.1`.
pub(crate) fn kernel_line() -> Result<String> {
    let release =
        uname().context("asking the kernel for its version")?.release().to_string_lossy().into_owned();
    let (major, minor) = version(&release).with_context(|| format!("which version is {release}?"))?;
    Ok(format!("{major}.{minor}"))
}

/// Major and minor number of a kernel release such as `6.1.0-18-amd64`.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|character: char| !character.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn mount_bpffs() -> Result<()> {
    if statfs(BPFFS).is_ok_and(|filesystem| filesystem.filesystem_type() == BPF_FS_MAGIC) {
        return Ok(());
    }
    step::say(format_args!("mounting bpffs at {BPFFS}: the daemon pins its maps there"));
    mount(Some("bpf"), BPFFS, Some("bpf"), MsFlags::empty(), None::<&str>)
        .with_context(|| format!("mounting bpffs; `mount -t bpf bpf {BPFFS}` does the same"))
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn a_kernel_release_is_read_by_its_first_two_numbers() {
        assert_eq!(version("6.1.0-18-amd64"), Some((6, 1)));
        assert_eq!(version("5.15.167.4-microsoft-standard-WSL2"), Some((5, 15)));
        assert_eq!(version("6.12-rc1"), Some((6, 12)));
        assert_eq!(version("unknown"), None);
    }
}
