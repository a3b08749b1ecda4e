//! Puts the packet path's BPF program into the binary, if whoever builds has one: `cargo xtask build` does.
//!
//! Without `LBXDP_BPF_OBJECT` everything still builds and its host tests run; `lbxdp run` then says what is missing.

fn main() {
    println!("cargo::rerun-if-env-changed=LBXDP_BPF_OBJECT");
    println!("cargo::rustc-check-cfg=cfg(has_packet_program)");
    if let Ok(object) = std::env::var("LBXDP_BPF_OBJECT") {
        println!("cargo::rerun-if-changed={object}");
        println!("cargo::rustc-cfg=has_packet_program");
    }
}
