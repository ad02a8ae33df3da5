//! What `check` understands of a config: one line for each server.

use std::fmt::Write as _;
use std::time::Duration;

use mcphub_hub_wire::config::{HubConfig, Isolation, Server, ToolRules, Transport};
use url::Url;

const COLUMNS: usize = 6;

/// The table, with a head. Contains no arguments, variables, headers and paths of URLs, because
/// they may be secrets.
pub(super) fn table(config: &HubConfig) -> String {
    let head = ["SERVER", "PREFIX", "TRANSPORT", "TARGET", "TIMEOUT", "NOTES"].map(str::to_owned);
    let rows: Vec<[String; COLUMNS]> =
        std::iter::once(head).chain(config.servers.iter().map(row)).collect();
    let widths: Vec<usize> = (0..COLUMNS)
        .map(|column| {
            rows.iter().filter_map(|row| row.get(column)).map(|it| it.chars().count()).max()
        })
        .map(Option::unwrap_or_default)
        .collect();
    let mut table = String::new();
    for row in &rows {
        let mut line = String::new();
        for (cell, width) in row.iter().zip(&widths) {
            write!(line, "{cell:width$}  ").ok();
        }
        writeln!(table, "  {}", line.trim_end()).ok();
    }
    table
}

fn row(server: &Server) -> [String; COLUMNS] {
    let transport = match (&server.command, server.transport) {
        (Some(_), _) => "stdio",
        (None, Transport::Auto) => "http or sse",
        (None, Transport::StreamableHttp) => "http",
        (None, Transport::Sse) => "sse",
    };
    let target = match &server.command {
        Some(command) => match command.args.len() {
            0 => command.program.clone(),
            1 => format!("{} (1 argument)", command.program),
            count => format!("{} ({count} arguments)", command.program),
        },
        None => Url::parse(&server.url)
            .map_or_else(|_| String::new(), |url| url.origin().ascii_serialization()),
    };
    [
        server.name.clone(),
        server.prefix.clone().unwrap_or_else(|| "none".to_owned()),
        transport.to_owned(),
        target,
        format!("{:?}", Duration::from_millis(server.timeout_ms)),
        notes(server),
    ]
}

fn notes(server: &Server) -> String {
    let mut notes = Vec::new();
    if server.disabled {
        notes.push("disabled".to_owned());
    }
    match server.isolation {
        Isolation::PerPrincipal => {}
        Isolation::Shared => notes.push("one session for all".to_owned()),
        Isolation::PerSession => notes.push("one session for each client session".to_owned()),
    }
    let ToolRules { allow, deny, rename, .. } = &server.tools;
    for (word, names) in [("only", allow), ("without", deny)] {
        if !names.is_empty() {
            notes.push(format!("{word} {}", names.join(", ")));
        }
    }
    if !rename.is_empty() {
        notes.push(format!("{} renamed", rename.len()));
    }
    if server.insecure_skip_verify {
        notes.push("certificate is not checked".to_owned());
    }
    notes.join("; ")
}
