//! Errors of a later hop, in the words of whoever runs the stream.

use super::error::KafkaError;

/// The same error, which names the group of the whole where it says how to go on: nobody resets a hop alone.
pub(crate) fn named_for(mut error: KafkaError, whole: &str) -> KafkaError {
    match &mut error {
        KafkaError::TornState { group, .. }
        | KafkaError::UnusableState { group, .. }
        | KafkaError::TopicRecreated { group, .. }
        | KafkaError::TopicGone { group, .. }
        | KafkaError::TopicShortened { group, .. }
        | KafkaError::PartitionsChanged { group, .. } => whole.clone_into(group),
        _ => {}
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reset_is_of_the_whole() {
        let group = "g-transactions-by-merchant_id".to_owned();
        let error = KafkaError::TopicGone { topic: group.clone(), group };
        insta::assert_snapshot!(
            named_for(error, "g"),
            @"topic `g-transactions-by-merchant_id` was deleted while group `g` read it: create it again, then start again with `scorer reset --group g --to earliest` (with the --pipeline of `run`)"
        );
    }
}
