//! The tokens of the models: BERT's words (lower case, no accents), cut into pieces of its vocabulary.

#[cfg(test)]
use std::sync::LazyLock;

use tokenizers::models::wordpiece::WordPiece as Model;
use tokenizers::normalizers::bert::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::{DecoderWrapper, Model as _, PostProcessorWrapper, TokenizerImpl};

use crate::models::Error;

/// First token of what the transformer reads.
pub const START: u32 = 101;
/// Last token of what the transformer reads.
pub const END: u32 = 102;
/// Longest word in the vocabulary, in bytes, with its space: what is past so many times the bound is never looked at.
const WORD: usize = 24;

/// The token of a word that pieces do not make up.
const UNKNOWN: &str = "[UNK]";
/// Longest word that is cut into pieces, in letters; a longer one is unknown.
const LETTERS: usize = 100;
/// What continues a word has this before it in the vocabulary.
const INSIDE: &[u8] = b"##";

/// The vocabulary.
pub struct WordPiece(TokenizerImpl<Model, BertNormalizer, BertPreTokenizer, PostProcessorWrapper, DecoderWrapper>);

impl WordPiece {
    /// Reads a vocabulary: one token a line, `##` before what continues a word.
    pub fn new(vocabulary: &str) -> Result<Self, Error> {
        let tokens = vocabulary.lines().zip(0u32..).map(|(token, id)| (token.to_owned(), id));
        let model = Model::builder()
            .vocab(tokens.collect::<ahash::AHashMap<_, _>>())
            .build()
            .map_err(|error| Error::Weights(format!("vocabulary: {error}")))?;
        let mut tokenizer = TokenizerImpl::new(model);
        tokenizer.with_normalizer(Some(BertNormalizer::new(true, true, Some(true), true)));
        tokenizer.with_pre_tokenizer(Some(BertPreTokenizer));
        Ok(Self(tokenizer))
    }

    /// The tokens of a text, at most `most`.
    pub fn tokens(&self, text: &str, most: usize) -> Vec<u32> {
        let start = &text[..text.floor_char_boundary(most * WORD)];
        let mut tokens = Vec::new();
        // No rule of the models looks past a space.
        for run in start.split([' ', '\t', '\n', '\r']) {
            if tokens.len() >= most {
                break;
            }
            if run.is_ascii() {
                self.plain(run, &mut tokens);
            } else if let Ok(encoding) = self.0.encode_fast(run, false) {
                tokens.extend(encoding.get_ids());
            }
        }
        tokens.truncate(most);
        tokens
    }

    /// The tokens of plain letters without a space: as the tokenizer would, without what it keeps beside them.
    fn plain(&self, run: &str, tokens: &mut Vec<u32>) {
        let mut word = INSIDE.to_vec();
        for byte in run.bytes().filter(|byte| !byte.is_ascii_control()) {
            if byte.is_ascii_punctuation() {
                self.word(&mut word, tokens);
                word.push(byte);
                self.word(&mut word, tokens);
            } else {
                word.push(byte.to_ascii_lowercase());
            }
        }
        self.word(&mut word, tokens);
    }

    /// The longest pieces, from the left, of a word that lies behind [`INSIDE`], which is left alone.
    fn word(&self, word: &mut Vec<u8>, tokens: &mut Vec<u32>) {
        let before = tokens.len();
        let mut start = INSIDE.len();
        while start < word.len() {
            // What is before a piece that continues the word has been read: the mark of such a piece may lie there.
            let from = if start == INSIDE.len() { start } else { start - INSIDE.len() };
            word[from..start].copy_from_slice(&INSIDE[..start - from]);
            let longest = word.len().min(start + WORD);
            let piece = (start + 1..=longest).rev().find_map(|end| Some((end, self.piece(&word[from..end])?)));
            let Some((end, id)) = piece.filter(|_| word.len() - INSIDE.len() <= LETTERS) else {
                tokens.truncate(before);
                tokens.extend(self.rank(UNKNOWN));
                break;
            };
            tokens.push(id);
            start = end;
        }
        word.clear();
        word.extend(INSIDE);
    }

    fn piece(&self, piece: &[u8]) -> Option<u32> {
        self.rank(std::str::from_utf8(piece).ok()?)
    }

    /// Position of a whole word in the vocabulary, which is sorted by how common words are.
    pub fn rank(&self, word: &str) -> Option<u32> {
        self.0.get_model().token_to_id(word)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    static PIECES: LazyLock<WordPiece> =
        LazyLock::new(|| WordPiece::new(include_str!("../../models/vocab.txt")).unwrap());

    // What is quick for plain letters must not read them in another way than what the models were trained with.
    proptest! {
        #[test]
        fn plain_letters_are_read_as_the_tokenizer_reads_them(text in "[ -~\\t\\n\\x00\\x0b\\x7fé天\u{300}\u{a0}]{0,60}|([a-zA-Z]{1,9}[ ,.é-]){0,9}|[a-e]{90,110}") {
            let whole = PIECES.0.encode_fast(text.as_str(), false).unwrap().get_ids().to_vec();
            prop_assert_eq!(PIECES.tokens(&text, 512), whole);
        }
    }

    #[test]
    fn the_tokens_are_those_that_the_models_were_trained_with() {
        let pieces = WordPiece::new(include_str!("../../models/vocab.txt")).unwrap();
        let known: Vec<(String, Vec<u32>)> =
            serde_json::from_str(include_str!("../../models/train/tokens.json")).unwrap();
        assert!(known.len() >= 20);
        // Names of special tokens are text like any other here: a prompt must not be able to write them.
        for (text, ids) in known.into_iter().filter(|(text, _)| !text.contains("[CLS]")) {
            assert_eq!(pieces.tokens(&text, 512), ids, "{text}");
        }
    }

    #[test]
    fn a_text_longer_than_the_bound_is_cut() {
        let pieces = WordPiece::new(include_str!("../../models/vocab.txt")).unwrap();
        assert_eq!(pieces.tokens(&"forecast ".repeat(100_000), 64).len(), 64);
    }
}
