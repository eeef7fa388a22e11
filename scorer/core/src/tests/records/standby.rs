//! What is remembered, followed from record to record while another instance owns it.

use proptest::sample::Index;

use super::super::standby::followed;
use super::*;

proptest! {
    /// As with invoices, of what is remembered of keys.
    #[test]
    fn what_is_followed_up_to_any_record_becomes_the_state_of_one_restore(
        pipeline in settings(), rows in world(), every in 1usize..20, cut in any::<Index>()
    ) {
        let (mut driver, mut written) = (Driver::new(&pipeline), Vec::new());
        for portion in rows.chunks(every) {
            portion.iter().for_each(|row| driver.send(row));
            written.extend(driver.core.take_changes().into_iter().flat_map(|changes| changes.records));
        }
        let read = |cut: usize| followed(&pipeline, origin_of(&pipeline), &written, cut).finish(&pipeline).unwrap();
        let (whole, restored) = (read(0), read(cut.index(written.len() + 1)));
        prop_assert_eq!(as_changelog(restored.snapshot(&pipeline)), as_changelog(whole.snapshot(&pipeline)));
        let mut heir = Driver::new(&pipeline);
        heir.apply(Input::Assigned { partition: 0, start: Start::Restored(Box::new(restored)) });
        prop_assert_eq!(heir.core.state_bytes(), driver.core.state_bytes(), "who takes over reaches a limit as soon");
    }
}
