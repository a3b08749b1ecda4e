//! sh: the servers one after the other, each as often in a row as its weight says. A server of weight 0 keeps one slot a
//! turn; weights beyond the table's size leave later servers without any. Both as in IPVS.

use lbxdp_common::schedule::sh::SLOTS;
use lbxdp_common::service::Member;

pub(super) fn table(members: &[Member]) -> Vec<u16> {
    let in_a_row = super::indices(members.len()).zip(members).flat_map(|(index, member)| {
        let slots = member.weight().clamp(1, SLOTS);
        std::iter::repeat_n(index, slots as usize)
    });
    in_a_row.cycle().take(SLOTS as usize).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use lbxdp_common::server::ServerId;

    fn of(weights: &[u32]) -> Vec<u16> {
        let members: Vec<Member> =
            (1..).zip(weights).map(|(id, weight)| Member::new(ServerId(id), *weight)).collect();
        table(&members)
    }

    #[test]
    fn each_server_has_as_many_slots_in_a_row_as_its_weight_says() {
        assert_eq!(of(&[1, 2, 3])[..8], [0, 1, 1, 2, 2, 2, 0, 1]);
        assert_eq!(of(&[1, 2, 3]).len(), 256);
        assert_eq!(of(&[0, 2])[..4], [0, 1, 1, 0]);
        assert!(of(&[i32::MAX.cast_unsigned(), 5]).iter().all(|index| *index == 0));
        assert_eq!(of(&[1; 300])[255], 255);
    }
}
