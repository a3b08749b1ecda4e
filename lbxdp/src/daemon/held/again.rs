//! Sending a frame again: the kernel runs the interface's program on it, and does with it what that says, as with a frame
//! from the wire (`BPF_F_TEST_XDP_LIVE_FRAMES`, Linux 5.18).

use aya::programs::{TestRun, TestRunAttrs, TestRunOptions, Xdp};
use aya_obj::programs::XdpAttachType;
use zerocopy::{Immutable, IntoBytes};

use crate::daemon::load::Anything;
use crate::tables::pins::Instance;

/// The kernel's `struct xdp_md`.
#[derive(IntoBytes, Immutable)]
#[repr(C)]
struct Context {
    data: u32,
    data_end: u32,
    data_meta: u32,
    ingress_ifindex: u32,
    rx_queue_index: u32,
    egress_ifindex: u32,
}

/// Who sends.
pub(super) struct Again {
    instance: Instance,
}

impl Again {
    pub(super) const fn new(instance: Instance) -> Self {
        Self { instance }
    }

    /// Sends a frame as if it came in by this interface.
    pub(super) fn send(&self, ifindex: u32, frame: &[u8]) -> Result<(), Anything> {
        let name = nix::net::if_::if_indextoname(ifindex)?;
        // Opened anew each time: an interface gets another program when its MAC address changes.
        let pin = self.instance.program_pin(&name.to_string_lossy());
        let program = Xdp::from_pin(pin, XdpAttachType::Interface)?;
        let context = Context {
            data: 0,
            data_end: frame.len().try_into()?,
            data_meta: 0,
            ingress_ifindex: ifindex,
            rx_queue_index: 0,
            egress_ifindex: 0,
        };
        program.test_run(TestRunOptions {
            data_in: Some(frame),
            ctx_in: Some(context.as_bytes()),
            attrs: TestRunAttrs::new().xdp_live_frames(1),
            ..TestRunOptions::new()
        })?;
        Ok(())
    }
}
