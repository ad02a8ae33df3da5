//! The measurement of a selection for `mcp-hub eval`: files of tools and golden questions, and the
//! scores.

use std::collections::{HashMap, HashSet};

use serde::Deserialize;
use serde_json::value::RawValue;

use super::doc::Doc;

/// A tool of a file.
#[derive(Debug, Deserialize)]
pub struct ToolRecord {
    /// The id by which golden questions name the tool.
    pub id: String,
    #[serde(default)]
    pub server: String,
    pub name: String,
    #[serde(default)]
    pub description: Option<String>,
    #[serde(default, rename = "inputSchema")]
    pub schema: Option<Box<RawValue>>,
}

impl ToolRecord {
    pub fn doc(&self) -> Doc<'_> {
        Doc {
            server: &self.server,
            name: &self.name,
            description: self.description.as_deref().unwrap_or_default(),
            schema: self.schema.as_deref().map_or("", RawValue::get),
        }
    }
}

/// A golden question of a file.
#[derive(Debug, PartialEq, Eq)]
pub struct GoldenQuestion {
    pub id: String,
    /// The prompt.
    pub text: String,
    /// The tools that the question needs. Each element is a list of equivalent tools, as positions
    /// in the file of tools.
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

/// A line of a file that is invalid.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file}:{line}: {what}")]
pub struct InvalidLine {
    pub file: String,
    /// From 1.
    pub line: usize,
    /// What is wrong, and what to write instead.
    pub what: String,
}

/// Reads tools, one JSON object per line. `file` is the name for errors.
pub fn tools(text: &str, file: &str) -> Result<Vec<ToolRecord>, InvalidLine> {
    let mut ids = HashSet::new();
    lines(text)
        .map(|(line, text)| {
            let bad = |what: String| InvalidLine { file: file.to_owned(), line, what };
            let tool: ToolRecord = serde_json::from_str(text).map_err(|error| {
                bad(format!(
                    "not a tool ({error}); write {{\"id\", \"server\", \"name\", \"description\", \
                     \"inputSchema\"}}"
                ))
            })?;
            if ids.insert(tool.id.clone()) {
                Ok(tool)
            } else {
                Err(bad(format!("another tool has the id \"{}\"; give each tool its own", tool.id)))
            }
        })
        .collect()
}

/// Reads questions about `tools`, one JSON object per line. `file` is the name for errors.
pub fn questions(
    text: &str,
    file: &str,
    tools: &[ToolRecord],
) -> Result<Vec<GoldenQuestion>, InvalidLine> {
    let positions: HashMap<&str, usize> =
        tools.iter().enumerate().map(|(position, tool)| (tool.id.as_str(), position)).collect();
    lines(text)
        .map(|(line, text)| {
            let bad = |what: String| InvalidLine { file: file.to_owned(), line, what };
            let question: QuestionLine = serde_json::from_str(text).map_err(|error| {
                bad(format!(
                    "not a question ({error}); write {{\"id\", \"text\", \"gold\": [ids]}}"
                ))
            })?;
            let position = |id: &String| {
                let position = positions.get(id.as_str()).copied();
                position.ok_or_else(|| {
                    bad(format!("gold names \"{id}\", which is not the id of a tool"))
                })
            };
            let gold = question.gold.iter().map(|gold| match gold {
                Gold::One(id) => Ok(vec![position(id)?]),
                Gold::Any(ids) => ids.iter().map(position).collect(),
            });
            let gold = gold.collect::<Result<_, _>>()?;
            Ok(GoldenQuestion { id: question.id, text: question.text, gold })
        })
        .collect()
}

fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty())
}

/// The position in `found` of the first tool of each element of `gold`, from 0.
fn ranks<'a>(found: &'a [usize], gold: &'a [Vec<usize>]) -> impl Iterator<Item = usize> + 'a {
    gold.iter().filter_map(|any| found.iter().position(|doc| any.contains(doc)))
}

/// The share of the elements of `gold` that are among the first `k`.
pub fn recall(found: &[usize], gold: &[Vec<usize>], k: usize) -> f64 {
    ranks(found, gold).filter(|&rank| rank < k).count() as f64 / gold.len().max(1) as f64
}

/// 1 if all elements of `gold` are among the first `k`, else 0.
pub fn completeness(found: &[usize], gold: &[Vec<usize>], k: usize) -> f64 {
    f64::from(u8::from(ranks(found, gold).filter(|&rank| rank < k).count() == gold.len()))
}

/// The normalized discounted cumulative gain of the first `k`.
pub fn ndcg(found: &[usize], gold: &[Vec<usize>], k: usize) -> f64 {
    let gain = |rank: usize| 1.0 / (rank as f64 + 2.0).log2();
    let ideal: f64 = (0..gold.len().min(k)).map(gain).sum();
    let actual: f64 = ranks(found, gold).filter(|&rank| rank < k).map(gain).sum();
    if ideal > 0.0 { actual / ideal } else { 0.0 }
}

/// The probability that a score of `yes` is above one of `no` (area under the ROC curve). `None` if
/// either is empty.
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

/// The quantile `at` (0 to 1) of the values. `None` if there are none. Sorts the values.
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
    fn one_of_two_equivalent_tools_is_enough_and_a_second_one_adds_nothing() {
        let gold = [vec![1, 2], vec![5]];
        assert!(near(recall(&[2, 1, 9, 5], &gold, 3), 0.5));
        assert!(near(recall(&[2, 1, 9, 5], &gold, 4), 1.0));
        assert!(near(completeness(&[2, 1, 9, 5], &gold, 3), 0.0));
        assert!(near(completeness(&[2, 1, 9, 5], &gold, 4), 1.0));
    }

    #[test]
    fn ndcg_falls_with_the_rank_and_is_at_most_1() {
        assert!(near(ndcg(&[1, 5], &[vec![1], vec![5]], 5), 1.0));
        assert!(near(ndcg(&[9, 1], &[vec![1]], 5), 1.0 / 3.0_f64.log2()));
        assert!(near(ndcg(&[9, 8, 1], &[vec![1]], 2), 0.0));
    }

    #[test]
    fn a_tie_counts_half_in_the_auc() {
        assert_eq!(auc(&[0.5, 0.9], &[0.5, 0.1]), Some(0.875));
        assert_eq!(auc(&[], &[0.1]), None);
    }

    #[test]
    fn the_error_of_an_invalid_line_has_its_file_and_number() {
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
