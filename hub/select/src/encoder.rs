//! The transformer: a vector a text, in milliseconds.

use std::sync::Arc;

use rten::{Model, ModelOptions, NodeId, OpRegistry, RunOptions, ThreadPool, op_registry};
use rten_tensor::prelude::*;
use rten_tensor::{NdTensor, NdTensorView};

use crate::models::Error;
use crate::vector::Vector;
use crate::wordpiece::{END, START, WordPiece};

/// In the binary.
pub static WEIGHTS: &[u8] = include_bytes!("../../models/encoder.onnx");

/// Most tokens of a text, with the two at its ends: what takes time grows with them.
const TOKENS: usize = 64;
/// Most tokens of texts that are read at once, with what they are padded by.
const TOGETHER: usize = 128;
/// Threads that one text is spread over: a hub has other things to do.
const THREADS: usize = 2;
/// What the file calls itself: int8 weights are a block in it that need not be copied.
const FILE: &str = "encoder.onnx_data";
/// The output of the model as it was published; the first is tuned for prompts. A file that is not tuned has one for both.
const PUBLISHED: &str = "base";

/// With the two at the ends, at most `most`.
fn tokens(pieces: &WordPiece, text: &str, most: usize) -> Vec<u32> {
    let mut tokens = vec![START];
    tokens.extend(pieces.tokens(text, most.saturating_sub(2)));
    tokens.push(END);
    tokens
}

/// Ready to run.
pub struct Encoder {
    model: Model,
    inputs: [NodeId; 2],
    tuned: NodeId,
    published: NodeId,
    threads: Arc<ThreadPool>,
}

/// What the graph is made of: the code of all other operators stays out of the program.
#[rustfmt::skip]
fn operators() -> OpRegistry {
    op_registry!(
        Abs, Add, Cast, Div, Gather, Gelu, LayerNormalization, MatMul, MatMulInteger, Max, Mul, QuantizeLinear, ReduceMax,
        Reshape, Shape, Slice, Softmax, Split, Sub, Transpose, Unsqueeze
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
        let node = |name: &str| model.find_node(name).ok_or_else(|| wrong(format!("has no input {name}")));
        let inputs = [node("input_ids")?, node("attention_mask")?];
        let tuned = *model.output_ids().first().ok_or_else(|| wrong("has no output".to_owned()))?;
        let published = model.find_node(PUBLISHED).filter(|id| model.output_ids().contains(id)).unwrap_or(tuned);
        Ok(Self { inputs, tuned, published, threads: Arc::new(ThreadPool::with_num_threads(THREADS)), model })
    }

    /// The direction of a tool's text, by the model as it was published; of one that cannot be read, a vector that is
    /// like nothing.
    pub fn encode_tool(&self, pieces: &WordPiece, text: &str) -> Vector {
        let sums = self.sums(self.published, &[tokens(pieces, text, TOKENS)]);
        Vector::new(&sums.and_then(|mut sums| sums.pop()).unwrap_or_default())
    }

    /// The directions of the parts of a prompt, and that of all their tokens, by the model as it was tuned for prompts.
    /// The parts are read at once, each by itself: what one says does not move the others.
    pub fn encode_parts(&self, pieces: &WordPiece, parts: &[&str]) -> (Vector, Vec<Vector>) {
        let most = TOKENS.min(TOGETHER / parts.len().max(1));
        let tokens: Vec<Vec<u32>> = parts.iter().map(|part| tokens(pieces, part, most)).collect();
        let sums = self.sums(self.tuned, &tokens).unwrap_or_default();
        let mut all = sums.first().map_or_else(Vec::new, |sum| vec![0.0; sum.len()]);
        for sum in &sums {
            all.iter_mut().zip(sum).for_each(|(all, value)| *all += value);
        }
        (Vector::new(&all), sums.iter().map(|sum| Vector::new(sum)).collect())
    }

    /// The sum over the tokens of each text: its direction is that of the mean. Padded to the longest of them.
    fn sums(&self, output: NodeId, texts: &[Vec<u32>]) -> Option<Vec<Vec<f32>>> {
        let longest = texts.iter().map(Vec::len).max()?;
        let shape = [texts.len(), longest];
        let (mut ids, mut mask) = (NdTensor::full(shape, 0i32), NdTensor::full(shape, 0i32));
        for (row, tokens) in texts.iter().enumerate() {
            for (column, &token) in tokens.iter().enumerate() {
                ids[[row, column]] = token.cast_signed();
                mask[[row, column]] = 1;
            }
        }
        let inputs = self.inputs.into_iter().zip([ids.view().into(), mask.view().into()]).collect();
        let mut options = RunOptions::default();
        options.thread_pool = Some(Arc::clone(&self.threads));
        let [hidden] = self.model.run_n(inputs, [output], Some(options)).ok()?;
        let hidden: NdTensor<f32, 3> = hidden.try_into().ok()?;
        let sum = |(text, tokens): (usize, &Vec<u32>)| {
            let rows: NdTensorView<'_, f32, 2> = hidden.slice(text);
            let mut sum = vec![0.0; rows.size(1)];
            for row in 0..tokens.len() {
                sum.iter_mut().zip(rows.slice(row).iter()).for_each(|(sum, value): (&mut f32, &f32)| *sum += value);
            }
            sum
        };
        Some(texts.iter().enumerate().map(sum).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_part_beside_a_long_one_reads_as_it_does_alone() {
        let pieces = WordPiece::new(include_str!("../../models/vocab.txt")).unwrap();
        let encoder = Encoder::read(WEIGHTS).unwrap();
        let (short, long) = ("book two seats", "find out which of the films of this week is shown nearest to my hotel");
        let (whole, parts) = encoder.encode_parts(&pieces, &[short, long]);
        for (text, part) in [short, long].into_iter().zip(&parts) {
            let (alone, _) = encoder.encode_parts(&pieces, &[text]);
            assert!(alone.cosine(part) > 0.999 && alone.cosine(&whole) > 0.3, "{text}");
        }
        assert!(parts[0].cosine(&parts[1]) < 0.9);
    }

    // Cosines by the published weights in floats: int8 that a CPU counts wrongly moves them, and the tools with them.
    #[test]
    fn in_int8_texts_are_as_alike_as_in_floats() {
        let pieces = WordPiece::new(include_str!("../../models/vocab.txt")).unwrap();
        let encoder = Encoder::read(WEIGHTS).unwrap();
        for (one, other, alike) in [
            ("book two seats for the film tonight", "reserve cinema tickets", 0.472),
            ("get weather: forecast for a city", "will it rain in Oslo tomorrow?", 0.439),
            ("create issue: open an issue in a repository", "will it rain in Oslo tomorrow?", 0.015),
            ("list files: names of all files in a folder", "what is in my downloads directory", 0.217),
        ] {
            let found = encoder.encode_tool(&pieces, one).cosine(&encoder.encode_tool(&pieces, other));
            assert!((found - alike).abs() < 0.02, "{one}, {other}: {found}");
        }
    }
}
