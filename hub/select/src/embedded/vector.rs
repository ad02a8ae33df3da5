//! Vectors in bytes: a quarter of the memory, and the cosine moves in the third digit only.

use rten_simd::ops::{BitOps as _, Extend as _, NumOps as _};
use rten_simd::{Isa, SimdOp};

/// Numbers that are multiplied at a time.
const LANES: usize = 32;

/// A direction: unit length, in bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Vector {
    bytes: Box<[i8]>,
    scale: f32,
}

impl Vector {
    /// The direction of `values`; of zeros or of what is no number, one that is like nothing.
    pub fn new(values: &[f32]) -> Self {
        let mut bytes = vec![0; values.len()].into_boxed_slice();
        let scale = quantize(values, &mut bytes);
        Self { bytes, scale }
    }

    /// From bytes that were kept.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        // None is written as -128, two of whose squares would not fit what products are added up in.
        let bytes: Box<[i8]> = bytes.iter().map(|&byte| byte.cast_signed().max(-127)).collect();
        let scale = inverse_norm(&bytes);
        Self { bytes, scale }
    }

    /// The bytes to keep.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.bytes.iter().map(|&byte| byte.cast_unsigned()).collect()
    }

    /// How many numbers it has.
    pub fn dimensions(&self) -> usize {
        self.bytes.len()
    }

    /// The cosine of the angle between two vectors of one space; of different spaces, 0.
    pub fn cosine(&self, other: &Self) -> f32 {
        if self.bytes.len() != other.bytes.len() {
            return 0.0;
        }
        dot(&self.bytes, &other.bytes) as f32 * self.scale * other.scale
    }

    /// As numbers of unit length.
    pub fn values(&self) -> impl Iterator<Item = f32> {
        self.bytes.iter().map(|&byte| f32::from(byte) * self.scale)
    }
}

/// Many vectors of one space, in one piece of memory.
#[derive(Clone, Debug, Default)]
pub struct Matrix {
    dimensions: usize,
    bytes: Vec<i8>,
    scales: Vec<f32>,
}

impl Matrix {
    /// Without rows.
    pub fn new(dimensions: usize) -> Self {
        Self { dimensions, ..Self::default() }
    }

    /// Adds a row, of any length of its own.
    pub fn push(&mut self, values: &[f32]) {
        let start = self.bytes.len();
        self.bytes.resize(start + self.dimensions, 0);
        let scale = if values.len() == self.dimensions {
            quantize(values, &mut self.bytes[start..])
        } else {
            0.0
        };
        self.scales.push(scale);
    }

    /// Adds a vector; one of another space counts as none.
    pub fn push_vector(&mut self, vector: Option<&Vector>) {
        match vector.filter(|vector| vector.dimensions() == self.dimensions) {
            Some(vector) => {
                self.bytes.extend_from_slice(&vector.bytes);
                self.scales.push(vector.scale);
            }
            None => self.push(&[]),
        }
    }

    /// The cosines of many rows with many vectors, each given to `put` with its place among the rows and the vectors.
    pub fn cosines(&self, rows: &[u32], vectors: &[&Vector], put: impl FnMut(usize, usize, f32)) {
        let known = vectors.iter().all(|vector| vector.dimensions() == self.dimensions);
        if self.dimensions > 0 && known {
            let wide = vectors
                .iter()
                .flat_map(|vector| vector.bytes.iter().map(|&byte| i16::from(byte)))
                .collect();
            let scales = vectors.iter().map(|vector| vector.scale).collect();
            Cosines { matrix: self, rows, wide, scales, put }.dispatch();
        }
    }

    /// The cosine of two rows.
    pub fn between(&self, one: usize, other: usize) -> f32 {
        match (self.scales.get(one), self.scales.get(other)) {
            (Some(a), Some(b)) => dot(self.row(one), self.row(other)) as f32 * a * b,
            _ => 0.0,
        }
    }

    /// Whether a row has a vector.
    pub fn has(&self, row: usize) -> bool {
        self.scales.get(row).is_some_and(|&scale| scale > 0.0)
    }

    /// Rows, with or without a vector.
    pub fn rows(&self) -> usize {
        self.scales.len()
    }

    fn row(&self, row: usize) -> &[i8] {
        &self.bytes[row * self.dimensions..(row + 1) * self.dimensions]
    }
}

/// Rows that are compared with vectors, by what the processor at hand multiplies with.
struct Cosines<'a, P> {
    matrix: &'a Matrix,
    rows: &'a [u32],
    /// The vectors one after the other, twice as wide: widened once, not for each row.
    wide: Vec<i16>,
    scales: Vec<f32>,
    put: P,
}

impl<P: FnMut(usize, usize, f32)> SimdOp for Cosines<'_, P> {
    type Output = ();

    // Inlined into a caller that was compiled for the processor: else it is compiled for the oldest there is.
    #[inline(always)]
    #[allow(clippy::inline_always)]
    fn eval<I: Isa>(mut self, isa: I) {
        for (place, &row) in self.rows.iter().enumerate() {
            let row = row as usize;
            let Some(&scale) = self.matrix.scales.get(row) else { continue };
            let bytes = self.matrix.row(row);
            for (number, &of_vector) in self.scales.iter().enumerate() {
                let wide = &self.wide[number * bytes.len()..(number + 1) * bytes.len()];
                let value = if scale > 0.0 {
                    wide_dot(isa, bytes, wide) as f32 * scale * of_vector
                } else {
                    0.0
                };
                (self.put)(place, number, value);
            }
        }
    }
}

/// In the processor's own operations: what the compiler makes of a loop depends on how the whole program is built.
#[inline(always)]
#[allow(clippy::inline_always)]
fn wide_dot<I: Isa>(isa: I, bytes: &[i8], wide: &[i16]) -> i32 {
    let (in_bytes, in_wide, in_sums) = (isa.i8(), isa.i16(), isa.i32());
    let lanes = in_bytes.len();
    let mut sums = in_sums.zero();
    for (bytes, wide) in bytes.chunks_exact(lanes).zip(wide.chunks_exact(lanes)) {
        let (bytes, [low, high]) = (in_bytes.load(bytes), in_wide.load_many::<2>(wide));
        // Products of bytes fit sixteen bits, and so does the sum of two of them.
        let products = in_wide.add(
            in_wide.mul(in_bytes.extend_low(bytes), low),
            in_wide.mul(in_bytes.extend_high(bytes), high),
        );
        sums = in_sums
            .add(sums, in_sums.add(in_wide.extend_low(products), in_wide.extend_high(products)));
    }
    let done = bytes.len() - bytes.len() % lanes;
    let rest = bytes[done..].iter().zip(&wide[done..]);
    in_sums.sum(sums) + rest.map(|(&byte, &wide)| i32::from(byte) * i32::from(wide)).sum::<i32>()
}

/// Written so that the compiler multiplies many at a time: products of bytes fit sixteen bits.
fn dot(a: &[i8], b: &[i8]) -> i32 {
    let (a_chunks, a_rest) = a.as_chunks::<LANES>();
    let (b_chunks, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0i32; LANES];
    for (a, b) in a_chunks.iter().zip(b_chunks) {
        for lane in 0..LANES {
            sums[lane] += i32::from(i16::from(a[lane]) * i16::from(b[lane]));
        }
    }
    let rest: i32 = a_rest.iter().zip(b_rest).map(|(&a, &b)| i32::from(a) * i32::from(b)).sum();
    sums.iter().sum::<i32>() + rest
}

fn quantize(values: &[f32], bytes: &mut [i8]) -> f32 {
    let largest = values.iter().fold(0.0_f32, |most, value| most.max(value.abs()));
    if !largest.is_finite() || largest <= 0.0 || values.iter().any(|value| value.is_nan()) {
        return 0.0;
    }
    for (byte, value) in bytes.iter_mut().zip(values) {
        *byte = (value / largest * 127.0).round() as i8;
    }
    inverse_norm(bytes)
}

fn inverse_norm(bytes: &[i8]) -> f32 {
    let squares = dot(bytes, bytes);
    if squares == 0 { 0.0 } else { 1.0 / (squares as f32).sqrt() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_cosine_in_bytes_is_that_of_the_numbers_within_a_hundredth(
            a in prop::collection::vec(-1.0_f32..1.0, 64), b in prop::collection::vec(-1.0_f32..1.0, 64)
        ) {
            let exact = a.iter().zip(&b).map(|(a, b)| a * b).sum::<f32>()
                / (a.iter().map(|a| a * a).sum::<f32>() * b.iter().map(|b| b * b).sum::<f32>()).sqrt();
            let (a, b) = (Vector::new(&a), Vector::new(&b));
            prop_assert!((a.cosine(&b) - exact).abs() < 0.01);
            prop_assert_eq!(Vector::from_bytes(&a.to_bytes()), a);
        }
    }

    proptest! {
        #[test]
        fn cosines_of_many_are_those_of_each(
            rows in prop::collection::vec(prop::collection::vec(-1.0_f32..1.0, 70), 1..9), zero in 0_usize..9
        ) {
            let vectors: Vec<Vector> = rows.iter().map(|row| Vector::new(row)).collect();
            let mut matrix = Matrix::new(70);
            rows.iter().enumerate().for_each(|(n, row)| matrix.push(if n == zero { &[] } else { row }));
            let places: Vec<u32> = (0..rows.len() as u32).rev().collect();
            let mut found = 0;
            matrix.cosines(&places, &vectors.iter().collect::<Vec<_>>(), |place, vector, cosine| {
                let row = places[place] as usize;
                let alone = if row == zero { 0.0 } else { vectors[row].cosine(&vectors[vector]) };
                found += i32::from((cosine - alone).abs() < 1e-6);
            });
            prop_assert_eq!(found as usize, rows.len() * rows.len());
        }
    }

    #[test]
    fn what_has_no_direction_is_like_nothing() {
        let some = Vector::new(&[1.0, 2.0]);
        for nothing in [vec![0.0, 0.0], vec![f32::NAN, 1.0], vec![f32::INFINITY, 1.0], vec![]] {
            assert!(Vector::new(&nothing).cosine(&some).abs() < 1e-9, "{nothing:?}");
        }
    }

    #[test]
    fn a_row_of_another_space_counts_as_none() {
        let mut matrix = Matrix::new(2);
        matrix.push_vector(Some(&Vector::new(&[1.0, 0.0, 0.0])));
        matrix.push(&[0.0, 3.0]);
        assert!(!matrix.has(0) && matrix.has(1));
        let mut cosines = Vec::new();
        matrix.cosines(&[0, 1], &[&Vector::new(&[0.0, 1.0])], |_, _, cosine| cosines.push(cosine));
        assert!(cosines[0].abs() < 1e-9 && (cosines[1] - 1.0).abs() < 1e-5, "{cosines:?}");
    }
}
