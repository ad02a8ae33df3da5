//! The lexical index: which terms a tool has, in which field.

use std::borrow::Cow;
use std::collections::HashMap;

use crate::embedded::doc::{self, Doc};
use crate::embedded::pool::Pool;
use crate::embedded::words::{Term, Terms};

/// Fields: name, server, description, names of parameters, what is said about parameters.
pub const FIELDS: usize = 5;
/// Most terms of one field.
const FIELD_TERMS: usize = 512;
/// Most terms of a tool's head that are kept in order.
const HEAD: usize = 48;

const K1: f32 = 1.2;
/// How much a field counts in the combined score.
const WEIGHTS: [f32; FIELDS] = [2.6, 0.9, 1.3, 1.0, 0.5];
/// How much a field's length counts against it.
const LENGTHS: [f32; FIELDS] = [0.4, 0.3, 0.6, 0.5, 0.6];

/// A term in a tool: how often in each field.
#[derive(Clone, Copy)]
struct Posting {
    doc: u32,
    counts: [u8; FIELDS],
}

/// What a term counts for being once in each field of a tool: by the field's weight and length.
pub type Norms = [f32; FIELDS];

/// What the lexical index knows.
#[derive(Default)]
pub struct Lexical {
    terms: HashMap<String, u32>,
    starts: Vec<u32>,
    postings: Vec<Posting>,
    lengths: Vec<[u16; FIELDS]>,
    /// Of a pool of all tools.
    norms: Vec<Norms>,
    heads: Vec<Box<[u32]>>,
    names: Vec<Box<[u32]>>,
}

/// A prompt's term.
pub struct Asked {
    /// Its number in the index, if any tool has it.
    pub term: Option<u32>,
    /// How often.
    pub count: u32,
    /// How rare it is among what can be seen.
    pub idf: f32,
}

/// What a prompt scored in one tool.
#[derive(Clone, Copy, Default)]
pub struct Scores {
    /// All fields together.
    pub combined: f32,
    /// Share of the prompt's terms (by rarity) that the tool has, and that its name has: not yet divided.
    pub cover: [f32; 2],
}

impl Lexical {
    /// Indexes the tools. `split` cuts a compound (`weatherforecast`) into words, where it knows them; `english` says in
    /// English what is in another language.
    pub fn build(
        docs: &[Doc<'_>],
        split: impl Fn(&str) -> Vec<String>,
        english: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let mut index = Self::default();
        let mut text = Terms::default();
        let mut lists: Vec<Vec<Posting>> = Vec::new();
        let mut counts: HashMap<u32, [u8; FIELDS]> = HashMap::new();
        for (number, doc) in (0u32..).zip(docs) {
            let fields = fields(doc, &mut text, &split, &english);
            counts.clear();
            let mut lengths = [0; FIELDS];
            let mut ids: [Vec<u32>; FIELDS] = Default::default();
            for (field, terms) in fields.into_iter().enumerate() {
                lengths[field] = terms.len().min(usize::from(u16::MAX)) as u16;
                for term in terms {
                    let id = index.id(term);
                    ids[field].push(id);
                    let count = &mut counts.entry(id).or_default()[field];
                    *count = count.saturating_add(1);
                }
            }
            lists.resize_with(index.terms.len(), Vec::new);
            for (&id, &counts) in &counts {
                lists[id as usize].push(Posting { doc: number, counts });
            }
            index.lengths.push(lengths);
            let mut head: Vec<u32> = ids[0].iter().chain(&ids[2]).copied().collect();
            head.truncate(HEAD);
            index.heads.push(head.into());
            index.names.push(std::mem::take(&mut ids[0]).into());
        }
        index.starts.push(0);
        for list in lists {
            index.postings.extend(list);
            index.starts.push(index.postings.len() as u32);
        }
        index.norms = index.norms_among(index.lengths.iter(), docs.len());
        index
    }

    fn id(&mut self, term: Term) -> u32 {
        if let Some(&id) = self.terms.get(&term.stem) {
            return id;
        }
        let id = self.terms.len() as u32;
        self.terms.insert(term.stem, id);
        id
    }

    /// Whether any tool that can be seen has it.
    pub fn knows(&self, term: &Term, pool: &Pool) -> bool {
        self.terms.get(&term.stem).is_some_and(|&id| self.have(id, pool) > 0)
    }

    /// How many terms there are.
    pub fn terms(&self) -> usize {
        self.terms.len()
    }

    /// Terms of name and description, in order.
    pub fn head(&self, doc: usize) -> &[u32] {
        self.heads.get(doc).map_or(&[], |head| head)
    }

    /// Terms of the name, in order.
    pub fn name(&self, doc: usize) -> &[u32] {
        self.names.get(doc).map_or(&[], |name| name)
    }

    /// The prompt's terms, each once, in order. What cannot be seen does not make a term common.
    pub fn ask(&self, terms: Vec<Term>, pool: &Pool) -> Vec<Asked> {
        let mut known: HashMap<String, usize> = HashMap::new();
        let mut asked: Vec<Asked> = Vec::new();
        for Term { stem, .. } in terms {
            if let Some(&at) = known.get(&stem) {
                asked[at].count += 1;
                continue;
            }
            let term = self.terms.get(&stem).copied();
            let have = term.map_or(0, |term| self.have(term, pool));
            let idf =
                (1.0 + (pool.ids.len() as f32 - have as f32 + 0.5) / (have as f32 + 0.5)).ln();
            known.insert(stem, asked.len());
            asked.push(Asked { term: term.filter(|_| have > 0), count: 1, idf });
        }
        asked
    }

    /// How many tools that can be seen have a term.
    fn have(&self, term: u32, pool: &Pool) -> usize {
        let postings = self.postings(term);
        if pool.is_whole() {
            return postings.len();
        }
        postings.iter().filter(|posting| pool.seen[posting.doc as usize]).count()
    }

    /// Scores every tool that can be seen and has any of the terms; the others stay at zero.
    pub fn score(&self, asked: &[Asked], norms: &[Norms], pool: &Pool) -> Vec<Scores> {
        let mut scores = vec![Scores::default(); self.lengths.len()];
        let add = |posting: &Posting, asked: &Asked, weight: f32, together: f32| {
            let score = &mut scores[posting.doc as usize];
            score.combined += weight * together * (K1 + 1.0) / (together + K1);
            score.cover[0] += asked.idf;
            score.cover[1] += if posting.counts[0] > 0 { asked.idf } else { 0.0 };
        };
        self.each(asked, norms, pool, add);
        scores
    }

    /// The combined scores alone.
    pub fn combined(&self, asked: &[Asked], norms: &[Norms], pool: &Pool) -> Vec<f32> {
        let mut scores = vec![0.0; self.lengths.len()];
        let add = |posting: &Posting, _: &Asked, weight: f32, together: f32| {
            scores[posting.doc as usize] += weight * together * (K1 + 1.0) / (together + K1);
        };
        self.each(asked, norms, pool, add);
        scores
    }

    /// What the prompt's terms count in each tool that can be seen and has them, told to `add`: where, what is asked and
    /// its weight, and how often it is in all fields together, each by its weight and length.
    fn each(
        &self,
        asked: &[Asked],
        norms: &[Norms],
        pool: &Pool,
        mut add: impl FnMut(&Posting, &Asked, f32, f32),
    ) {
        for asked in asked {
            let Some(term) = asked.term else { continue };
            let weight = asked.idf * (1.0 + (asked.count as f32).ln());
            for posting in self.postings(term) {
                let doc = posting.doc as usize;
                if pool.seen[doc] {
                    let by_field: [f32; FIELDS] = std::array::from_fn(|field| {
                        f32::from(posting.counts[field]) * norms[doc][field]
                    });
                    let together = by_field.iter().sum();
                    add(posting, asked, weight, together);
                }
            }
        }
    }

    /// What lengths count for among what can be seen.
    pub fn norms(&self, pool: &Pool) -> Cow<'_, [Norms]> {
        if pool.is_whole() {
            return Cow::Borrowed(&self.norms);
        }
        let seen = pool.ids.iter().map(|&id| &self.lengths[id as usize]);
        Cow::Owned(self.norms_among(seen, pool.ids.len()))
    }

    fn norms_among<'a>(
        &self,
        seen: impl Iterator<Item = &'a [u16; FIELDS]>,
        total: usize,
    ) -> Vec<Norms> {
        let mut sums = [0.0_f64; FIELDS];
        for lengths in seen {
            for (sum, length) in sums.iter_mut().zip(lengths) {
                *sum += f64::from(*length);
            }
        }
        let average = sums.map(|sum| ((sum / total.max(1) as f64) as f32).max(0.1));
        let norms = |lengths: &[u16; FIELDS]| {
            let mut norms = [0.0; FIELDS];
            for field in 0..FIELDS {
                let length = f32::from(lengths[field]) / average[field];
                norms[field] = WEIGHTS[field] / (1.0 - LENGTHS[field] + LENGTHS[field] * length);
            }
            norms
        };
        self.lengths.iter().map(norms).collect()
    }

    fn postings(&self, term: u32) -> &[Posting] {
        let term = term as usize;
        &self.postings[self.starts[term] as usize..self.starts[term + 1] as usize]
    }
}

/// The terms of each field of a tool.
fn fields(
    doc: &Doc<'_>,
    text: &mut Terms,
    split: &impl Fn(&str) -> Vec<String>,
    english: &impl Fn(&str) -> Option<String>,
) -> [Vec<Term>; FIELDS] {
    // In its own words and in English: it may be asked for in either.
    let both = |text: &mut Terms, said: &str| {
        let mut terms = text.of(said, FIELD_TERMS);
        terms.extend(english(said).into_iter().flat_map(|said| text.of(&said, FIELD_TERMS)));
        terms
    };
    let mut name = both(text, doc::bounded(doc.name));
    let description = both(text, doc::bounded(doc.description));
    let parts: Vec<Term> =
        name.iter().flat_map(|term| split(&term.word)).flat_map(|word| text.of(&word, 1)).collect();
    name.extend(parts);
    let parameters = doc::parameters(doc.schema);
    let mut names = Vec::new();
    let mut said = Vec::new();
    for parameter in &parameters {
        names.extend(text.of(&parameter.name, FIELD_TERMS - names.len().min(FIELD_TERMS)));
        said.extend(text.of(&parameter.text, FIELD_TERMS - said.len().min(FIELD_TERMS)));
    }
    [name, text.of(doc::bounded(doc.server), FIELD_TERMS), description, names, said]
}
