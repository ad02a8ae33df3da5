//! The transformer: a vector a text, in milliseconds.

use std::sync::Arc;

use rten::{Model, NodeId, RunOptions, ThreadPool};
use rten_tensor::prelude::*;
use rten_tensor::{NdTensor, NdTensorView};

use crate::models::Error;
use crate::vector::Vector;
use crate::wordpiece::{END, START, WordPiece};

/// In the binary.
pub static WEIGHTS: &[u8] = include_bytes!("../../models/encoder.onnx");

/// Most tokens of a text, with the two at its ends: what takes time grows with them.
const TOKENS: usize = 64;
/// Threads that one text is spread over: a hub has other things to do.
const THREADS: usize = 2;
/// The output with the vectors that the model had before it was tuned, where it was.
const BASE: &str = "base";

/// Ready to run.
pub struct Encoder {
    model: Model,
    inputs: [NodeId; 3],
    tuned: NodeId,
    base: NodeId,
    threads: Arc<ThreadPool>,
}

impl Encoder {
    /// Reads the file's content, without a copy of it.
    pub fn read(weights: &'static [u8]) -> Result<Self, Error> {
        let wrong = |what: String| Error::Weights(format!("transformer: {what}"));
        let model = Model::load_static_slice(weights).map_err(|error| wrong(error.to_string()))?;
        let node = |name: &str| model.find_node(name).ok_or_else(|| wrong(format!("has no input {name}")));
        let inputs = [node("input_ids")?, node("attention_mask")?, node("token_type_ids")?];
        let tuned = *model.output_ids().first().ok_or_else(|| wrong("has no output".to_owned()))?;
        let base = model.find_node(BASE).filter(|id| model.output_ids().contains(id)).unwrap_or(tuned);
        Ok(Self { inputs, tuned, base, threads: Arc::new(ThreadPool::with_num_threads(THREADS)), model })
    }

    /// The direction of a text; of one that cannot be read, a vector that is like nothing.
    pub fn encode(&self, pieces: &WordPiece, text: &str) -> Vector {
        self.run(self.tuned, pieces, text)
    }

    /// The same by the model as it was before it was tuned.
    pub fn encode_base(&self, pieces: &WordPiece, text: &str) -> Vector {
        self.run(self.base, pieces, text)
    }

    /// Whether it was tuned: if not, both say the same.
    pub fn is_tuned(&self) -> bool {
        self.base != self.tuned
    }

    fn run(&self, output: NodeId, pieces: &WordPiece, text: &str) -> Vector {
        let mut tokens = vec![START];
        tokens.extend(pieces.tokens(text, TOKENS - 2));
        tokens.push(END);
        Vector::new(&self.mean(output, &tokens).unwrap_or_default())
    }

    /// The mean over the tokens. One text at a time: nothing is padded, so the mask is all ones.
    fn mean(&self, output: NodeId, tokens: &[u32]) -> Option<Vec<f32>> {
        let shape = [1, tokens.len()];
        let ids = NdTensor::from_data(shape, tokens.iter().map(|&token| token.cast_signed()).collect::<Vec<i32>>());
        let mask = NdTensor::full(shape, 1i32);
        let types = NdTensor::full(shape, 0i32);
        let inputs =
            self.inputs.into_iter().zip([ids.view().into(), mask.view().into(), types.view().into()]).collect();
        let mut options = RunOptions::default();
        options.thread_pool = Some(Arc::clone(&self.threads));
        let [hidden] = self.model.run_n(inputs, [output], Some(options)).ok()?;
        let hidden: NdTensor<f32, 3> = hidden.try_into().ok()?;
        let rows: NdTensorView<'_, f32, 2> = hidden.slice(0);
        let mut sum = vec![0.0; rows.size(1)];
        for row in 0..rows.size(0) {
            sum.iter_mut().zip(rows.slice(row).iter()).for_each(|(sum, value): (&mut f32, &f32)| *sum += value);
        }
        Some(sum)
    }
}
