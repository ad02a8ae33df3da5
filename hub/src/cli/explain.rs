//! `mcp-hub why`: which rule hides or shows a tool.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use mcphub_hub_catalog::catalog::Tool;
use mcphub_hub_catalog::explain::Question;
use mcphub_hub_catalog::principal::Principal;
use mcphub_hub_catalog::visibility::Visibility;
use mcphub_hub_select::embedded::{Digest, Doc, Index, Models, Query, Vector};
use mcphub_hub_wire::paths::PORT;

use crate::args;
use crate::cli::tool_listing;
use crate::config_file::ConfigFiles;
use crate::explanation::{self, EXPLAIN_PATH};

/// With more tools than this, the transformer takes too long: words and the static table choose.
const MAX_ENCODED: usize = 1000;
/// With a language model, a prompt takes seconds.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Prints the explanation.
#[allow(clippy::print_stdout)] // the result of the command
pub async fn run(args: args::Why) -> anyhow::Result<()> {
    let principal = explanation::parse_principal(args.principal.as_deref())?;
    let Some(config) = &args.config else {
        println!("{}", ask_running_hub(&args).await?);
        return Ok(());
    };
    let listing = match &args.catalog {
        Some(file) => {
            let files = ConfigFiles::locate(std::slice::from_ref(config), true, PORT)?;
            tool_listing::from_file(&files.read()?.config, file)?
        }
        None => tool_listing::from_servers(std::slice::from_ref(config)).await?.listing,
    };
    let (visibility, view) = (&listing.visibility, args.view.as_deref());
    let chosen = match &args.prompt {
        Some(prompt) => Some(chosen_tools(visibility, view, &principal, prompt)?),
        None => None,
    };
    let question =
        Question { tool: &args.tool, view, principal: &principal, chosen: chosen.as_deref() };
    println!("{}", explanation::text(&listing, question));
    if visibility.config.filtering.llm.is_some() && visibility.tools_for_llm().next().is_some() {
        println!(
            "  ! these categories are found by words; in a running hub, the language model chooses \
             them"
        );
    }
    Ok(())
}

async fn ask_running_hub(args: &args::Why) -> anyhow::Result<String> {
    let url =
        format!("{}{EXPLAIN_PATH}", args.url.as_deref().unwrap_or_default().trim_end_matches('/'));
    let parameters = [
        ("tool", Some(&args.tool)),
        ("view", args.view.as_ref()),
        ("as", args.principal.as_ref()),
        ("prompt", args.prompt.as_ref()),
    ];
    let query: Vec<(&str, &String)> =
        parameters.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
    let http = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build()?;
    let sent = http.get(&url).query(&query).send().await;
    let response = sent
        .with_context(|| format!("failed to ask {url}; --url takes the admin address of a hub"))?;
    let (status, text) = (response.status(), response.text().await?);
    anyhow::ensure!(status.is_success(), "{url}: {status}: {text}");
    Ok(text)
}

/// The tools that the embedded selector chooses for a prompt, as `hub__analyze_prompt` does, but
/// without what a hub has learned.
fn chosen_tools(
    visibility: &Arc<Visibility>,
    view: Option<&str>,
    principal: &Principal,
    prompt: &str,
) -> anyhow::Result<Vec<String>> {
    let Some(visible) = visibility.visible_tools(view, principal) else { return Ok(Vec::new()) };
    let models = Models::embedded(visible.tools.len() <= MAX_ENCODED)?;
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
