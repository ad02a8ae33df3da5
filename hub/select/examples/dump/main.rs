//! Dumps the features and statistics that the ranker and the floor are trained on, computed by the
//! code that will use them. Prints the recall and nDCG of the questions too.
//!
//! `dump --tools F --queries F [--backend lexical|static|full] [--out P] [--limit-queries N]
//! [--vectors CACHE] [--static F] [--encoder F] [--ranker F] [--floor F] [--misses 1]`
#![allow(
    clippy::cast_precision_loss,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a program for developers"
)]

use std::collections::HashMap;
use std::error::Error;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::sync::Arc;

use mcphub_hub_select::embedded::evaluation::{self, GoldenQuestion, ToolRecord};
use mcphub_hub_select::embedded::{
    Digest, Index, Models, Query, Vector, Weights, feature_names, statistic_names,
};

mod files;

/// How many hits are measured.
const LIMIT: usize = 20;
/// Ranks by the fixed fusion alone. The training data of a ranker must not depend on an earlier
/// ranker, whose features may not even exist any more.
const UNTRAINED_RANKER: &str = r#"{"features":["fused"],"linear":[1.0]}"#;

fn main() -> Result<(), Box<dyn Error>> {
    let path = |name: &str| option(name).ok_or(format!("{name} is missing; write {name} FILE"));
    let backend = option("--backend").unwrap_or_else(|| "static".to_owned());
    let tools = evaluation::tools(&files::text(&path("--tools")?)?, &path("--tools")?)?;
    let mut questions =
        evaluation::questions(&files::text(&path("--queries")?)?, &path("--queries")?, &tools)?;
    if let Some(limit) = option("--limit-queries") {
        let step = (questions.len() / limit.parse::<usize>()?.max(1)).max(1);
        questions = questions.into_iter().step_by(step).collect();
    }
    let models = if backend == "lexical" { Models::lexical()? } else { models(backend == "full")? };
    let docs: Vec<_> = tools.iter().map(ToolRecord::doc).collect();
    let mut index = Index::build(&docs, &models);
    if models.is_full() {
        let vectors = vectors(&docs, &models)?;
        index = index.with_vectors(|digest| vectors.get(digest).cloned());
    }
    print_figures(&index, &models, &questions, &backend);
    if option("--misses").is_some() {
        print_misses(&index, &models, &tools, &questions);
    }
    if let Some(out) = option("--out") {
        dump(&index, &models, &tools, &questions, &out)?;
    }
    Ok(())
}

/// The models of the binary, with the files of `--static`, `--encoder`, `--ranker` and `--floor`.
fn models(full: bool) -> Result<Models, Box<dyn Error>> {
    let file = |name: &str| -> Result<Option<&'static [u8]>, Box<dyn Error>> {
        Ok(option(name).map(std::fs::read).transpose()?.map(|bytes| &*bytes.leak()))
    };
    let own = Weights::embedded(full);
    let weights = Weights {
        table: file("--static")?.unwrap_or(own.table),
        encoder: file("--encoder")?.unwrap_or(own.encoder),
        ranker: match file("--ranker")? {
            Some(ranker) => std::str::from_utf8(ranker)?,
            None if option("--out").is_some() => UNTRAINED_RANKER,
            None => own.ranker,
        },
        floor: file("--floor")?.map_or(Ok(own.floor), std::str::from_utf8)?,
    };
    Ok(Models::from_weights(&weights, full)?)
}

/// The vectors of the tools. They are cached in a file, because they take a minute.
fn vectors(
    docs: &[mcphub_hub_select::embedded::Doc<'_>],
    models: &Models,
) -> Result<HashMap<Digest, Arc<Vector>>, Box<dyn Error>> {
    let cache = option("--vectors");
    let mut known = HashMap::new();
    if let Some(bytes) = cache.as_ref().and_then(|path| std::fs::read(path).ok()) {
        for row in bytes.chunks_exact(32 + 384) {
            known.insert(
                Digest::from_bytes(row[..32].try_into()?),
                Arc::new(Vector::from_bytes(&row[32..])),
            );
        }
    }
    let missing: Vec<_> =
        docs.iter().filter(|doc| !known.contains_key(&doc.digest())).copied().collect();
    let encoded = models.encode_docs(&missing);
    known.extend(
        missing
            .iter()
            .map(mcphub_hub_select::embedded::Doc::digest)
            .zip(encoded.into_iter().map(Arc::new)),
    );
    if let Some(path) = cache {
        let mut file = BufWriter::new(File::create(path)?);
        for (digest, vector) in &known {
            file.write_all(digest.as_bytes())?;
            file.write_all(&vector.to_bytes())?;
        }
    }
    Ok(known)
}

fn print_figures(index: &Index, models: &Models, questions: &[GoldenQuestion], backend: &str) {
    let asked: Vec<_> = questions.iter().filter(|question| !question.gold.is_empty()).collect();
    let mut sums = [0.0; 6];
    let mut times = Vec::new();
    for question in &asked {
        let query =
            Query { prompt: &question.text, visible: &|_| true, limit: LIMIT, memory: None };
        let start = std::time::Instant::now();
        let ranked = index.rank(models, &query);
        times.push(start.elapsed().as_secs_f64() * 1000.0);
        let found: Vec<usize> = ranked.hits.iter().map(|hit| hit.doc).collect();
        for (sum, k) in sums.iter_mut().zip([1, 5, 10, 20]) {
            *sum += evaluation::recall(&found, &question.gold, k);
        }
        sums[4] += evaluation::ndcg(&found, &question.gold, 5);
        sums[5] += evaluation::ndcg(&found, &question.gold, 10);
    }
    let [r1, r5, r10, r20, n5, n10] = sums.map(|sum| 100.0 * sum / asked.len().max(1) as f64);
    let [p50, p95] = [0.5, 0.95].map(|at| evaluation::quantile(&mut times, at).unwrap_or_default());
    println!(
        "{backend}: R@1 {r1:.1} R@5 {r5:.1} R@10 {r10:.1} R@20 {r20:.1} nDCG@5 {n5:.1} \
         nDCG@10 {n10:.1}, ms per question: p50 {p50:.2}, p95 {p95:.2}"
    );
}

/// Prints the questions whose right tools are not among the first five.
fn print_misses(
    index: &Index,
    models: &Models,
    tools: &[ToolRecord],
    questions: &[GoldenQuestion],
) {
    for question in questions {
        let query =
            Query { prompt: &question.text, visible: &|_| true, limit: LIMIT, memory: None };
        let found: Vec<usize> = index.rank(models, &query).hits.iter().map(|hit| hit.doc).collect();
        if evaluation::recall(&found, &question.gold, 5) < 1.0 {
            let place = |any: &Vec<usize>| found.iter().position(|doc| any.contains(doc));
            let gold: Vec<_> =
                question.gold.iter().map(|any| (&tools[any[0]].name, place(any))).collect();
            let names: Vec<_> = found.iter().take(5).map(|&doc| &tools[doc].name).collect();
            println!(
                "{}\n   {gold:?}\n   {names:?}",
                question.text.chars().take(300).collect::<String>()
            );
        }
    }
}

/// Each question is ranked in random pools of these sizes too, because hubs have any size.
const POOLS: [usize; 3] = [12, 50, 250];

fn dump(
    index: &Index,
    models: &Models,
    tools: &[ToolRecord],
    questions: &[GoldenQuestion],
    out: &str,
) -> Result<(), Box<dyn Error>> {
    let mut ranks = BufWriter::new(File::create(format!("{out}.rank.f32"))?);
    let mut floors = BufWriter::new(File::create(format!("{out}.floor.f32"))?);
    let write = |file: &mut BufWriter<File>, row: &[f32]| {
        row.iter().try_for_each(|v| file.write_all(&v.to_le_bytes()))
    };
    let (mut groups, mut ids, mut missing, mut pools) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (number, question) in
        questions.iter().enumerate().filter(|(_, question)| !question.gold.is_empty())
    {
        let gold: Vec<usize> = question.gold.iter().flatten().copied().collect();
        let is_removed = |doc: usize| {
            gold.iter().any(|&g| {
                g == doc || tools[g].name == tools[doc].name || index.similarity(g, doc) > 0.8
            })
        };
        let removed: Vec<bool> = (0..tools.len()).map(is_removed).collect();
        let read = models.encode_prompt(&question.text);
        for size in POOLS.into_iter().filter(|&size| size < tools.len()).chain([tools.len()]) {
            let in_pool = |doc: usize| {
                gold.contains(&doc) || random(number, doc) * (tools.len() as f64) < size as f64
            };
            let query =
                Query { prompt: &question.text, visible: &in_pool, limit: LIMIT, memory: None };
            let trace = index.trace(models, &query, &read);
            groups.push(trace.candidates.len());
            ids.push(&question.id);
            pools.push(size);
            let found =
                |any: &&Vec<usize>| !trace.candidates.iter().any(|(doc, _)| any.contains(doc));
            missing.push(question.gold.iter().filter(found).count());
            for (doc, features) in &trace.candidates {
                write(&mut ranks, &[f32::from(u8::from(gold.contains(doc)))])?;
                write(&mut ranks, features)?;
            }
            write(&mut floors, &[1.0])?;
            write(&mut floors, &trace.statistics)?;
            let without = Query { visible: &|doc| in_pool(doc) && !removed[doc], ..query };
            write(&mut floors, &[0.0])?;
            write(&mut floors, &index.trace(models, &without, &read).statistics)?;
        }
    }
    ranks.flush()?;
    floors.flush()?;
    let head = serde_json::json!({
        "features": feature_names(), "stats": statistic_names(), "groups": groups,
        "queries": ids, "pools": pools, "gold_missing": missing
    });
    std::fs::write(format!("{out}.json"), head.to_string())?;
    Ok(())
}

/// A pseudorandom number from 0 to 1 that depends only on the question and the tool.
fn random(question: usize, tool: usize) -> f64 {
    use std::hash::{BuildHasher as _, BuildHasherDefault, DefaultHasher};
    let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one((question, tool));
    hash as f64 / u64::MAX as f64
}

/// The command line argument after this one.
fn option(name: &str) -> Option<String> {
    std::env::args().skip_while(|arg| arg != name).nth(1)
}
