//! Which prompts led to which tool: the strongest signal there is, once there is some.

use std::collections::BTreeMap;

use crate::embedded::doc::Digest;
use crate::embedded::models;
use crate::embedded::vector::Vector;

/// Prompts kept of one tool: the newest, beside the centroid of all.
const KEPT: usize = 32;
/// Tools remembered at most; the one remembered longest ago goes first.
const TOOLS: usize = 10_000;
/// How many of the nearest prompts count.
const NEAREST: usize = 3;
/// Past prompts weigh at most so many in the centroid, so that it follows what a tool is used for now.
const WEIGHT: u32 = 1_000;
/// What the bytes begin with; after it comes [`models::space`].
const MAGIC: &[u8] = b"MHMEM02\0";

/// What is remembered of one tool.
#[derive(Clone, Debug, PartialEq)]
struct Past {
    count: u32,
    touched: u64,
    centroid: Vec<f32>,
    prompts: Vec<Vector>,
}

/// Remembered prompts by tool. Bounded: tools, prompts a tool.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    tools: BTreeMap<Digest, Past>,
    clock: u64,
}

impl Memory {
    /// Without anything.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tools that something is remembered of.
    pub fn len(&self) -> usize {
        self.tools.len()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.tools.is_empty()
    }

    /// Prompts that led to a tool, also those that are only in its centroid.
    pub fn count(&self, tool: &Digest) -> u32 {
        self.tools.get(tool).map_or(0, |past| past.count)
    }

    /// A prompt led to a tool.
    pub fn remember(&mut self, tool: Digest, prompt: &Vector) {
        self.clock += 1;
        let touched = self.clock;
        let values: Vec<f32> = prompt.values().collect();
        let past = self.tools.entry(tool).or_insert_with(|| Past::new(values.len()));
        if past.centroid.len() != values.len() {
            *past = Past::new(values.len()); // another model: what was remembered is of no use
        }
        past.touched = touched;
        past.add(&values, 1);
        past.keep(prompt.clone());
        self.shrink();
    }

    /// Takes in what another has learned.
    pub fn merge(&mut self, other: &Self) {
        for (tool, theirs) in &other.tools {
            self.clock += 1;
            let touched = self.clock;
            let ours = self.tools.entry(*tool).or_insert_with(|| Past::new(theirs.centroid.len()));
            if ours.centroid.len() != theirs.centroid.len() {
                continue;
            }
            ours.touched = touched;
            ours.add(&theirs.centroid, theirs.count);
            for prompt in &theirs.prompts {
                ours.keep(prompt.clone());
            }
        }
        self.shrink();
    }

    /// Forgets the tools that `keep` does not want.
    pub fn retain(&mut self, keep: impl Fn(&Digest) -> bool) {
        self.tools.retain(|tool, _| keep(tool));
    }

    fn shrink(&mut self) {
        while self.tools.len() > TOOLS {
            let oldest =
                self.tools.iter().min_by_key(|(_, past)| past.touched).map(|(tool, _)| *tool);
            oldest.map(|tool| self.tools.remove(&tool));
        }
    }

    /// What is remembered, ready to be compared with one prompt after the other.
    pub(crate) fn score(&self, tool: &Digest, prompt: &Vector) -> Option<f32> {
        let past = self.tools.get(tool)?;
        if past.centroid.len() != prompt.dimensions() {
            return None;
        }
        let centroid = Vector::new(&past.centroid).cosine(prompt);
        let mut nearest = [f32::MIN; NEAREST];
        for known in &past.prompts {
            let cosine = known.cosine(prompt);
            if cosine > nearest[NEAREST - 1] {
                nearest[NEAREST - 1] = cosine;
                nearest.sort_by(|a, b| b.total_cmp(a));
            }
        }
        let found = past.prompts.len().clamp(1, NEAREST);
        let nearest = if past.prompts.is_empty() {
            centroid
        } else {
            nearest[..found].iter().sum::<f32>() / found as f32
        };
        Some(0.5 * centroid + 0.5 * nearest)
    }

    /// To keep: a byte a number.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = [MAGIC, &models::space()].concat();
        bytes.extend((self.tools.len() as u32).to_le_bytes());
        let mut by_age: Vec<_> = self.tools.iter().collect();
        by_age.sort_by_key(|(_, past)| past.touched);
        for (tool, past) in by_age {
            bytes.extend(tool.as_bytes());
            bytes.extend(past.count.to_le_bytes());
            bytes.extend((past.centroid.len() as u16).to_le_bytes());
            bytes.push(past.prompts.len() as u8);
            bytes.extend(Vector::new(&past.centroid).to_bytes());
            past.prompts.iter().for_each(|prompt| bytes.extend(prompt.to_bytes()));
        }
        bytes
    }

    /// From what was kept; `None` when it is something else, or cut, or its vectors are of other weights, which say
    /// nothing beside those of this binary.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes.strip_prefix(MAGIC)?.strip_prefix(&models::space())?;
        let mut memory = Self::new();
        let tools = u32::from_le_bytes(*take::<4>(&mut rest)?);
        for touched in 1..=u64::from(tools) {
            let tool = Digest::from_bytes(*take::<32>(&mut rest)?);
            let count = u32::from_le_bytes(*take::<4>(&mut rest)?);
            let dimensions = usize::from(u16::from_le_bytes(*take::<2>(&mut rest)?));
            let [prompts] = *take::<1>(&mut rest)?;
            let mut vector = || {
                let (vector, tail) = rest.split_at_checked(dimensions)?;
                rest = tail;
                Some(Vector::from_bytes(vector))
            };
            let centroid = vector()?.values().collect();
            let prompts = (0..prompts).map(|_| vector()).collect::<Option<Vec<_>>>()?;
            memory.tools.insert(tool, Past { count, touched, centroid, prompts });
            memory.clock = touched;
        }
        memory.shrink();
        rest.is_empty().then_some(memory)
    }
}

impl Past {
    fn new(dimensions: usize) -> Self {
        Self { count: 0, touched: 0, centroid: vec![0.0; dimensions], prompts: Vec::new() }
    }

    fn add(&mut self, values: &[f32], count: u32) {
        let (old, new) = (self.count.min(WEIGHT) as f32, count.min(WEIGHT) as f32);
        let share = if old + new > 0.0 { new / (old + new) } else { 0.0 };
        for (mean, value) in self.centroid.iter_mut().zip(values) {
            *mean += (value - *mean) * share;
        }
        self.count = self.count.saturating_add(count);
    }

    /// Keeps a prompt that is not there yet, the newest at the end.
    fn keep(&mut self, prompt: Vector) {
        self.prompts.retain(|known| *known != prompt);
        if self.prompts.len() >= KEPT {
            self.prompts.remove(0);
        }
        self.prompts.push(prompt);
    }
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(n: u8) -> Digest {
        Digest::from_bytes([n; 32])
    }

    fn near(n: u8) -> Vector {
        Vector::new(&[1.0, f32::from(n) / 100.0, 0.0, 0.0])
    }

    #[test]
    fn a_prompt_like_those_remembered_scores_high_and_another_low() {
        let mut memory = Memory::new();
        (0..5).for_each(|n| memory.remember(tool(1), &near(n)));
        assert!(memory.score(&tool(1), &near(9)).unwrap() > 0.95);
        assert!(memory.score(&tool(1), &Vector::new(&[0.0, 0.0, 1.0, 0.0])).unwrap() < 0.1);
        assert_eq!(memory.score(&tool(2), &near(0)), None);
    }

    #[test]
    fn prompts_beyond_the_bound_stay_in_the_centroid_only() {
        let mut memory = Memory::new();
        (0..100).for_each(|n| memory.remember(tool(1), &near(n)));
        assert_eq!((memory.count(&tool(1)), memory.tools[&tool(1)].prompts.len()), (100, KEPT));
    }

    #[test]
    fn what_is_kept_comes_back_and_what_is_cut_does_not() {
        let mut memory = Memory::new();
        (0..9).for_each(|n| memory.remember(tool(n), &near(n)));
        let bytes = memory.to_bytes();
        let back = Memory::from_bytes(&bytes).unwrap();
        assert_eq!((back.len(), back.to_bytes()), (9, bytes.clone()));
        assert!((0..bytes.len()).all(|end| Memory::from_bytes(&bytes[..end]).is_none()));
    }

    #[test]
    fn what_was_kept_with_other_weights_is_forgotten() {
        let mut memory = Memory::new();
        memory.remember(tool(1), &near(0));
        let mut bytes = memory.to_bytes();
        bytes[MAGIC.len()] ^= 1;
        assert_eq!(Memory::from_bytes(&bytes), None);
    }

    #[test]
    fn vectors_of_another_model_replace_what_was_remembered() {
        let mut memory = Memory::new();
        memory.remember(tool(1), &near(0));
        memory.remember(tool(1), &Vector::new(&[1.0, 0.0]));
        assert_eq!((memory.count(&tool(1)), memory.score(&tool(1), &near(0))), (1, None));
    }

    #[test]
    fn merging_adds_up_what_two_have_learned() {
        let (mut one, mut other) = (Memory::new(), Memory::new());
        one.remember(tool(1), &near(0));
        other.remember(tool(1), &near(5));
        other.remember(tool(2), &near(0));
        one.merge(&other);
        assert_eq!((one.count(&tool(1)), one.count(&tool(2)), one.len()), (2, 1, 2));
    }
}
