//! What a list of ten thousand tools costs.

#![allow(clippy::unwrap_used, reason = "a bench that cannot begin has nothing to say")]

use std::sync::Arc;

use divan::Bencher;
use mcphub_hub_catalog::access::Caller;
use mcphub_hub_catalog::catalog::{Catalog, Definition, ServerList};
use mcphub_hub_catalog::tool_list::{Additions, ListScope};
use mcphub_hub_catalog::visibility::{Shape, Visibility};
use mcphub_hub_wire::config::HubConfig;
use serde_json::{Value, json};

fn main() {
    divan::main();
}

const SERVERS: usize = 100;
const TOOLS: usize = 100;

fn config(filtering: &Value, access: &Value) -> HubConfig {
    let servers =
        (0..SERVERS).map(|n| json!({"name": format!("s{n}"), "prefix": format!("s{n}"), "url": "http://localhost:1"}));
    let config = json!({"schema": 1, "servers": servers.collect::<Vec<_>>(), "filtering": filtering, "access": access});
    serde_json::from_value(config).unwrap()
}

fn catalog(config: &HubConfig) -> Catalog {
    let define = |n: usize| {
        let name = format!("read_thing_{n}");
        let properties = json!({"path": {"type": "string", "description": "Where it is."}, "limit": {"type": "integer"}});
        let text = json!({"name": name, "description": "Reads one of the things of this server, with all that it says of itself, and returns it as text.",
            "inputSchema": {"type": "object", "properties": properties, "required": ["path"]}});
        Definition { name, text: text.to_string() }
    };
    let list =
        Arc::new(ServerList { tools: (0..TOOLS).map(define).collect(), ..ServerList::default() });
    Catalog::of(config, &vec![Some(list); SERVERS])
}

fn visibility(filtering: &Value, access: &Value) -> Arc<Visibility> {
    let config = config(filtering, access);
    let catalog = catalog(&config);
    Visibility::of(Arc::new(config), catalog)
}

fn grouped(filtering: &Value) -> Arc<Visibility> {
    let config = config(filtering, &json!([]));
    let catalog = catalog(&config);
    Visibility::with(Arc::new(config), catalog, Shape { hierarchical: true, ..Shape::default() })
}

fn all() -> Value {
    json!({"mode": "None", "views": [{"name": "v", "categories": ["filesystem", "other"]}]})
}

/// A new caller's first list, without its text.
#[divan::bench]
fn cold_view_of_10_000(bencher: Bencher<'_, '_>) {
    let visibility = visibility(&all(), &json!([]));
    let caller = Caller::anonymous();
    bencher.bench(|| {
        visibility.visible_tools(Some("v"), &caller).unwrap().tool_list(ListScope::Stateless).digest
    });
}

#[divan::bench]
fn cold_view_of_10_000_with_access_rules(bencher: Bencher<'_, '_>) {
    let rules = json!([{"when": "'dev' in caller.groups"}, {"when": "tool.server == 's7'"}, {"when": "caller.sub == ''"}]);
    let visibility = visibility(&all(), &rules);
    let caller = Caller::anonymous();
    bencher.bench(|| {
        visibility.visible_tools(Some("v"), &caller).unwrap().tool_list(ListScope::Stateless).digest
    });
}

#[divan::bench]
fn cold_list_within_a_budget(bencher: Bencher<'_, '_>) {
    let visibility = visibility(&json!({"staticTools": ["s1__*"], "toolBudget": {}}), &json!([]));
    let caller = Caller::anonymous();
    bencher.bench(|| visibility.whole(&caller).tool_list(ListScope::Stateless).digest);
}

#[divan::bench]
fn cached_list(bencher: Bencher<'_, '_>) {
    let visible = visibility(&all(), &json!([])).whole(&Caller::anonymous());
    bencher.bench(|| {
        let tool_list = visible.tool_list(ListScope::Stateless);
        tool_list.page(None).map(|(page, _)| page.len())
    });
}

#[divan::bench]
fn a_session_s_list_with_ten_additions(bencher: Bencher<'_, '_>) {
    let visible = visibility(&json!({"mode": "PromptBased", "toolBudget": {}}), &json!([]))
        .whole(&Caller::anonymous());
    let names: Vec<String> = (0..10).map(|n| format!("s{n}__read_thing_{n}")).collect();
    let mut additions = Additions::default();
    additions.add_for_prompt(names.iter().map(String::as_str));
    bencher.bench(|| visible.tool_list(ListScope::Session(&additions)).digest);
}

/// The same tools as one for each server; the catalog has been read before, by another caller.
#[divan::bench(sample_count = 10)]
fn cold_list_by_server(bencher: Bencher<'_, '_>) {
    let visibility = grouped(&all());
    let caller = Caller::anonymous();
    bencher.bench(|| visibility.whole(&caller).tool_list(ListScope::Stateless).digest);
}

/// The same while nobody has seen the catalog yet.
#[divan::bench(sample_count = 10)]
fn very_first_list_by_server(bencher: Bencher<'_, '_>) {
    let caller = Caller::anonymous();
    bencher
        .with_inputs(|| grouped(&all()))
        .bench_refs(|visibility| visibility.whole(&caller).tool_list(ListScope::Stateless).digest);
}

#[divan::bench]
fn cold_list_by_server_within_a_budget(bencher: Bencher<'_, '_>) {
    let visibility = grouped(&json!({"staticTools": ["s1__*"], "toolBudget": {}}));
    let caller = Caller::anonymous();
    bencher.bench(|| visibility.whole(&caller).tool_list(ListScope::Stateless).digest);
}

#[divan::bench]
fn a_session_s_list_by_server_with_ten_additions(bencher: Bencher<'_, '_>) {
    let visible =
        grouped(&json!({"mode": "PromptBased", "toolBudget": {}})).whole(&Caller::anonymous());
    let names: Vec<String> = (0..10).map(|n| format!("s{}__read_thing_{n}", n % 3)).collect();
    let mut additions = Additions::default();
    additions.add_for_prompt(names.iter().map(String::as_str));
    bencher.bench(|| visible.tool_list(ListScope::Session(&additions)).digest);
}

#[divan::bench]
fn find_by_name(bencher: Bencher<'_, '_>) {
    let visible = visibility(&all(), &json!([])).whole(&Caller::anonymous());
    bencher.bench(|| visible.find(divan::black_box("s50__read_thing_50")));
}

#[divan::bench(sample_count = 10)]
fn catalog_of_10_000(bencher: Bencher<'_, '_>) {
    let config = config(&all(), &json!([]));
    bencher.bench(|| catalog(&config).tools.len());
}

#[divan::bench(sample_count = 10)]
fn tokens_of_10_000(bencher: Bencher<'_, '_>) {
    bencher
        .with_inputs(|| visibility(&json!({}), &json!([])))
        .bench_values(|visibility| visibility.unfiltered_tokens());
}
