//! `mcp-hub eval`: how well the embedded selector finds the tools that questions need.

#![allow(clippy::cast_precision_loss, reason = "numbers of tools and questions")]

use std::collections::HashMap;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use mcphub_core::tokens;
use mcphub_select::bench::{self, Question, Tool};
use mcphub_select::{Ask, Digest, Doc, Index, Memory, Models, Vector};
use serde_json::{Value, json};

use crate::args::{self, Backend};

/// Deepest place that is looked at.
const DEEP: usize = 20;
/// Tools nearer than this to a gold tool would answer its question too: they are taken out with it.
const ALIKE: f32 = 0.8;
/// Largest file that is read, unpacked.
const FILE: u64 = 1 << 30;

/// Measures, and prints a table or JSON.
#[allow(clippy::print_stdout)] // its answer is its output
pub fn run(args: &args::Eval) -> anyhow::Result<()> {
    let tools = bench::tools(&text(&args.tools)?, &args.tools.display().to_string())?;
    let questions = bench::questions(&text(&args.queries)?, &args.queries.display().to_string(), &tools)?;
    let report = measure(&tools, &questions, args)?;
    println!("{}", if args.json { report.to_string() } else { table(&report) });
    Ok(())
}

/// A file's text, plain or gz.
fn text(path: &Path) -> anyhow::Result<String> {
    let file = std::fs::File::open(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let mut bytes = Vec::new();
    file.take(FILE).read_to_end(&mut bytes).with_context(|| format!("{} cannot be read", path.display()))?;
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut plain = Vec::new();
        let unpacked = flate2::read::MultiGzDecoder::new(bytes.as_slice()).take(FILE).read_to_end(&mut plain);
        unpacked.with_context(|| format!("{} is no whole gz file", path.display()))?;
        bytes = plain;
    }
    String::from_utf8(bytes).with_context(|| format!("{} is not UTF-8", path.display()))
}

/// What was measured of one set.
struct Setup<'a> {
    tools: &'a [Tool],
    models: Models,
    index: Index,
    memory: Memory,
    load_ms: f64,
    index_ms: f64,
}

impl<'a> Setup<'a> {
    fn new(tools: &'a [Tool], backend: Backend) -> anyhow::Result<Self> {
        let start = Instant::now();
        let models = match backend {
            Backend::Lexical => Models::lexical()?,
            Backend::Static => Models::embedded(false)?,
            Backend::Full => Models::embedded(true)?,
        };
        let load_ms = millis(start);
        let start = Instant::now();
        let docs: Vec<Doc<'_>> = tools.iter().map(Tool::doc).collect();
        let mut index = Index::build(&docs, &models);
        if models.is_full() {
            let vectors: HashMap<Digest, Arc<Vector>> =
                index.digests().iter().copied().zip(models.encode_docs(&docs).into_iter().map(Arc::new)).collect();
            index = index.with_vectors(|digest| vectors.get(digest).cloned());
        }
        let index_ms = millis(start);
        Ok(Self { tools, models, index, memory: Memory::new(), load_ms, index_ms })
    }

    fn ask<'b>(&'b self, prompt: &'b str, visible: &'b dyn Fn(usize) -> bool) -> Ask<'b> {
        Ask { prompt, visible, limit: DEEP, memory: Some(&self.memory) }
    }

    /// Remembers the first `most` questions of each tool; what is left is scored.
    fn remember<'q>(&mut self, questions: &'q [Question], most: usize) -> Vec<&'q Question> {
        let mut left = Vec::new();
        for question in questions.iter().filter(|question| !question.gold.is_empty()) {
            let gold: Vec<Digest> = question.gold.iter().flatten().map(|&tool| self.index.digests()[tool]).collect();
            let known = gold.iter().map(|tool| self.memory.count(tool)).min().unwrap_or_default();
            match self.models.encode_query(&question.text).filter(|_| (known as usize) < most) {
                Some(prompt) => gold.into_iter().for_each(|tool| self.memory.remember(tool, &prompt)),
                None => left.push(question),
            }
        }
        left
    }
}

fn measure(tools: &[Tool], questions: &[Question], args: &args::Eval) -> anyhow::Result<Value> {
    let mut setup = Setup::new(tools, args.backend)?;
    let asked = setup.remember(questions, args.remember);
    let costs: Vec<u32> = tools.iter().map(cost).collect();
    let all: f64 = costs.iter().copied().map(f64::from).sum();
    let mut sums: HashMap<(&str, usize), f64> = HashMap::new();
    let mut times = Vec::new();
    let (mut with_gold, mut abstained) = (Vec::new(), 0usize);
    for question in &asked {
        let start = Instant::now();
        let ranked = setup.index.rank(&setup.models, &setup.ask(&question.text, &|_| true));
        times.push(millis(start));
        let found: Vec<usize> = ranked.hits.iter().map(|hit| hit.doc).collect();
        for k in [1, 5, 10, 20] {
            *sums.entry(("recall", k)).or_default() += bench::recall(&found, &question.gold, k);
            *sums.entry(("ndcg", k)).or_default() += bench::ndcg(&found, &question.gold, k);
            *sums.entry(("completeness", k)).or_default() += bench::completeness(&found, &question.gold, k);
            let shown: f64 = found.iter().take(k).map(|&tool| f64::from(costs[tool])).sum();
            *sums.entry(("saved", k)).or_default() += 1.0 - shown / all.max(1.0);
        }
        with_gold.push(ranked.fit_score);
        abstained += usize::from(!ranked.fits);
    }
    let rss = rss_bytes();
    let auc = if args.backend == Backend::Lexical { None } else { abstention(&setup, &asked, &with_gold)? };
    let share = |of: &str, k: usize| {
        let sum = sums.get(&(of, k)).map(|sum| round(sum / asked.len() as f64));
        json!(sum)
    };
    let ranks = |of: &str, ks: &[usize]| {
        Value::Object(ks.iter().map(|&k| (k.to_string(), share(of, k))).collect::<serde_json::Map<_, _>>())
    };
    let mut time = |at: f64| bench::quantile(&mut times, at).map(round);
    Ok(json!({
        "tools": tools.len(),
        "queries": asked.len(),
        "recall": ranks("recall", &[1, 5, 10, 20]),
        "ndcg": ranks("ndcg", &[5, 10]),
        "completeness": ranks("completeness", &[5, 10, 20]),
        "abstention_auc": auc.map(round),
        "false_abstention": auc.map(|_| round(abstained as f64 / asked.len() as f64)),
        "tokens_saved": ranks("saved", &[5, 10, 20]),
        "latency_ms": {"p50": time(0.50), "p95": time(0.95), "p99": time(0.99)},
        "load_ms": round(setup.load_ms),
        "index_ms": round(setup.index_ms),
        "rss_bytes": rss,
    }))
}

/// How well the score of "nothing fits" tells a question from the same one without its tools, their twins and what is
/// like them: by vectors of the transformer, whatever the backend.
fn abstention(setup: &Setup<'_>, asked: &[&Question], with_gold: &[f32]) -> anyhow::Result<Option<f64>> {
    let docs: Vec<Doc<'_>> = setup.tools.iter().map(Tool::doc).collect();
    let vectors = if setup.models.is_full() {
        setup.models.encode_docs_base(&docs)
    } else {
        Models::embedded(true)?.encode_docs_base(&docs)
    };
    let mut without = Vec::new();
    for question in asked {
        let gold: Vec<usize> = question.gold.iter().flatten().copied().collect();
        let gone: Vec<bool> = (0..docs.len())
            .map(|tool| {
                gold.iter()
                    .any(|&gold| docs[gold].name == docs[tool].name || vectors[gold].cosine(&vectors[tool]) > ALIKE)
            })
            .collect();
        without.push(setup.index.rank(&setup.models, &setup.ask(&question.text, &|tool| !gone[tool])).fit_score);
    }
    Ok(bench::auc(with_gold, &without))
}

/// Tokens of a tool's definition in a list.
fn cost(tool: &Tool) -> u32 {
    let doc = tool.doc();
    tokens::of_definition(doc.name, doc.description, doc.schema)
}

/// Memory of this process, where the system says.
fn rss_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok().map(|kb| kb * 1024)
}

fn millis(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1000.0
}

fn round(value: f64) -> f64 {
    (value * 10_000.0).round() / 10_000.0
}

/// For people.
fn table(report: &Value) -> String {
    let mut lines = vec![format!("{} tools, {} questions", report["tools"], report["queries"]), String::new()];
    lines.push(format!("{:<14}{:>9}{:>9}{:>9}{:>9}", "", "@1", "@5", "@10", "@20"));
    for (title, key) in
        [("recall", "recall"), ("nDCG", "ndcg"), ("completeness", "completeness"), ("tokens saved", "tokens_saved")]
    {
        let cell = |k: &str| report[key][k].as_f64().map_or("-".to_owned(), |share| format!("{:.1} %", share * 100.0));
        lines.push(format!("{title:<14}{:>9}{:>9}{:>9}{:>9}", cell("1"), cell("5"), cell("10"), cell("20")));
    }
    let number = |value: &Value| value.as_f64().map_or("not measured".to_owned(), |value| format!("{value:.2}"));
    lines.push(String::new());
    lines.push(format!(
        "\"nothing fits\": AUC {}, false {}",
        number(&report["abstention_auc"]),
        number(&report["false_abstention"])
    ));
    let latency = &report["latency_ms"];
    lines.push(format!(
        "a question: p50 {} ms, p95 {} ms, p99 {} ms",
        number(&latency["p50"]),
        number(&latency["p95"]),
        number(&latency["p99"])
    ));
    lines.push(format!(
        "weights loaded in {} ms, tools indexed in {} ms",
        number(&report["load_ms"]),
        number(&report["index_ms"])
    ));
    lines.join("\n")
}
