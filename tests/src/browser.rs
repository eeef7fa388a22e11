//! A browser without a screen: Chromium, driven through chromedriver by the WebDriver protocol (W3C).

use std::fmt::Display;
use std::io::{self, BufRead as _, BufReader, Lines, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::wait_for;

/// How long something may take on a page that takes a moment.
const PATIENCE: Duration = Duration::from_secs(120);

/// The key under which WebDriver names an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// What keeps Chromium to itself: it asks nobody for updates, and runs as root in a container.
const FLAGS: [&str; 10] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
];

/// chromedriver. It ends with this value, and all of its browsers with it.
#[derive(Debug)]
pub struct Driver {
    child: Child,
    port: u16,
    /// A driver that nobody listens to would end.
    _says: Lines<BufReader<ChildStdout>>,
}

impl Driver {
    /// Starts it; `None` where it is missing and tests may be skipped.
    pub fn start() -> Option<Self> {
        requirements::found(Self::try_start())
    }

    fn try_start() -> Result<Self, String> {
        let missing = |error: &dyn Display| {
            format!("chromedriver is missing (Debian: `apt-get install chromium chromium-driver`): {error}")
        };
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().map_err(|error| missing(&error))?;
        let mut says = BufReader::new(child.stdout.take().ok_or("it has no output")?).lines();
        let port_of = |line: String| line.strip_suffix('.')?.rsplit_once(" on port ")?.1.parse().ok();
        let port = says.by_ref().map_while(Result::ok).find_map(port_of);
        match port {
            Some(port) => Ok(Self { child, port, _says: says }),
            None => Err(missing(&"it ended without naming its port")),
        }
    }

    /// Opens a browser of its own, with nothing of the others, whose window is this wide.
    pub fn open(&self, width: u32) -> Browser {
        let size = format!("--window-size={width},1000");
        let args: Vec<&str> = FLAGS.into_iter().chain([size.as_str()]).collect();
        let options = json!({ "args": args });
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome", "goog:chromeOptions": options, "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let session = ask(self.port, "POST", "/session", &capabilities);
        let id = session["sessionId"].as_str().expect("a session").to_owned();
        let browser = Browser { port: self.port, session: id };
        browser.resize(width);
        browser
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A browser with one page. It closes when this is dropped.
#[derive(Debug)]
pub struct Browser {
    port: u16,
    session: String,
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = exchange(self.port, "DELETE", &format!("/session/{}", self.session), "");
    }
}

impl Browser {
    fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        ask(self.port, method, &format!("/session/{}{path}", self.session), body)
    }

    /// Makes what the page sees this wide, also where a window could not be.
    pub fn resize(&self, width: u32) {
        let metrics = json!({ "width": width, "height": 1000, "deviceScaleFactor": 1, "mobile": false });
        let command = json!({ "cmd": "Emulation.setDeviceMetricsOverride", "params": metrics });
        self.ask("POST", "/goog/cdp/execute", &command);
    }

    /// Light or dark.
    pub fn prefer(&self, scheme: &str) {
        let features = json!({ "features": [{ "name": "prefers-color-scheme", "value": scheme }] });
        self.ask("POST", "/goog/cdp/execute", &json!({ "cmd": "Emulation.setEmulatedMedia", "params": features }));
    }

    /// Goes to an address.
    pub fn go(&self, url: &str) {
        self.ask("POST", "/url", &json!({ "url": url }));
    }

    /// Loads the page again.
    pub fn reload(&self) {
        self.ask("POST", "/refresh", &json!({}));
    }

    /// What a script returns; `arguments` are its arguments.
    pub fn run(&self, script: &str, arguments: &[Value]) -> Value {
        self.ask("POST", "/execute/sync", &json!({ "script": script, "args": arguments }))
    }

    /// What a script resolves to; its last argument is what it calls.
    pub fn run_async(&self, script: &str) -> Value {
        self.ask("POST", "/execute/async", &json!({ "script": script, "args": [] }))
    }

    /// The text of everything that a selector finds, as it is on the screen.
    pub fn texts(&self, selector: &str) -> Vec<String> {
        let found = self
            .run("return [...document.querySelectorAll(arguments[0])].map((it) => it.innerText)", &[json!(selector)]);
        found.as_array().into_iter().flatten().filter_map(|it| Some(it.as_str()?.to_owned())).collect()
    }

    /// How many elements a selector finds.
    pub fn count(&self, selector: &str) -> usize {
        self.texts(selector).len()
    }

    /// Waits until a text is somewhere in what a selector finds.
    pub fn wait_for_text(&self, selector: &str, wanted: &str) {
        wait_for(&format!("`{wanted}` in {selector}"), PATIENCE, || {
            self.texts(selector).iter().any(|text| text.contains(wanted)).then_some(())
        });
    }

    /// Waits until a selector finds something.
    pub fn wait_for(&self, selector: &str) {
        wait_for(selector, PATIENCE, || (self.count(selector) > 0).then_some(()));
    }

    /// Waits until a condition in JavaScript holds.
    pub fn wait_until(&self, condition: &str) {
        let script = format!("return Boolean({condition})");
        wait_for(condition, PATIENCE, || (self.run(&script, &[]) == true).then_some(()));
    }

    fn find(&self, selector: &str) -> String {
        self.wait_for(selector);
        let found = self.ask("POST", "/element", &json!({ "using": "css selector", "value": selector }));
        found[ELEMENT].as_str().expect("an element").to_owned()
    }

    /// Clicks as a mouse does: at the middle of what is on the screen.
    pub fn click(&self, selector: &str) {
        let element = self.find(selector);
        self.ask("POST", &format!("/element/{element}/click"), &json!({}));
    }

    /// Empties a field and types into it.
    pub fn fill(&self, selector: &str, text: &str) {
        let element = self.find(selector);
        self.ask("POST", &format!("/element/{element}/clear"), &json!({}));
        self.ask("POST", &format!("/element/{element}/value"), &json!({ "text": text }));
    }

    /// Types on the keyboard, wherever the focus is.
    pub fn keys(&self, text: &str) {
        let strokes: Vec<Value> = text
            .chars()
            .flat_map(|key| ["keyDown", "keyUp"].map(|kind| json!({ "type": kind, "value": key.to_string() })))
            .collect();
        let actions = json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": strokes }] });
        self.ask("POST", "/actions", &actions);
    }

    /// Presses Tab until what has the focus fits a selector; fails where the whole page was passed.
    pub fn tab_to(&self, selector: &str) {
        for _ in 0..200 {
            if self.run("return document.activeElement.matches(arguments[0])", &[json!(selector)]) == true {
                return;
            }
            self.keys(TAB);
        }
        panic!("Tab does not lead to {selector}");
    }

    /// What Chromium complained of since the last time: errors of scripts, and what the Content-Security-Policy kept out.
    pub fn complaints(&self) -> Vec<String> {
        let log = self.ask("POST", "/se/log", &json!({ "type": "browser" }));
        let severe = log.as_array().into_iter().flatten().filter(|entry| entry["level"] == "SEVERE");
        severe.map(|entry| entry["message"].to_string()).collect()
    }

    /// A picture of what is on the screen, PNG.
    pub fn screenshot(&self) -> Vec<u8> {
        let picture = self.ask("GET", "/screenshot", &Value::Null);
        STANDARD.decode(picture.as_str().expect("a picture")).unwrap()
    }
}

/// Keys of WebDriver.
pub const TAB: &str = "\u{e004}";
/// The Enter key.
pub const ENTER: &str = "\u{e007}";

/// The value of an answer. An error of WebDriver fails the test.
fn ask(port: u16, method: &str, path: &str, body: &Value) -> Value {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let bytes = exchange(port, method, path, &body).unwrap();
    let mut answer: Value = serde_json::from_slice(&bytes).unwrap();
    let value = answer["value"].take();
    let is_error = value.get("error").is_some() && value.get("stacktrace").is_some();
    assert!(!is_error, "{method} {path} {body}: {value}");
    value
}

/// The body of an answer. The driver leaves connections open, so that only its length says where it ends.
fn exchange(port: u16, method: &str, path: &str, body: &str) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n");
    stream.write_all(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes())?;
    let mut answer = BufReader::new(stream);
    let mut length = None;
    loop {
        let mut line = String::new();
        answer.read_line(&mut line)?;
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok();
        }
        if line.trim().is_empty() {
            break;
        }
    }
    let mut bytes = vec![0; length.ok_or(io::ErrorKind::UnexpectedEof)?];
    answer.read_exact(&mut bytes)?;
    Ok(bytes)
}
