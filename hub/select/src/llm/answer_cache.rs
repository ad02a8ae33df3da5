//! Serializes cached answers, so that they outlive a process and can be shared between pods. The
//! bytes contain neither prompts nor names of tools.

use std::collections::HashMap;

use super::question::AnswerKey;

/// The first byte. Bytes with another version are not read.
const FORMAT_VERSION: u8 = 1;
/// The bytes of an entry's key, time and length.
const HEADER_BYTES: usize = 16 + 4 + 1;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CachedAnswer {
    /// Identifies the question.
    pub key: AnswerKey,
    /// In seconds since 1970.
    pub created_at: u64,
    /// The answer, as positions.
    pub value: Vec<u8>,
}

/// Serializes the newest entries, as many as fit in `max_bytes`.
pub fn encode(mut entries: Vec<CachedAnswer>, max_bytes: usize) -> Vec<u8> {
    entries
        .sort_unstable_by(|a, b| b.created_at.cmp(&a.created_at).then_with(|| a.key.cmp(&b.key)));
    let mut bytes = vec![FORMAT_VERSION];
    for entry in entries {
        let (Ok(created_at), Ok(length)) =
            (u32::try_from(entry.created_at), u8::try_from(entry.value.len()))
        else {
            continue;
        };
        if bytes.len() + HEADER_BYTES + entry.value.len() > max_bytes {
            break;
        }
        bytes.extend(entry.key.0);
        bytes.extend(created_at.to_le_bytes());
        bytes.push(length);
        bytes.extend(entry.value);
    }
    bytes
}

/// Reads the entries, up to the first invalid one. Users must validate the values.
pub fn decode(bytes: &[u8]) -> Vec<CachedAnswer> {
    let Some((&FORMAT_VERSION, mut rest)) = bytes.split_first() else { return Vec::new() };
    let mut entries = Vec::new();
    while let Some((entry, after)) = decode_one(rest) {
        entries.push(entry);
        rest = after;
    }
    entries
}

fn decode_one(bytes: &[u8]) -> Option<(CachedAnswer, &[u8])> {
    let (key, rest) = bytes.split_first_chunk::<16>()?;
    let (created_at, rest) = rest.split_first_chunk::<4>()?;
    let (length, rest) = rest.split_first()?;
    let (value, rest) = rest.split_at_checked(usize::from(*length))?;
    Some((
        CachedAnswer {
            key: AnswerKey(*key),
            created_at: u32::from_le_bytes(*created_at).into(),
            value: value.to_vec(),
        },
        rest,
    ))
}

/// Merges the serialized answers of several pods. Of two answers to one question, the newer wins.
pub fn merge<'a>(parts: impl IntoIterator<Item = &'a [u8]>, max_bytes: usize) -> Vec<u8> {
    let mut newest: HashMap<AnswerKey, CachedAnswer> = HashMap::new();
    for entry in parts.into_iter().flat_map(decode) {
        let known = newest.entry(entry.key).or_insert_with(|| entry.clone());
        // The value breaks ties, so that the order of the parts does not matter.
        if (entry.created_at, &entry.value) > (known.created_at, &known.value) {
            *known = entry;
        }
    }
    encode(newest.into_values().collect(), max_bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(key: u8, created_at: u64, value: &[u8]) -> CachedAnswer {
        CachedAnswer { key: AnswerKey([key; 16]), created_at, value: value.to_vec() }
    }

    #[test]
    fn the_newest_answers_are_written_if_not_all_fit() {
        let bytes = encode(
            vec![entry(1, 10, &[1]), entry(2, 30, &[2, 3]), entry(3, 20, &[])],
            1 + 2 * HEADER_BYTES + 2,
        );
        assert_eq!(decode(&bytes), [entry(2, 30, &[2, 3]), entry(3, 20, &[])]);
    }

    #[test]
    fn a_merge_keeps_the_newer_answer_in_any_order_of_the_parts() {
        let (a, b) = (
            encode(vec![entry(1, 10, &[1]), entry(2, 5, &[])], 1000),
            encode(vec![entry(1, 20, &[9])], 1000),
        );
        let merged = merge([a.as_slice(), &b], 1000);
        assert_eq!(merged, merge([b.as_slice(), &a], 1000));
        assert_eq!(decode(&merged), [entry(1, 20, &[9]), entry(2, 5, &[])]);
    }

    #[test]
    fn another_format_version_is_not_read() {
        assert!(decode(&[9, 1, 2, 3]).is_empty() && decode(&[]).is_empty());
    }

    proptest! {
        #[test]
        fn decoding_any_bytes_stays_within_their_length(
            bytes in prop::collection::vec(any::<u8>(), 0..200)
        ) {
            let entries = decode(&bytes);
            prop_assert!(entries.len() * HEADER_BYTES <= bytes.len());
            prop_assert!(merge([bytes.as_slice()], 100).len() <= 100);
        }

        #[test]
        fn encoded_answers_are_decoded(
            keys in prop::collection::btree_map(
                any::<[u8; 16]>(),
                (0_u64..1 << 32, prop::collection::vec(any::<u8>(), 0..60)),
                0..20,
            )
        ) {
            let entry = |(key, (created_at, value))| {
                CachedAnswer { key: AnswerKey(key), created_at, value }
            };
            let entries: Vec<CachedAnswer> = keys.into_iter().map(entry).collect();
            let mut back = decode(&encode(entries.clone(), usize::MAX));
            back.sort_by_key(|entry| entry.key);
            prop_assert_eq!(back, entries);
        }
    }
}
