//! Whether vendors accept the definitions that hierarchical mode makes for real servers.

use std::sync::Arc;

use mcphub_hub_catalog::arguments::schema::Schema;
use mcphub_hub_catalog::catalog::{Definition, ServerList, ToolCatalog};
use mcphub_hub_catalog::client_limits;
use mcphub_hub_catalog::grouping::{DispatchCall, GroupCache, Grouping};
use mcphub_hub_catalog::meta_tools::MetaTool;
use mcphub_hub_catalog::principal::Principal;
use mcphub_hub_catalog::visibility::{Visibility, VisibleTools};
use rand::SeedableRng as _;
use rand::rngs::StdRng;
use serde_json::{Value, json};

use crate::calls::call;
use crate::data::{self, Server};

fn visible_tools(server: &Server) -> VisibleTools {
    let config = json!({"schema": 1,
        "servers": [{"name": server.name, "prefix": "server", "url": "http://localhost:1/mcp"}]});
    let config = serde_json::from_value(config).unwrap();
    let tools = server.tools.iter();
    let tools = tools.map(|tool| Definition {
        name: tool["name"].as_str().unwrap().into(),
        text: tool.to_string(),
    });
    let list = ServerList { definitions: tools.collect(), ..Default::default() };
    let catalog = ToolCatalog::new(&config, &[Some(Arc::new(list))]);
    Visibility::new(Arc::new(config), catalog).whole(&Principal::anonymous())
}

fn assert_taken(definition: &str) {
    let definition: Value = serde_json::from_str(definition).unwrap();
    let name = definition["name"].as_str().unwrap();
    assert_eq!(client_limits::violations(name, &definition["inputSchema"]), [], "{definition}");
}

#[test]
fn every_dispatching_tool_of_real_servers_is_taken_by_every_vendor_and_allows_every_valid_call() {
    let Some(folder) = data::folder() else { return };
    let mut rng = StdRng::seed_from_u64(1);
    let (mut dispatchers, mut calls, mut refused, mut tools) = (0, 0, 0, 0);
    for server in data::servers(&folder) {
        let visible = visible_tools(&server);
        let hierarchy = Grouping::new(&visible, 0..visible.tools.len(), &GroupCache::default());
        for tool in &visible.tools {
            tools += 1;
            let schema = serde_json::from_str(tool.input_schema()).unwrap_or_default();
            refused += usize::from(!client_limits::violations(&tool.exposed, &schema).is_empty());
        }
        for meta in MetaTool::ALL {
            assert_taken(&meta.definition(&visible).text);
        }
        for dispatcher in &hierarchy.dispatchers {
            dispatchers += 1;
            assert_taken(dispatcher.group.definition());
            let shown = Schema::from_definition(dispatcher.group.definition()).unwrap();
            for tool in &dispatcher.group.tools {
                let real: Value = serde_json::from_str(tool.input_schema()).unwrap_or_default();
                let Ok(schema) = Schema::compile(tool.input_schema()) else { continue };
                let Some(direct) = call(&mut rng, &real).filter(|call| schema.accepts(&call.value))
                else {
                    continue;
                };
                calls += 1;
                let asked = json!({"action": tool.exposed, "arguments": direct.value}).to_string();
                let DispatchCall::Tool { position, arguments, .. } =
                    dispatcher.parse(Some(&asked), false)
                else {
                    panic!("{asked} is a call")
                };
                assert!(Arc::ptr_eq(&visible.tools[position], tool));
                assert_eq!(arguments, direct.value.to_string());
                let shown_action = json!({"action": "help", "arguments": direct.value});
                assert!(
                    shown.accepts(&shown_action),
                    "{shown_action} is not what {} shows",
                    dispatcher.group.definition()
                );
            }
        }
    }
    println!(
        "{dispatchers} dispatching tools pass; {calls} calls fit; of {tools} tools {refused} are \
         refused by a vendor"
    );
}
