//! The tokenizer of the models: BERT's WordPiece, which lowercases words, removes accents and
//! splits words into pieces of its vocabulary.

use tokenizers::models::wordpiece::WordPiece as Model;
use tokenizers::normalizers::bert::BertNormalizer;
use tokenizers::pre_tokenizers::bert::BertPreTokenizer;
use tokenizers::{DecoderWrapper, Model as _, PostProcessorWrapper, TokenizerImpl};

use super::error::Error;

/// The token `[CLS]`, the first of every text that the transformer reads.
pub(crate) const START: u32 = 101;
/// The token `[SEP]`, the last of every text that the transformer reads.
pub(crate) const END: u32 = 102;
/// The longest word in the vocabulary, in bytes, with a space. It bounds how much of a long text is
/// tokenized.
const MAX_TOKEN_BYTES: usize = 24;

pub(crate) struct WordPiece(
    TokenizerImpl<Model, BertNormalizer, BertPreTokenizer, PostProcessorWrapper, DecoderWrapper>,
);

impl WordPiece {
    /// Reads a vocabulary with one token per line. A token that continues a word starts with `##`.
    pub(crate) fn new(vocabulary: &str) -> Result<Self, Error> {
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

    /// The first `most` tokens of a text, without [`START`] and [`END`].
    pub(crate) fn tokens(&self, text: &str, most: usize) -> Vec<u32> {
        let start = &text[..text.floor_char_boundary(most * MAX_TOKEN_BYTES)];
        let encoded = self.0.encode_fast(start, false);
        encoded
            .map(|encoding| encoding.get_ids().iter().take(most).copied().collect())
            .unwrap_or_default()
    }

    /// The position of a whole word in the vocabulary. More common words come first.
    pub(crate) fn rank(&self, word: &str) -> Option<u32> {
        self.0.get_model().token_to_id(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_those_of_the_reference_tokenizer() {
        let pieces = WordPiece::new(include_str!("../../../models/vocab.txt")).unwrap();
        let known: Vec<(String, Vec<u32>)> =
            serde_json::from_str(include_str!("../../../models/train/tokens.json")).unwrap();
        assert!(known.len() >= 20);
        // The reference turns the text "[CLS]" into the special token. A prompt must not be able to
        // write one, so here it is ordinary text.
        for (text, ids) in known.into_iter().filter(|(text, _)| !text.contains("[CLS]")) {
            assert_eq!(pieces.tokens(&text, 512), ids, "{text}");
        }
    }

    #[test]
    fn a_text_over_the_bound_is_truncated() {
        let pieces = WordPiece::new(include_str!("../../../models/vocab.txt")).unwrap();
        assert_eq!(pieces.tokens(&"forecast ".repeat(100_000), 64).len(), 64);
    }
}
