//! Who is told of what was found: rules, messages, and the channels that they go through.
//!
//! It knows no Kafka and no pipelines. It takes anomalies that were committed through an [`Intake`], and the numbers of the
//! stream whenever it asks for them ([`Reading`]). An [`Engine`] decides by [`Rule`]s what is worth an [`Alert`]: it is pure,
//! and the time is an argument. Each [`Channel`] has a thread of its own, which sends, waits and sends again.
//!
//! It never holds the stream back. An [`Intake`] takes an anomaly at once, or drops it and counts that. Everything that is
//! kept is bounded: see [`memory`].
//!
//! The rooms, each of which knows only those before it: `anomaly`, `reading`, `rule` and `word` are what comes in; `alert` is what goes
//! out; `engine` decides; `template` makes texts; `channel` and `channels` send; `delivery` is the queue and the patience of
//! one channel; `intake` and `alerting` run it all.

mod alert;
mod alerting;
mod anomaly;
mod channel;
mod channels;
mod delivery;
mod engine;
mod intake;
mod reading;
mod rule;
mod secret;
mod template;
mod word;

pub use alert::{Alert, Group, Status};
pub use alerting::{Alerting, Ask, ChannelView, Desk, DeskError, RuleView, View, memory};
pub use anomaly::{Anomaly, Severity};
pub use channel::{Channel, SendError};
pub use channels::alertmanager::Alertmanager;
#[cfg(feature = "email")]
pub use channels::email::{Email, EmailSettings, Security};
pub use channels::http::{ChannelError, Http};
pub use channels::slack::Slack;
pub use channels::webhook::{Webhook, signature};
pub use delivery::{Backoff, Health};
pub use engine::{Earlier, Engine, GroupView};
pub use intake::Intake;
pub use reading::Reading;
pub use rule::{By, Condition, Rule};
pub use secret::Secret;
pub use template::{Template, TemplateError};
pub use word::{Of, Word};
