//! State that is followed from record to record while another instance owns it.

use proptest::sample::Index;

use super::*;

/// What is read of a changelog by somebody who has read the records before `cut` as they were written, and the others once
/// brokers had compacted all: of each key the last record. In between everything is looked at, as a standby does.
pub(super) fn followed(pipeline: &Pipeline, origin: Origin, written: &[StateRecord], cut: usize) -> StateReader {
    let last: BTreeMap<&[u8], usize> =
        written.iter().enumerate().map(|(index, record)| (record.key.as_slice(), index)).collect();
    let mut reader = StateReader::new(pipeline, origin);
    for (index, record) in written.iter().enumerate() {
        if index >= cut && last[record.key.as_slice()] != index {
            continue;
        }
        reader.take(pipeline, &record.key, record.value.as_deref()).unwrap();
        if record.key == StateReader::HEAD_KEY {
            reader.state_bytes();
        }
    }
    reader
}

#[test]
fn another_changelog_in_the_place_of_one_is_noticed_and_a_reset_is_none() {
    let life = |birth: i64| {
        let mut core = sharing(1);
        core.apply(Input::Assigned { partition: 0, start: Start::At(0) }, &mut Vec::new());
        core.apply(Input::Time { now: birth }, &mut Vec::new());
        feed(&mut core, 0, &[(0, line("1"))], 0, &mut Vec::new());
        core.take_changes().remove(0).records
    };
    let (first, second) = (life(5), life(6));
    let of_one = followed(&pipeline(), origin(1), &[first.clone(), first.clone()].concat(), usize::MAX);
    assert!(!of_one.is_mixed() && of_one.records() == 2 * first.len() as u64);
    assert!(followed(&pipeline(), origin(1), &[first.clone(), second].concat(), usize::MAX).is_mixed());

    let mut live = LiveKeys::default();
    first.iter().for_each(|record| live.take(&record.key, record.value.as_deref()));
    let (reset, _) = live.reset(&pipeline(), origin(1), 7, 0, Some(0));
    assert!(!followed(&pipeline(), origin(1), &[first, reset].concat(), usize::MAX).is_mixed());
}

proptest! {
    /// Whatever a standby had read by then, it comes to the state that a restore in one go comes to, and goes on as that does.
    #[test]
    fn what_is_followed_up_to_any_record_becomes_the_state_of_one_restore(
        lines in world(), commits in proptest::collection::vec(1usize..30, 1..8), cut in any::<Index>()
    ) {
        let (mut store, mut core) = (Store::default(), sharing(1));
        start(&store, &mut core, 0, 1);
        let (last, mut upto) = (commits.len() - 1, 0);
        for (number, ahead) in commits.into_iter().enumerate() {
            // Something is left to go on with.
            let to = if number < last { (upto + ahead).min(lines.len()) } else { upto.max(lines.len() / 2) };
            let mut out = Vec::new();
            feed(&mut core, 0, &lines[..to], upto as i64, &mut out);
            store.commit(&mut core, out);
            store.deliver(&mut core);
            upto = to;
        }
        let Some(whole) = store.restore(0, 1) else { return Ok(()) };
        let written = &store.changelogs[&0];
        let followed = followed(&pipeline(), origin(1), written, cut.index(written.len() + 1));
        prop_assert!(!followed.is_mixed() && followed.head() == whole.head());
        let followed = followed.finish(&pipeline()).unwrap();
        prop_assert_eq!(followed.snapshot(&pipeline()), whole.snapshot(&pipeline()));

        let from = whole.head().unwrap().next_offset;
        let rest = |restored: Restored| {
            let (mut core, mut out) = (sharing(1), Vec::new());
            core.apply(Input::Assigned { partition: 0, start: Start::Restored(Box::new(restored)) }, &mut out);
            feed(&mut core, 0, &lines, from, &mut out);
            core.apply(Input::End, &mut out);
            (sorted(&out), core.state_bytes(), core.counters())
        };
        prop_assert_eq!(rest(followed), rest(whole));
    }
}
