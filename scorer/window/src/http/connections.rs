//! The connections: not too many, and none for ever.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tower::ServiceExt as _;

use super::guard::Peer;
use super::impatient::Impatient;
use crate::view::View;

/// Connections at a time; a browser takes up to six for a page.
const CONNECTIONS: usize = 256;

/// How long a request may take to say what it wants, and a connection to say nothing.
const REQUEST_PATIENCE: Duration = Duration::from_secs(15);

/// How long a reader may take nothing.
const READER_PATIENCE: Duration = Duration::from_secs(15);

/// Bytes of a request's headers.
const HEADER_BYTES: usize = 32 << 10;

/// How long to wait where the system has no more files.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves whoever connects, until this is dropped.
pub(crate) async fn serve(listener: TcpListener, router: Router, view: Arc<View>) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok((stream, peer)) = listener.accept().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        let Ok(permit) = permits.clone().try_acquire_owned() else {
            view.refused.fetch_add(1, Ordering::Relaxed);
            continue;
        };
        let router = router.clone();
        tokio::spawn(async move {
            let _permit = permit;
            answer(stream, Peer(peer), router).await;
        });
    }
}

async fn answer(stream: TcpStream, peer: Peer, router: Router) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(peer);
        let answered = router.clone().oneshot(request);
        async move { Ok::<_, Infallible>(answered.await.unwrap_or_else(|never| match never {})) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(REQUEST_PATIENCE).max_buf_size(HEADER_BYTES);
    let connection = TokioIo::new(Impatient::new(stream, READER_PATIENCE));
    // Whoever goes away, or sends what is no request, gets no answer.
    let _ = http.serve_connection(connection, service).await;
}
