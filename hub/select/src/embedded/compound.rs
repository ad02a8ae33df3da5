//! Names written without a seam (`weatherforecast`), cut into words.

use crate::embedded::wordpiece::WordPiece;

/// Shortest name that is looked at, and shortest word that it is cut into.
const NAME: usize = 7;
const WORD: usize = 3;
/// Longest name that is looked at.
const LONGEST: usize = 40;
/// What each further word costs, beside being rare: fewer words are likelier.
const SEAM: f32 = 2.5;

/// The words of a compound; none when it is a word itself or when words do not make it up.
pub fn split(pieces: &WordPiece, name: &str) -> Vec<String> {
    let bytes = name.len();
    if !(NAME..=LONGEST).contains(&bytes)
        || !name.bytes().all(|b| b.is_ascii_lowercase())
        || pieces.rank(name).is_some()
    {
        return Vec::new();
    }
    // best[i]: the cheapest way to make up the first i letters, and where its last word starts.
    let mut best: Vec<Option<(f32, usize)>> = vec![None; bytes + 1];
    best[0] = Some((0.0, 0));
    for end in WORD..=bytes {
        for start in 0..=end - WORD {
            let (Some((before, _)), Some(rank)) = (best[start], pieces.rank(&name[start..end]))
            else {
                continue;
            };
            let cost = before + SEAM + (rank as f32).ln();
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
