//! Remembered prompts: which prompts led to which tool. Once there are some, they are the strongest
//! signal.

use std::collections::BTreeMap;

use super::doc::Digest;
use super::vector::Vector;
use super::weights;

/// How many of a tool's newest prompts are stored by themselves. The centroid has all of them.
/// Which prompts are stored matters more than how they are scored, see "Remembered prompts" in
/// `tests/bench/MODELS.md`.
const MAX_PROMPTS: usize = 32;
/// How many tools have remembered prompts. The tool that was updated longest ago is dropped first.
const MAX_TOOLS: usize = 10_000;
/// How many of a tool's most similar prompts count. No measurement of other values is recorded.
const NEAREST: usize = 3;
/// Earlier prompts weigh at most as much as this many new ones in the centroid. That way it follows
/// a change in what the tool is used for.
const MAX_CENTROID_WEIGHT: u32 = 1_000;
/// The start of the serialized form. [`weights::vector_space`] comes after it.
const MAGIC: &[u8] = b"MHMEM02\0";

/// The remembered prompts of one tool.
#[derive(Clone, Debug, PartialEq)]
struct ToolHistory {
    count: u32,
    /// The value of [`Memory::clock`] at the last change.
    updated: u64,
    centroid: Vec<f32>,
    /// The newest last.
    prompts: Vec<Vector>,
}

/// Remembered prompts, by tool. The number of tools and of prompts per tool is bounded.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    tools: BTreeMap<Digest, ToolHistory>,
    /// Counts changes.
    clock: u64,
}

impl Memory {
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of tools that have remembered prompts.
    pub fn len(&self) -> usize {
        self.tools.len()
    }

    pub fn is_empty(&self) -> bool {
        self.tools.is_empty()
    }

    /// The number of prompts that led to a tool, including those that are only in its centroid.
    pub fn count(&self, tool: &Digest) -> u32 {
        self.tools.get(tool).map_or(0, |history| history.count)
    }

    /// Remembers that a prompt led to a tool.
    pub fn remember(&mut self, tool: Digest, prompt: &Vector) {
        self.clock += 1;
        let updated = self.clock;
        let values: Vec<f32> = prompt.values().collect();
        let history = self.tools.entry(tool).or_insert_with(|| ToolHistory::new(values.len()));
        if history.centroid.len() != values.len() {
            // The vectors are of another model and cannot be compared with this one.
            *history = ToolHistory::new(values.len());
        }
        history.updated = updated;
        history.add_to_centroid(&values, 1);
        history.add_prompt(prompt.clone());
        self.shrink();
    }

    /// Adds the remembered prompts of another hub pod.
    pub fn merge(&mut self, other: &Self) {
        for (tool, theirs) in &other.tools {
            self.clock += 1;
            let updated = self.clock;
            let ours =
                self.tools.entry(*tool).or_insert_with(|| ToolHistory::new(theirs.centroid.len()));
            if ours.centroid.len() != theirs.centroid.len() {
                continue;
            }
            ours.updated = updated;
            ours.add_to_centroid(&theirs.centroid, theirs.count);
            for prompt in &theirs.prompts {
                ours.add_prompt(prompt.clone());
            }
        }
        self.shrink();
    }

    /// Forgets the tools for which `keep` returns `false`.
    pub fn retain(&mut self, keep: impl Fn(&Digest) -> bool) {
        self.tools.retain(|tool, _| keep(tool));
    }

    fn shrink(&mut self) {
        while self.tools.len() > MAX_TOOLS {
            let oldest =
                self.tools.iter().min_by_key(|(_, history)| history.updated).map(|(tool, _)| *tool);
            oldest.map(|tool| self.tools.remove(&tool));
        }
    }

    /// The similarity of a prompt to the remembered prompts of a tool: half the cosine with their
    /// centroid, and half the mean cosine with the nearest. `None` if there are none, or if they
    /// are of another model.
    pub(crate) fn similarity(&self, tool: &Digest, prompt: &Vector) -> Option<f32> {
        let history = self.tools.get(tool)?;
        if history.centroid.len() != prompt.dimensions() {
            return None;
        }
        let centroid = Vector::new(&history.centroid).cosine(prompt);
        let mut nearest = [f32::MIN; NEAREST];
        for known in &history.prompts {
            let cosine = known.cosine(prompt);
            if cosine > nearest[NEAREST - 1] {
                nearest[NEAREST - 1] = cosine;
                nearest.sort_by(|a, b| b.total_cmp(a));
            }
        }
        let found = history.prompts.len().clamp(1, NEAREST);
        let nearest = if history.prompts.is_empty() {
            centroid
        } else {
            nearest[..found].iter().sum::<f32>() / found as f32
        };
        Some(0.5 * centroid + 0.5 * nearest)
    }

    /// Serializes the memory. Each number of a vector takes one byte.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = [MAGIC, &weights::vector_space()].concat();
        bytes.extend((self.tools.len() as u32).to_le_bytes());
        let mut by_age: Vec<_> = self.tools.iter().collect();
        by_age.sort_by_key(|(_, history)| history.updated);
        for (tool, history) in by_age {
            bytes.extend(tool.as_bytes());
            bytes.extend(history.count.to_le_bytes());
            bytes.extend((history.centroid.len() as u16).to_le_bytes());
            bytes.push(history.prompts.len() as u8);
            bytes.extend(Vector::new(&history.centroid).to_bytes());
            history.prompts.iter().for_each(|prompt| bytes.extend(prompt.to_bytes()));
        }
        bytes
    }

    /// Reads what [`Self::to_bytes`] has written. `None` if the bytes are something else or
    /// truncated, or if their vectors are of other weights, because those cannot be compared with
    /// the vectors of this binary.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes.strip_prefix(MAGIC)?.strip_prefix(&weights::vector_space())?;
        let mut memory = Self::new();
        let tools = u32::from_le_bytes(*take::<4>(&mut rest)?);
        for updated in 1..=u64::from(tools) {
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
            memory.tools.insert(tool, ToolHistory { count, updated, centroid, prompts });
            memory.clock = updated;
        }
        memory.shrink();
        rest.is_empty().then_some(memory)
    }
}

impl ToolHistory {
    fn new(dimensions: usize) -> Self {
        Self { count: 0, updated: 0, centroid: vec![0.0; dimensions], prompts: Vec::new() }
    }

    fn add_to_centroid(&mut self, values: &[f32], count: u32) {
        let weight = |count: u32| count.min(MAX_CENTROID_WEIGHT) as f32;
        let (old, new) = (weight(self.count), weight(count));
        let share = if old + new > 0.0 { new / (old + new) } else { 0.0 };
        for (mean, value) in self.centroid.iter_mut().zip(values) {
            *mean += (value - *mean) * share;
        }
        self.count = self.count.saturating_add(count);
    }

    /// Adds a prompt, or moves it to the end if it is there already.
    fn add_prompt(&mut self, prompt: Vector) {
        self.prompts.retain(|known| *known != prompt);
        if self.prompts.len() >= MAX_PROMPTS {
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
    fn a_prompt_that_is_similar_to_remembered_ones_scores_high_and_another_low() {
        let mut memory = Memory::new();
        (0..5).for_each(|n| memory.remember(tool(1), &near(n)));
        assert!(memory.similarity(&tool(1), &near(9)).unwrap() > 0.95);
        assert!(memory.similarity(&tool(1), &Vector::new(&[0.0, 0.0, 1.0, 0.0])).unwrap() < 0.1);
        assert_eq!(memory.similarity(&tool(2), &near(0)), None);
    }

    #[test]
    fn prompts_over_the_bound_stay_only_in_the_centroid() {
        let mut memory = Memory::new();
        (0..100).for_each(|n| memory.remember(tool(1), &near(n)));
        let stored = memory.tools[&tool(1)].prompts.len();
        assert_eq!((memory.count(&tool(1)), stored), (100, MAX_PROMPTS));
    }

    #[test]
    fn a_serialized_memory_is_read_back_and_a_truncated_one_is_rejected() {
        let mut memory = Memory::new();
        (0..9).for_each(|n| memory.remember(tool(n), &near(n)));
        let bytes = memory.to_bytes();
        let back = Memory::from_bytes(&bytes).unwrap();
        assert_eq!((back.len(), back.to_bytes()), (9, bytes.clone()));
        assert!((0..bytes.len()).all(|end| Memory::from_bytes(&bytes[..end]).is_none()));
    }

    #[test]
    fn a_memory_of_other_weights_is_rejected() {
        let mut memory = Memory::new();
        memory.remember(tool(1), &near(0));
        let mut bytes = memory.to_bytes();
        bytes[MAGIC.len()] ^= 1;
        assert_eq!(Memory::from_bytes(&bytes), None);
    }

    #[test]
    fn a_vector_of_another_model_replaces_the_remembered_prompts() {
        let mut memory = Memory::new();
        memory.remember(tool(1), &near(0));
        memory.remember(tool(1), &Vector::new(&[1.0, 0.0]));
        assert_eq!((memory.count(&tool(1)), memory.similarity(&tool(1), &near(0))), (1, None));
    }

    #[test]
    fn a_merge_adds_up_the_counts_of_both_memories() {
        let (mut one, mut other) = (Memory::new(), Memory::new());
        one.remember(tool(1), &near(0));
        other.remember(tool(1), &near(5));
        other.remember(tool(2), &near(0));
        one.merge(&other);
        assert_eq!((one.count(&tool(1)), one.count(&tool(2)), one.len()), (2, 1, 2));
    }
}
