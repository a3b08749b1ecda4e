//! The rarer parts of a packet's way, as functions that the kernel's verifier looks at once, for all arguments there can be.
//!
//! Only functions with a name of their own are taken so; those that the compiler makes of generic code are looked at again
//! for every way that leads to them.

use lbxdp_common::steer::parts;
use lbxdp_common::table::Hash;
use lbxdp_common::{V4, V6};

use crate::maps::Kernel;

macro_rules! parts {
    ($width:ty: $( $name:ident = $part:ident ($($argument:ident : $type:ty => $made:expr),* ); )*) => {
        $(
            #[unsafe(no_mangle)]
            #[inline(never)]
            pub(crate) extern "C" fn $name($($argument: $type),*) -> u64 {
                parts::$part::<$width, _>(&Kernel::<false>, $($made),*)
            }
        )*
    };
}

parts! { V4:
    meet_v4 = meet();
    confirm_v4 = confirm(bond: u64 => bond, is_established: u32 => is_established);
    expect_reply_v4 = expect_reply(begins: u32 => begins);
    publish_reply_v4 = publish_reply(place: u64 => place);
    plan_v4 = plan();
    claim_v4 = claim(hash: u64 => Hash(hash));
    template_v4 = template(index: u32 => index);
    consult_v4 = consult(index: u32 => index, is_datagram: u32 => is_datagram);
    remember_v4 = remember(place: u64 => place, index: u32 => index, is_datagram: u32 => is_datagram, choice: u64 => choice);
    remember_fragment_v4 = remember_fragment(fortune: u64 => fortune);
    finish_v4 = finish(place: u64 => place, plan: u64 => plan, choice: u64 => choice);
}

parts! { V6:
    meet_v6 = meet();
    confirm_v6 = confirm(bond: u64 => bond, is_established: u32 => is_established);
    expect_reply_v6 = expect_reply(begins: u32 => begins);
    publish_reply_v6 = publish_reply(place: u64 => place);
    plan_v6 = plan();
    claim_v6 = claim(hash: u64 => Hash(hash));
    template_v6 = template(index: u32 => index);
    consult_v6 = consult(index: u32 => index, is_datagram: u32 => is_datagram);
    remember_v6 = remember(place: u64 => place, index: u32 => index, is_datagram: u32 => is_datagram, choice: u64 => choice);
    remember_fragment_v6 = remember_fragment(fortune: u64 => fortune);
    finish_v6 = finish(place: u64 => place, plan: u64 => plan, choice: u64 => choice);
}

/// The server by hash, whatever the width of addresses.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn by_hash(index: u32, hash: u64) -> u64 {
    parts::by_hash(&Kernel::<false>, index, Hash(hash))
}

/// The server by a service's scheduler, whatever the width of addresses.
#[unsafe(no_mangle)]
#[inline(never)]
pub(crate) extern "C" fn by_scheduler(index: u32, client: u32, vip: u32, client_port: u32) -> u64 {
    parts::by_scheduler(&Kernel::<false>, index, client, vip, client_port as u16)
}
