//! The window in a browser: an analyst at work, with mouse and keyboard, wide and narrow, and nobody shut out.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tests::browser::{Browser, Driver, ENTER};
use tests::{Kafka, PipelineFile, Running, repository, scorer, start_scorer, text, wait_for};

use crate::alerts::{Sink, nobody};

const PATIENCE: Duration = Duration::from_secs(120);

const PAGES: [&str; 7] = ["/", "/anomalies", "/alerts", "/entities", "/exceptions", "/errors", "/models"];

/// The demo, replayed, and the address of its window.
struct Demo {
    _running: Running,
    address: String,
}

impl Demo {
    fn start() -> Self {
        Self::start_with(&[])
    }

    fn start_with(more: &[&str]) -> Self {
        let how = ["demo", "--listen", "127.0.0.1:0", "--rate", "0", "--device", "cpu"];
        let running = start_scorer(&[&how[..], more].concat());
        let address = wait_for("the end of the replay", PATIENCE, || {
            let said = running.stdout();
            let rest = said.split("The window stays open at ").nth(1)?;
            Some(rest.split_once("/ until")?.0.to_owned())
        });
        Self { _running: running, address }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }
}

/// The name of an alert that is wider than a narrow screen.
const LONG_NAME: &str = "invoices-of-one-and-the-same-customer-that-are-anomalous";

/// A pipeline with an alert for each customer, which somebody receives.
fn write_with_alerts(path: &Path, hook: SocketAddr) {
    let sections = format!(
        "[[channels]]
name = \"hook-of-the-people-who-look-after-customers-at-night\"
type = \"webhook\"
url = \"http://{hook}/alerts\"

[[alerts]]
name = \"{LONG_NAME}\"
group_by = [\"customer\"]
channels = [\"hook-of-the-people-who-look-after-customers-at-night\"]

[outputs]"
    );
    PipelineFile::invoices().replaced("[outputs]", &sections).write(path);
}

/// Loads a page and waits until it shows what it has.
fn visit(browser: &Browser, url: &str) {
    browser.go(url);
    browser.wait_for("#main h1, #main h2");
    browser.wait_until("!document.querySelector('#main').innerText.includes('Loading…')");
    browser.wait_for_text("#connection", "live");
}

/// The keys of planted anomalies.
fn planted() -> BTreeSet<String> {
    let labels = std::fs::read_to_string(repository().join("resources/production_labels.csv")).unwrap();
    labels.lines().skip(1).filter_map(|line| Some(line.split_once(',')?.0.to_owned())).collect()
}

/// The keys that all pages of the list show.
fn listed(browser: &Browser) -> BTreeSet<String> {
    let mut keys = BTreeSet::new();
    loop {
        keys.extend(browser.texts(".row-key > bdi"));
        if browser.count("nav.pages button:last-child:not(:disabled)") == 0 {
            return keys;
        }
        let place = browser.texts("nav.pages span");
        browser.click("nav.pages button:last-child");
        wait_for("the next page", PATIENCE, || (browser.texts("nav.pages span") != place).then_some(()));
    }
}

/// What axe-core finds wrong on the page.
fn violations(browser: &Browser) -> Vec<Value> {
    if browser.run("return Boolean(window.axe)", &[]) == false {
        let axe = std::fs::read_to_string(repository().join("tests/vendor/axe-core/axe.min.js")).unwrap();
        browser.run(&axe, &[]);
    }
    let result = browser.run_async(
        "const done = arguments[arguments.length - 1]; \
         axe.run().then((it) => done(it.violations.map((it) => ({ id: it.id, nodes: it.nodes.map((n) => [n.html, n.failureSummary]) }))), \
         (error) => done([{ id: String(error) }]))",
    );
    result.as_array().unwrap().clone()
}

#[test]
fn an_analyst_closes_an_anomaly_and_excepts_another_and_everybody_sees_it() {
    let Some(driver) = Driver::start() else { return };
    let demo = Demo::start();
    let (browser, other) = (driver.open(1280), driver.open(1280));
    visit(&browser, &demo.url("/anomalies"));
    let found = listed(&browser);
    let planted = planted();
    let n_found = planted.iter().filter(|key| found.contains(*key)).count();
    assert!(n_found * 10 >= planted.len() * 8, "{n_found} of {} planted anomalies are listed", planted.len());

    // One is closed on its own page, with all that can be said of it. Another browser looks at it meanwhile.
    visit(&browser, &demo.url("/anomalies?sort=worst"));
    let first = browser.texts(".row-key > bdi").remove(0);
    browser.click(".row:first-child .row-link");
    browser.wait_for(".review");
    let address = browser.run("return location.href", &[]);
    visit(&other, address.as_str().unwrap());
    browser.click(".review button[data-name=anomaly]");
    browser.fill(".review [name=reason]", "fraud");
    let hostile = "<img src=x onerror=\"document.title='broken'\">\u{202e}txt";
    browser.fill(".review [name=note]", hostile);
    browser.fill(".review [name=owner]", "<b>Ann</b>");
    browser.fill(".review [name=by]", "Ann");
    browser.click(".review button[type=submit]");
    browser.wait_for_text(".review .said-message", "Saved");
    browser.wait_for_text(".said-state", "Anomaly by Ann");
    other.wait_for_text(".said-state", "Anomaly by Ann");
    assert_eq!(other.run("return document.querySelector('.review [name=note]').value", &[]), json!(hostile));
    assert_eq!(other.count(".review img, .review b > b"), 0, "texts are texts");

    // After a reload it is all there, and the list has it among those that are closed.
    browser.reload();
    browser.wait_for_text(".said-state", "Anomaly by Ann");
    assert_eq!(browser.run("return document.querySelector('.review [name=owner]').value", &[]), json!("<b>Ann</b>"));
    visit(&browser, &demo.url("/anomalies?state=closed"));
    assert_eq!(browser.texts(".row-key > bdi"), std::slice::from_ref(&first));
    browser.wait_for_text(".row-said", "owner <b>Ann</b>");
    visit(&browser, &demo.url("/anomalies"));
    assert!(!listed(&browser).contains(&first));

    // Two who write at the same time: the slower one sees what the faster one said, and keeps his own words.
    other.fill(".review [name=note]", "mine");
    visit(&browser, address.as_str().unwrap());
    browser.click(".review button[data-name=false_alarm]");
    browser.click(".review button[type=submit]");
    browser.wait_for_text(".said-state", "False alarm by Ann");
    other.wait_for_text(".conflict", "Somebody was faster: False alarm by Ann");
    assert_eq!(other.run("return document.querySelector('.review [name=note]').value", &[]), json!("mine"));
    browser.click(".review button[data-name=anomaly]");
    browser.click(".review button[type=submit]");
    browser.wait_for_text(".said-state", "Anomaly by Ann");

    // Not again: it is seen before what would have been hidden, and then it is hidden, for the other browser too.
    visit(&browser, &demo.url("/anomalies?sort=worst"));
    let hidden = browser.texts(".row-key > bdi").remove(0);
    visit(&other, &demo.url(&format!("/anomalies?q={hidden}")));
    assert_eq!(other.count(".row"), 1);
    browser.click(".row:first-child .row-link");
    browser.click(".except summary");
    browser.wait_for_text(".preview", "In the last 30 days it would have hidden");
    browser.wait_for_text(".preview li", &hidden);
    if browser.count(".consent:not([hidden])") > 0 {
        browser.click(".except [name=knows]");
    }
    browser.fill(".except [name=why]", "they move");
    browser.click(".except button[type=submit]");
    browser.wait_for_text(".except .said-message", "Saved");
    other.wait_until("document.querySelectorAll('.row').length === 0");
    visit(&browser, &demo.url("/anomalies?state=hidden"));
    assert!(browser.texts(".row-key > bdi").contains(&hidden));
    visit(&browser, &demo.url("/exceptions"));
    browser.wait_for_text(".exception", "they move");
    browser.click(".exception header button");
    browser.wait_for_text(".exception .word", "taken back");
    visit(&browser, &demo.url("/anomalies?state=hidden"));
    assert_eq!(browser.count(".row"), 0, "what was hidden is back");

    // How often each detector was right is told of.
    visit(&browser, &demo.url("/models"));
    browser.wait_for_text(".right", "100%");
    assert_eq!([browser.complaints(), other.complaints()], [Vec::<String>::new(), Vec::new()]);
}

#[test]
fn everything_is_done_with_the_keyboard_alone() {
    let Some(driver) = Driver::start() else { return };
    let demo = Demo::start();
    let browser = driver.open(1280);
    visit(&browser, &demo.url("/"));
    browser.keys("ga");
    browser.wait_for(".row");
    let keys = browser.texts(".row-key > bdi");
    browser.keys("jj");
    browser.wait_for(".row:nth-child(2) .here");
    browser.keys("2");
    browser.wait_for_text(".summary", &format!("{}: false alarm.", keys[1]));
    // The next one has taken its place, and has the focus.
    browser.wait_until(&format!("document.activeElement.innerText.includes('{}')", keys[2]));
    browser.keys(ENTER);
    browser.wait_for(".review");
    browser.keys("3");
    browser.wait_for_text(".said-state", "Unsure");
    browser.tab_to(".review button[data-name=anomaly]");
    browser.keys(" ");
    browser.tab_to(".review [name=note]");
    browser.keys("seen it");
    browser.tab_to(".review button[type=submit]");
    browser.keys(ENTER);
    browser.wait_for_text(".said-state", "Anomaly");
    browser.tab_to(".except summary");
    browser.keys(ENTER);
    browser.wait_for_text(".preview", "of which 1 is a confirmed anomaly");
    browser.tab_to(".except [name=knows]");
    browser.keys(" ");
    browser.tab_to(".except [name=excepted_by]");
    browser.keys("Ann");
    browser.tab_to(".except [name=why]");
    browser.keys("a test");
    browser.tab_to(".except button[type=submit]");
    browser.keys(ENTER);
    browser.wait_for_text(".except .said-message", "Saved");
    // Out of the form: keys mean what they mean everywhere else.
    browser.run("document.activeElement.blur()", &[]);
    browser.keys("gx");
    browser.wait_for_text(".exception", "a test");
    browser.keys("?");
    browser.wait_for("#keys[open]");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

#[test]
fn nobody_is_shut_out_and_nothing_is_wider_than_the_screen() {
    let Some(driver) = Driver::start() else { return };
    let (folder, hook) = (tempfile::tempdir().unwrap(), nobody());
    let (pipeline, models, _received) =
        (folder.path().join("alerts.toml"), repository().join("models"), Sink::at(hook));
    write_with_alerts(&pipeline, hook);
    let demo = Demo::start_with(&["--pipeline", text(&pipeline), "--models", text(&models)]);
    let browser = driver.open(1280);
    visit(&browser, &demo.url("/anomalies"));
    let one = browser.run("return document.querySelector('.row-link').getAttribute('href')", &[]);
    // With something said, so that what shows it is looked at too.
    browser.keys("j1");
    browser.wait_for_text(".summary", "anomaly.");
    browser.keys("j3");
    browser.wait_for_text(".summary", "unsure.");
    let pages = PAGES.iter().map(|path| (*path).to_owned());
    let more =
        [one.as_str().unwrap().to_owned(), "/anomalies?state=all".to_owned(), "/anomalies?state=hidden".to_owned()];
    for path in pages.chain(more) {
        visit(&browser, &demo.url(&path));
        if browser.count(".except summary") > 0 {
            browser.click(".except summary");
            browser.wait_for_text(".preview", "In the last 30 days");
        }
        if path == "/alerts" {
            browser.wait_for_text(".list .letter", LONG_NAME);
            browser.click(".list .letter .actions button");
            browser.wait_for_text(".list .letter", "acknowledged");
            browser.click(".panels .letter .actions button:last-child");
            browser.wait_for_text(".panels .letter", "quiet until");
        }
        shuts_nobody_out(&browser, &path);
    }
    assert_eq!(browser.complaints(), Vec::<String>::new());
}

/// What is on the page has no violation and is no wider than the screen, on wide and narrow ones and in both colours.
fn shuts_nobody_out(browser: &Browser, path: &str) {
    for (width, scheme) in [(1280, "light"), (1280, "dark"), (390, "light"), (390, "dark")] {
        browser.resize(width);
        browser.prefer(scheme);
        let found = violations(browser);
        assert!(found.is_empty(), "{path}, {width} wide, {scheme}: {found:#?}");
        let over = browser.run("return document.documentElement.scrollWidth - innerWidth", &[]);
        assert!(over.as_i64().unwrap() <= 0, "{path}, {width} wide: {over} pixels are outside");
    }
}

/// A scorer with a window, on a real broker.
fn on_kafka(kafka: &Kafka, pipeline: &std::path::Path, folder: &std::path::Path) -> (Running, String) {
    let models = repository().join("models");
    let what = ["run", "--listen", "127.0.0.1:0", "--pipeline", text(pipeline), "--models", text(&models)];
    let state = folder.join(format!("state-{}", std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos()));
    let how = ["--device", "cpu", "--clock", "event", "--state-dir", text(&state), "--brokers", &kafka.brokers];
    let running = start_scorer(&[&what[..], &how].concat());
    let address = wait_for("the address of the window", PATIENCE, || {
        let said = running.stderr();
        let rest = said.split("window: ").nth(1)?;
        Some(rest.split_once('\n')?.0.trim_end_matches('/').to_owned())
    });
    (running, address)
}

/// What is said in a browser is in the topic, survives kill -9, and is there in the window of another instance. Erroneous records
/// are sent again from there.
#[test]
fn labels_survive_kill_9_and_errors_are_sent_again() {
    let (Some(driver), Some(kafka)) = (Driver::start(), Kafka::start()) else { return };
    let folder = tempfile::tempdir().unwrap();
    let pipeline = folder.path().join("pipeline.toml");
    PipelineFile::invoices().write(&pipeline);
    let (running, address) = on_kafka(&kafka, &pipeline, folder.path());
    let sample = repository().join("resources/production.csv");
    let replay = scorer(&["replay", text(&sample), "--pipeline", text(&pipeline), "--brokers", &kafka.brokers]);
    assert_eq!(replay.code, Some(0), "{}", replay.stderr);
    let browser = driver.open(1280);
    browser.go(&format!("{address}/anomalies"));
    browser.wait_for(".row");
    browser.click(".row:first-child .row-link");
    browser.wait_for(".review");
    let path = browser.run("return location.pathname + location.search", &[]);
    browser.click(".review button[data-name=false_alarm]");
    browser.fill(".review [name=by]", "Ann");
    browser.click(".review button[type=submit]");
    browser.wait_for_text(".review .said-message", "Saved");
    running.kill();
    browser.wait_for_text("#banner", "does not answer");

    let (again, address) = on_kafka(&kafka, &pipeline, folder.path());
    browser.go(&format!("{address}{}", path.as_str().unwrap()));
    browser.wait_for_text(".said-state", "False alarm by Ann");
    sends_again(&browser, &address);
    wait_for("who did it, in the log", PATIENCE, || {
        again.stderr().contains("Ann sent erroneous records again (reason ").then_some(())
    });
    let dry = scorer(&["redrive", "--dry-run", "--pipeline", text(&pipeline), "--brokers", &kafka.brokers]);
    assert!(dry.code == Some(0) && dry.stdout.contains(" sent before"), "{} {}", dry.stdout, dry.stderr);
}

/// Sends the records with one reason again, from the page and with the keyboard.
fn sends_again(browser: &Browser, address: &str) {
    visit(browser, &format!("{address}/errors"));
    // That a scorer was killed is no fault of this page.
    browser.complaints();
    browser.click(".letter button");
    browser.wait_for_text(".meant", "The record purchases:");
    browser.wait_for_text(".redrive .preview", "1 record would be sent.");
    shuts_nobody_out(browser, "/errors");
    browser.resize(1280);
    browser.run("scrollTo(0, 0)", &[]);
    browser.click(".meant button");
    let bar =
        "[...document.querySelectorAll('.bars button')].find((it) => it.innerText.includes('too_few_fields')).click()";
    browser.run(bar, &[]);
    browser.wait_for_text(".meant", "Records with the reason too_few_fields");
    browser.wait_until("!document.querySelector('.redrive button[type=submit]').disabled");
    let seen = browser.texts(".redrive button[type=submit]").remove(0);
    let n_seen = seen.split(' ').nth(1).unwrap().to_owned();
    browser.tab_to(".redrive [name=sent_by]");
    browser.run("document.activeElement.select()", &[]);
    browser.keys("Ann");
    browser.tab_to(".redrive button[type=submit]");
    browser.keys(ENTER);
    browser.wait_for_text(".redrive .said-message", &format!("{n_seen} sent"));
    browser.wait_for_text(".redrive .preview", &format!("{n_seen} sent before"));
    browser.wait_for_text(".redrive + .said-state", "The last time, by Ann, ");
    assert_eq!(browser.complaints(), Vec::<String>::new());
}
