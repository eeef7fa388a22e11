//! A connection that does not wait for a reader who does not read.

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// A connection whose writes fail once the other side has taken nothing for a while.
#[derive(Debug)]
pub(super) struct Impatient<C> {
    connection: C,
    patience: Duration,
    /// Runs while a write waits.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<C> Impatient<C> {
    pub(super) fn new(connection: C, patience: Duration) -> Self {
        Self { connection, patience, stalled: None }
    }

    /// What a write came to, with an end to waiting.
    fn bounded<T>(&mut self, context: &mut Context<'_>, polled: Poll<Result<T>>) -> Poll<Result<T>> {
        if polled.is_ready() {
            self.stalled = None;
            return polled;
        }
        let patience = self.patience;
        let sleep = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        let gives_up = |()| Err(Error::new(ErrorKind::TimedOut, "the reader takes nothing"));
        sleep.as_mut().poll(context).map(gives_up)
    }
}

impl<C: AsyncRead + Unpin> AsyncRead for Impatient<C> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.connection).poll_read(context, buffer)
    }
}

impl<C: AsyncWrite + Unpin> AsyncWrite for Impatient<C> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let polled = Pin::new(&mut self.connection).poll_write(context, bytes);
        self.bounded(context, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let polled = Pin::new(&mut self.connection).poll_write_vectored(context, slices);
        self.bounded(context, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.connection.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let polled = Pin::new(&mut self.connection).poll_flush(context);
        self.bounded(context, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let polled = Pin::new(&mut self.connection).poll_shutdown(context);
        self.bounded(context, polled)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    fn block_on<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
    }

    #[test]
    fn a_reader_who_takes_nothing_is_given_up() {
        block_on(async {
            let (ours, _theirs) = tokio::io::duplex(64);
            let mut connection = Impatient::new(ours, Duration::from_millis(20));
            let error = connection.write_all(&[0; 1000]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TimedOut);
        });
    }

    /// However long it takes in all, a reader who goes on reading gets everything.
    #[test]
    fn a_reader_who_reads_on_is_waited_for() {
        block_on(async {
            let (ours, mut theirs) = tokio::io::duplex(8);
            let mut connection = Impatient::new(ours, Duration::from_secs(60));
            let sent = tokio::spawn(async move { connection.write_all(&[7; 400]).await.map(|()| connection) });
            let mut received = vec![0; 400];
            theirs.read_exact(&mut received).await.unwrap();
            assert!(sent.await.unwrap().is_ok() && received == [7; 400]);
        });
    }
}
