//! What happens, told to pages as it does: server-sent events, one a second.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use tokio::sync::broadcast::error::RecvError;

use super::problem::Problem;
use crate::view::View;

/// Pages that may listen at a time.
const LISTENERS: usize = 100;

/// A page that listens; it is counted until it goes.
struct Listener(Arc<View>);

impl Listener {
    fn new(view: &Arc<View>) -> Option<Self> {
        let listener = Self(view.clone());
        (count(&listener).fetch_add(1, Ordering::Relaxed) < LISTENERS).then_some(listener)
    }
}

fn count(listener: &Listener) -> &AtomicUsize {
    &listener.0.listening
}

impl Drop for Listener {
    fn drop(&mut self) {
        count(self).fetch_sub(1, Ordering::Relaxed);
    }
}

/// Tells a page of each second. Who is slow misses some; nobody is waited for.
pub(super) fn listen(view: &Arc<View>) -> Response {
    let Some(listener) = Listener::new(view) else {
        let why = format!("{LISTENERS} pages are open already: close some of them");
        return Problem::new(StatusCode::SERVICE_UNAVAILABLE, why).into_response();
    };
    let ticks = view.ticks.subscribe();
    let events = stream::unfold((ticks, listener), |(mut ticks, listener)| async move {
        loop {
            match ticks.recv().await {
                Ok(tick) => {
                    let event = Event::default().event("tick").data(&*tick);
                    return Some((Ok::<_, Infallible>(event), (ticks, listener)));
                }
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    });
    Sse::new(events).into_response()
}
