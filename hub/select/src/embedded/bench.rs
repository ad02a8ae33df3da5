//! Measuring a selection: files of tools and questions, and what they are scored by. See `mcp-hub eval`.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::embedded::doc::Doc;

/// A tool of a file.
#[derive(Debug, Deserialize)]
pub struct Tool {
    /// What questions call it.
    pub id: String,
    /// Name of its server.
    #[serde(default)]
    pub server: String,
    /// Name.
    pub name: String,
    /// Description.
    #[serde(default)]
    pub description: Option<String>,
    /// JSON of its schema.
    #[serde(default, rename = "inputSchema")]
    pub schema: Option<Box<RawValue>>,
}

impl Tool {
    /// As the index reads it.
    pub fn doc(&self) -> Doc<'_> {
        Doc {
            server: &self.server,
            name: &self.name,
            description: self.description.as_deref().unwrap_or_default(),
            schema: self.schema.as_deref().map_or("", RawValue::get),
        }
    }
}

/// A question of a file: each element of `gold` are tools that serve equally, by their place in the file of tools.
#[derive(Debug, PartialEq, Eq)]
pub struct Question {
    /// Its name.
    pub id: String,
    /// The prompt.
    pub text: String,
    /// What it should find.
    pub gold: Vec<Vec<usize>>,
}

#[derive(Deserialize)]
struct QuestionLine {
    #[serde(default)]
    id: String,
    text: String,
    #[serde(default)]
    gold: Vec<Gold>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Gold {
    One(String),
    Any(Vec<String>),
}

/// A line that cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {what}")]
pub struct BadLine {
    /// The file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: String,
}

/// Reads tools, a JSON object a line.
pub fn tools(text: &str, file: &str) -> Result<Vec<Tool>, BadLine> {
    let mut ids = HashSet::new();
    lines(text)
        .map(|(line, text)| {
            let bad = |what: String| BadLine { file: file.to_owned(), line, what };
            let tool: Tool = serde_json::from_str(text).map_err(|error| {
                bad(format!(
                    "not a tool ({error}); write {{\"id\", \"server\", \"name\", \"description\", \"inputSchema\"}}"
                ))
            })?;
            if ids.insert(tool.id.clone()) {
                Ok(tool)
            } else {
                Err(bad(format!("the id \"{}\" is there already; give each tool one of its own", tool.id)))
            }
        })
        .collect()
}

/// Reads questions about `tools`, a JSON object a line.
pub fn questions(text: &str, file: &str, tools: &[Tool]) -> Result<Vec<Question>, BadLine> {
    let places: HashMap<&str, usize> =
        tools.iter().enumerate().map(|(place, tool)| (tool.id.as_str(), place)).collect();
    lines(text)
        .map(|(line, text)| {
            let bad = |what: String| BadLine { file: file.to_owned(), line, what };
            let read: QuestionLine = serde_json::from_str(text).map_err(|error| {
                bad(format!(
                    "not a question ({error}); write {{\"id\", \"text\", \"gold\": [ids]}}"
                ))
            })?;
            let place = |id: &String| {
                let place = places.get(id.as_str()).copied();
                place.ok_or_else(|| {
                    bad(format!("gold names \"{id}\", which is not the id of a tool"))
                })
            };
            let gold = read.gold.iter().map(|gold| match gold {
                Gold::One(id) => Ok(vec![place(id)?]),
                Gold::Any(ids) => ids.iter().map(place).collect(),
            });
            Ok(Question { id: read.id, text: read.text, gold: gold.collect::<Result<_, _>>()? })
        })
        .collect()
}

fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty())
}

/// Where each element of `gold` was first found, from 0.
fn places<'a>(found: &'a [usize], gold: &'a [Vec<usize>]) -> impl Iterator<Item = usize> + 'a {
    gold.iter().filter_map(|any| found.iter().position(|doc| any.contains(doc)))
}

/// Share of the gold elements among the first `k`.
pub fn recall(found: &[usize], gold: &[Vec<usize>], k: usize) -> f64 {
    places(found, gold).filter(|&place| place < k).count() as f64 / gold.len().max(1) as f64
}

/// 1 when all gold elements are among the first `k`, else 0.
pub fn completeness(found: &[usize], gold: &[Vec<usize>], k: usize) -> f64 {
    f64::from(u8::from(places(found, gold).filter(|&place| place < k).count() == gold.len()))
}

/// Normalized discounted cumulative gain of the first `k`.
pub fn ndcg(found: &[usize], gold: &[Vec<usize>], k: usize) -> f64 {
    let gain = |place: usize| 1.0 / (place as f64 + 2.0).log2();
    let ideal: f64 = (0..gold.len().min(k)).map(gain).sum();
    let had: f64 = places(found, gold).filter(|&place| place < k).map(gain).sum();
    if ideal > 0.0 { had / ideal } else { 0.0 }
}

/// How likely a score of `yes` is above one of `no`; `None` without both.
pub fn auc(yes: &[f32], no: &[f32]) -> Option<f64> {
    if yes.is_empty() || no.is_empty() {
        return None;
    }
    let mut all: Vec<(f32, bool)> =
        yes.iter().map(|&s| (s, true)).chain(no.iter().map(|&s| (s, false))).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut won = 0.0;
    let mut below = 0.0;
    for tied in all.chunk_by(|a, b| a.0.total_cmp(&b.0).is_eq()) {
        let wins = tied.iter().filter(|(_, yes)| *yes).count() as f64;
        let losses = tied.len() as f64 - wins;
        won += wins * (below + losses / 2.0);
        below += losses;
    }
    Some(won / (yes.len() as f64 * no.len() as f64))
}

/// The value that a share `at` of `values` lie below; `None` without values.
pub fn quantile(values: &mut [f64], at: f64) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    values.get((at * last as f64).round() as usize).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn a_twin_counts_once_and_either_will_do() {
        let gold = [vec![1, 2], vec![5]];
        assert!(near(recall(&[2, 1, 9, 5], &gold, 3), 0.5));
        assert!(near(recall(&[2, 1, 9, 5], &gold, 4), 1.0));
        assert!(near(completeness(&[2, 1, 9, 5], &gold, 3), 0.0));
        assert!(near(completeness(&[2, 1, 9, 5], &gold, 4), 1.0));
    }

    #[test]
    fn the_gain_falls_with_the_place_and_is_one_at_best() {
        assert!(near(ndcg(&[1, 5], &[vec![1], vec![5]], 5), 1.0));
        assert!(near(ndcg(&[9, 1], &[vec![1]], 5), 1.0 / 3.0_f64.log2()));
        assert!(near(ndcg(&[9, 8, 1], &[vec![1]], 2), 0.0));
    }

    #[test]
    fn ties_are_half_won() {
        assert_eq!(auc(&[0.5, 0.9], &[0.5, 0.1]), Some(0.875));
        assert_eq!(auc(&[], &[0.1]), None);
    }

    #[test]
    fn a_bad_line_is_named_with_file_and_number() {
        let error = tools("{\"id\":\"a\",\"name\":\"a\"}\n\n{\"id\":1}", "t.jsonl")
            .unwrap_err()
            .to_string();
        assert!(error.starts_with("t.jsonl:3: not a tool"), "{error}");
        let tools = tools("{\"id\":\"a\",\"name\":\"a\",\"inputSchema\":null}", "t").unwrap();
        let error =
            questions("{\"text\":\"x\",\"gold\":[[\"a\",\"b\"]]}", "q", &tools).unwrap_err();
        assert_eq!(error.to_string(), "q:1: gold names \"b\", which is not the id of a tool");
    }
}
