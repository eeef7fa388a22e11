//! The threads of a stream, and what a panic on one of them does.
//!
//! Where a thread that holds a client of librdkafka unwinds, dropping the client may wait for ever: leaving the group needs
//! answers that only the unwinding thread could give. The process would neither work nor end, and no supervisor would
//! start it again. So a panic on such a thread ends the process before anything is unwound. What was not committed is
//! read again by whoever starts next.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;
use std::thread::{self, JoinHandle};

use super::client::error::{ErrorKind, KafkaError};

thread_local! {
    static HOLDS_A_CLIENT: Cell<bool> = const { Cell::new(false) };
}

/// Starts a thread that holds a client: a panic on it ends the process.
pub(crate) fn spawn_with_client(
    name: &'static str,
    work: impl FnOnce() -> Result<(), KafkaError> + Send + 'static,
) -> JoinHandle<Result<(), KafkaError>> {
    end_process_on_panic();
    spawn(name, move || {
        HOLDS_A_CLIENT.set(true);
        work()
    })
}

/// Starts a thread that holds no client: a panic on it is its error.
pub(crate) fn spawn(
    name: &'static str,
    work: impl FnOnce() -> Result<(), KafkaError> + Send + 'static,
) -> JoinHandle<Result<(), KafkaError>> {
    let caught = move || catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| Err(bug(name, &*payload)));
    thread::Builder::new().name(name.to_owned()).spawn(caught).expect("the system starts a few threads")
}

/// Once and for good: hooks that are put in and taken out by several threads get mixed up.
fn end_process_on_panic() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            previous(panic);
            if HOLDS_A_CLIENT.get() {
                let name = thread::current().name().unwrap_or("a thread").to_owned();
                tracing::error!(thread = name, "a panic ends the process");
                eprintln!("error: {}", bug("a thread of the stream", panic.payload()));
                std::process::exit(ErrorKind::Bug.exit_code().into());
            }
        }));
    });
}

fn bug(what: &'static str, payload: &(dyn Any + Send)) -> KafkaError {
    let said = payload.downcast_ref::<String>().map(String::as_str).or(payload.downcast_ref::<&str>().copied());
    KafkaError::Bug { what, cause: said.unwrap_or("a panic without words").to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_without_a_client_is_an_error_of_the_thread() {
        let thread = spawn("score", || panic!("seven of {}", 9));
        let error = thread.join().expect("it is caught").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Bug);
        assert!(error.to_string().contains("score failed") && error.to_string().contains("seven of 9"), "{error}");
    }
}
