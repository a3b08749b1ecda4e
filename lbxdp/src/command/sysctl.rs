//! The settings of `lbxdp set`.

use crate::state::State;
use crate::sysctl::Setting;

/// A setting has been checked when it was made, so nothing is refused here.
pub(super) fn set(state: &mut State, settings: &[Setting]) {
    for setting in settings {
        setting.apply(&mut state.sysctls);
    }
}
