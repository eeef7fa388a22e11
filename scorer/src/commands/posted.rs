//! Answers whoever posts records to a run's window.

use std::io;
use std::thread;
use std::time::Duration;

use shared::history::History;
use window::{Questions, yield_to_others};

use crate::clock::now_since_epoch;
use crate::pasts::{NoAnswer, Pasts};
use crate::posted::PostedRecords;
use crate::status::StatusCell;

/// How long the stream may take to say what it remembers.
const PATIENCE: Duration = Duration::from_secs(1);

/// Answers until the window is closed, one question after the other: whatever is posted takes one thread with a low priority from
/// the stream, and no more.
///
/// # Errors
/// When the system gives no thread.
pub(super) fn answer(
    questions: Questions,
    records: PostedRecords,
    (status, pasts): (StatusCell, Pasts),
) -> io::Result<()> {
    let work = move || {
        yield_to_others();
        while let Some(question) = questions.wait() {
            // Those who have given up make room for the others.
            if !question.is_awaited() {
                continue;
            }
            let past_of = |keys| past_of(&status, &pasts, keys);
            let reply = records.reply(question.written, &question.records, now_since_epoch(), past_of);
            question.answer(reply);
        }
    };
    thread::Builder::new().name("posted".to_owned()).spawn(work).map(drop)
}

/// What the stream remembers of keys; nothing once it has ended.
fn past_of(status: &StatusCell, pasts: &Pasts, keys: Vec<Option<String>>) -> Result<Option<History>, String> {
    let now = status.get();
    if !now.has_joined || now.restoring_partitions + now.failed_partitions > 0 {
        return Err("what is remembered of the record's keys is not there yet: /ready says when it is".to_owned());
    }
    match pasts.ask(keys, PATIENCE) {
        Ok(past) => Ok(past),
        Err(NoAnswer::Ended) => Ok(None),
        Err(NoAnswer::Busy) => Err("the stream has no time for the record: try again in a second".to_owned()),
    }
}
