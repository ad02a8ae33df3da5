//! `mcp-hub why`: which rule hid or showed a tool.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use mcphub_hub_catalog::catalog::Tool;
use mcphub_hub_catalog::explain::{Question, explain};
use mcphub_hub_catalog::principal::Principal;
use mcphub_hub_catalog::visibility::Visibility;
use mcphub_hub_select::embedded::{Digest, Doc, Index, Models, Query, Vector};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::cli::tool_listing::{self, Listed};
use crate::{args, serve};

/// With more tools the transformer takes longer than anybody waits: words and the static table choose.
const MOST_ENCODED: usize = 1000;

/// Where a running hub answers, on its admin port.
pub const WHY_PATH: &str = "/why";
/// With a language model a prompt takes seconds.
const ANSWER: Duration = Duration::from_secs(30);

/// Answers on standard output.
#[allow(clippy::print_stdout)] // its answer is its output
pub async fn run(args: args::Why) -> anyhow::Result<()> {
    let caller = caller(args.caller.as_deref())?;
    let Some(config) = &args.config else {
        println!("{}", of_running(&args).await?);
        return Ok(());
    };
    let listed = match &args.catalog {
        Some(file) => tool_listing::read(&serve::read(config, true)?, file)?,
        None => tool_listing::asked(config).await?,
    };
    let view = args.view.as_deref();
    let chosen = match &args.prompt {
        Some(prompt) => Some(chosen(&listed.visibility, view, &caller, prompt)?),
        None => None,
    };
    println!(
        "{}",
        text(
            &listed,
            Question { tool: &args.tool, view, principal: &caller, chosen: chosen.as_deref() }
        )
    );
    if listed.visibility.config.filtering.llm.is_some()
        && listed.visibility.tools_for_llm().next().is_some()
    {
        println!(
            "  ! categories are those of words here; in a running hub the language model decides them"
        );
    }
    Ok(())
}

/// The answer of a hub that runs.
async fn of_running(args: &args::Why) -> anyhow::Result<String> {
    let url =
        format!("{}{WHY_PATH}", args.url.as_deref().unwrap_or_default().trim_end_matches('/'));
    let said =
        [("tool", Some(&args.tool)), ("view", args.view.as_ref()), ("as", args.caller.as_ref())];
    let said = said.into_iter().chain([("prompt", args.prompt.as_ref())]);
    let query: Vec<(&str, &String)> =
        said.filter_map(|(name, value)| Some((name, value?))).collect();
    let http = reqwest::Client::builder().no_proxy().timeout(ANSWER).build()?;
    let asked = http.get(&url).query(&query).send().await;
    let answer =
        asked.with_context(|| format!("{url}: not answered; give the admin address of a hub"))?;
    let (status, text) = (answer.status(), answer.text().await?);
    anyhow::ensure!(status.is_success(), "{url}: {status}: {text}");
    Ok(text)
}

/// The answer, and what else explains a surprise: patterns without effect, servers that could not be asked.
pub fn text(listed: &Listed, question: Question<'_>) -> String {
    let answer = explain(&listed.visibility, &listed.lists, question);
    let silent = listed.silent(&listed.visibility.config);
    let silent =
        silent.iter().map(|server| format!("servers.{server}: could not be asked for its tools"));
    let warnings = if answer.rules.is_empty() { Vec::new() } else { listed.visibility.warnings() };
    let more: Vec<String> = silent.chain(warnings).map(|line| format!("\n  ! {line}")).collect();
    format!("{answer}{}", more.concat())
}

/// What the embedded selector chooses for a prompt, as `hub__analyze_prompt` does; without what a hub has learned.
fn chosen(
    visibility: &Arc<Visibility>,
    view: Option<&str>,
    caller: &Principal,
    prompt: &str,
) -> anyhow::Result<Vec<String>> {
    let Some(visible) = visibility.visible_tools(view, caller) else { return Ok(Vec::new()) };
    let models = Models::embedded(visible.tools.len() <= MOST_ENCODED)?;
    let doc = |tool: &Arc<Tool>| -> [String; 4] {
        [
            tool.server_name.to_string(),
            tool.bare.clone(),
            tool.description.clone(),
            tool.input_schema().to_owned(),
        ]
    };
    let texts: Vec<[String; 4]> = visible.tools.iter().map(doc).collect();
    let docs: Vec<Doc<'_>> = texts
        .iter()
        .map(|[server, name, description, schema]| Doc { server, name, description, schema })
        .collect();
    let mut index = Index::build(&docs, &models);
    let vectors: HashMap<Digest, Arc<Vector>> = index
        .digests()
        .iter()
        .copied()
        .zip(models.encode_docs(&docs).into_iter().map(Arc::new))
        .collect();
    if !vectors.is_empty() {
        index = index.with_vectors(|digest| vectors.get(digest).cloned());
    }
    let rules = &visibility.config.filtering.prompt_based;
    let limit = usize::try_from(rules.max_tools).unwrap_or(usize::MAX);
    let ranked = index.rank(&models, &Query { prompt, visible: &|_| true, limit, memory: None });
    let enough = |score: f32| match rules.min_score {
        Some(least) => f64::from(score) >= least,
        None => ranked.fits,
    };
    let hits = ranked.hits.iter().filter(|hit| enough(hit.score));
    Ok(hits.filter_map(|hit| Some(visible.tools.get(hit.doc)?.exposed.clone())).collect())
}

/// The caller that `--as` describes.
pub fn caller(text: Option<&str>) -> anyhow::Result<Principal> {
    #[derive(Deserialize, Default)]
    #[serde(rename_all = "camelCase", default, deny_unknown_fields)]
    struct Described {
        sub: String,
        claims: Map<String, Value>,
        groups: Vec<String>,
        key_name: String,
    }
    let described: Described = text
        .map(serde_json::from_str)
        .transpose()
        .context(
            r#"--as is no caller; write JSON such as {"sub": "ann", "groups": ["dev"], "claims": {}, "keyName": ""}"#,
        )?
        .unwrap_or_default();
    let Described { sub, claims, groups, key_name } = described;
    Ok(Principal { sub, claims, groups, key_name })
}
