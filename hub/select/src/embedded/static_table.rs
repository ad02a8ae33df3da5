//! The static table: a vector for each token. The vector of a text is the sum of its tokens'
//! vectors, which takes microseconds instead of the transformer's milliseconds.

use super::error::Error;

const MAGIC: &[u8] = b"MHSTAT01";
/// The most tokens of a text that are summed.
pub(crate) const MAX_TOKENS: usize = 512;

/// The table in the binary. Only the scales are copied out of it.
pub(crate) struct StaticTable {
    dimensions: usize,
    scales: Vec<f32>,
    bytes: &'static [u8],
}

impl StaticTable {
    /// Reads the content of `static.bin`.
    pub(crate) fn read(file: &'static [u8]) -> Result<Self, Error> {
        let wrong = |what: &str| Error::Weights(format!("static table: {what}"));
        let rest = file.strip_prefix(MAGIC).ok_or_else(|| wrong("does not start with MHSTAT01"))?;
        let (rows, rest) = number(rest).ok_or_else(|| wrong("its header is truncated"))?;
        let (dimensions, rest) = number(rest).ok_or_else(|| wrong("its header is truncated"))?;
        if rest.len() != rows * 4 + rows * dimensions {
            return Err(wrong("its size does not match its header"));
        }
        let (scales, bytes) = rest.split_at(rows * 4);
        let (scales, _) = scales.as_chunks::<4>();
        let scales = scales.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        Ok(Self { dimensions, scales, bytes })
    }

    pub(crate) fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// The sum of the tokens' vectors. It is not normalized. Unknown tokens are skipped.
    pub(crate) fn sum(&self, tokens: &[u32]) -> Vec<f32> {
        let mut sum = vec![0.0; self.dimensions];
        for &token in tokens {
            let token = token as usize;
            let (Some(&scale), Some(row)) = (
                self.scales.get(token),
                self.bytes.get(token * self.dimensions..(token + 1) * self.dimensions),
            ) else {
                continue;
            };
            for (sum, &byte) in sum.iter_mut().zip(row) {
                *sum += scale * f32::from(byte.cast_signed());
            }
        }
        sum
    }
}

fn number(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_le_bytes(*head) as usize, rest))
}
