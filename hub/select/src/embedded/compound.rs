//! Splits names that are written without separators (`weatherforecast`) into words.

use super::wordpiece::WordPiece;

/// Shorter names are not split.
const MIN_NAME: usize = 7;
/// Longer names are not split, because the time grows with the square of the length.
const MAX_NAME: usize = 40;
/// The shortest word that a name is split into.
const MIN_WORD: usize = 3;
/// The cost of each word, added to the logarithm of its rank in the vocabulary. The higher it is,
/// the fewer words a name is split into. Positive; no measurement of other values is recorded.
const WORD_COST: f32 = 2.5;

/// The words of a compound name. Empty if the name is a word itself, or if it is not made up of
/// words of the vocabulary.
pub(crate) fn split(pieces: &WordPiece, name: &str) -> Vec<String> {
    let bytes = name.len();
    if !(MIN_NAME..=MAX_NAME).contains(&bytes)
        || !name.bytes().all(|b| b.is_ascii_lowercase())
        || pieces.rank(name).is_some()
    {
        return Vec::new();
    }
    // best[i] is the lowest cost of splitting the first i letters, and where the last word starts.
    let mut best: Vec<Option<(f32, usize)>> = vec![None; bytes + 1];
    best[0] = Some((0.0, 0));
    for end in MIN_WORD..=bytes {
        for start in 0..=end - MIN_WORD {
            let (Some((before, _)), Some(rank)) = (best[start], pieces.rank(&name[start..end]))
            else {
                continue;
            };
            let cost = before + WORD_COST + (rank as f32).ln();
            if best[end].is_none_or(|(known, _)| cost < known) {
                best[end] = Some((cost, start));
            }
        }
    }
    let mut words = Vec::new();
    let mut end = bytes;
    while let Some((_, start)) = best[end].filter(|_| end > 0) {
        words.push(name[start..end].to_owned());
        end = start;
    }
    words.reverse();
    if words.len() < 2 || end > 0 { Vec::new() } else { words }
}
