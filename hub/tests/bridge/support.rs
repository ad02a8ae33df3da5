//! Runs the real binary as a bridge in front of the server in `stdio_server.rs`.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};

pub const PATIENCE: Duration = Duration::from_mins(1);

pub fn mcp_hub() -> &'static str {
    env!("CARGO_BIN_EXE_mcp-hub")
}

/// A running bridge.
pub struct Bridge {
    pub child: Child,
    pub url: String,
    pub http: reqwest::Client,
    log: Arc<Mutex<String>>,
}

impl Bridge {
    /// Starts a bridge with these flags.
    pub fn start(flags: &[&str]) -> Self {
        Self::spawn(Command::new(mcp_hub()).arg("bridge").args(flags), &[])
    }

    /// Starts a bridge with this environment.
    pub fn with_env(env: &[(&str, &str)]) -> Self {
        Self::spawn(Command::new(mcp_hub()).arg("bridge"), env)
    }

    /// Starts a bridge in front of another server of this binary.
    pub fn start_server(name: &str) -> Self {
        Self::spawn_server(Command::new(mcp_hub()).arg("bridge"), name, &[])
    }

    /// Runs a command that ends in `bridge` and flags. Reads the port from the log.
    pub fn spawn(command: &mut Command, env: &[(&str, &str)]) -> Self {
        Self::spawn_server(command, "stdio_server", env)
    }

    fn spawn_server(command: &mut Command, name: &str, env: &[(&str, &str)]) -> Self {
        let server = std::env::current_exe().unwrap();
        let run_it = ["--ignored", "--exact", name, "--nocapture"];
        command.args(["--listen", "127.0.0.1:0", "--"]).arg(server).args(run_it);
        let command =
            command.envs(env.iter().copied()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let log = Arc::new(Mutex::new(String::new()));
        let listen = lines.by_ref().map_while(Result::ok).find_map(|line| {
            let line: Value = serde_json::from_str(&line).unwrap();
            Some(line["listen"].as_str()?.to_owned())
        });
        let shared = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut log = shared.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        mcphub_hub::telemetry::start();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { child, url: format!("http://{}", listen.expect("the bridge listens")), http, log }
    }

    pub fn post(&self, session: Option<&str>, message: &Value) -> reqwest::RequestBuilder {
        let request = self.http.post(format!("{}/mcp", self.url)).body(message.to_string());
        let request = request.header("accept", "application/json, text/event-stream");
        let request = request.header("content-type", "application/json");
        match session {
            Some(session) => request.header("mcp-session-id", session),
            None => request,
        }
    }

    pub async fn try_initialize(&self) -> reqwest::Response {
        let client = json!({"name": "test", "version": "1"});
        let params =
            json!({"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": client});
        let message = json!({"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": params});
        self.post(None, &message).send().await.unwrap()
    }

    /// Opens a session and returns its id.
    pub async fn initialize(&self) -> String {
        let response = self.try_initialize().await;
        assert_eq!(response.status(), 200);
        let session = response.headers()["mcp-session-id"].to_str().unwrap().to_owned();
        assert_eq!(
            response.json::<Value>().await.unwrap()["result"]["protocolVersion"],
            "2025-11-25"
        );
        let initialized = json!({"jsonrpc": "2.0", "method": "notifications/initialized"});
        assert_eq!(self.post(Some(&session), &initialized).send().await.unwrap().status(), 202);
        session
    }

    /// Calls a tool. Returns the status and the whole message.
    pub async fn call(&self, session: &str, tool: &str, arguments: Value) -> (u16, Value) {
        let response = self.post(Some(session), &call(1, tool, arguments)).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    /// Calls a tool. Returns the text of the result.
    pub async fn text(&self, session: &str, tool: &str, arguments: Value) -> String {
        let (status, message) = self.call(session, tool, arguments).await;
        assert_eq!(status, 200, "{message}");
        message["result"]["content"][0]["text"]
            .as_str()
            .unwrap_or_else(|| panic!("{message}"))
            .to_owned()
    }

    /// The process id of the session's server.
    pub async fn pid(&self, session: &str) -> i32 {
        self.text(session, "pid", json!({})).await.parse().unwrap()
    }

    pub async fn delete(&self, session: &str) -> u16 {
        let request =
            self.http.delete(format!("{}/mcp", self.url)).header("mcp-session-id", session);
        request.send().await.unwrap().status().as_u16()
    }

    pub async fn metrics(&self) -> String {
        let request = self.http.get(format!("{}/metrics", self.url));
        request.send().await.unwrap().text().await.unwrap()
    }

    pub async fn metric(&self, name: &str) -> u64 {
        let text = self.metrics().await;
        let line =
            text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("no {name}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    pub async fn logged(&self, text: &str) {
        until(&format!("{text:?} in the log"), || self.log.lock().unwrap().contains(text)).await;
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).unwrap()), signal).unwrap();
    }
}

impl Drop for Bridge {
    fn drop(&mut self) {
        // SIGTERM first, so that the bridge stops its servers also after a failed test.
        let since = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            let signal = if since.elapsed() < PATIENCE { Signal::SIGTERM } else { Signal::SIGKILL };
            self.signal(signal);
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

pub fn call(id: i32, tool: &str, arguments: Value) -> Value {
    let mut message =
        json!({"jsonrpc": "2.0", "id": id, "method": "tools/call", "params": {"name": tool}});
    message["params"]["arguments"] = arguments;
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
