//! A table with a row for each CPU: read many rows at a time, by bpf(2) itself. aya reads one a call, and asks the file
//! system for the number of CPUs each time.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, AsRawFd};

use aya::maps::{Map, MapData, MapError};
use aya::sys::SyscallError;
use zerocopy::FromBytes;

const BPF_MAP_UPDATE_ELEM: libc::c_long = 2;
const BPF_MAP_LOOKUP_BATCH: libc::c_long = 24;

/// Rows that one call reads at most.
const ROWS_AT_ONCE: u32 = 1024;

/// A table whose every row is a `T` for each CPU.
#[derive(Debug)]
pub(super) struct PerCpu<T> {
    map: MapData,
    cpus: usize,
    rows: u32,
    row: PhantomData<T>,
}

/// The arguments of `BPF_MAP_UPDATE_ELEM`, as far as they are used.
#[repr(C)]
struct Element {
    map: u32,
    pad: u32,
    key: u64,
    value: u64,
    flags: u64,
}

/// The arguments of `BPF_MAP_LOOKUP_BATCH`.
#[repr(C)]
struct Batch {
    /// The key before the first one; 0 to begin at the first of all.
    after: u64,
    last: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: u32,
    element_flags: u64,
    flags: u64,
}

impl<T: FromBytes + Copy> PerCpu<T> {
    /// The bytes of a row on one CPU: the kernel rounds them up.
    const STRIDE: usize = size_of::<T>().next_multiple_of(size_of::<u64>());

    fn new(map: MapData) -> Result<Self, MapError> {
        let info = map.info()?;
        if info.key_size() as usize != size_of::<u32>() {
            return Err(MapError::InvalidKeySize {
                size: size_of::<u32>(),
                expected: info.key_size() as usize,
            });
        }
        if info.value_size() as usize != size_of::<T>() {
            return Err(MapError::InvalidValueSize {
                size: size_of::<T>(),
                expected: info.value_size() as usize,
            });
        }
        let cpus = aya::util::nr_cpus().map_err(|(_, error)| MapError::IoError(error))?;
        Ok(Self { rows: info.max_entries(), map, cpus, row: PhantomData })
    }

    /// How many CPUs there may be.
    pub(super) fn cpus(&self) -> usize {
        self.cpus
    }

    /// A row, on all CPUs.
    pub(super) fn row(&self, index: u32) -> Result<Vec<T>, MapError> {
        let mut found = Vec::new();
        self.each(index, index.saturating_add(1), |row| found.extend(row))?;
        Ok(found)
    }

    /// Hands out the rows from `first` on, up to `end` or the table's end, each on all CPUs.
    pub(super) fn each(
        &self,
        first: u32,
        end: u32,
        mut each: impl FnMut(&mut dyn Iterator<Item = T>),
    ) -> Result<(), MapError> {
        if first >= self.rows {
            return Err(MapError::OutOfBounds { index: first, max_entries: self.rows });
        }
        let (mut next, end) = (first, end.min(self.rows));
        let most = end.saturating_sub(first).min(ROWS_AT_ONCE) as usize;
        let (mut keys, mut values) = (vec![0u32; most], vec![0u8; most * self.cpus * Self::STRIDE]);
        while next < end {
            let count = (end - next).min(ROWS_AT_ONCE);
            let read = self.read(next, count, &mut keys, &mut values)?;
            for row in values.chunks(self.cpus * Self::STRIDE).take(read as usize) {
                each(
                    &mut row
                        .chunks(Self::STRIDE)
                        .filter_map(|bytes| Some(T::read_from_prefix(bytes).ok()?.0)),
                );
            }
            next += read;
        }
        Ok(())
    }

    /// How many rows the kernel has given, at least one.
    fn read(&self, first: u32, count: u32, keys: &mut [u32], values: &mut [u8]) -> Result<u32, MapError> {
        assert!(
            count as usize <= keys.len() && count as usize * self.cpus * Self::STRIDE <= values.len(),
            "the kernel is never promised more room than there is"
        );
        let (before, mut last) = (first.wrapping_sub(1), 0u32);
        let mut batch = Batch {
            after: if first == 0 { 0 } else { address(&raw const before) },
            last: address(&raw mut last),
            keys: address(keys.as_mut_ptr()),
            values: address(values.as_mut_ptr()),
            count,
            map: self.map_number()?,
            element_flags: 0,
            flags: 0,
        };
        // SAFETY: `Batch` is laid out as the kernel's struct for this command. Its pointers are to a key each, and to memory
        // for `count` keys and values, as asserted; all of it is borrowed until the call returns.
        match unsafe { bpf(BPF_MAP_LOOKUP_BATCH, &raw mut batch) } {
            // Behind the last row of the table the kernel says so, and has given the rows before.
            Err(error) if error.raw_os_error() != Some(libc::ENOENT) => {
                Err(SyscallError { call: "bpf_map_lookup_batch", io_error: error }.into())
            }
            _ if batch.count == 0 => Err(MapError::ElementNotFound),
            _ => Ok(batch.count.min(count)),
        }
    }

    /// Makes a row 0 on all CPUs.
    pub(super) fn clear(&mut self, index: u32) -> Result<(), MapError> {
        let zeros = vec![0u8; self.cpus * Self::STRIDE];
        let mut element = Element {
            map: self.map_number()?,
            pad: 0,
            key: address(&raw const index),
            value: address(zeros.as_ptr()),
            flags: 0,
        };
        // SAFETY: `Element` is laid out as the kernel's struct for this command; its pointers are to a key and to a value for
        // each CPU, which the kernel only reads.
        unsafe { bpf(BPF_MAP_UPDATE_ELEM, &raw mut element) }
            .map_err(|io_error| SyscallError { call: "bpf_map_update_elem", io_error }.into())
    }

    fn map_number(&self) -> Result<u32, MapError> {
        u32::try_from(self.map.fd().as_fd().as_raw_fd())
            .map_err(|error| MapError::IoError(io::Error::other(error)))
    }
}

impl<T: FromBytes + Copy> TryFrom<Map> for PerCpu<T> {
    type Error = MapError;

    fn try_from(map: Map) -> Result<Self, MapError> {
        match map {
            Map::PerCpuArray(map) => Self::new(map),
            _ => Err(MapError::InvalidMapType { map_type: 0 }),
        }
    }
}

fn address<T>(pointer: *const T) -> u64 {
    pointer.expose_provenance() as u64
}

/// The system call, for commands that give nothing back but what they write.
///
/// # Safety
///
/// `T` is laid out as the beginning of the kernel's `union bpf_attr` for this command, and its pointers are valid for what
/// the command reads and writes there.
unsafe fn bpf<T>(command: libc::c_long, attributes: *mut T) -> io::Result<()> {
    // SAFETY: the kernel reads and writes `size_of::<T>()` bytes at a valid pointer; the rest the caller promises.
    match unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<T>()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
