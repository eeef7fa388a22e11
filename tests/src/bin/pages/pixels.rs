//! The time from an anomalous payment to its row on the page Anomalies in Chromium.

use std::time::Duration;

use serde_json::Value;
use tests::browser::{Browser, Driver};
use tests::measure::quantile;
use tests::{Group, Producer, wait_for};

use crate::scorers::{PATIENCE, Payment, TOPIC, end, kafka, now, start, window_of};
use crate::{DELIVERIES, Plan};

const GROUP: &str = "pixels";

/// Payments by which each user has habits, an hour apart.
const HABIT: usize = 10;
const HOUR: i64 = 3_600_000;

/// The first payment: it is of the past, wherever this runs.
const FIRST: i64 = 1_735_689_600_000;

const USUAL: f64 = 25.0;
const ANOMALOUS: f64 = 9_000.0;

/// Pages hear of the stream once a second. With this time between two payments, they are sent at all moments of that second
/// equally often; with half a second, it would be only two moments.
const PAUSE: Duration = Duration::from_millis(618);

/// Notes when each row was first on the screen, in milliseconds since 1970: the next task after a frame comes when the frame is
/// drawn.
const NOTE: &str = "
    window.seen = {};
    const note = () => {
        const keys = [...document.querySelectorAll('.row-key > bdi')].map((it) => it.textContent);
        setTimeout(() => {
            const at = performance.timeOrigin + performance.now();
            for (const key of keys) window.seen[key] ??= at;
        });
    };
    new MutationObserver(() => requestAnimationFrame(note))
        .observe(document.getElementById('main'), { childList: true, subtree: true });
";

/// Prints the times in both deliveries.
pub(crate) fn measure(driver: &Driver, plan: &Plan) {
    println!("\nfrom a payment to its row on the page Anomalies, {} payments", plan.anomalies);
    println!("{:<16}{:>12}{:>12}{:>12}", "", "median ms", "p90 ms", "p99 ms");
    let page = driver.open(1280);
    for delivery in DELIVERIES {
        let times = times(&page, delivery, plan.anomalies);
        let [median, p90, p99] = [0.5, 0.9, 0.99].map(|share| quantile(&times, share));
        println!("{delivery:<16}{median:>12.0}{p90:>12.0}{p99:>12.0}");
    }
}

/// In milliseconds, of so many anomalies.
fn times(page: &Browser, delivery: &str, n_anomalies: usize) -> Vec<f64> {
    let (folder, kafka) = (tempfile::tempdir().unwrap(), kafka());
    let mut running = start(&kafka, GROUP, folder.path(), &["--delivery", delivery, "--listen", "127.0.0.1:0"]);
    let (address, producer) = (window_of(&mut running), Producer::new(&kafka.brokers));
    for time in 0..HABIT {
        (0..n_anomalies).for_each(|user| pay(&producer, &format!("usual-{time}-{user}"), (user, time), USUAL));
    }
    producer.flush();
    Group::new(&kafka.brokers, GROUP, TOPIC, 1).wait_until_consumed();
    page.go(&format!("http://{address}/anomalies"));
    page.wait_for_text("#connection", "live");
    page.wait_until("!document.querySelector('#main').innerText.includes('Loading…')");
    page.run(NOTE, &[]);

    let send = |user: usize| {
        let (key, sent) = (format!("anomalous-{user}"), now());
        pay(&producer, &key, (user, HABIT), ANOMALOUS);
        std::thread::sleep(PAUSE);
        (key, sent as f64 / 1000.0)
    };
    let sent: Vec<(String, f64)> = (0..n_anomalies).map(send).collect();
    let times = wait_for("every anomaly on the page", PATIENCE, || {
        let seen: Value = page.run("return window.seen", &[]);
        sent.iter().map(|(key, sent)| Some(seen[key].as_f64()? - sent)).collect()
    });
    page.go("about:blank");
    end(running);
    times
}

/// Each user pays at a merchant of his own, the first one first.
fn pay(producer: &Producer, id: &str, (user, time): (usize, usize), amount: f64) {
    let at = FIRST + time as i64 * HOUR + user as i64 * 1000;
    Payment { id, user: user as u64, merchant: user as u64, amount, at }.send(producer);
}
