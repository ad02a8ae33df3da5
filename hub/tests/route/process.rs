//! `mcp-hub route` and `mcp-hub drain` as pods run them: the real binary with mounted files,
//! without an API server.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use mcphub_hub_wire::keys::MasterKey;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

struct Router {
    child: Child,
    address: SocketAddr,
    admin: SocketAddr,
    http: reqwest::Client,
}

impl Router {
    /// Starts a router on the files in this folder. Reads its addresses from the log.
    fn start(mounted: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-hub"));
        command.args(["route", "--hub", "demo", "--namespace", "ns"]);
        command.args(["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"]);
        command.arg("--runtime").arg(mounted).arg("--keys").arg(mounted);
        command.env_remove("KUBERNETES_SERVICE_HOST").stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap()).lines();
        let addresses = log.by_ref().map_while(Result::ok).find_map(|line| {
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            Some((
                line["listen"].as_str()?.parse().unwrap(),
                line["admin"].as_str()?.parse().unwrap(),
            ))
        });
        std::thread::spawn(move || log.map_while(Result::ok).for_each(|line| eprintln!("{line}")));
        mcphub_hub::telemetry::start();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let (address, admin) = addresses.expect("the router starts");
        Self { child, address, admin, http }
    }

    async fn status(&self, path: &str) -> u16 {
        self.http
            .get(format!("http://{}{path}", self.address))
            .send()
            .await
            .unwrap()
            .status()
            .as_u16()
    }

    async fn has_generation(&self, generation: u64, token: &str) -> bool {
        let request = self.http.get(format!("http://{}/generation", self.admin)).bearer_auth(token);
        request.send().await.unwrap().text().await.unwrap()
            == format!("{{\"generation\":{generation}}}")
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().unwrap();
    }
}

fn write(folder: &Path, file: &str, content: &str) {
    std::fs::write(folder.join("new"), content).unwrap();
    std::fs::rename(folder.join("new"), folder.join(file)).unwrap();
}

fn state(generation: u64) -> String {
    let revisions = r#"{"aaaaaaaa":{"role":"stable","weight":100}}"#;
    format!(r#"{{"schema":1,"generation":{generation},"revisions":{revisions}}}"#)
}

#[tokio::test]
async fn without_an_api_server_the_router_follows_the_mounted_files_and_drains() {
    let mounted = tempfile::tempdir().unwrap();
    let ring = MasterKey::new([3; 32]).ring("uid", 1);
    write(mounted.path(), "keys.json", &serde_json::to_string(&ring).unwrap());
    write(mounted.path(), "dataplane.json", &state(1));
    let mut router = Router::start(mounted.path());
    let token = ring.current().admin_token();
    assert!(router.has_generation(1, &token).await);
    assert_eq!((router.status("/health").await, router.status("/ready").await), (200, 200));
    // The Service name of the revision does not resolve here, so no pod can be reached.
    assert_eq!(router.status("/mcp").await, 503);

    write(mounted.path(), "dataplane.json", &state(2));
    let since = Instant::now();
    while !router.has_generation(2, &token).await {
        assert!(since.elapsed() < Duration::from_mins(1), "the new state is not in force");
    }

    let drain = |timeout: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mcp-hub"));
        let admin = format!("http://{}", router.admin);
        command.args(["drain", "--admin", &admin, "--timeout", timeout]).stderr(Stdio::null());
        command.status().unwrap().success()
    };
    // The drain waits until other nodes know that this pod goes away, even with no request in
    // flight.
    let since = Instant::now();
    assert!(drain("1m"));
    assert!(
        (Duration::from_secs(2)..Duration::from_secs(50)).contains(&since.elapsed()),
        "{:?}",
        since.elapsed()
    );
    assert_eq!((router.status("/health").await, router.status("/ready").await), (200, 503));

    kill(Pid::from_raw(i32::try_from(router.child.id()).unwrap()), Signal::SIGTERM).unwrap();
    assert!(router.child.wait().unwrap().success());
    assert!(drain("1m"), "the drain of a router that has ended already succeeds");
}
