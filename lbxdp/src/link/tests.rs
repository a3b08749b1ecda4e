use std::fs::{create_dir, read_dir, read_link, read_to_string, write};

use super::*;

/// A directory of the test's own; gone when this is dropped.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("lbxdp-link-{}-{name}", std::process::id()));
        create_dir(&path).unwrap();
        Self(path)
    }

    fn names(&self) -> Vec<String> {
        let entries = read_dir(&self.0).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort_unstable();
        names
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

#[test]
fn links_are_made_made_again_and_taken_away() {
    let directory = Directory::new("made");
    // One that leads to where lbxdp was before.
    symlink("/nowhere/lbxdp", directory.0.join("ipvsadm-save")).unwrap();
    for _ in 0..2 {
        link(&directory.0).unwrap();
        assert_eq!(directory.names(), ["ipvsadm", "ipvsadm-restore", "ipvsadm-save"]);
        for name in NAMES {
            // The test's own binary; it is not called lbxdp, so the next round must be told that the links are ours.
            let path = directory.0.join(name);
            assert_eq!(read_link(&path).unwrap(), std::env::current_exe().unwrap());
            fs::remove_file(&path).unwrap();
            symlink("/somewhere/lbxdp", &path).unwrap();
        }
    }
    unlink(&directory.0).unwrap();
    assert_eq!(directory.names(), [""; 0]);
    unlink(&directory.0).unwrap();
}

#[test]
fn what_is_no_link_to_lbxdp_is_left_alone() {
    let directory = Directory::new("foreign");
    let (file, other) = (directory.0.join("ipvsadm-save"), directory.0.join("ipvsadm-restore"));
    write(&file, "a script").unwrap();
    symlink("/sbin/busybox", &other).unwrap();
    let error = link(&directory.0).unwrap_err();
    assert!(matches!(&error, LinkError::Foreign(path) if *path == file), "{error}");
    unlink(&directory.0).unwrap();
    assert_eq!(directory.names(), ["ipvsadm-restore", "ipvsadm-save"]);
    assert_eq!(
        (read_to_string(file).unwrap().as_str(), read_link(other).unwrap()),
        ("a script", "/sbin/busybox".into())
    );
}

/// What it says of the kernel's services may be typed as it stands.
#[test]
fn the_kernels_own_program_is_never_lbxdp() {
    let root = Directory::new("kernels");
    for directory in ["sbin", "usr", "usr/sbin"] {
        create_dir(root.0.join(directory)).unwrap();
    }
    assert_eq!(kernels_ipvsadm(&root.0), None);
    // As `lbxdp link` makes it, and as somebody may have copied it.
    let binary = root.0.join("usr/sbin/lbxdp");
    write(&binary, "").unwrap();
    let plain = root.0.join("sbin/ipvsadm");
    symlink(&binary, &plain).unwrap();
    symlink(&plain, root.0.join("usr/sbin/ipvsadm")).unwrap();
    assert_eq!(kernels_ipvsadm(&root.0), None);
    fs::remove_file(&plain).unwrap();
    fs::hard_link(itself().unwrap(), &plain).or_else(|_| symlink(itself().unwrap(), &plain)).unwrap();
    assert_eq!(kernels_ipvsadm(&root.0), None);
    fs::remove_file(&plain).unwrap();
    write(&plain, "").unwrap();
    assert_eq!(kernels_ipvsadm(&root.0), Some(plain));
    let aside = root.0.join("sbin/ipvsadm.kernel-sbin");
    write(&aside, "").unwrap();
    assert_eq!(kernels_ipvsadm(&root.0), Some(aside));
}

#[test]
fn a_directory_that_is_not_there_is_named() {
    let said = link(Path::new("/nowhere/at/all")).unwrap_err().to_string();
    assert!(said.contains("/nowhere/at/all/ipvsadm"), "{said}");
}
