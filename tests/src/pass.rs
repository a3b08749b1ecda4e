//! The smallest XDP programs, which pass every packet on: a veth delivers what its peer sends by `XDP_TX` only if it
//! has a program itself. Raw instructions, so that the lab needs no BPF compiler.

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
const PASS: [[u8; 8]; 2] = [[0xb7, 0, 0, 0, 2, 0, 0, 0], [0x95, 0, 0, 0, 0, 0, 0, 0]];

/// Passes every packet, but gives a VLAN tag's type, 0x8100 or 0x88a8, the number [`UNVEILED`] or [`UNVEILED_SERVICE`]. A
/// received frame's outer tag is taken off by the kernel before a packet socket sees it; one with such a number is not known.
const UNVEIL: [[u8; 8]; 14] = [
    [0x61, 0x12, 0, 0, 0, 0, 0, 0],        //  0  r2 = data
    [0x61, 0x13, 4, 0, 0, 0, 0, 0],        //  1  r3 = data_end
    [0xbf, 0x24, 0, 0, 0, 0, 0, 0],        //  2  r4 = r2
    [0x07, 0x04, 0, 0, 14, 0, 0, 0],       //  3  r4 += 14
    [0x2d, 0x34, 7, 0, 0, 0, 0, 0],        //  4  if r4 > r3 goto 12
    [0x69, 0x25, 12, 0, 0, 0, 0, 0],       //  5  r5 = *(u16 *)(r2 + 12)
    [0x55, 0x05, 2, 0, 0x81, 0, 0, 0],     //  6  if r5 != 81 00 goto 9
    [0x6a, 0x02, 12, 0, 0x88, 0xb5, 0, 0], // 7  *(u16 *)(r2 + 12) = 88 b5
    [0x05, 0, 3, 0, 0, 0, 0, 0],           //  8  goto 12
    [0x55, 0x05, 2, 0, 0x88, 0xa8, 0, 0],  //  9  if r5 != 88 a8 goto 12
    [0x6a, 0x02, 12, 0, 0x88, 0xb6, 0, 0], // 10 *(u16 *)(r2 + 12) = 88 b6
    [0x05, 0, 0, 0, 0, 0, 0, 0],           // 11  goto 12
    [0xb7, 0, 0, 0, 2, 0, 0, 0],           // 12  r0 = XDP_PASS
    [0x95, 0, 0, 0, 0, 0, 0, 0],           // 13  exit
];

/// What [`Pass::attach_unveiling`] makes of the type of a tag (0x8100): one for local experiments (IEEE 802).
pub const UNVEILED: u16 = 0x88b5;

/// What it makes of that of a service tag (0x88a8).
pub const UNVEILED_SERVICE: u16 = 0x88b6;

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
        Self::attach_program(end, &PASS)
    }

    /// As [`Pass::attach`], with a program that gives the outer VLAN tag of received frames a type that the kernel leaves
    /// alone.
    pub fn attach_unveiling(end: End<'_>) -> Result<Self> {
        Self::attach_program(end, &UNVEIL)
    }

    fn attach_program(end: End<'_>, program: &'static [[u8; 8]]) -> Result<Self> {
        // The kernel looks for the interface in the namespace of the thread that asks.
        let link = end.namespace.inside(|| attach(end.interface, program))?;
        let link = link.with_context(|| {
            format!("attaching a passing XDP program to {} in {}", end.interface, end.namespace.name())
        })?;
        Ok(Self { _link: link })
    }
}

fn attach(interface: &str, program: &'static [[u8; 8]]) -> io::Result<OwnedFd> {
    let ifindex = if_nametoindex(interface)?;
    let load = Load {
        program_type: BPF_PROG_TYPE_XDP,
        instruction_count: u32::try_from(program.len()).unwrap_or(u32::MAX),
        instructions: program.as_ptr().expose_provenance() as u64,
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
