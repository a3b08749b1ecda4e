//! Puts the BPF programs (the packet path, the decapsulator beside it) into the binary, if whoever builds has one: `cargo xtask build` does.
//!
//! Without `LBXDP_BPF_OBJECT` everything still builds and its host tests run; `lbxdp run` then says what is missing.

use std::path::Path;

fn main() {
    println!("cargo::rerun-if-env-changed=LBXDP_BPF_OBJECT");
    println!("cargo::rustc-check-cfg=cfg(has_packet_program, has_decap_program)");
    if let Ok(object) = std::env::var("LBXDP_BPF_OBJECT") {
        println!("cargo::rerun-if-changed={object}");
        println!("cargo::rustc-cfg=has_packet_program");
        // The crate's other program is built beside it.
        let decap = Path::new(&object).with_file_name("decap");
        println!("cargo::rerun-if-changed={}", decap.display());
        if decap.exists() {
            println!("cargo::rustc-cfg=has_decap_program");
            println!("cargo::rustc-env=LBXDP_DECAP_OBJECT={}", decap.display());
        }
    }
}
