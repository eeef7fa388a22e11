//! Sends erroneous records again for those who ask at a run's window.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::thread;

use shared::pipeline::Pipeline;
use tokio::runtime::Handle;
use window::{Order, Redrives, yield_to_others};

use super::console;
use super::on_kafka::OnKafka;
use crate::kafka::{Redrive, Redriven, Which};

/// Records that were sent before and are remembered while others are: where there are more, the command has no such limit.
pub(super) const MOST_REDRIVEN: usize = 250_000;

/// Does what people ask for, one order after the other, until the window is closed: on one thread with a low priority, which has
/// clients of its own.
///
/// # Errors
/// When the system gives no thread.
pub(super) fn redrive(redrives: Redrives, of: &OnKafka<'_>, pipeline: &Arc<Pipeline>) -> io::Result<()> {
    let (settings, group, create, is_json) = (of.settings.clone(), of.group.to_owned(), of.create, of.is_json);
    let (pipeline, runtime) = (pipeline.clone(), Handle::current());
    let work = move || {
        yield_to_others();
        while let Some(order) = redrives.wait() {
            // Who has given up wants no count any more.
            if order.is_dry && !order.is_awaited() {
                continue;
            }
            let redrive = Redrive {
                pipeline: pipeline.clone(),
                group: group.clone(),
                which: which(&order.which),
                is_dry: order.is_dry,
                by: Some(order.by.clone()),
                most_known: MOST_REDRIVEN,
                create,
            };
            let result = redrive.run_here(&settings, &runtime).map_err(|error| error.to_string());
            if !order.is_dry {
                log(&order, &result, is_json);
            }
            order.answer(result.map(counts));
        }
    };
    thread::Builder::new().name("redrive".to_owned()).spawn(work).map(drop)
}

fn which(asked: &window::Which) -> Which {
    let window::Which { reason, since, until, record } = asked.clone();
    Which { reason, since, until, record }
}

fn counts(redriven: Redriven) -> window::Redriven {
    let Redriven { sent, sent_before, truncated, too_large, not_of_a_record } = redriven;
    window::Redriven { sent, sent_before, truncated, too_large, not_of_a_record }
}

/// One line for each order: who gave it, and what became of it.
fn log(order: &Order, result: &Result<Redriven, String>, is_json: bool) {
    let (by, which) = (&order.by, Meant(&order.which));
    match result {
        Ok(Redriven { sent, sent_before, .. }) if is_json => {
            tracing::info!(by, %which, sent, sent_before, "erroneous records were sent to the input again");
        }
        Ok(Redriven { sent, sent_before, .. }) => {
            console::say(format_args!(
                "{by} sent erroneous records again ({which}): {sent}; sent before: {sent_before}"
            ));
        }
        Err(error) => tracing::warn!(by, %which, error, "erroneous records could not be sent to the input again"),
    }
}

/// Which records are meant, in words.
struct Meant<'a>(&'a window::Which);

impl fmt::Display for Meant<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let window::Which { reason, since, record, .. } = self.0;
        write!(f, "reason {}", reason.as_deref().unwrap_or("any"))?;
        since.map_or(Ok(()), |since| write!(f, ", since {since}"))?;
        record.as_ref().map_or(Ok(()), |record| write!(f, ", record {record}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_meant_is_said_in_words() {
        let mut which = window::Which::default();
        assert_eq!(Meant(&which).to_string(), "reason any");
        which = window::Which {
            reason: Some("late_line".to_owned()),
            since: Some(5),
            until: Some(9),
            record: Some("purchases:0:17".to_owned()),
        };
        assert_eq!(Meant(&which).to_string(), "reason late_line, since 5, record purchases:0:17");
    }
}
