//! The files of weights that are compiled into the binary. `hub/models/README.md` describes them.

use sha2::{Digest as _, Sha256};

pub(crate) static VOCABULARY: &str = include_str!("../../../models/vocab.txt");
pub(crate) static DICTIONARY: &[u8] = include_bytes!("../../../models/dictionary.bin");
pub(crate) static ENCODER: &[u8] = include_bytes!("../../../models/encoder.onnx");
static TABLE: &[u8] = include_bytes!("../../../models/static.bin");
static RANKER_STATIC: &str = include_str!("../../../models/ranker-static.json");
static RANKER_FULL: &str = include_str!("../../../models/ranker-full.json");
static FLOOR: &str = include_str!("../../../models/floor.json");
static SHA256SUMS: &str = include_str!("../../../models/SHA256SUMS");

/// The contents of the files that can be replaced for a measurement.
#[derive(Clone, Copy)]
pub struct Weights {
    /// `static.bin`
    pub table: &'static [u8],
    /// `encoder.onnx`
    pub encoder: &'static [u8],
    /// `ranker-static.json` or `ranker-full.json`
    pub ranker: &'static str,
    /// `floor.json`
    pub floor: &'static str,
}

impl Weights {
    /// The files in the binary. `full` selects the ranker that was trained with the transformer.
    pub fn embedded(full: bool) -> Self {
        let ranker = if full { RANKER_FULL } else { RANKER_STATIC };
        Self { table: TABLE, encoder: ENCODER, ranker, floor: FLOOR }
    }
}

/// Identifies the vector space of the files in the binary. Stored vectors carry it, because vectors
/// of other weights cannot be compared with these, even if they have the same dimensions. The
/// ranker and the floor do not change vectors, so they are not part of it.
pub(crate) fn vector_space() -> [u8; 8] {
    let mut hash = Sha256::new();
    SHA256SUMS
        .lines()
        .filter(|line| [" encoder.onnx", " static.bin"].iter().any(|file| line.ends_with(file)))
        .for_each(|line| {
            hash.update(line);
        });
    let mut space = [0; 8];
    space.copy_from_slice(&hash.finalize()[..8]);
    space
}

#[cfg(test)]
mod tests {
    use super::*;

    // `vector_space` would not change with the files otherwise.
    #[test]
    fn the_checksums_are_those_of_the_files() {
        let files: [(&str, &[u8]); 3] = [
            ("encoder.onnx", ENCODER),
            ("static.bin", TABLE),
            ("ranker-full.json", RANKER_FULL.as_bytes()),
        ];
        for (name, content) in files {
            let sum = SHA256SUMS.lines().find_map(|line| line.strip_suffix(name)).unwrap();
            assert_eq!(sum.trim(), format!("{:x}", Sha256::digest(content)), "{name}");
        }
    }
}
