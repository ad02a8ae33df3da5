//! The transformer: a vector a text, in milliseconds.

use std::sync::Arc;

use rten::{Model, ModelOptions, NodeId, OpRegistry, RunOptions, ThreadPool, op_registry};
use rten_tensor::prelude::*;
use rten_tensor::{NdTensor, NdTensorView};

use crate::embedded::models::Error;
use crate::embedded::vector::Vector;
use crate::embedded::wordpiece::{END, START};

/// In the binary.
pub static WEIGHTS: &[u8] = include_bytes!("../../../models/encoder.onnx");

/// Tokens at the ends of a text.
const ENDS: usize = 2;
/// Most tokens of a text, with the two at its ends: what takes time grows with them.
pub const TOKENS: usize = 64;
/// Most tokens of texts that are read at once.
const TOGETHER: usize = 128;
/// Threads that one text is spread over. Two wait for each other longer than they save, and a hub has other things to do.
const THREADS: usize = 1;
/// What the file calls itself: int8 weights are a block in it that need not be copied.
const FILE: &str = "encoder.onnx_data";
/// Tokens, the place of each in its text, and the number of the text.
const INPUTS: [&str; 3] = ["input_ids", "positions", "texts"];
/// How much of what was tuned for prompts counts.
const TUNED: &str = "tuned";
const FOR_PROMPTS: f32 = 1.0;
const FOR_TOOLS: f32 = 0.0;

/// Ready to run.
pub struct Encoder {
    model: Model,
    inputs: [NodeId; INPUTS.len()],
    tuned: NodeId,
    output: NodeId,
    threads: Arc<ThreadPool>,
}

/// What the graph is made of: the code of all other operators stays out of the program.
#[rustfmt::skip]
fn operators() -> OpRegistry {
    op_registry!(
        Abs, Add, Cast, Div, Gather, Gelu, LayerNormalization, MatMul, MatMulInteger, Max, Mul, QuantizeLinear, ReduceMax,
        Reshape, Softmax, Split, Sub, Transpose, Unsqueeze
    )
}

impl Encoder {
    /// Reads the file's content, without a copy of it.
    pub fn read(weights: &'static [u8]) -> Result<Self, Error> {
        let wrong = |what: String| Error::Weights(format!("transformer: {what}"));
        // Packed beforehand, as packing int8 takes as long as multiplying; it is 11 MB.
        let mut options = ModelOptions::with_ops(operators());
        options.prepack_weights(true).external_data_static(FILE, weights);
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

    /// The directions of tools, by the model as it was published; of one that cannot be read, a vector that is like
    /// nothing. The tokens are those of their texts. Each is read alone: where a text stands among others moves the last
    /// digits of floats, and a vector must not tell what other tools there are.
    pub fn encode_tools(&self, tools: &[Vec<u32>]) -> Vec<Vector> {
        let alone =
            |tokens: &Vec<u32>| self.sums(FOR_TOOLS, &[&tokens[..tokens.len().min(TOKENS - ENDS)]]);
        tools
            .iter()
            .map(|tokens| Vector::new(alone(tokens).first().map_or(&[], Vec::as_slice)))
            .collect()
    }

    /// The parts of a prompt, each as the sum of its tokens, by the model as it was tuned for prompts; none when they cannot
    /// be read. They are read at once, each by itself: what one says does not move the others.
    pub fn encode_parts(&self, parts: &[&[u32]]) -> Vec<Vec<f32>> {
        let most = TOKENS.min(TOGETHER / parts.len().max(1)).saturating_sub(ENDS);
        let cut: Vec<&[u32]> =
            parts.iter().map(|tokens| &tokens[..tokens.len().min(most)]).collect();
        self.sums(FOR_PROMPTS, &cut)
    }

    /// The sum over the tokens of each text: its direction is that of the mean. They lie one after the other, so that
    /// nothing is padded; none when they cannot be read.
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
    use crate::embedded::wordpiece::WordPiece;

    #[test]
    fn a_short_part_beside_a_long_one_reads_as_it_does_alone() {
        let pieces = WordPiece::new(include_str!("../../../models/vocab.txt")).unwrap();
        let encoder = Encoder::read(WEIGHTS).unwrap();
        let (short, long) = (
            "book two seats",
            "find out which of the films of this week is shown nearest to my hotel",
        );
        let tokens = [short, long].map(|text| pieces.tokens(text, TOKENS));
        let direction = |sums: &[Vec<f32>], part: usize| Vector::new(&sums[part]);
        let together = encoder.encode_parts(&[&tokens[0], &tokens[1]]);
        for (part, text) in tokens.iter().enumerate() {
            let alone = encoder.encode_parts(&[text]);
            assert!(direction(&alone, 0).cosine(&direction(&together, part)) > 0.999, "{text:?}");
        }
        assert!(direction(&together, 0).cosine(&direction(&together, 1)) < 0.9);
    }

    // Else tools would be found by what others say, and their scores would tell what others there are.
    #[test]
    fn tools_that_are_read_together_have_the_vectors_that_they_have_alone() {
        let pieces = WordPiece::new(include_str!("../../../models/vocab.txt")).unwrap();
        let encoder = Encoder::read(WEIGHTS).unwrap();
        let long =
            "finds what is written in the files of a folder and of those below it ".repeat(9);
        let tools =
            ["", "get weather", &long, "send mail: writes to somebody", &long, "list files"];
        let tokens = tools.map(|text| pieces.tokens(text, 2 * TOKENS));
        let together = encoder.encode_tools(&tokens);
        assert_eq!(together.len(), tools.len());
        for (text, vector) in tokens.iter().zip(&together) {
            let alone = encoder.encode_tools(std::slice::from_ref(text));
            assert_eq!(alone[0], *vector, "{text:?}");
        }
    }

    // What was learned from prompts is about prompts: tools stay where they were published, as the next test says.
    #[test]
    fn a_prompt_is_not_read_as_a_tool_is() {
        let pieces = WordPiece::new(include_str!("../../../models/vocab.txt")).unwrap();
        let encoder = Encoder::read(WEIGHTS).unwrap();
        let tokens = pieces.tokens("will it rain in Oslo tomorrow?", TOKENS);
        let (prompt, tool) =
            (encoder.encode_parts(&[&tokens]), encoder.encode_tools(std::slice::from_ref(&tokens)));
        let alike = Vector::new(&prompt[0]).cosine(&tool[0]);
        assert!((0.5..0.98).contains(&alike), "{alike}");
    }

    // Cosines by the published weights in floats: int8 that a CPU counts wrongly moves them, and the tools with them.
    #[test]
    fn in_int8_texts_are_as_alike_as_in_floats() {
        let pieces = WordPiece::new(include_str!("../../../models/vocab.txt")).unwrap();
        let encoder = Encoder::read(WEIGHTS).unwrap();
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
                encoder.encode_tools(&[one, other].map(|text| pieces.tokens(text, TOKENS)));
            let found = vectors[0].cosine(&vectors[1]);
            assert!((found - alike).abs() < 0.02, "{one}, {other}: {found}");
        }
    }
}
