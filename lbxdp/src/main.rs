fn main() {
    let mut e = lbxdp::daemon::load::verify().unwrap();
    for (n,p) in e.programs() { println!("{n} {:?}", p.info().unwrap().verified_instruction_count()); }
}
