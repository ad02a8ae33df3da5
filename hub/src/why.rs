//! `mcp-hub why`: which rule hid or showed a tool.

use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use mcphub_core::access::Caller;
use mcphub_core::catalogue::{Catalogue, Page, ServerList, Tool};
use mcphub_core::sight::Visibility;
use mcphub_core::why::{Question, Why, why};
use mcphub_select::{Ask, Digest, Doc, Index, Models, Vector};
use mcphub_wire::config::HubConfig;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::args;
use crate::serve::{self, live::Slot};

/// With more tools the transformer takes longer than anybody waits: words and the static table choose.
const MOST_ENCODED: usize = 1000;

type Lists = Vec<Option<Arc<ServerList>>>;

/// Answers on standard output.
#[allow(clippy::print_stdout)] // its answer is its output
pub async fn run(args: args::Why) -> anyhow::Result<()> {
    let caller = caller(args.caller.as_deref())?;
    let (visibility, lists) = match &args.catalogue {
        Some(file) => read(&serve::read(&args.config, true)?, file)?,
        None => asked(&args.config).await?,
    };
    let view = args.view.as_deref();
    let chosen = match &args.prompt {
        Some(prompt) => Some(chosen(&visibility, view, &caller, prompt)?),
        None => None,
    };
    let question = Question { tool: &args.tool, view, caller: &caller, chosen: chosen.as_deref() };
    let answer = why(&visibility, &lists, question);
    println!("{answer}");
    warn(&visibility, &lists, &answer);
    Ok(())
}

/// What else explains a surprise: patterns without effect, servers that could not be asked.
#[allow(clippy::print_stdout)]
fn warn(visibility: &Visibility, lists: &Lists, answer: &Why) {
    let silent =
        visibility.config.servers.iter().zip(lists).filter(|(server, list)| list.is_none() && !server.disabled);
    for (server, _) in silent {
        println!("  ! servers.{}: could not be asked for its tools", server.name);
    }
    if visibility.config.filtering.llm.is_some() && visibility.undecided().next().is_some() {
        println!("  ! categories are those of words here; in a running hub the language model decides them");
    }
    for warning in visibility.warnings().iter().filter(|_| !answer.steps.is_empty()) {
        println!("  ! {warning}");
    }
}

/// What the embedded selector chooses for a prompt, as `hub__analyze_prompt` does; without what a hub has learned.
fn chosen(
    visibility: &Arc<Visibility>,
    view: Option<&str>,
    caller: &Caller,
    prompt: &str,
) -> anyhow::Result<Vec<String>> {
    let Some(sight) = visibility.sight(view, caller) else { return Ok(Vec::new()) };
    let models = Models::embedded(sight.tools.len() <= MOST_ENCODED)?;
    let doc = |tool: &Arc<Tool>| -> [String; 4] {
        [tool.server_name.to_string(), tool.bare.clone(), tool.description.clone(), tool.input_schema().to_owned()]
    };
    let texts: Vec<[String; 4]> = sight.tools.iter().map(doc).collect();
    let docs: Vec<Doc<'_>> =
        texts.iter().map(|[server, name, description, schema]| Doc { server, name, description, schema }).collect();
    let mut index = Index::build(&docs, &models);
    let vectors: HashMap<Digest, Arc<Vector>> =
        index.digests().iter().copied().zip(models.encode_docs(&docs).into_iter().map(Arc::new)).collect();
    if !vectors.is_empty() {
        index = index.with_vectors(|digest| vectors.get(digest).cloned());
    }
    let rules = &visibility.config.filtering.prompt_based;
    let limit = usize::try_from(rules.max_tools).unwrap_or(usize::MAX);
    let ranked = index.rank(&models, &Ask { prompt, visible: &|_| true, limit, memory: None });
    let enough = |score: f32| match rules.min_score {
        Some(least) => f64::from(score) >= least,
        None => ranked.fits,
    };
    let hits = ranked.hits.iter().filter(|hit| enough(hit.score));
    Ok(hits.filter_map(|hit| Some(sight.tools.get(hit.doc)?.exposed.clone())).collect())
}

/// The caller that `--as` describes.
fn caller(text: Option<&str>) -> anyhow::Result<Caller> {
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
    Ok(Caller { sub, claims, groups, key_name })
}

/// Asks the servers of the config, as `serve` does.
async fn asked(config: &Path) -> anyhow::Result<(Arc<Visibility>, Lists)> {
    let any = Some(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)));
    let serving = serve::start(args::Serve {
        config: config.to_owned(),
        runtime: None,
        keys: None,
        hub: None,
        namespace: None,
        revision: None,
        pod: None,
        listen: any,
        admin_listen: any,
    })
    .await?;
    let live = serving.hub.live_after_start().await;
    let listed = |slot: &Slot| slot.upstream().and_then(|upstream| upstream.state().list.clone());
    let lists = live.servers.iter().map(listed).collect();
    let visibility = Arc::clone(&live.visibility);
    serving.stop().await?;
    Ok((visibility, lists))
}

/// Reads what the servers list from a file: name of the server to its answer to `tools/list`.
fn read(config: &HubConfig, file: &Path) -> anyhow::Result<(Arc<Visibility>, Lists)> {
    let shape = r#"write {"server": {"tools": [{"name": …}]}}"#;
    let text = std::fs::read_to_string(file).with_context(|| format!("{}: cannot be read", file.display()))?;
    let answers: BTreeMap<String, &serde_json::value::RawValue> =
        serde_json::from_str(&text).with_context(|| format!("{}: is no catalogue; {shape}", file.display()))?;
    for name in answers.keys() {
        if !config.servers.iter().any(|server| server.name == *name) {
            anyhow::bail!("{}: \"{name}\" is no server of the config", file.display());
        }
    }
    let list = |name: &String| {
        let Some(answer) = answers.get(name) else { return Ok(None) };
        let page = Page::parse(answer.get())
            .with_context(|| format!("{}: \"{name}\" is no answer to tools/list; {shape}", file.display()))?;
        anyhow::Ok(Some(Arc::new(ServerList::of_pages(vec![page.list]))))
    };
    let lists = config.servers.iter().map(|server| list(&server.name)).collect::<anyhow::Result<Lists>>()?;
    let catalogue = Catalogue::of(config, &lists);
    Ok((Visibility::of(Arc::new(config.clone()), catalogue), lists))
}
