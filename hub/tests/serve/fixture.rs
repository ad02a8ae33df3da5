//! A real MCP server on loopback, built with the SDK.

use std::borrow::Cow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, Implementation,
    ListToolsResult, PaginatedRequestParams, ProgressNotificationParam, ProtocolVersion,
    ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::{NotificationContext, RequestContext};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::streamable_http_server::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, Peer, RoleServer, ServerHandler};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

const STATEFUL: &[ProtocolVersion] =
    &[ProtocolVersion::V_2025_11_25, ProtocolVersion::V_2025_06_18];
const STATELESS: &[ProtocolVersion] = &[ProtocolVersion::V_2026_07_28];

/// What all sessions of a server share.
#[derive(Default)]
pub struct Shared {
    tools: Mutex<Vec<String>>,
    handlers: AtomicUsize,
    peers: Mutex<Vec<Peer<RoleServer>>>,
    /// How many calls of `hang` were started, and how many were cancelled.
    pub hanging: watch::Sender<(usize, usize)>,
}

pub struct Fixture {
    pub url: String,
    pub shared: Arc<Shared>,
    stop: CancellationToken,
}

#[derive(Clone)]
struct Toolbox {
    shared: Arc<Shared>,
    number: usize,
    versions: &'static [ProtocolVersion],
}

impl Fixture {
    pub async fn legacy(tools: &[&str]) -> Self {
        Self::start(tools, STATEFUL, "127.0.0.1:0").await
    }

    pub async fn modern(tools: &[&str]) -> Self {
        Self::start(tools, STATELESS, "127.0.0.1:0").await
    }

    pub async fn start(
        tools: &[&str],
        versions: &'static [ProtocolVersion],
        address: &str,
    ) -> Self {
        let shared = Arc::new(Shared::default());
        *shared.tools.lock().unwrap() = tools.iter().map(|&tool| tool.to_owned()).collect();
        let stop = CancellationToken::new();
        let config = StreamableHttpServerConfig::default().with_cancellation_token(stop.clone());
        let factory = {
            let shared = Arc::clone(&shared);
            move || {
                let number = shared.handlers.fetch_add(1, Ordering::Relaxed);
                Ok(Toolbox { shared: Arc::clone(&shared), number, versions })
            }
        };
        let service: StreamableHttpService<Toolbox, LocalSessionManager> =
            StreamableHttpService::new(factory, Arc::default(), config);
        let listener = tokio::net::TcpListener::bind(address).await.unwrap();
        let url = format!("http://{}/mcp", listener.local_addr().unwrap());
        let app = axum::Router::new().nest_service("/mcp", service);
        let stopped = stop.clone();
        tokio::spawn(async move {
            axum::serve(listener, app)
                .with_graceful_shutdown(stopped.cancelled_owned())
                .await
                .unwrap();
        });
        Self { url, shared, stop }
    }

    /// Changes the list and notifies every session.
    pub async fn set_tools(&self, tools: &[&str]) {
        *self.shared.tools.lock().unwrap() = tools.iter().map(|&tool| tool.to_owned()).collect();
        let peers = self.shared.peers.lock().unwrap().clone();
        for peer in peers {
            peer.notify_tool_list_changed().await.ok();
        }
    }

    /// Stops the server as a crash does.
    pub fn kill(&self) {
        self.stop.cancel();
    }

    pub fn port(&self) -> &str {
        self.url.trim_start_matches("http://127.0.0.1:").trim_end_matches("/mcp")
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl ServerHandler for Toolbox {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(
            ServerCapabilities::builder().enable_tools().enable_tool_list_changed().build(),
        )
        .with_server_info(Implementation::new("toolbox", "1.0.0"))
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        Cow::Borrowed(self.versions)
    }

    async fn on_initialized(&self, context: NotificationContext<RoleServer>) {
        self.shared.peers.lock().unwrap().push(context.peer);
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let schema = |name: &str| match name {
            "mirror" => {
                json!({"type": "object",
                    "properties": {"region": {"type": "string", "x-mcp-header": "Region"}}})
            }
            _ => json!({"type": "object"}),
        };
        let tool = |name: &String| {
            let Value::Object(schema) = schema(name) else { panic!("an object") };
            Tool::new(name.clone(), format!("The tool {name}"), schema)
        };
        // Two tools per page, so that the hub has to read every page.
        let all = self.shared.tools.lock().unwrap().clone();
        let from: usize =
            request.and_then(|request| request.cursor).map_or(0, |cursor| cursor.parse().unwrap());
        let page = all.iter().skip(from).take(2).map(tool).collect();
        let mut result = ListToolsResult::with_all_items(page);
        result.next_cursor = (from + 2 < all.len()).then(|| (from + 2).to_string());
        Ok(result)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let text = |text: String| CallToolResult::success(vec![ContentBlock::text(text)]);
        let result = match &*request.name {
            "whoami" => text(format!("handler {}", self.number)),
            "fail" => CallToolResult::error(vec![ContentBlock::text("it broke")]),
            "refuse" => return Err(ErrorData::invalid_params("bad arguments", None)),
            "explode" => return Err(ErrorData::internal_error("boom", None)),
            "hang" => {
                self.shared.hanging.send_modify(|(begun, _)| *begun += 1);
                context.ct.cancelled().await;
                self.shared.hanging.send_modify(|(_, cancelled)| *cancelled += 1);
                text("cancelled".into())
            }
            "progress" => {
                if let Some(token) = context.meta.get_progress_token() {
                    for step in [1.0, 2.0] {
                        let params =
                            ProgressNotificationParam::new(token.clone(), step).with_total(2.0);
                        context.peer.notify_progress(params).await.ok();
                    }
                }
                text("done".into())
            }
            _ => text(json!({"tool": request.name, "arguments": request.arguments}).to_string()),
        };
        Ok(result.into())
    }
}
