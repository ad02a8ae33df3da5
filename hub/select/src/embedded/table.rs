//! The static table: a vector a token. A text is the sum of its tokens: microseconds, no transformer.

use crate::embedded::models::Error;

const MAGIC: &[u8] = b"MHSTAT01";
/// Most tokens of a text that are summed.
pub const TOKENS: usize = 512;

/// The table as it lies in the binary: nothing is copied but the scales.
pub struct Table {
    dimensions: usize,
    scales: Vec<f32>,
    bytes: &'static [u8],
}

impl Table {
    /// Reads the file's content.
    pub fn read(file: &'static [u8]) -> Result<Self, Error> {
        let wrong = |what: &str| Error::Weights(format!("static table: {what}"));
        let rest = file.strip_prefix(MAGIC).ok_or_else(|| wrong("does not start with MHSTAT01"))?;
        let (rows, rest) = number(rest).ok_or_else(|| wrong("ends in its head"))?;
        let (dimensions, rest) = number(rest).ok_or_else(|| wrong("ends in its head"))?;
        if rest.len() != rows * 4 + rows * dimensions {
            return Err(wrong("its size is not what its head says"));
        }
        let (scales, bytes) = rest.split_at(rows * 4);
        let (scales, _) = scales.as_chunks::<4>();
        let scales = scales.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        Ok(Self { dimensions, scales, bytes })
    }

    /// Numbers of a vector.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// The sum of a text's tokens, of any length.
    pub fn sum(&self, tokens: &[u32]) -> Vec<f32> {
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
