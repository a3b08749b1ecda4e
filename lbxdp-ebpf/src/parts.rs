//! The rarer parts of a packet's way, as functions that the kernel's verifier looks at once, for all arguments there can be.
//!
//! Only functions with a name of their own are taken so; those that the compiler makes of generic code are looked at again
//! for every way that leads to them.

use lbxdp_common::Ticks;
use lbxdp_common::state::Event;
use lbxdp_common::steer::parts;
use lbxdp_common::table::Hash;

use crate::maps::Kernel;

macro_rules! parts {
    ($( $name:ident ( $($argument:ident : $type:ty => $made:expr),* ); )*) => {
        $(
            #[unsafe(no_mangle)]
            #[inline(never)]
            pub(crate) extern "C" fn $name($($argument: $type),*) -> u64 {
                parts::$name(&Kernel, $($made),*)
            }
        )*
    };
}

parts! {
    meet(first: u64 => first, second: u64 => second, event: u32 => Event::from_raw(event as u8),
        hash: u64 => Hash(hash), now: u32 => Ticks(now));
    confirm(bond: u64 => bond, is_established: u32 => is_established);
    plan(first: u64 => first, second: u64 => second, event: u32 => Event::from_raw(event as u8),
        now: u32 => Ticks(now));
    claim(hash: u64 => Hash(hash), now: u32 => Ticks(now));
    template(index: u32 => index, client: u32 => client);
    consult(index: u32 => index, client: u32 => client, is_datagram: u32 => is_datagram, now: u32 => Ticks(now));
    by_hash(index: u32 => index, hash: u64 => Hash(hash));
    by_scheduler(index: u32 => index, first: u64 => first, second: u64 => second);
    remember(place: u64 => place, index: u32 => index, client: u32 => client, is_datagram: u32 => is_datagram, choice_and_now: u64 => choice_and_now);
    finish(place: u64 => place, first: u64 => first, second: u64 => second, plan: u64 => plan,
        choice_and_now: u64 => choice_and_now);
}
