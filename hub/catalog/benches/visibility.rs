//! The cost of lists of 10,000 tools.

#![allow(clippy::unwrap_used, reason = "a benchmark")]

use std::sync::Arc;

use divan::Bencher;
use mcphub_hub_catalog::catalog::{Definition, ServerList, ToolCatalog};
use mcphub_hub_catalog::list_cache::{CallerLists, ListCache};
use mcphub_hub_catalog::principal::Principal;
use mcphub_hub_catalog::tool_list::{Additions, ListScope};
use mcphub_hub_catalog::visibility::{RuntimeInputs, Visibility};
use mcphub_hub_wire::config::HubConfig;
use serde_json::{Value, json};

fn main() {
    divan::main();
}

const SERVERS: usize = 100;
const TOOLS: usize = 100;

fn config(filtering: &Value, access: &Value) -> HubConfig {
    let servers = (0..SERVERS).map(|n| {
        json!({"name": format!("s{n}"), "prefix": format!("s{n}"),
            "url": "http://localhost:1"})
    });
    let config = json!({"schema": 1, "servers": servers.collect::<Vec<_>>(), "filtering": filtering,
        "access": access});
    serde_json::from_value(config).unwrap()
}

fn catalog(config: &HubConfig) -> ToolCatalog {
    let define = |n: usize| {
        let name = format!("read_thing_{n}");
        let properties = json!({"path": {"type": "string", "description": "Where it is."},
            "limit": {"type": "integer"}});
        let text = json!({"name": name, "description": "Reads one of the things of this server, \
                                                        with all that it says of itself, and \
                                                        returns it as text.",
            "inputSchema": {"type": "object", "properties": properties, "required": ["path"]}});
        Definition { name, text: text.to_string() }
    };
    let list = Arc::new(ServerList {
        definitions: (0..TOOLS).map(define).collect(),
        ..ServerList::default()
    });
    ToolCatalog::new(config, &vec![Some(list); SERVERS])
}

fn visibility(filtering: &Value, access: &Value) -> Arc<Visibility> {
    let config = config(filtering, access);
    let catalog = catalog(&config);
    Visibility::new(Arc::new(config), catalog)
}

fn grouped(filtering: &Value) -> Arc<Visibility> {
    let config = config(filtering, &json!([]));
    let catalog = catalog(&config);
    let inputs = RuntimeInputs { hierarchical: true, ..RuntimeInputs::default() };
    Visibility::with(Arc::new(config), catalog, inputs)
}

fn all() -> Value {
    json!({"mode": "None", "views": [{"name": "v", "categories": ["filesystem", "other"]}]})
}

fn anonymous_lists(visibility: Arc<Visibility>) -> Arc<CallerLists> {
    ListCache::new(visibility, None).without_view(&Principal::anonymous())
}

/// The list of a caller who is not cached, for a catalog that another caller has listed before.
fn bench_uncached_caller(
    bencher: Bencher<'_, '_>,
    visibility: &Arc<Visibility>,
    view: Option<&str>,
) {
    let before = ListCache::new(Arc::clone(visibility), None);
    before.caller(view, &Principal::anonymous()).unwrap().tool_list(ListScope::Stateless);
    bencher.with_inputs(|| ListCache::new(Arc::clone(visibility), Some(&before))).bench_refs(
        |lists| {
            let caller = lists.caller(view, &Principal::anonymous()).unwrap();
            caller.tool_list(ListScope::Stateless).digest
        },
    );
}

/// A new caller's first list, without its text.
#[divan::bench]
fn cold_view_of_10_000(bencher: Bencher<'_, '_>) {
    bench_uncached_caller(bencher, &visibility(&all(), &json!([])), Some("v"));
}

#[divan::bench]
fn cold_view_of_10_000_with_access_rules(bencher: Bencher<'_, '_>) {
    let rules = json!([
        {"when": "'dev' in caller.groups"},
        {"when": "tool.server == 's7'"},
        {"when": "caller.sub == ''"}
    ]);
    bench_uncached_caller(bencher, &visibility(&all(), &rules), Some("v"));
}

#[divan::bench]
fn cold_list_within_a_budget(bencher: Bencher<'_, '_>) {
    let budget = json!({"staticTools": ["s1__*"], "toolBudget": {}});
    bench_uncached_caller(bencher, &visibility(&budget, &json!([])), None);
}

#[divan::bench]
fn cached_list(bencher: Bencher<'_, '_>) {
    let lists = anonymous_lists(visibility(&all(), &json!([])));
    bencher.bench(|| {
        let tool_list = lists.tool_list(ListScope::Stateless);
        tool_list.page(None).map(|(page, _)| page.len())
    });
}

#[divan::bench]
fn a_session_s_list_with_ten_additions(bencher: Bencher<'_, '_>) {
    let filtering = json!({"mode": "PromptBased", "toolBudget": {}});
    let lists = anonymous_lists(visibility(&filtering, &json!([])));
    let names: Vec<String> = (0..10).map(|n| format!("s{n}__read_thing_{n}")).collect();
    let mut additions = Additions::default();
    additions.add_for_prompt(names.iter().map(String::as_str));
    bencher.bench(|| lists.tool_list(ListScope::Session(&additions)).digest);
}

/// The same tools grouped by server, after another caller has listed them.
#[divan::bench(sample_count = 10)]
fn cold_list_by_server(bencher: Bencher<'_, '_>) {
    bench_uncached_caller(bencher, &grouped(&all()), None);
}

/// The first list that anybody gets, grouped by server.
#[divan::bench(sample_count = 10)]
fn very_first_list_by_server(bencher: Bencher<'_, '_>) {
    bencher.with_inputs(|| ListCache::new(grouped(&all()), None)).bench_refs(|lists| {
        lists.without_view(&Principal::anonymous()).tool_list(ListScope::Stateless).digest
    });
}

#[divan::bench]
fn cold_list_by_server_within_a_budget(bencher: Bencher<'_, '_>) {
    let budget = json!({"staticTools": ["s1__*"], "toolBudget": {}});
    bench_uncached_caller(bencher, &grouped(&budget), None);
}

#[divan::bench]
fn a_session_s_list_by_server_with_ten_additions(bencher: Bencher<'_, '_>) {
    let lists = anonymous_lists(grouped(&json!({"mode": "PromptBased", "toolBudget": {}})));
    let names: Vec<String> = (0..10).map(|n| format!("s{}__read_thing_{n}", n % 3)).collect();
    let mut additions = Additions::default();
    additions.add_for_prompt(names.iter().map(String::as_str));
    bencher.bench(|| lists.tool_list(ListScope::Session(&additions)).digest);
}

#[divan::bench]
fn find_by_name(bencher: Bencher<'_, '_>) {
    let visible = visibility(&all(), &json!([])).whole(&Principal::anonymous());
    bencher.bench(|| visible.find(divan::black_box("s50__read_thing_50")));
}

#[divan::bench(sample_count = 10)]
fn catalog_of_10_000(bencher: Bencher<'_, '_>) {
    let config = config(&all(), &json!([]));
    bencher.bench(|| catalog(&config).entries.len());
}

#[divan::bench(sample_count = 10)]
fn tokens_of_10_000(bencher: Bencher<'_, '_>) {
    bencher
        .with_inputs(|| visibility(&json!({}), &json!([])))
        .bench_values(|visibility| visibility.unfiltered_tokens());
}
