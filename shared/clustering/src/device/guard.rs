//! Work on a device that may be lost in the middle of it.
//!
//! The layers under a GPU say so by a panic, in the thread that asked or in one of their own. Here that becomes an error.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, Once, PoisonError};

use super::{ChosenDevice, DeviceError};

/// Does `work`, which computes on `device`, and says so if the device fails.
///
/// Nothing of what `work` was changing may be used after an error. On the CPU a panic is a fault of the program and
/// passes through.
///
/// # Errors
/// [`DeviceError::Lost`], with what the device's layers said.
pub fn guarded<T>(device: &ChosenDevice, work: impl FnOnce() -> T) -> Result<T, DeviceError> {
    if device.is_cpu() {
        return Ok(work());
    }
    caught(work).map_err(|cause| DeviceError::Lost { name: device.name.clone(), cause })
}

/// Does `work` and gives what its panic, or that of a device's thread which it waited for, had to say.
pub(super) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    let section = Section::enter();
    let result = catch_unwind(AssertUnwindSafe(work));
    let said = section.leave();
    result.map_err(|payload| {
        let own = payload.downcast_ref::<String>().map(String::as_str).or(payload.downcast_ref::<&str>().copied());
        // What came first is the cause; a panic of this thread may be no more than its echo.
        let cause = said.as_deref().or(own).and_then(first_line);
        cause.unwrap_or("it does not answer").to_owned()
    })
}

/// The first line that says something, without its full stop.
fn first_line(text: &str) -> Option<&str> {
    if text.contains("AdapterUnavailable") {
        return Some("there is none");
    }
    text.lines().map(str::trim).find(|line| !line.is_empty()).map(|line| line.trim_end_matches('.'))
}

/// The names of the threads of a device's layer start so.
const DEVICE_THREADS: &str = "DS";

/// How many guarded sections there are now, in all threads.
static SECTIONS: AtomicUsize = AtomicUsize::new(0);

/// What the first panic of a device's thread said, since the last section was left.
static SAID: Mutex<Option<String>> = Mutex::new(None);

thread_local! {
    static IS_GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// While there is one, panics of its thread and of the devices' threads are answers and not printed.
struct Section {
    was_guarded: bool,
}

impl Section {
    fn enter() -> Self {
        install_hook();
        SECTIONS.fetch_add(1, Ordering::SeqCst);
        Self { was_guarded: IS_GUARDED.replace(true) }
    }

    fn leave(self) -> Option<String> {
        IS_GUARDED.set(self.was_guarded);
        SECTIONS.fetch_sub(1, Ordering::SeqCst);
        SAID.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// Once and for good: hooks that are put in and taken out by several threads get mixed up.
fn install_hook() {
    static INSTALL: Once = Once::new();
    INSTALL.call_once(|| {
        let previous = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !is_answer(panic) {
                previous(panic);
            }
        }));
    });
}

/// Whether a panic belongs to a guarded section; what it says is kept then.
fn is_answer(panic: &PanicHookInfo<'_>) -> bool {
    let of_device = SECTIONS.load(Ordering::SeqCst) > 0
        && std::thread::current().name().is_some_and(|name| name.starts_with(DEVICE_THREADS));
    let is_answer = of_device || IS_GUARDED.get();
    if is_answer {
        let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
        said.get_or_insert_with(|| panic.payload_as_str().unwrap_or_default().to_owned());
    }
    is_answer
}

#[cfg(test)]
mod tests {
    use burn::tensor::Tensor;

    use super::*;

    fn gpu() -> ChosenDevice {
        ChosenDevice { name: "Some GPU".into(), ..ChosenDevice::absent() }
    }

    /// Not a closure that panics, but a device that does.
    #[test]
    fn a_device_that_is_not_there_fails_when_it_is_used() {
        let gpu = gpu();
        let sum = || Tensor::<1>::from_floats([1.0], &gpu.device).sum().into_data().iter::<f32>().next();
        let error = guarded(&gpu, sum).unwrap_err();
        assert!(matches!(&error, DeviceError::Lost { name, .. } if name == "Some GPU"), "{error}");
    }

    #[test]
    fn a_panic_on_a_device_is_an_error_that_says_what_happened_and_what_to_do() {
        let error = guarded(&gpu(), || -> u32 { panic!("\n  Out of memory.\nmore of it") }).unwrap_err();
        assert_eq!(error, DeviceError::Lost { name: "Some GPU".into(), cause: "Out of memory".into() });
        assert_eq!(
            error.to_string(),
            "device `Some GPU` failed: Out of memory; use `--device cpu`, or `--device auto`, which goes on with the CPU"
        );
    }

    #[test]
    fn what_a_device_thread_said_first_is_the_cause() {
        let lost = || {
            let thread = std::thread::Builder::new().name("DSU-0-0".into());
            let runner = thread.spawn(|| panic!("the device is lost")).unwrap();
            runner.join().unwrap_or_else(|_| panic!("no answer"))
        };
        let error = guarded(&gpu(), lost).unwrap_err();
        assert!(matches!(&error, DeviceError::Lost { cause, .. } if cause == "the device is lost"), "{error:?}");
    }

    #[test]
    fn work_that_goes_well_gives_its_result() {
        assert_eq!(guarded(&gpu(), || 3), Ok(3));
    }

    #[test]
    #[should_panic(expected = "a fault of the program")]
    fn on_the_cpu_a_panic_passes_through() {
        let _ = guarded(&super::super::cpu("asked for"), || panic!("a fault of the program"));
    }
}
