//! Puts the BPF programs (the packet path, what is built beside it) into the binary, if whoever builds has one: `cargo xtask build` does.
//!
//! Without `LBXDP_BPF_OBJECT` everything still builds and its host tests run; `lbxdp run` then says what is missing.

use std::path::Path;

fn main() {
    println!("cargo::rerun-if-env-changed=LBXDP_BPF_OBJECT");
    println!("cargo::rustc-check-cfg=cfg(has_packet_program, has_decap_program, has_watch_program)");
    if let Ok(object) = std::env::var("LBXDP_BPF_OBJECT") {
        println!("cargo::rerun-if-changed={object}");
        println!("cargo::rustc-cfg=has_packet_program");
        // The crate's other programs are built beside it.
        for name in ["decap", "watch"] {
            let beside = Path::new(&object).with_file_name(name);
            println!("cargo::rerun-if-changed={}", beside.display());
            if beside.exists() {
                println!("cargo::rustc-cfg=has_{name}_program");
                println!("cargo::rustc-env=LBXDP_{}_OBJECT={}", name.to_uppercase(), beside.display());
            }
        }
    }
}
