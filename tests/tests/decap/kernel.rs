//! The loaded program, run by the kernel on single frames: it must do what the host does, to the byte.

use crate::cases;
use crate::runner::{Kernel, on_host};

/// The kernel wants at least an Ethernet header.
const MIN_FRAME_BYTES: usize = 14;

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn every_case_in_the_kernel_as_on_the_host() {
    let mut kernel = Kernel::load("cases");
    for case in cases::all() {
        assert_eq!(kernel.run(&case.frame), (case.outcome, case.after), "{}", case.name);
    }
}

#[test]
#[ignore = "needs root and the packet program: run by cargo xtask test"]
fn frames_cut_short_and_changed_in_the_kernel_as_on_the_host() {
    const ROUNDS: u32 = 40;
    let mut kernel = Kernel::load("changed");
    // Xorshift (Marsaglia, 2003): every run makes the same frames.
    let mut state = 88_172_645_463_325_252_u64;
    let mut dice = |sides: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % sides as u64).unwrap()
    };
    let cases: Vec<_> = cases::all().into_iter().filter(|case| case.frame.len() < 1000).collect();
    let (mut frames, mut opened) = (0, 0);
    for _ in 0..ROUNDS {
        for case in &cases {
            let mut frame = case.frame.clone();
            for _ in 0..dice(4) {
                let at = dice(frame.len().min(90));
                frame[at] = u8::try_from(dice(256)).unwrap();
            }
            if dice(3) == 0 {
                frame.truncate(MIN_FRAME_BYTES + dice(frame.len() - MIN_FRAME_BYTES));
            }
            let on_host = on_host(&frame);
            assert_eq!(kernel.run(&frame), on_host, "{frame:x?}");
            frames += 1;
            opened += u32::from(on_host.0.is_ok());
        }
    }
    assert!(frames > 5000 && opened > 1000, "only {opened} of {frames} frames were opened");
}
