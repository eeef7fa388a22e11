//! `scorer reset`: begin anew, offsets and state together.

use std::io::{IsTerminal, Write, stderr, stdin};
use std::sync::Arc;

use anyhow::{Result, bail};
use shared::pipeline::Pipeline;

use super::logs::init_logs;
use super::{console, with_clock};
use crate::args::ResetArgs;
use crate::kafka;

pub(super) async fn reset(args: &ResetArgs) -> Result<()> {
    init_logs(false);
    let pipeline = Arc::new(with_clock(Pipeline::load(&args.of.pipeline)?, args.of.clock)?);
    let group = &args.of.group;
    if !args.yes && !confirm(group, &pipeline.topic)? {
        bail!("nothing was changed");
    }
    for (partition, offset) in kafka::reset(&args.of.brokers.settings()?, &pipeline, group, args.to).await? {
        console::print(format_args!("`{}` partition {partition}: begins at offset {offset}", pipeline.topic))?;
    }
    Ok(())
}

fn confirm(group: &str, topic: &str) -> Result<bool> {
    if !stdin().is_terminal() {
        bail!(
            "this deletes the state of group `{group}`: confirm it with --yes, because there is no terminal to ask on"
        );
    }
    eprint!(
        "This deletes the open invoices of group `{group}` on `{topic}` and moves its offsets; published results \
         stay, and may be published again. Type the group's name to go on: "
    );
    stderr().flush()?;
    let mut answer = String::new();
    stdin().read_line(&mut answer)?;
    Ok(answer.trim() == group)
}
