//! The window, open: one thread of its own, with a low priority, that takes messages in and answers requests.

use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use axum::middleware::from_fn_with_state;
use thiserror::Error;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use crate::about::About;
use crate::alerts::{AlertDesk, AlertWord};
use crate::api;
use crate::http::access::Access;
use crate::http::address::Address;
use crate::http::connections::serve;
use crate::http::guard::{Guard, guard};
use crate::intake::{Inbox, Intake, Refill, intake};
use crate::journal::{Desk, Journal, Keeping, News, journal};
use crate::questions::{Asking, Questions, questions};
use crate::redrives::{Orders, Redrives, redrives};
use crate::store::Limits;
use crate::view::{Ask, View, now};

/// How often pages hear of the stream.
const TICK: Duration = Duration::from_secs(1);

/// How much the thread yields to those of the stream: see nice(2).
const NICE: libc::c_int = 10;

/// Why the window cannot be opened.
#[derive(Debug, Error)]
pub enum ServerError {
    /// The address is taken, or not this machine's.
    #[error("cannot listen on {address}: {source}; choose another address or port with --listen")]
    Listen {
        /// The address.
        address: Address,
        /// The cause.
        source: std::io::Error,
    },
    /// The system gives no thread.
    #[error("cannot start the window: {0}")]
    Start(std::io::Error),
}

/// What a window shows.
pub struct Source {
    /// What does not change.
    pub about: About,
    /// Gives the stream as it is now.
    pub ask: Ask,
    /// How much is kept.
    pub limits: Limits,
    /// Where what analysts say is kept.
    pub keeping: Keeping,
}

/// A window that is bound to its address and not open yet: nobody is answered, and messages wait.
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    access: Access,
    inbox: Inbox,
    desk: Desk,
    news: mpsc::Receiver<News>,
    alerts: Option<Arc<dyn AlertDesk>>,
    asking: Option<Asking>,
    orders: Option<Orders>,
}

/// Where a window is told of things.
#[derive(Debug)]
pub struct Ends {
    /// What is committed.
    pub intake: Intake,
    /// What was committed before.
    pub refill: Refill,
    /// What analysts say.
    pub journal: Journal,
}

/// A window that is open. It closes when this is dropped.
#[derive(Debug)]
pub struct Open {
    address: SocketAddr,
    _stop: oneshot::Sender<()>,
}

impl Server {
    /// Binds the address. What comes in meanwhile waits.
    ///
    /// # Errors
    /// [`ServerError::Listen`].
    pub fn bind(access: Access) -> Result<(Self, Ends), ServerError> {
        let failed = |source| ServerError::Listen { address: access.address, source };
        let listener = TcpListener::bind(access.address.socket()).map_err(failed)?;
        listener.set_nonblocking(true).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let (intake, refill, inbox) = intake();
        let (journal, desk, news) = journal();
        Ok((
            Self { listener, address, access, inbox, desk, news, alerts: None, asking: None, orders: None },
            Ends { intake, refill, journal },
        ))
    }

    /// Shows the alerts that this desk knows of.
    pub fn with_alerts(self, desk: Arc<dyn AlertDesk>) -> Self {
        Self { alerts: Some(desk), ..self }
    }

    /// Takes records that somebody posts to be scored at once, for whoever answers these questions.
    pub fn with_questions(self) -> (Self, Questions) {
        let (asking, questions) = questions();
        (Self { asking: Some(asking), ..self }, questions)
    }

    /// Takes orders to send erroneous records again, for whoever can do that.
    pub fn with_redrives(self) -> (Self, Redrives) {
        let (orders, redrives) = redrives();
        (Self { orders: Some(orders), ..self }, redrives)
    }

    /// Opens the window.
    ///
    /// # Errors
    /// [`ServerError::Start`].
    pub fn open(self, source: Source) -> Result<Open, ServerError> {
        let Self { listener, address, access, inbox, desk, news, alerts, asking, orders } = self;
        let Source { about, ask, limits, keeping } = source;
        let view = View::new(about, ask, inbox.inflow(), limits, (desk, keeping)).with_alerts(alerts);
        let view = Arc::new(view);
        let runtime = Builder::new_current_thread().enable_all().build().map_err(ServerError::Start)?;
        let (stop, stopped) = oneshot::channel();
        let work = move || {
            yield_to_others();
            run(&runtime, listener, access, (inbox, news), (view, asking, orders), stopped);
        };
        thread::Builder::new().name("window".to_owned()).spawn(work).map_err(ServerError::Start)?;
        Ok(Open { address, _stop: stop })
    }
}

impl Open {
    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl fmt::Display for Open {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}/", self.address)
    }
}

/// Whatever else wants the processor goes before this thread. Where the system refuses, all are equal.
pub fn yield_to_others() {
    // SAFETY: it takes no pointers. For Linux, 0 is the calling thread.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICE) };
}

fn run(
    runtime: &Runtime,
    listener: TcpListener,
    access: Access,
    (inbox, news): (Inbox, mpsc::Receiver<News>),
    (view, asking, orders): (Arc<View>, Option<Asking>, Option<Orders>),
    stopped: oneshot::Receiver<()>,
) {
    runtime.block_on(async move {
        let listener = match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, "the window cannot be opened"),
        };
        let router = api::router(view.clone()).merge(api::redrive::router(orders));
        let router = router.merge(api::score::router(view.clone(), asking));
        let router = router.layer(from_fn_with_state(Arc::new(Guard::new(access)), guard));
        tokio::spawn(take_in(inbox, view.clone()));
        tokio::spawn(hear(news, view.clone()));
        tokio::spawn(tick(view.clone()));
        tokio::select! {
            () = serve(listener, router, view) => {}
            _ = stopped => {}
        }
    });
}

/// Takes in what comes.
async fn take_in(mut inbox: Inbox, view: Arc<View>) {
    while let Some(committed) = inbox.next().await {
        view.state().store.take(&committed);
    }
}

/// Takes in what analysts have said, and answers those who wait for their own word to be kept.
async fn hear(mut news: mpsc::Receiver<News>, view: Arc<View>) {
    while let Some(news) = news.recv().await {
        match news {
            News::Entry(entry) => {
                let word = AlertWord::of(&entry);
                view.state().store.labels.take(entry);
                if let (Some(desk), Some(word)) = (&view.alerts, word) {
                    desk.heed(&word);
                }
            }
            News::CaughtUp => view.state().store.labels.is_caught_up = true,
            News::Keeping(keeping) => view.state().store.labels.keeping = keeping,
            // Who asked may have gone.
            News::Answer(answer, outcome) => drop(answer.send(outcome)),
        }
    }
}

/// Notes once a second how the stream is, and tells all pages that listen.
async fn tick(view: Arc<View>) {
    let mut interval = tokio::time::interval(TICK);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let snapshot = view.snapshot();
        let sample = view.state().history.add(now(), &snapshot);
        if view.ticks.receiver_count() > 0 {
            // Nobody may be left by now.
            let _ = view.ticks.send(api::tick(&view, &sample).into());
        }
    }
}
