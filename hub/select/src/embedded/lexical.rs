//! The lexical index: an inverted index with a BM25F score.

use std::borrow::Cow;
use std::collections::HashMap;

use super::doc::{self, Doc};
use super::pool::Pool;
use super::words::{Term, TermExtractor};

/// The fields of a tool: name, server, description, parameter names, parameter descriptions.
pub(crate) const FIELDS: usize = 5;
/// The most terms of one field.
const MAX_FIELD_TERMS: usize = 512;
/// The most terms of name and description that are stored in order, for the feature `bigrams`.
const MAX_HEAD_TERMS: usize = 48;

// The parameters of BM25F (Robertson and Zaragoza, 2009). No measurement of other values is
// recorded.

/// How fast repeated terms saturate. 0 counts a term once; the usual range is 1.2 to 2.
const K1: f32 = 1.2;
/// The weight of each field.
const FIELD_WEIGHTS: [f32; FIELDS] = [2.6, 0.9, 1.3, 1.0, 0.5];
/// `b` of each field: how much a long field counts less. Range: 0 (not at all) to 1 (in proportion
/// to its length).
const LENGTH_NORMALIZATION: [f32; FIELDS] = [0.4, 0.3, 0.6, 0.5, 0.6];

/// A tool that has a term, and how often in each field.
#[derive(Clone, Copy)]
struct Posting {
    doc: u32,
    counts: [u8; FIELDS],
}

/// The weight of one occurrence of a term in each field of a tool, from the field's weight and
/// length.
pub(crate) type Norms = [f32; FIELDS];

#[derive(Default)]
pub(crate) struct Lexical {
    terms: HashMap<String, u32>,
    starts: Vec<u32>,
    postings: Vec<Posting>,
    lengths: Vec<[u16; FIELDS]>,
    /// The norms if all tools are visible.
    norms: Vec<Norms>,
    heads: Vec<Box<[u32]>>,
    names: Vec<Box<[u32]>>,
}

/// A term of the prompt.
pub(crate) struct QueryTerm {
    /// The number of the term in the index. `None` if no visible tool has it.
    pub(crate) term: Option<u32>,
    /// How often the prompt has the term.
    pub(crate) count: u32,
    /// The inverse document frequency among the visible tools.
    pub(crate) idf: f32,
}

/// The lexical scores of one tool.
#[derive(Clone, Copy, Default)]
pub(crate) struct Scores {
    /// The BM25F score over all fields.
    pub(crate) combined: f32,
    /// The sum of the inverse document frequencies of the prompt's terms that the tool has, and of
    /// those that its name has.
    pub(crate) cover: [f32; 2],
}

impl Lexical {
    /// Indexes the tools. `split` splits a compound name into words. `english` translates text of
    /// other languages.
    pub(crate) fn build(
        docs: &[Doc<'_>],
        split: impl Fn(&str) -> Vec<String>,
        english: impl Fn(&str) -> Option<String>,
    ) -> Self {
        let mut index = Self::default();
        let mut text = TermExtractor::default();
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
            head.truncate(MAX_HEAD_TERMS);
            index.heads.push(head.into());
            index.names.push(std::mem::take(&mut ids[0]).into());
        }
        index.starts.push(0);
        for list in lists {
            index.postings.extend(list);
            index.starts.push(index.postings.len() as u32);
        }
        index.norms = index.norms_over(index.lengths.iter(), docs.len());
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

    /// Whether any visible tool has the term.
    pub(crate) fn contains(&self, term: &Term, pool: &Pool) -> bool {
        self.terms.get(&term.stem).is_some_and(|&id| self.document_frequency(id, pool) > 0)
    }

    /// The number of different terms.
    pub(crate) fn terms(&self) -> usize {
        self.terms.len()
    }

    /// The first terms of a tool's name and description, in order.
    pub(crate) fn head(&self, doc: usize) -> &[u32] {
        self.heads.get(doc).map_or(&[], |head| head)
    }

    /// The terms of a tool's name, in order.
    pub(crate) fn name(&self, doc: usize) -> &[u32] {
        self.names.get(doc).map_or(&[], |name| name)
    }

    /// The prompt's terms, each once, in order.
    pub(crate) fn query_terms(&self, terms: Vec<Term>, pool: &Pool) -> Vec<QueryTerm> {
        let mut known: HashMap<String, usize> = HashMap::new();
        let mut query_terms: Vec<QueryTerm> = Vec::new();
        for Term { stem, .. } in terms {
            if let Some(&at) = known.get(&stem) {
                query_terms[at].count += 1;
                continue;
            }
            let term = self.terms.get(&stem).copied();
            let frequency = term.map_or(0, |term| self.document_frequency(term, pool));
            let (tools, with_term) = (pool.ids.len() as f32, frequency as f32);
            let idf = (1.0 + (tools - with_term + 0.5) / (with_term + 0.5)).ln();
            known.insert(stem, query_terms.len());
            query_terms.push(QueryTerm { term: term.filter(|_| frequency > 0), count: 1, idf });
        }
        query_terms
    }

    /// The number of visible tools that have a term.
    fn document_frequency(&self, term: u32, pool: &Pool) -> usize {
        let postings = self.postings(term);
        if pool.is_everything() {
            return postings.len();
        }
        postings.iter().filter(|posting| pool.visible[posting.doc as usize]).count()
    }

    /// The scores of every tool. Tools without any of the terms, and hidden ones, have zeros.
    pub(crate) fn score(&self, terms: &[QueryTerm], norms: &[Norms], pool: &Pool) -> Vec<Scores> {
        let mut scores = vec![Scores::default(); self.lengths.len()];
        let add = |posting: &Posting, term: &QueryTerm, weight: f32, frequency: f32| {
            let score = &mut scores[posting.doc as usize];
            score.combined += weight * frequency * (K1 + 1.0) / (frequency + K1);
            score.cover[0] += term.idf;
            score.cover[1] += if posting.counts[0] > 0 { term.idf } else { 0.0 };
        };
        self.for_each_posting(terms, norms, pool, add);
        scores
    }

    /// Only [`Scores::combined`] of every tool.
    pub(crate) fn combined(&self, terms: &[QueryTerm], norms: &[Norms], pool: &Pool) -> Vec<f32> {
        let mut scores = vec![0.0; self.lengths.len()];
        let add = |posting: &Posting, _: &QueryTerm, weight: f32, frequency: f32| {
            scores[posting.doc as usize] += weight * frequency * (K1 + 1.0) / (frequency + K1);
        };
        self.for_each_posting(terms, norms, pool, add);
        scores
    }

    /// Calls `add` for each term and each visible tool that has it, with the weight of the term and
    /// its frequency over all fields. The frequency is weighted by the norms of the fields.
    fn for_each_posting(
        &self,
        terms: &[QueryTerm],
        norms: &[Norms],
        pool: &Pool,
        mut add: impl FnMut(&Posting, &QueryTerm, f32, f32),
    ) {
        for query_term in terms {
            let Some(term) = query_term.term else { continue };
            let weight = query_term.idf * (1.0 + (query_term.count as f32).ln());
            for posting in self.postings(term) {
                let doc = posting.doc as usize;
                if pool.visible[doc] {
                    let by_field: [f32; FIELDS] = std::array::from_fn(|field| {
                        f32::from(posting.counts[field]) * norms[doc][field]
                    });
                    let frequency = by_field.iter().sum();
                    add(posting, query_term, weight, frequency);
                }
            }
        }
    }

    /// The norms of all tools. Average lengths are those of the visible tools.
    pub(crate) fn norms(&self, pool: &Pool) -> Cow<'_, [Norms]> {
        if pool.is_everything() {
            return Cow::Borrowed(&self.norms);
        }
        let visible = pool.ids.iter().map(|&id| &self.lengths[id as usize]);
        Cow::Owned(self.norms_over(visible, pool.ids.len()))
    }

    fn norms_over<'a>(
        &self,
        visible: impl Iterator<Item = &'a [u16; FIELDS]>,
        total: usize,
    ) -> Vec<Norms> {
        let mut sums = [0.0_f64; FIELDS];
        for lengths in visible {
            for (sum, length) in sums.iter_mut().zip(lengths) {
                *sum += f64::from(*length);
            }
        }
        let average = sums.map(|sum| ((sum / total.max(1) as f64) as f32).max(0.1));
        let norms = |lengths: &[u16; FIELDS]| {
            let mut norms = [0.0; FIELDS];
            for field in 0..FIELDS {
                let length = f32::from(lengths[field]) / average[field];
                let b = LENGTH_NORMALIZATION[field];
                norms[field] = FIELD_WEIGHTS[field] / (1.0 - b + b * length);
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
    text: &mut TermExtractor,
    split: &impl Fn(&str) -> Vec<String>,
    english: &impl Fn(&str) -> Option<String>,
) -> [Vec<Term>; FIELDS] {
    // A prompt may use the tool's own language or English, so both are indexed.
    let both = |extractor: &mut TermExtractor, text: &str| {
        let mut terms = extractor.extract(text, MAX_FIELD_TERMS);
        let english = english(text).into_iter();
        terms.extend(english.flat_map(|english| extractor.extract(&english, MAX_FIELD_TERMS)));
        terms
    };
    let mut name = both(text, doc::bounded(doc.name));
    let description = both(text, doc::bounded(doc.description));
    let words = name.iter().flat_map(|term| split(&term.word));
    let words: Vec<Term> = words.flat_map(|word| text.extract(&word, 1)).collect();
    name.extend(words);
    let (mut names, mut descriptions) = (Vec::new(), Vec::new());
    let left = |terms: &Vec<Term>| MAX_FIELD_TERMS - terms.len().min(MAX_FIELD_TERMS);
    for parameter in &doc::parameters(doc.schema) {
        names.extend(text.extract(&parameter.name, left(&names)));
        descriptions.extend(text.extract(&parameter.text, left(&descriptions)));
    }
    let server = text.extract(doc::bounded(doc.server), MAX_FIELD_TERMS);
    [name, server, description, names, descriptions]
}
