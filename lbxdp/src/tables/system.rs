//! bpf(2) itself, for what aya has no call for: a pin that is opened to be read only, a row of such a table, and a program of a
//! few instructions that runs once and is never attached.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

const BPF_MAP_LOOKUP_ELEM: libc::c_long = 1;
const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_OBJ_GET: libc::c_long = 7;
const BPF_PROG_TEST_RUN: libc::c_long = 10;
const BPF_PROG_TYPE_XDP: u32 = 6;
/// The descriptor is for reading; the kernel refuses all that would write.
const BPF_F_RDONLY: u32 = 1 << 3;

/// What the programs say of their licence: the kernel has helpers that it lends to no others.
const LICENCE: &[u8] = b"Dual MIT/GPL\0";

/// The arguments of `BPF_MAP_LOOKUP_ELEM`.
#[repr(C)]
struct LookUp {
    map: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// The arguments of `BPF_OBJ_GET`, as far as they are used.
#[repr(C)]
struct Get {
    path: u64,
    descriptor: u32,
    flags: u32,
}

/// The arguments of `BPF_PROG_LOAD`, as far as they are used.
#[repr(C)]
struct Load {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    licence: u64,
}

/// The arguments of `BPF_PROG_TEST_RUN`, as far as they are used.
#[repr(C)]
struct Run {
    program: u32,
    answer: u32,
    bytes_in: u32,
    bytes_out: u32,
    frame_in: u64,
    frame_out: u64,
}

/// Opens a pinned table so that nothing can be written through it.
pub(super) fn open_to_read(pin: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(pin.as_os_str().as_bytes()).map_err(io::Error::other)?;
    let mut get = Get { path: address(path.as_ptr()), descriptor: 0, flags: BPF_F_RDONLY };
    // SAFETY: `Get` is laid out as the kernel's struct for this command, and its path is a string that outlives the call.
    unsafe { bpf_descriptor(BPF_OBJ_GET, &raw mut get) }
}

/// Reads a row of an array whose values are so many cells: no more and no fewer.
pub(super) fn read_row(map: BorrowedFd<'_>, index: u32, cells: &mut [u64]) -> io::Result<()> {
    let mut look_up = LookUp {
        map: u32::try_from(map.as_raw_fd()).map_err(io::Error::other)?,
        pad: 0,
        key: address(&raw const index),
        value: address(cells.as_mut_ptr()),
        flags: 0,
    };
    // SAFETY: `LookUp` is laid out as the kernel's struct for this command; its pointers are to a key and to memory for a value,
    // which the caller has made as large as the map's.
    unsafe { bpf(BPF_MAP_LOOKUP_ELEM, &raw mut look_up) }.map(drop)
}

/// Has the kernel run a program of XDP once, on a frame of at least 14 bytes in this process's network namespace; what it
/// returns. The frame is then as the program has left it.
pub(crate) fn run_once(instructions: &[u64], frame: &mut [u8]) -> io::Result<u32> {
    let count = |length: usize| u32::try_from(length).map_err(io::Error::other);
    let mut load = Load {
        program_type: BPF_PROG_TYPE_XDP,
        instruction_count: count(instructions.len())?,
        instructions: address(instructions.as_ptr()),
        licence: address(LICENCE.as_ptr()),
    };
    // SAFETY: `Load` is laid out as the kernel's struct for this command; its pointers are to as many instructions as it says
    // and to a string.
    let program = unsafe { bpf_descriptor(BPF_PROG_LOAD, &raw mut load) }?;
    let mut run = Run {
        program: count(usize::try_from(program.as_raw_fd()).map_err(io::Error::other)?)?,
        answer: 0,
        bytes_in: count(frame.len())?,
        bytes_out: count(frame.len())?,
        frame_in: address(frame.as_ptr()),
        frame_out: address(frame.as_mut_ptr()),
    };
    // SAFETY: `Run` is laid out as the kernel's struct for this command; the kernel reads the frame before the program runs and
    // writes no more than `bytes_out` bytes of it afterwards.
    unsafe { bpf(BPF_PROG_TEST_RUN, &raw mut run) }?;
    Ok(run.answer)
}

fn address<T>(pointer: *const T) -> u64 {
    pointer.expose_provenance() as u64
}

/// # Safety
///
/// As [`bpf`], for a command that gives a new descriptor.
unsafe fn bpf_descriptor<T>(command: libc::c_long, attributes: *mut T) -> io::Result<OwnedFd> {
    // SAFETY: the caller's promise.
    let descriptor = unsafe { bpf(command, attributes) }?;
    // SAFETY: the kernel has just made this descriptor for us, so nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// The system call.
///
/// # Safety
///
/// `T` is laid out as the beginning of the kernel's `union bpf_attr` for this command, and its pointers are valid for what
/// the command reads and writes there.
unsafe fn bpf<T>(command: libc::c_long, attributes: *mut T) -> io::Result<i32> {
    // SAFETY: the kernel reads and writes `size_of::<T>()` bytes at a valid pointer; the rest the caller promises.
    let answer = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<T>()) };
    match i32::try_from(answer) {
        Ok(answer) if answer >= 0 => Ok(answer),
        _ => Err(io::Error::last_os_error()),
    }
}
