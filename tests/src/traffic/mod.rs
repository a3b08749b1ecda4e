//! Traffic for tests of endurance: what keeps a director busy, and notices when it loses something.

pub mod crafted;
pub mod durations;
pub mod flood;
pub mod herd;
pub mod losses;
pub mod newcomers;
pub mod reuse;
pub mod sender;
pub mod stream;

pub use crafted::{Flags, Frame, Macs};
pub use durations::Durations;
pub use flood::Flood;
pub use herd::Herd;
pub use newcomers::Newcomers;
pub use sender::Sender;
pub use stream::Stream;
