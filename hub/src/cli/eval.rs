//! `mcp-hub eval`: measures how well the embedded selector finds the tools for questions.

#![allow(clippy::cast_precision_loss, reason = "numbers of tools and questions")]

use std::collections::HashMap;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use mcphub_hub_catalog::tokens;
use mcphub_hub_select::embedded::evaluation::{self, GoldenQuestion, ToolRecord};
use mcphub_hub_select::embedded::{
    Digest, Doc, Index, Memory, Models, PromptVectors, Query, Vector, Weights,
};
use serde_json::{Value, json};

use crate::args::{self, Backend};

/// How many hits of a ranking count.
const DEPTH: usize = 20;
/// Tools that are more similar than this to a gold tool would answer its question too, so they are
/// hidden with it.
const MIN_SIMILARITY: f32 = 0.8;
/// The size of the largest file that is read, unpacked.
const MAX_FILE_BYTES: u64 = 1 << 30;

/// Measures, and prints a table or JSON.
#[allow(clippy::print_stdout)] // the result of the command
pub fn run(args: &args::Eval) -> anyhow::Result<()> {
    let tools = evaluation::tools(&text(&args.tools)?, &args.tools.display().to_string())?;
    let questions =
        evaluation::questions(&text(&args.queries)?, &args.queries.display().to_string(), &tools)?;
    let report = measure(&tools, &questions, args)?;
    println!("{}", if args.json { report.to_string() } else { table(&report) });
    Ok(())
}

/// The text of a file, plain or gzipped.
fn text(path: &Path) -> anyhow::Result<String> {
    let file =
        std::fs::File::open(path).with_context(|| format!("failed to read {}", path.display()))?;
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES)
        .read_to_end(&mut bytes)
        .with_context(|| format!("failed to read {}", path.display()))?;
    if bytes.starts_with(&[0x1f, 0x8b]) {
        let mut plain = Vec::new();
        let unpacked = flate2::read::MultiGzDecoder::new(bytes.as_slice())
            .take(MAX_FILE_BYTES)
            .read_to_end(&mut plain);
        unpacked.with_context(|| format!("{} is not a complete gzip file", path.display()))?;
        bytes = plain;
    }
    String::from_utf8(bytes).with_context(|| format!("{} is not UTF-8", path.display()))
}

/// What is measured, and the index that answers.
struct Setup<'a> {
    tools: &'a [ToolRecord],
    models: Models,
    index: Index,
    memory: Memory,
    /// Ranks by the cosine of these vectors only. They are in the order of the tools.
    cosine_only: Option<Vec<Arc<Vector>>>,
    load_ms: f64,
    index_ms: f64,
}

/// The answer to one question.
struct Answer {
    hits: Vec<usize>,
    fits: bool,
    fit_score: f32,
    prompt: PromptVectors,
}

impl<'a> Setup<'a> {
    fn new(tools: &'a [ToolRecord], args: &args::Eval) -> anyhow::Result<Self> {
        let start = Instant::now();
        let models = match args.backend {
            Backend::Lexical => Models::lexical()?,
            Backend::Static => models(false, args.weights.as_deref())?,
            Backend::Full | Backend::Embedding => models(true, args.weights.as_deref())?,
        };
        let load_ms = millis(start);
        let start = Instant::now();
        let docs: Vec<Doc<'_>> = tools.iter().map(ToolRecord::doc).collect();
        let mut index = Index::build(&docs, &models);
        let vectors: Vec<_> = models.encode_docs(&docs).into_iter().map(Arc::new).collect();
        if !vectors.is_empty() {
            let known: HashMap<Digest, &Arc<Vector>> =
                index.digests().iter().copied().zip(&vectors).collect();
            index = index.with_vectors(|digest| known.get(digest).copied().cloned());
        }
        let index_ms = millis(start);
        let cosine_only = (args.backend == Backend::Embedding).then_some(vectors);
        Ok(Self { tools, models, index, memory: Memory::new(), cosine_only, load_ms, index_ms })
    }

    fn answer(
        &self,
        text: &str,
        prompt: Option<PromptVectors>,
        visible: &dyn Fn(usize) -> bool,
    ) -> Answer {
        let prompt = prompt.unwrap_or_else(|| self.models.encode_prompt(text));
        if let Some(vectors) = &self.cosine_only {
            return nearest(vectors, prompt, visible);
        }
        let query = Query { prompt: text, visible, limit: DEPTH, memory: Some(&self.memory) };
        let ranked = self.index.rank_encoded(&self.models, &query, &prompt);
        let hits = ranked.hits.iter().map(|hit| hit.doc).collect();
        Answer { hits, fits: ranked.fits, fit_score: ranked.fit_score, prompt }
    }

    /// Remembers the first `max` questions of each tool, and returns the others.
    fn remember<'q>(
        &mut self,
        questions: &'q [GoldenQuestion],
        max: usize,
    ) -> Vec<&'q GoldenQuestion> {
        let mut left = Vec::new();
        for question in questions.iter().filter(|question| !question.gold.is_empty()) {
            let gold: Vec<Digest> =
                question.gold.iter().flatten().map(|&tool| self.index.digests()[tool]).collect();
            let known = gold.iter().map(|tool| self.memory.count(tool)).min().unwrap_or_default();
            match self.models.prompt_vector(&question.text).filter(|_| (known as usize) < max) {
                Some(prompt) => {
                    for tool in gold {
                        self.memory.remember(tool, &prompt);
                    }
                }
                None => left.push(question),
            }
        }
        left
    }
}

/// Ranks by the cosine only.
fn nearest(
    vectors: &[Arc<Vector>],
    prompt: PromptVectors,
    visible: &dyn Fn(usize) -> bool,
) -> Answer {
    let like = |tool: usize| prompt.vector().map_or(0.0, |prompt| vectors[tool].cosine(prompt));
    let seen = (0..vectors.len()).filter(|&tool| visible(tool));
    let mut scored: Vec<(f32, usize)> = seen.map(|tool| (like(tool), tool)).collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1)));
    let hits = scored.iter().take(DEPTH).map(|&(_, tool)| tool).collect();
    Answer { hits, fits: true, fit_score: scored.first().map_or(0.0, |first| first.0), prompt }
}

fn measure(
    tools: &[ToolRecord],
    questions: &[GoldenQuestion],
    args: &args::Eval,
) -> anyhow::Result<Value> {
    let mut setup = Setup::new(tools, args)?;
    let asked = setup.remember(questions, args.remember);
    let costs: Vec<u32> = tools.iter().map(cost).collect();
    let all: f64 = costs.iter().copied().map(f64::from).sum();
    let mut sums: HashMap<(&str, usize), f64> = HashMap::new();
    let mut times = Vec::new();
    let (mut answers, mut abstained) = (Vec::new(), 0usize);
    for question in &asked {
        let start = Instant::now();
        let answer = setup.answer(&question.text, None, &|_| true);
        times.push(millis(start));
        let found = &answer.hits;
        for k in [1, 5, 10, 20] {
            *sums.entry(("recall", k)).or_default() += evaluation::recall(found, &question.gold, k);
            *sums.entry(("ndcg", k)).or_default() += evaluation::ndcg(found, &question.gold, k);
            *sums.entry(("completeness", k)).or_default() +=
                evaluation::completeness(found, &question.gold, k);
            let shown: f64 = found.iter().take(k).map(|&tool| f64::from(costs[tool])).sum();
            *sums.entry(("saved", k)).or_default() += 1.0 - shown / all.max(1.0);
        }
        abstained += usize::from(!answer.fits);
        answers.push(answer);
    }
    let rss = rss_bytes();
    let auc =
        if args.backend == Backend::Lexical { None } else { abstention(&setup, &asked, answers)? };
    let share = |of: &str, k: usize| {
        let sum = sums.get(&(of, k)).map(|sum| round(sum / asked.len() as f64));
        json!(sum)
    };
    let ranks = |of: &str, ks: &[usize]| {
        Value::Object(
            ks.iter().map(|&k| (k.to_string(), share(of, k))).collect::<serde_json::Map<_, _>>(),
        )
    };
    let mut time = |at: f64| evaluation::quantile(&mut times, at).map(round);
    let false_abstention = auc
        .filter(|_| setup.cosine_only.is_none())
        .map(|_| round(abstained as f64 / asked.len() as f64));
    Ok(json!({
        "tools": tools.len(),
        "queries": asked.len(),
        "recall": ranks("recall", &[1, 5, 10, 20]),
        "ndcg": ranks("ndcg", &[5, 10]),
        "completeness": ranks("completeness", &[5, 10, 20]),
        "abstention_auc": auc.map(round),
        "false_abstention": false_abstention,
        "tokens_saved": ranks("saved", &[5, 10, 20]),
        "latency_ms": {"p50": time(0.50), "p95": time(0.95), "p99": time(0.99)},
        "load_ms": round(setup.load_ms),
        "index_ms": round(setup.index_ms),
        "rss_bytes": rss,
    }))
}

/// How well the score of "nothing fits" separates a question from the same question with its tools
/// hidden, together with their duplicates and all similar tools. Similarity is that of the
/// transformer, whatever the backend.
fn abstention(
    setup: &Setup<'_>,
    asked: &[&GoldenQuestion],
    answers: Vec<Answer>,
) -> anyhow::Result<Option<f64>> {
    if asked.is_empty() {
        return Ok(None);
    }
    let docs: Vec<Doc<'_>> = setup.tools.iter().map(ToolRecord::doc).collect();
    let vectors = if setup.models.is_full() {
        Vec::new()
    } else {
        Models::embedded(true)?.encode_docs(&docs)
    };
    let cosine = |one: usize, other: usize| match (vectors.get(one), vectors.get(other)) {
        (Some(one), Some(other)) => one.cosine(other),
        _ => setup.index.similarity(one, other),
    };
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for (question, answer) in asked.iter().zip(answers) {
        let gold: Vec<usize> = question.gold.iter().flatten().copied().collect();
        let right = |tool: usize, gold: usize| {
            docs[gold].name == docs[tool].name || cosine(gold, tool) > MIN_SIMILARITY
        };
        let gone: Vec<bool> =
            (0..docs.len()).map(|tool| gold.iter().any(|&gold| right(tool, gold))).collect();
        with.push(answer.fit_score);
        without
            .push(setup.answer(&question.text, Some(answer.prompt), &|tool| !gone[tool]).fit_score);
    }
    Ok(evaluation::auc(&with, &without))
}

/// The weights of the binary, or those in a directory that replace them.
fn models(full: bool, folder: Option<&Path>) -> anyhow::Result<Models> {
    let mut weights = Weights::embedded(full);
    let Some(folder) = folder else { return Ok(Models::from_weights(&weights, full)?) };
    let there = |name: &str| -> anyhow::Result<Option<&'static [u8]>> {
        let path = folder.join(name);
        let read = path.try_exists()?.then(|| std::fs::read(&path)).transpose();
        Ok(read
            .with_context(|| format!("failed to read {}", path.display()))?
            .map(|bytes| &*bytes.leak()))
    };
    weights.table = there("static.bin")?.unwrap_or(weights.table);
    weights.encoder = there("encoder.onnx")?.unwrap_or(weights.encoder);
    let ranker = there(if full { "ranker-full.json" } else { "ranker-static.json" })?;
    weights.ranker = ranker.map_or(Ok(weights.ranker), std::str::from_utf8)?;
    weights.floor = there("floor.json")?.map_or(Ok(weights.floor), std::str::from_utf8)?;
    Models::from_weights(&weights, full).with_context(|| format!("weights in {}", folder.display()))
}

/// The tokens of a tool's definition in a list.
fn cost(tool: &ToolRecord) -> u32 {
    let doc = tool.doc();
    tokens::count_definition(doc.name, doc.description, doc.schema)
}

/// The memory of this process; `None` if the system does not say.
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

/// The report as a table.
fn table(report: &Value) -> String {
    let mut lines =
        vec![format!("{} tools, {} questions", report["tools"], report["queries"]), String::new()];
    lines.push(format!("{:<14}{:>9}{:>9}{:>9}{:>9}", "", "@1", "@5", "@10", "@20"));
    for (title, key) in [
        ("recall", "recall"),
        ("nDCG", "ndcg"),
        ("completeness", "completeness"),
        ("tokens saved", "tokens_saved"),
    ] {
        let cell = |k: &str| {
            report[key][k].as_f64().map_or("-".to_owned(), |share| format!("{:.1}%", share * 100.0))
        };
        lines.push(format!(
            "{title:<14}{:>9}{:>9}{:>9}{:>9}",
            cell("1"),
            cell("5"),
            cell("10"),
            cell("20")
        ));
    }
    let number = |value: &Value| {
        value.as_f64().map_or("not measured".to_owned(), |value| format!("{value:.2}"))
    };
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

#[cfg(test)]
mod tests {
    use super::*;

    const TOOLS: &str = concat!(
        r#"{"id":"w","server":"sky","name":"get_forecast","description":"Weather of a city","#,
        r#""inputSchema":{"type":"object"}}"#,
        "\n",
        r#"{"id":"m","server":"mail","name":"send_mail","description":"Send a letter to somebody"}"#,
        "\n",
        r#"{"id":"t","server":"post","name":"send_mail","description":"Send mail"}"#,
        "\n",
    );
    const QUESTIONS: &str = r#"{"id":"1","text":"what is the weather in Oslo?","gold":["w"]}
{"id":"2","text":"send a letter to Anna","gold":[["m","t"]]}
{"id":"3","text":"nothing answers this","gold":[]}
"#;

    fn report(backend: Backend, questions: &str, remember: usize) -> Value {
        let tools = evaluation::tools(TOOLS, "tools").unwrap();
        let questions = evaluation::questions(questions, "questions", &tools).unwrap();
        let args = args::Eval {
            tools: "tools".into(),
            queries: "questions".into(),
            json: true,
            backend,
            remember,
            weights: None,
        };
        measure(&tools, &questions, &args).unwrap()
    }

    #[test]
    fn the_json_has_every_key_with_null_for_what_was_not_measured() {
        let report = report(Backend::Lexical, QUESTIONS, 0);
        let keys: Vec<&str> = report.as_object().unwrap().keys().map(String::as_str).collect();
        let expected = "abstention_auc completeness false_abstention index_ms latency_ms load_ms \
                        ndcg queries recall rss_bytes tokens_saved tools";
        assert_eq!(keys, expected.split(' ').collect::<Vec<_>>());
        assert_eq!(
            (&report["tools"], &report["queries"]),
            (&json!(3), &json!(2)),
            "a question without gold is not asked"
        );
        assert_eq!(report["recall"], json!({"1": 1.0, "5": 1.0, "10": 1.0, "20": 1.0}));
        assert_eq!(report["ndcg"], json!({"5": 1.0, "10": 1.0}));
        assert_eq!(report["completeness"], json!({"5": 1.0, "10": 1.0, "20": 1.0}));
        assert_eq!(report["abstention_auc"], Value::Null, "words alone have no floor");
        assert!(table(&report).contains("recall"), "{}", table(&report));
    }

    #[test]
    fn without_questions_ratios_are_null() {
        let report = report(Backend::Lexical, "", 0);
        assert_eq!(report["recall"]["5"], Value::Null);
        assert_eq!(report["latency_ms"]["p50"], Value::Null);
    }

    #[test]
    fn remembered_questions_are_not_scored() {
        let again = QUESTIONS.replace("\"1\"", "\"4\"") + QUESTIONS;
        let report = report(Backend::Static, &again, 1);
        assert_eq!(report["queries"], 2);
        let auc = report["abstention_auc"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&auc) && report["false_abstention"].is_f64(), "{report}");
    }
}
