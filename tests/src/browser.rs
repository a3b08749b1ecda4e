//! A real browser without a window: Debian's chromium, driven over a pair of pipes (its `DevTools` protocol).

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::{Value, json};

use crate::namespace::Namespace;
use crate::wait;

/// How long the browser may take for whatever it is told.
const DEADLINE: Duration = Duration::from_mins(1);

/// Opens both pipes, as the descriptors that the browser wants them at, and becomes the browser.
const SCRIPT: &str = r#"directory=$1; shift; exec "$@" 3<"$directory/in" 4>"$directory/out""#;

/// A key, as the protocol wants it: its name, its number, and what it types.
type Key = (&'static str, u32, &'static str);
pub const TAB: Key = ("Tab", 9, "");
pub const ENTER: Key = ("Enter", 13, "\r");

/// A browser with one page open. It is ended when this is dropped.
#[derive(Debug)]
pub struct Browser {
    child: Child,
    directory: PathBuf,
    orders: File,
    answers: Receiver<Value>,
    /// The page's.
    session: Option<String>,
    sent: u64,
    /// Whatever the page has asked for.
    pub requests: Vec<String>,
    /// What the browser has complained of.
    pub complaints: Vec<String>,
}

impl Browser {
    /// Starts it in a namespace, with files of its own in a directory, and opens a page.
    pub fn open(namespace: &Namespace, directory: PathBuf, address: &str) -> Result<Self> {
        fs::create_dir_all(&directory)?;
        for pipe in ["in", "out"] {
            mkfifo(&directory.join(pipe), Mode::S_IRUSR | Mode::S_IWUSR)?;
        }
        let mut command = namespace.command("sh");
        command.args(["-c", SCRIPT, "sh"]).arg(&directory).arg("chromium").args([
            "--headless=new",
            // Root has no sandbox; nothing but our own page is opened.
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            "--no-first-run",
            "--remote-debugging-pipe",
        ]);
        command.arg(format!("--user-data-dir={}", directory.join("profile").display()));
        let log = File::create(directory.join("log"))?;
        let child = command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn();
        let child = child.context("starting chromium")?;
        // For reading too: so opening it does not wait for a browser that may never come.
        let orders = File::options().read(true).write(true).open(directory.join("in"))?;
        let answers = listen(directory.join("out"));
        let (requests, complaints) = Default::default();
        let mut browser =
            Self { child, directory, orders, answers, session: None, sent: 0, requests, complaints };
        browser.begin(address)?;
        Ok(browser)
    }

    fn begin(&mut self, address: &str) -> Result<()> {
        let target = self.tell("Target.createTarget", &json!({"url": "about:blank"}))?;
        let session =
            self.tell("Target.attachToTarget", &json!({"targetId": target["targetId"], "flatten": true}))?;
        self.session = Some(session["sessionId"].as_str().context("a session")?.to_owned());
        for domain in ["Page", "Runtime", "Log", "Network"] {
            self.tell(&format!("{domain}.enable"), &json!({}))?;
        }
        let gone = self.tell("Page.navigate", &json!({"url": address}))?;
        ensure!(gone["errorText"].is_null(), "{address}: {}", gone["errorText"]);
        Ok(())
    }

    /// Tells it something, and waits for the answer.
    pub fn tell(&mut self, method: &str, parameters: &Value) -> Result<Value> {
        self.sent += 1;
        let mut order = json!({"id": self.sent, "method": method, "params": parameters});
        if let Some(session) = &self.session {
            order["sessionId"] = session.as_str().into();
        }
        self.orders.write_all(&[order.to_string().as_bytes(), b"\0"].concat())?;
        let end = Instant::now() + DEADLINE;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let said = match self.answers.recv_timeout(left) {
                Ok(said) => said,
                Err(RecvTimeoutError::Timeout) => bail!("{method}: no answer. Its log:\n{}", self.log()),
                Err(RecvTimeoutError::Disconnected) => bail!("chromium has ended:\n{}", self.log()),
            };
            if said["id"] == self.sent {
                ensure!(said["error"].is_null(), "{method}: {}", said["error"]);
                return Ok(said["result"].clone());
            }
            self.note(&said);
        }
    }

    fn note(&mut self, event: &Value) {
        let parameters = &event["params"];
        match event["method"].as_str() {
            Some("Network.requestWillBeSent") => {
                self.requests.push(parameters["request"]["url"].as_str().unwrap_or_default().to_owned());
            }
            Some("Log.entryAdded") => self.complaints.push(parameters["entry"]["text"].to_string()),
            Some("Runtime.exceptionThrown") => {
                self.complaints.push(parameters["exceptionDetails"].to_string());
            }
            _ => {}
        }
    }

    /// What an expression is on the page.
    pub fn evaluate(&mut self, expression: &str) -> Result<Value> {
        let parameters = json!({"expression": expression, "returnByValue": true, "awaitPromise": true});
        let answer = self.tell("Runtime.evaluate", &parameters)?;
        ensure!(answer["exceptionDetails"].is_null(), "{expression}: {}", answer["exceptionDetails"]);
        Ok(answer["result"]["value"].clone())
    }

    /// Waits until an expression is true.
    pub fn wait_for(&mut self, expression: &str) -> Result<()> {
        let mut last = None;
        let waited = wait::until(expression, DEADLINE, || {
            let found = self.evaluate(expression);
            let is_true = found.as_ref().is_ok_and(|found| *found == json!(true));
            last = Some(found);
            is_true
        });
        let page = self.evaluate("document.body.innerText");
        waited.with_context(|| format!("it is {last:?} on this page:\n{page:?}"))
    }

    /// Presses a key and lets it go.
    pub fn press(&mut self, (key, code, text): Key) -> Result<()> {
        for kind in ["keyDown", "keyUp"] {
            let mut event = json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code});
            if kind == "keyDown" && !text.is_empty() {
                event["text"] = text.into();
            }
            self.tell("Input.dispatchKeyEvent", &event)?;
        }
        Ok(())
    }

    /// Types a text into what has the focus.
    pub fn enter(&mut self, text: &str) -> Result<()> {
        self.tell("Input.insertText", &json!({"text": text})).map(drop)
    }

    /// Gives the window this size, and the colours `light` or `dark`.
    pub fn look_like(&mut self, width: u32, height: u32, colours: &str) -> Result<()> {
        let size = json!({"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false});
        self.tell("Emulation.setDeviceMetricsOverride", &size)?;
        let features = json!({"features": [{"name": "prefers-color-scheme", "value": colours}]});
        self.tell("Emulation.setEmulatedMedia", &features).map(drop)
    }

    /// Takes a picture of the page, and gives its size in bytes.
    pub fn take_picture(&mut self, file: &Path) -> Result<u64> {
        let picture = self.tell("Page.captureScreenshot", &json!({"format": "png"}))?;
        let mut decoder = Command::new("base64")
            .arg("--decode")
            .stdin(Stdio::piped())
            .stdout(File::create(file)?)
            .spawn()
            .context("starting base64")?;
        let text = picture["data"].as_str().context("a picture")?;
        decoder.stdin.take().context("its input")?.write_all(text.as_bytes())?;
        ensure!(decoder.wait()?.success(), "the picture cannot be decoded");
        Ok(fs::metadata(file)?.len())
    }

    fn log(&self) -> String {
        fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It ends all of its processes; one that does not answer any more is killed, and they with it.
        let order = json!({"id": 0, "method": "Browser.close"}).to_string();
        let _ = self.orders.write_all(&[order.as_bytes(), b"\0"].concat());
        let ended = wait::until("chromium ends", DEADLINE, || !matches!(self.child.try_wait(), Ok(None)));
        if ended.is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Reads what the browser says, from when it opens the pipe until it closes it.
fn listen(pipe: PathBuf) -> Receiver<Value> {
    let (said, heard) = channel();
    thread::spawn(move || {
        let Ok(pipe) = File::open(pipe) else { return };
        for message in BufReader::new(pipe).split(0).map_while(Result::ok) {
            // Nobody listens any more once the browser is dropped.
            if serde_json::from_slice(&message).is_ok_and(|message| said.send(message).is_err()) {
                return;
            }
        }
    });
    heard
}
