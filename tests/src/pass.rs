//! The smallest XDP program, which passes every packet on: a veth delivers what its peer sends by `XDP_TX` only if it
//! has a program itself. Two raw instructions, so that the lab needs no BPF compiler.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use anyhow::{Context, Result};
use nix::net::if_::if_nametoindex;

use crate::link::End;

// From the kernel's include/uapi/linux/bpf.h and if_link.h.
const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_PROG_TYPE_XDP: u32 = 6;
const BPF_XDP: u32 = 37;
/// Frames of several buffers are welcome: without it a veth refuses the program when its peer's MTU is large.
const BPF_F_XDP_HAS_FRAGS: u32 = 1 << 5;
/// In the driver, or not at all.
const XDP_FLAGS_DRV_MODE: u32 = 1 << 2;

/// `r0 = XDP_PASS; exit`, as the kernel reads it: opcode, registers, offset, immediate value.
const PROGRAM: [[u8; 8]; 2] = [[0xb7, 0, 0, 0, 2, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]];

const LICENCE: &[u8] = b"GPL\0";

/// The arguments of `BPF_PROG_LOAD`, as far as they are used.
#[repr(C)]
#[derive(Default)]
struct Load {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    licence: u64,
    log_level: u32,
    log_bytes: u32,
    log: u64,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    ifindex: u32,
    attach_type: u32,
}

/// The arguments of `BPF_LINK_CREATE`, as far as they are used.
#[repr(C)]
struct Create {
    program: i32,
    ifindex: u32,
    attach_type: u32,
    flags: u32,
}

/// The program on an interface; it comes off when this is dropped.
#[derive(Debug)]
pub struct Pass {
    _link: OwnedFd,
}

impl Pass {
    /// Puts the program onto an interface, in native mode.
    pub fn attach(end: End<'_>) -> Result<Self> {
        // The kernel looks for the interface in the namespace of the thread that asks.
        let link = end.namespace.inside(|| attach(end.interface))?;
        let link = link.with_context(|| {
            format!("attaching a passing XDP program to {} in {}", end.interface, end.namespace.name())
        })?;
        Ok(Self { _link: link })
    }
}

fn attach(interface: &str) -> io::Result<OwnedFd> {
    let ifindex = if_nametoindex(interface)?;
    let load = Load {
        program_type: BPF_PROG_TYPE_XDP,
        instruction_count: 2,
        instructions: PROGRAM.as_ptr().expose_provenance() as u64,
        licence: LICENCE.as_ptr().expose_provenance() as u64,
        flags: BPF_F_XDP_HAS_FRAGS,
        name: *b"pass\0\0\0\0\0\0\0\0\0\0\0\0",
        attach_type: BPF_XDP,
        ..Load::default()
    };
    // SAFETY: `Load` is laid out as the kernel's struct for this command, and its pointers are to statics.
    let program = unsafe { bpf(BPF_PROG_LOAD, &load) }?;
    let create =
        Create { program: program.as_raw_fd(), ifindex, attach_type: BPF_XDP, flags: XDP_FLAGS_DRV_MODE };
    // SAFETY: `Create` is laid out as the kernel's struct for this command, and has no pointers.
    unsafe { bpf(BPF_LINK_CREATE, &create) }
}

/// The system call, for commands that give a file descriptor.
///
/// # Safety
///
/// `T` is laid out as the beginning of the kernel's `union bpf_attr` for this command, and its pointers are valid.
unsafe fn bpf<T>(command: libc::c_long, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: the kernel reads `size_of::<T>()` bytes from a reference that is valid; the rest the caller promises.
    let answer =
        unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size_of::<T>()) };
    let descriptor = i32::try_from(answer).unwrap_or(-1);
    if descriptor < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just made this descriptor for us, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}
