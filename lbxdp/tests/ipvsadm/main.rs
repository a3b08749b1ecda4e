//! The ipvsadm front from arguments to text, in one process.

mod anything;
mod connections;
mod director;
#[path = "../data/line.rs"]
mod line;
mod recorded;
mod restore;
mod run;
mod scripts;
mod spoiled;
