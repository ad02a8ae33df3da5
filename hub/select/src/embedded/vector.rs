//! Vectors quantized to int8. They take a quarter of the memory of floats, and the cosine changes
//! only in the third digit.

use rten_simd::ops::{BitOps as _, Extend as _, NumOps as _};
use rten_simd::{Isa, SimdOp};

/// How many products are added up side by side, so that the compiler vectorizes the loop.
const LANES: usize = 32;

/// A direction, as a vector of unit length.
#[derive(Clone, Debug, PartialEq)]
pub struct Vector {
    bytes: Box<[i8]>,
    scale: f32,
}

impl Vector {
    /// The direction of `values`. If they are all 0, or one is NaN or infinite, the cosine with
    /// every vector is 0.
    pub fn new(values: &[f32]) -> Self {
        let mut bytes = vec![0; values.len()].into_boxed_slice();
        let scale = quantize(values, &mut bytes);
        Self { bytes, scale }
    }

    /// Reads what [`Self::to_bytes`] has written.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        // `to_bytes` never writes -128. The sum of two of its squares would overflow the 16 bits
        // that products are added up in.
        let bytes: Box<[i8]> = bytes.iter().map(|&byte| byte.cast_signed().max(-127)).collect();
        let scale = inverse_norm(&bytes);
        Self { bytes, scale }
    }

    /// One byte per dimension.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.bytes.iter().map(|&byte| byte.cast_unsigned()).collect()
    }

    pub fn dimensions(&self) -> usize {
        self.bytes.len()
    }

    /// The cosine of the angle between two vectors. 0 if their dimensions differ.
    pub fn cosine(&self, other: &Self) -> f32 {
        if self.bytes.len() != other.bytes.len() {
            return 0.0;
        }
        dot(&self.bytes, &other.bytes) as f32 * self.scale * other.scale
    }

    /// The values, at unit length.
    pub(crate) fn values(&self) -> impl Iterator<Item = f32> {
        self.bytes.iter().map(|&byte| f32::from(byte) * self.scale)
    }
}

/// Many vectors with the same dimensions, in one piece of memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct Matrix {
    dimensions: usize,
    bytes: Vec<i8>,
    scales: Vec<f32>,
}

impl Matrix {
    pub(crate) fn new(dimensions: usize) -> Self {
        Self { dimensions, ..Self::default() }
    }

    /// Adds the direction of `values` as a row. With other dimensions, the row has no vector.
    pub(crate) fn push(&mut self, values: &[f32]) {
        let start = self.bytes.len();
        self.bytes.resize(start + self.dimensions, 0);
        let scale = if values.len() == self.dimensions {
            quantize(values, &mut self.bytes[start..])
        } else {
            0.0
        };
        self.scales.push(scale);
    }

    /// Adds a row. With other dimensions, or `None`, the row has no vector.
    pub(crate) fn push_vector(&mut self, vector: Option<&Vector>) {
        match vector.filter(|vector| vector.dimensions() == self.dimensions) {
            Some(vector) => {
                self.bytes.extend_from_slice(&vector.bytes);
                self.scales.push(vector.scale);
            }
            None => self.push(&[]),
        }
    }

    /// Computes the cosines of rows with vectors. `put` gets the position in `rows`, the position
    /// in `vectors`, and the cosine.
    pub(crate) fn cosines(
        &self,
        rows: &[u32],
        vectors: &[&Vector],
        put: impl FnMut(usize, usize, f32),
    ) {
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

    /// The cosine of two rows. 0 if one has no vector.
    pub(crate) fn between(&self, one: usize, other: usize) -> f32 {
        match (self.scales.get(one), self.scales.get(other)) {
            (Some(a), Some(b)) => dot(self.row(one), self.row(other)) as f32 * a * b,
            _ => 0.0,
        }
    }

    /// Whether a row has a vector.
    pub(crate) fn has(&self, row: usize) -> bool {
        self.scales.get(row).is_some_and(|&scale| scale > 0.0)
    }

    /// The number of rows, with or without a vector.
    pub(crate) fn rows(&self) -> usize {
        self.scales.len()
    }

    fn row(&self, row: usize) -> &[i8] {
        &self.bytes[row * self.dimensions..(row + 1) * self.dimensions]
    }
}

/// The operation of [`Matrix::cosines`], dispatched to the SIMD instructions of the CPU.
struct Cosines<'a, P> {
    matrix: &'a Matrix,
    rows: &'a [u32],
    /// All vectors one after the other. They are widened once here and not again for each row.
    wide: Vec<i16>,
    scales: Vec<f32>,
    put: P,
}

impl<P: FnMut(usize, usize, f32)> SimdOp for Cosines<'_, P> {
    type Output = ();

    // Must be inlined into a caller that is compiled for the CPU's instructions. Otherwise it is
    // compiled for the oldest supported CPU.
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

/// Uses SIMD operations explicitly. Whether the compiler would vectorize a plain loop depends on
/// how the whole program is built.
#[inline(always)]
#[allow(clippy::inline_always)]
fn wide_dot<I: Isa>(isa: I, bytes: &[i8], wide: &[i16]) -> i32 {
    let (in_bytes, in_wide, in_sums) = (isa.i8(), isa.i16(), isa.i32());
    let lanes = in_bytes.len();
    let mut sums = in_sums.zero();
    for (bytes, wide) in bytes.chunks_exact(lanes).zip(wide.chunks_exact(lanes)) {
        let (bytes, [low, high]) = (in_bytes.load(bytes), in_wide.load_many::<2>(wide));
        // A product of two bytes fits 16 bits, and so does the sum of two products.
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

/// Written so that the compiler vectorizes it: a product of two bytes fits 16 bits.
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
        fn the_cosine_of_quantized_vectors_is_within_a_hundredth_of_the_exact_one(
            a in prop::collection::vec(-1.0_f32..1.0, 64),
            b in prop::collection::vec(-1.0_f32..1.0, 64),
        ) {
            let squares = |values: &[f32]| values.iter().map(|value| value * value).sum::<f32>();
            let exact = a.iter().zip(&b).map(|(a, b)| a * b).sum::<f32>()
                / (squares(&a) * squares(&b)).sqrt();
            let (a, b) = (Vector::new(&a), Vector::new(&b));
            prop_assert!((a.cosine(&b) - exact).abs() < 0.01);
            prop_assert_eq!(Vector::from_bytes(&a.to_bytes()), a);
        }
    }

    proptest! {
        #[test]
        fn cosines_of_a_matrix_are_those_of_its_rows(
            rows in prop::collection::vec(prop::collection::vec(-1.0_f32..1.0, 70), 1..9),
            zero in 0_usize..9,
        ) {
            let vectors: Vec<Vector> = rows.iter().map(|row| Vector::new(row)).collect();
            let mut matrix = Matrix::new(70);
            for (n, row) in rows.iter().enumerate() {
                matrix.push(if n == zero { &[] } else { row });
            }
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
    fn a_vector_without_a_direction_has_cosine_0_with_every_vector() {
        let some = Vector::new(&[1.0, 2.0]);
        for nothing in [vec![0.0, 0.0], vec![f32::NAN, 1.0], vec![f32::INFINITY, 1.0], vec![]] {
            assert!(Vector::new(&nothing).cosine(&some).abs() < 1e-9, "{nothing:?}");
        }
    }

    #[test]
    fn a_row_with_other_dimensions_has_no_vector() {
        let mut matrix = Matrix::new(2);
        matrix.push_vector(Some(&Vector::new(&[1.0, 0.0, 0.0])));
        matrix.push(&[0.0, 3.0]);
        assert!(!matrix.has(0) && matrix.has(1));
        let mut cosines = Vec::new();
        matrix.cosines(&[0, 1], &[&Vector::new(&[0.0, 1.0])], |_, _, cosine| cosines.push(cosine));
        assert!(cosines[0].abs() < 1e-9 && (cosines[1] - 1.0).abs() < 1e-5, "{cosines:?}");
    }
}
