//! Records as values of BPF maps.

use zerocopy::{FromBytes, Immutable, IntoBytes};

/// A record in a map. The one place where aya is told that a type is plain data.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub(super) struct Row<T>(pub(super) T);

// SAFETY: `FromBytes` says that all bytes are a `T`, `IntoBytes` that a `T` is all bytes without padding, and the
// wrapper is transparent.
unsafe impl<T: FromBytes + IntoBytes + Immutable + Copy + 'static> aya::Pod for Row<T> {}
