//! Which partitions an instance follows.
//!
//! The group hands out partitions and knows nothing of copies, and instances tell each other nothing. So each works out for
//! itself who follows what, from the members of the group and what each owns: by rendezvous hashing (Thaler and Ravishankar,
//! 1998) every member has a weight for every partition, and the members with the largest ones follow it, except its owner. When
//! a member comes or goes, only copies move that it has or is to have.

use std::collections::BTreeSet;

use crate::kafka::client::group_members::GroupMember;

/// The partitions, of so many, of which the member with the id `me` is one of `standbys` that keep a copy.
pub(super) fn followed(partitions: i32, members: &[GroupMember], me: &str, standbys: usize) -> BTreeSet<i32> {
    (0..partitions).filter(|partition| followers(*partition, members, standbys).contains(&me)).collect()
}

/// The ids of those that keep a copy of a partition.
fn followers(partition: i32, members: &[GroupMember], standbys: usize) -> Vec<&str> {
    let others = members.iter().filter(|member| !member.partitions.contains(&partition));
    let mut ranked: Vec<(u64, &GroupMember)> = others.map(|other| (weight(&other.name, partition), other)).collect();
    ranked.sort_by(|(weight, member), (other_weight, other)| {
        other_weight.cmp(weight).then_with(|| member.name.cmp(&other.name)).then_with(|| member.id.cmp(&other.id))
    });
    ranked.into_iter().take(standbys).map(|(_, member)| member.id.as_str()).collect()
}

/// The same in every build: FNV-1a (Fowler, Noll and Vo), mixed as SplitMix64 does.
fn weight(name: &str, partition: i32) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in name.bytes().chain(partition.to_be_bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PARTITIONS: i32 = 24;

    /// Members with names of their own, who share all partitions among themselves.
    fn group(names: &BTreeSet<u16>) -> Vec<GroupMember> {
        let count = names.len() as i32;
        let member = |(place, name): (i32, &u16)| {
            let partitions = (0..PARTITIONS).filter(|partition| partition % count == place).collect();
            GroupMember { id: format!("id of {name}"), name: format!("i{name}"), partitions }
        };
        (0..).zip(names).map(member).collect()
    }

    fn followers_of(partition: i32, members: &[GroupMember], standbys: usize) -> BTreeSet<String> {
        followers(partition, members, standbys).into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn one_of_two_follows_all_that_the_other_owns_and_who_is_alone_follows_nothing() {
        let members = group(&BTreeSet::from([1, 2]));
        for (me, other) in [(0, 1), (1, 0)] {
            let of_other: BTreeSet<i32> = members[other].partitions.iter().copied().collect();
            for standbys in [1, 5] {
                assert_eq!(followed(PARTITIONS, &members, &members[me].id, standbys), of_other);
            }
        }
        let alone = group(&BTreeSet::from([1]));
        assert_eq!(followed(PARTITIONS, &alone, "id of 1", 1), BTreeSet::new());
        assert_eq!(
            followed(PARTITIONS, &members[..1], "id of 2", 1),
            BTreeSet::new(),
            "who is no member follows nothing"
        );
    }

    /// Copies are shared out: of many partitions, nobody has nearly all or nearly none.
    #[test]
    fn copies_are_shared_out() {
        let members = group(&(0..4).collect());
        let counts: Vec<usize> = members.iter().map(|member| followed(1_000, &members, &member.id, 1).len()).collect();
        assert_eq!(counts.iter().sum::<usize>(), 1_000);
        assert!(counts.iter().all(|count| (150..350).contains(count)), "{counts:?}");
    }

    proptest! {
        #[test]
        fn every_partition_has_its_copies_and_none_with_its_owner(
            names in proptest::collection::btree_set(any::<u16>(), 1..8), standbys in 0usize..6
        ) {
            let members = group(&names);
            let wanted = standbys.min(members.len() - 1);
            for partition in 0..PARTITIONS {
                let followers = followers_of(partition, &members, standbys);
                prop_assert_eq!(followers.len(), wanted);
                for member in &members {
                    let follows = followed(PARTITIONS, &members, &member.id, standbys).contains(&partition);
                    prop_assert_eq!(follows, followers.contains(&member.id));
                    prop_assert!(!(follows && member.partitions.contains(&partition)));
                }
            }
        }

        /// The order in which the broker names members says nothing, and who leaves takes along only its own copies.
        #[test]
        fn copies_stay_where_they_are(
            names in proptest::collection::btree_set(any::<u16>(), 2..8), standbys in 1usize..6,
            leaving in any::<proptest::sample::Index>()
        ) {
            let members = group(&names);
            let gone = members[leaving.index(members.len())].id.clone();
            let left: Vec<GroupMember> = members.iter().rev().filter(|member| member.id != gone).cloned().collect();
            let has_owner = |partition: &i32| left.iter().any(|member| member.partitions.contains(partition));
            for partition in (0..PARTITIONS).filter(has_owner) {
                let mut before = followers_of(partition, &members, standbys);
                before.remove(&gone);
                prop_assert!(before.is_subset(&followers_of(partition, &left, standbys)));
            }
        }
    }
}
