//! An archive as the kernel takes it for its initial file system: cpio, in its "newc" form
//! (Documentation/driver-api/early-userspace/buffer-format.rst).

use std::io::Write as _;

/// Files and directories, each by its path without a slash in front; a directory comes before what it contains.
#[derive(Default)]
pub(crate) struct Archive {
    bytes: Vec<u8>,
    entries: u32,
}

const DIRECTORY: u32 = 0o04_0755;
const PROGRAM: u32 = 0o10_0755;

/// All parts begin at a multiple of so many bytes.
const ALIGNMENT: usize = 4;

impl Archive {
    pub(crate) fn directory(&mut self, path: &str) {
        self.entry(path, DIRECTORY, &[]);
    }

    /// A file that may be run.
    pub(crate) fn program(&mut self, path: &str, content: &[u8]) {
        self.entry(path, PROGRAM, content);
    }

    pub(crate) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[]);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.entries += 1;
        // Inode, mode, owner, group, links, time, size, device and special device (major and minor), name's size, checksum.
        let numbers =
            [self.entries as usize, mode as usize, 0, 0, 1, 0, content.len(), 0, 0, 0, 0, path.len() + 1, 0];
        self.bytes.extend(b"070701");
        for number in numbers {
            // Writing into memory does not fail.
            let _ = write!(self.bytes, "{number:08X}");
        }
        self.bytes.extend(path.as_bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend(content);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGNMENT), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_its_header_its_name_and_its_content_each_aligned() {
        let mut archive = Archive::default();
        archive.directory("bin");
        archive.program("bin/x", b"hello");
        let bytes = archive.finish();
        let expected = [
            "070701000000010000",
            "41ED000000000000000000000001000000000000000000000000000000000000000000000000",
            "0000000400000000bin\0\0\0",
            "0707010000000200008",
            "1ED00000000000000000000000100000000000000050000000000000000000000000000000",
            "00000000600000000bin/x\0hello\0\0\0",
        ]
        .concat();
        assert_eq!(String::from_utf8_lossy(bytes.split_at(expected.len()).0), expected);
        assert!(bytes.len().is_multiple_of(ALIGNMENT));
        assert!(String::from_utf8_lossy(&bytes).contains("TRAILER!!!\0"));
    }
}
