//! The transformer: computes the vector of a text in milliseconds.

use std::sync::Arc;

use rten::{Model, ModelOptions, NodeId, OpRegistry, RunOptions, ThreadPool, op_registry};
use rten_tensor::prelude::*;
use rten_tensor::{NdTensor, NdTensorView};

use super::error::Error;
use super::vector::Vector;
use super::wordpiece::{END, START};

/// [`START`] and [`END`].
const SPECIAL_TOKENS: usize = 2;
/// The most tokens of a text, with [`START`] and [`END`]. The time grows with them.
pub(crate) const MAX_TOKENS: usize = 64;
/// The most tokens of all clauses of a prompt together. It bounds the time of a prompt.
const MAX_PROMPT_TOKENS: usize = 128;
/// How many threads compute one text. With two, they wait for each other longer than they save, and
/// the hub needs the other cores.
const THREADS: usize = 1;
/// The name by which the graph refers to its int8 weights. They are a block of the same file, which
/// is used in place.
const EXTERNAL_DATA: &str = "encoder.onnx_data";
/// The names of the graph's inputs: tokens, position of each token in its text, number of the text.
const INPUTS: [&str; 3] = ["input_ids", "positions", "texts"];
/// The name of the input that scales the tuned part of the weights.
const TUNED: &str = "tuned";
const TUNED_FOR_PROMPTS: f32 = 1.0;
/// Tools use the published weights, so that tools that nobody trained on stay where they were. With
/// both tuned, nDCG at 5 on `MetaTool` is 69.8 in place of 72.0.
const TUNED_FOR_TOOLS: f32 = 0.0;

pub(crate) struct Encoder {
    model: Model,
    inputs: [NodeId; INPUTS.len()],
    tuned: NodeId,
    output: NodeId,
    threads: Arc<ThreadPool>,
}

/// The operators of the graph. The linker drops the code of all others.
#[rustfmt::skip]
fn operators() -> OpRegistry {
    op_registry!(
        Abs, Add, Cast, Div, Gather, Gelu, LayerNormalization, MatMul, MatMulInteger, Max, Mul,
        QuantizeLinear, ReduceMax, Reshape, Softmax, Split, Sub, Transpose, Unsqueeze
    )
}

impl Encoder {
    /// Reads the content of `encoder.onnx` without copying the weights.
    pub(crate) fn read(weights: &'static [u8]) -> Result<Self, Error> {
        let wrong = |what: String| Error::Weights(format!("transformer: {what}"));
        // Packing int8 weights takes as long as multiplying them, so it is done once. It takes
        // 11 MB.
        let mut options = ModelOptions::with_ops(operators());
        options.prepack_weights(true).external_data_static(EXTERNAL_DATA, weights);
        let model = options.load_static_slice(weights).map_err(|error| wrong(error.to_string()))?;
        let input = |name: &str| {
            model
                .find_node(name)
                .ok_or_else(|| wrong(format!("has no input {name}; write it with `onnxfile.py`")))
        };
        let [ids, positions, texts] = INPUTS;
        let (inputs, tuned) = ([input(ids)?, input(positions)?, input(texts)?], input(TUNED)?);
        let output =
            *model.output_ids().first().ok_or_else(|| wrong("has no output".to_owned()))?;
        Ok(Self {
            inputs,
            tuned,
            output,
            threads: Arc::new(ThreadPool::with_num_threads(THREADS)),
            model,
        })
    }

    /// The vectors of tools, from the tokens of their heads, with the published weights. If a text
    /// cannot be encoded, the cosine of its vector with every other is 0.
    ///
    /// Each tool is encoded alone. The position of a text among others changes the last digits of
    /// its vector, and a vector must not tell which other tools there are.
    pub(crate) fn encode_tools(&self, tools: &[Vec<u32>]) -> Vec<Vector> {
        let max = MAX_TOKENS - SPECIAL_TOKENS;
        let alone =
            |tokens: &Vec<u32>| self.sums(TUNED_FOR_TOOLS, &[&tokens[..tokens.len().min(max)]]);
        tools
            .iter()
            .map(|tokens| Vector::new(alone(tokens).first().map_or(&[], Vec::as_slice)))
            .collect()
    }

    /// The clauses of a prompt, each as the sum of its tokens, with the weights tuned for prompts.
    /// Empty if they cannot be encoded. They are computed at once, but no clause attends to
    /// another.
    pub(crate) fn encode_clauses(&self, clauses: &[&[u32]]) -> Vec<Vec<f32>> {
        let max = MAX_TOKENS.min(MAX_PROMPT_TOKENS / clauses.len().max(1));
        let max = max.saturating_sub(SPECIAL_TOKENS);
        let truncated: Vec<&[u32]> =
            clauses.iter().map(|tokens| &tokens[..tokens.len().min(max)]).collect();
        self.sums(TUNED_FOR_PROMPTS, &truncated)
    }

    /// The sum over the tokens of each text, which has the direction of their mean. The texts are
    /// laid out one after the other in one row, so nothing is padded. Empty if they cannot be
    /// encoded.
    fn sums(&self, tuned: f32, texts: &[&[u32]]) -> Vec<Vec<f32>> {
        let (mut ids, mut positions, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
        for (number, text) in (0i32..).zip(texts) {
            let whole = std::iter::once(START).chain(text.iter().copied()).chain([END]);
            for (position, token) in (0i32..).zip(whole) {
                ids.push(token.cast_signed());
                positions.push(position);
                numbers.push(number);
            }
        }
        let row = |values: &[i32]| NdTensor::from_data([1, values.len()], values.to_vec());
        let rows = [&ids, &positions, &numbers].map(|values| row(values));
        let tuned = NdTensor::from_data([1], vec![tuned]);
        let rows = self.inputs.into_iter().zip(rows.iter().map(|row| row.view().into()));
        let inputs = rows.chain([(self.tuned, tuned.view().into())]).collect();
        let mut options = RunOptions::default();
        options.thread_pool = Some(Arc::clone(&self.threads));
        let hidden = self.model.run_n(inputs, [self.output], Some(options)).ok();
        let Some(Ok(hidden)) = hidden.map(|[hidden]| NdTensor::<f32, 3>::try_from(hidden)) else {
            return Vec::new();
        };
        let hidden: NdTensorView<'_, f32, 2> = hidden.slice(0);
        let mut sums = vec![vec![0.0; hidden.size(1)]; texts.len()];
        for (row, &text) in numbers.iter().enumerate() {
            let sum = &mut sums[text as usize];
            sum.iter_mut()
                .zip(hidden.slice(row).iter())
                .for_each(|(sum, value): (&mut f32, &f32)| *sum += value);
        }
        sums
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedded::weights::{ENCODER, VOCABULARY};
    use crate::embedded::wordpiece::WordPiece;

    fn models() -> (WordPiece, Encoder) {
        (WordPiece::new(VOCABULARY).unwrap(), Encoder::read(ENCODER).unwrap())
    }

    #[test]
    fn a_short_clause_beside_a_long_one_has_the_vector_that_it_has_alone() {
        let (pieces, encoder) = models();
        let (short, long) = (
            "book two seats",
            "find out which of the films of this week is shown nearest to my hotel",
        );
        let tokens = [short, long].map(|text| pieces.tokens(text, MAX_TOKENS));
        let direction = |sums: &[Vec<f32>], part: usize| Vector::new(&sums[part]);
        let together = encoder.encode_clauses(&[&tokens[0], &tokens[1]]);
        for (part, text) in tokens.iter().enumerate() {
            let alone = encoder.encode_clauses(&[text]);
            assert!(direction(&alone, 0).cosine(&direction(&together, part)) > 0.999, "{text:?}");
        }
        assert!(direction(&together, 0).cosine(&direction(&together, 1)) < 0.9);
    }

    // Otherwise the score of a tool would tell a caller which other tools there are.
    #[test]
    fn tools_that_are_encoded_together_have_the_vectors_that_they_have_alone() {
        let (pieces, encoder) = models();
        let long =
            "finds what is written in the files of a folder and of those below it ".repeat(9);
        let tools =
            ["", "get weather", &long, "send mail: writes to somebody", &long, "list files"];
        let tokens = tools.map(|text| pieces.tokens(text, 2 * MAX_TOKENS));
        let together = encoder.encode_tools(&tokens);
        assert_eq!(together.len(), tools.len());
        for (text, vector) in tokens.iter().zip(&together) {
            let alone = encoder.encode_tools(std::slice::from_ref(text));
            assert_eq!(alone[0], *vector, "{text:?}");
        }
    }

    // The tuning is for prompts only.
    #[test]
    fn the_same_text_has_another_vector_as_a_prompt_than_as_a_tool() {
        let (pieces, encoder) = models();
        let tokens = pieces.tokens("will it rain in Oslo tomorrow?", MAX_TOKENS);
        let prompt = encoder.encode_clauses(&[&tokens]);
        let tool = encoder.encode_tools(std::slice::from_ref(&tokens));
        let alike = Vector::new(&prompt[0]).cosine(&tool[0]);
        assert!((0.5..0.98).contains(&alike), "{alike}");
    }

    // The expected cosines are those of the published weights as floats. On a CPU whose int8
    // products overflow, they would differ.
    #[test]
    fn cosines_with_int8_weights_are_those_with_floats() {
        let (pieces, encoder) = models();
        for (one, other, alike) in [
            ("book two seats for the film tonight", "reserve cinema tickets", 0.472),
            ("get weather: forecast for a city", "will it rain in Oslo tomorrow?", 0.439),
            (
                "create issue: open an issue in a repository",
                "will it rain in Oslo tomorrow?",
                0.015,
            ),
            (
                "list files: names of all files in a folder",
                "what is in my downloads directory",
                0.217,
            ),
        ] {
            let vectors =
                encoder.encode_tools(&[one, other].map(|text| pieces.tokens(text, MAX_TOKENS)));
            let found = vectors[0].cosine(&vectors[1]);
            assert!((found - alike).abs() < 0.02, "{one}, {other}: {found}");
        }
    }
}
