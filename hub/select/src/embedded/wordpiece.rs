//! The tokens of the models: BERT's words (lower case, no accents), cut into pieces of its vocabulary.

use tokenizers::models::wordpiece::WordPiece as Model;
use tokenizers::normalizers::bert::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::{DecoderWrapper, Model as _, PostProcessorWrapper, TokenizerImpl};

use crate::embedded::models::Error;

/// First token of what the transformer reads.
pub const START: u32 = 101;
/// Last token of what the transformer reads.
pub const END: u32 = 102;
/// Longest word in the vocabulary, in bytes, with its space: what is past so many times the bound is never looked at.
const WORD: usize = 24;

/// The vocabulary.
pub struct WordPiece(
    TokenizerImpl<Model, BertNormalizer, BertPreTokenizer, PostProcessorWrapper, DecoderWrapper>,
);

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
        let encoded = self.0.encode_fast(start, false);
        encoded
            .map(|encoding| encoding.get_ids().iter().take(most).copied().collect())
            .unwrap_or_default()
    }

    /// Position of a whole word in the vocabulary, which is sorted by how common words are.
    pub fn rank(&self, word: &str) -> Option<u32> {
        self.0.get_model().token_to_id(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tokens_are_those_that_the_models_were_trained_with() {
        let pieces = WordPiece::new(include_str!("../../../models/vocab.txt")).unwrap();
        let known: Vec<(String, Vec<u32>)> =
            serde_json::from_str(include_str!("../../../models/train/tokens.json")).unwrap();
        assert!(known.len() >= 20);
        // Names of special tokens are text like any other here: a prompt must not be able to write them.
        for (text, ids) in known.into_iter().filter(|(text, _)| !text.contains("[CLS]")) {
            assert_eq!(pieces.tokens(&text, 512), ids, "{text}");
        }
    }

    #[test]
    fn a_text_longer_than_the_bound_is_cut() {
        let pieces = WordPiece::new(include_str!("../../../models/vocab.txt")).unwrap();
        assert_eq!(pieces.tokens(&"forecast ".repeat(100_000), 64).len(), 64);
    }
}
