//! SipHash-1-3 of four bytes: the kernel's `hsiphash` on 64-bit machines.
//!
//! One round a word of input, three at the end; both words of the key are the same, as mh has it. Of the 64 bits the lower
//! 32 are the hash. Source: Aumasson and Bernstein, "`SipHash`: a fast short-input PRF" (2012); Linux `lib/siphash.c`.

/// "somepseudorandomlygeneratedbytes".
const CONSTANTS: [u64; 4] =
    [0x736f_6d65_7073_6575, 0x646f_7261_6e64_6f6d, 0x6c79_6765_6e65_7261, 0x7465_6462_7974_6573];
/// The length of the input, as it stands in the top byte of its last word.
const LENGTH: u64 = 4 << 56;

/// The hash of a number, taken as four bytes little-endian.
#[inline(always)]
pub(super) const fn siphash(number: u32, key: u64) -> u32 {
    let [a, b, c, d] = CONSTANTS;
    let word = LENGTH | number as u64;
    let mut state = round([a ^ key, b ^ key, c ^ key, d ^ key ^ word]);
    state[0] ^= word;
    state[2] ^= 0xff;
    let [a, b, c, d] = round(round(round(state)));
    (a ^ b ^ c ^ d) as u32
}

#[inline(always)]
const fn round([mut a, mut b, mut c, mut d]: [u64; 4]) -> [u64; 4] {
    a = a.wrapping_add(b);
    b = b.rotate_left(13) ^ a;
    a = a.rotate_left(32);
    c = c.wrapping_add(d);
    d = d.rotate_left(16) ^ c;
    a = a.wrapping_add(d);
    d = d.rotate_left(21) ^ a;
    c = c.wrapping_add(b);
    b = b.rotate_left(17) ^ c;
    c = c.rotate_left(32);
    [a, b, c, d]
}
