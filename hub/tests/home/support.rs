//! A hub process, and requests to it.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tempfile::TempDir;

/// Nothing takes longer than this, unless there is a bug.
pub const PATIENCE: Duration = Duration::from_mins(1);

/// The program, without the environment of the developer.
pub fn mcp_hub() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-hub"));
    command.env_remove("RUST_LOG");
    command
}

/// The entry of a config that runs the server of these tests.
pub fn stdio_server() -> Value {
    json!({"command": std::env::current_exe().unwrap(),
        "args": ["--ignored", "--exact", "stdio_server", "--nocapture"]})
}

/// A folder with a config file.
pub struct ConfigDir(TempDir);

impl ConfigDir {
    pub fn new(config: &Value) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("hub.json"), config.to_string()).unwrap();
        Self(dir)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn file(&self) -> PathBuf {
        self.path().join("hub.json")
    }
}

/// A running hub.
pub struct HubProcess {
    pub child: Child,
    pub url: String,
    pub http: reqwest::Client,
    _dir: ConfigDir,
    log: Arc<Mutex<String>>,
}

impl HubProcess {
    pub fn start(config: &Value) -> Self {
        Self::start_on("127.0.0.1:0", config)
    }

    pub fn start_on(listen: &str, config: &Value) -> Self {
        let dir = ConfigDir::new(config);
        let mut command = mcp_hub();
        command.args(["serve", "--admin-listen", "127.0.0.1:0", "--listen", listen, "--config"]);
        let child = command.arg(dir.file()).stderr(Stdio::piped()).spawn().unwrap();
        Self::follow(child, dir)
    }

    fn follow(mut child: Child, dir: ConfigDir) -> Self {
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::new(Mutex::new(String::new()));
        let mut before = String::new();
        let address = lines.by_ref().map_while(Result::ok).find_map(|line| {
            before.push_str(&line);
            before.push('\n');
            let line: Value = serde_json::from_str(&line).ok()?;
            Some(line["address"].as_str()?.to_owned())
        });
        let address = address.unwrap_or_else(|| panic!("the hub listens, not: {before}"));
        log.lock().unwrap().push_str(&before);
        let shared = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut log = shared.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        rustls::crypto::ring::default_provider().install_default().ok();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { child, url: format!("http://{address}"), http, _dir: dir, log }
    }

    /// Sends a message, in a session if there is one. Returns the session and the response.
    pub async fn send(&self, session: Option<&str>, message: &Value) -> (Option<String>, Value) {
        let request = self.http.post(format!("{}/mcp", self.url));
        let request = request.header("content-type", "application/json");
        let request = match session {
            Some(session) => request.header("mcp-session-id", session),
            None => request,
        };
        let response = request.body(message.to_string()).send().await.unwrap();
        let session = response.headers().get("mcp-session-id");
        let session = session.map(|id| id.to_str().unwrap().to_owned());
        (session, response.json().await.unwrap_or_default())
    }

    pub async fn session(&self) -> String {
        let params = json!({"protocolVersion": "2025-11-25", "capabilities": {},
            "clientInfo": {"name": "t", "version": "1"}});
        self.send(None, &request("initialize", params)).await.0.expect("a session")
    }

    /// Calls a tool. Returns the whole response.
    pub async fn call(&self, session: Option<&str>, tool: &str, arguments: Value) -> Value {
        let params = json!({"name": tool, "arguments": arguments});
        self.send(session, &request("tools/call", params)).await.1
    }

    /// Calls a tool. Returns the text of its result. Waits for its server first.
    pub async fn text(&self, session: Option<&str>, tool: &str, arguments: Value) -> String {
        let until = Instant::now() + PATIENCE;
        loop {
            let response = self.call(session, tool, arguments.clone()).await;
            let result = &response["result"];
            if result["isError"] != json!(true)
                && let Some(text) = result["content"][0]["text"].as_str()
            {
                return text.to_owned();
            }
            assert!(Instant::now() < until, "{tool}: {response}\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn pid(&self, session: Option<&str>, server: &str) -> i32 {
        let pid = self.text(session, &format!("{server}__pid"), json!({})).await;
        pid.parse().unwrap()
    }

    pub async fn tools(&self) -> Vec<String> {
        let response = self.send(None, &request("tools/list", json!({}))).await.1;
        let tools = response["result"]["tools"].as_array().cloned().unwrap_or_default();
        tools.iter().map(|tool| tool["name"].as_str().unwrap().to_owned()).collect()
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    pub async fn logged(&self, text: &str) {
        until(&format!("{text:?} in the log"), || self.log().contains(text)).await;
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }

    pub async fn stop(&mut self, signal: Signal) {
        self.signal(signal);
        until("the hub ends", || self.child.try_wait().unwrap().is_some()).await;
    }
}

impl Drop for HubProcess {
    fn drop(&mut self) {
        let since = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            let signal = if since.elapsed() < PATIENCE { Signal::SIGTERM } else { Signal::SIGKILL };
            self.signal(signal);
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

pub fn request(method: &str, params: Value) -> Value {
    let mut message = json!({"jsonrpc": "2.0", "id": 1, "method": method});
    message["params"] = params;
    message
}

/// Whether the process exists, be it as a zombie.
pub fn exists(pid: i32) -> bool {
    kill(Pid::from_raw(pid), None).is_ok()
}

/// Waits until the condition is true.
pub async fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let since = Instant::now();
    while !condition() {
        assert!(since.elapsed() < PATIENCE, "timed out waiting for: {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
