//! Who decapsulates single frames: the host's code, and the kernel's program.

use std::path::{Path, PathBuf};

use aya::Ebpf;
use aya::programs::{TestRun, TestRunOptions, Xdp};
use lbxdp::decap;
use lbxdp::tables::decap::Decap;
use lbxdp_common::Fate;
use lbxdp_common::decap::{Refusal, Sender, Settings, Tables, Tunnel, decapsulate};
use lbxdp_common::walk::Walker;
use lbxdp_common::wire::{Buffer, Frame, ethernet};

use crate::cases::{DIRECTOR_4, DIRECTOR_6, MACS};

/// What becomes of a frame, and the frame it leaves.
pub(crate) type Outcome = (Result<Tunnel, Refusal>, Vec<u8>);

fn settings() -> Settings {
    let gue_ports = [6080, 666, 0, 0, 0, 0, 0, 7777];
    Settings { mac: ethernet::number(MACS.to), gue_ports, ..Settings::default() }
}

/// The host's tables: both directors may.
struct Host;

impl Walker for Host {}

impl<F: Frame> Tables<F> for Host {
    fn settings(&self) -> Option<Settings> {
        Some(settings())
    }

    fn is_allowed(&self, sender: Sender) -> bool {
        let Sender { family, address } = sender;
        let bytes: Vec<u8> = address.iter().flat_map(|half| half.to_ne_bytes()).collect();
        match family {
            4 => bytes[..4] == DIRECTOR_4.octets() && bytes[4..].iter().all(|byte| *byte == 0),
            _ => bytes == DIRECTOR_6.octets(),
        }
    }
}

/// On the host.
pub(crate) fn on_host(frame: &[u8]) -> Outcome {
    let mut memory = frame.to_vec();
    let mut buffer = Buffer::new(&mut memory, 0);
    let outcome = decapsulate(&mut buffer, &Host);
    (outcome, buffer.frame().to_vec())
}

/// The program in the kernel, attached to nothing.
pub(crate) struct Kernel {
    ebpf: Ebpf,
    tables: Decap,
    pins: PathBuf,
}

impl Drop for Kernel {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.pins) {
            eprintln!("cannot remove {}: {error}", self.pins.display());
        }
    }
}

impl Kernel {
    pub(crate) fn load(name: &str) -> Self {
        let pins = Path::new("/sys/fs/bpf").join(format!("lbxdp-decap-law-{}-{name}", std::process::id()));
        let mut ebpf = decap::load(&pins).expect("the kernel takes the program");
        let mut tables = Decap::of_object(&mut ebpf).expect("the object has its tables");
        tables.put_settings(settings()).expect("a row of settings");
        tables.allow(std::net::IpAddr::from(DIRECTOR_4).into()).expect("room for a source");
        tables.allow(std::net::IpAddr::from(DIRECTOR_6).into()).expect("room for a source");
        Self { ebpf, tables, pins }
    }

    fn counts(&self) -> (Vec<u64>, Vec<u64>) {
        let opened = Tunnel::ALL.iter().map(|tunnel| self.tables.opened(*tunnel).expect("a count"));
        let refused = Refusal::ALL.iter().map(|refusal| self.tables.refused(*refusal).expect("a count"));
        (opened.collect(), refused.collect())
    }

    /// Runs the program; what it counted says what it did, and the action must be that one's.
    pub(crate) fn run(&mut self, frame: &[u8]) -> Outcome {
        let (opened_before, refused_before) = self.counts();
        let program: &mut Xdp = self.ebpf.program_mut(decap::PROGRAM).unwrap().try_into().unwrap();
        let mut out = vec![0; frame.len()];
        let options =
            TestRunOptions { data_in: Some(frame), data_out: Some(&mut out), ..TestRunOptions::new() };
        let result = program.test_run(options).expect("the kernel runs the program");
        out.truncate(result.data_size_out as usize);
        let (opened, refused) = self.counts();
        let grown = |before: &[u64], after: &[u64]| -> Vec<usize> {
            (0..before.len()).filter(|at| before[*at] != after[*at]).collect()
        };
        let (opened, refused) = (grown(&opened_before, &opened), grown(&refused_before, &refused));
        let outcome = match (opened.as_slice(), refused.as_slice()) {
            ([], []) => Err(Refusal::NotATunnel),
            ([tunnel], []) => Ok(Tunnel::ALL[*tunnel]),
            ([], [refusal]) => Err(Refusal::ALL[*refusal]),
            counted => panic!("one frame was counted for {counted:?}"),
        };
        // XDP_DROP is 1, XDP_PASS is 2.
        let action = if outcome.is_err_and(|refusal| refusal.fate() == Fate::Drop) { 1 } else { 2 };
        assert_eq!(result.return_value, action, "{outcome:?}");
        (outcome, out)
    }
}
