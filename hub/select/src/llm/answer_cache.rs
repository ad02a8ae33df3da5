//! Answers that outlive a process, as bytes. Neither prompts nor names of tools are in them.

use std::collections::HashMap;

use super::question::Key;

/// First byte: another layout is not read.
const LAYOUT: u8 = 1;
/// Key, time and length of one entry.
const HEAD: usize = 16 + 4 + 1;

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// To which question.
    pub key: Key,
    /// When it was given, in seconds since 1970.
    pub made: u64,
    /// What it was: positions.
    pub value: Vec<u8>,
}

/// The entries as bytes, the newest first, as many as fit.
pub fn write(mut entries: Vec<Entry>, most: usize) -> Vec<u8> {
    entries.sort_unstable_by(|a, b| b.made.cmp(&a.made).then_with(|| a.key.cmp(&b.key)));
    let mut bytes = vec![LAYOUT];
    for entry in entries {
        let (Ok(made), Ok(length)) = (u32::try_from(entry.made), u8::try_from(entry.value.len()))
        else {
            continue;
        };
        if bytes.len() + HEAD + entry.value.len() > most {
            break;
        }
        bytes.extend(entry.key.0);
        bytes.extend(made.to_le_bytes());
        bytes.push(length);
        bytes.extend(entry.value);
    }
    bytes
}

/// The entries of these bytes, as far as they can be read. Whatever they say, it is checked again where it is used.
pub fn read(bytes: &[u8]) -> Vec<Entry> {
    let Some((&LAYOUT, mut rest)) = bytes.split_first() else { return Vec::new() };
    let mut entries = Vec::new();
    while let Some((entry, after)) = one(rest) {
        entries.push(entry);
        rest = after;
    }
    entries
}

fn one(bytes: &[u8]) -> Option<(Entry, &[u8])> {
    let (key, rest) = bytes.split_first_chunk::<16>()?;
    let (made, rest) = rest.split_first_chunk::<4>()?;
    let (length, rest) = rest.split_first()?;
    let (value, rest) = rest.split_at_checked(usize::from(*length))?;
    Some((
        Entry { key: Key(*key), made: u32::from_le_bytes(*made).into(), value: value.to_vec() },
        rest,
    ))
}

/// What several pods know, in as many bytes. Of two answers to one question the newer stays.
pub fn merge<'a>(parts: impl IntoIterator<Item = &'a [u8]>, most: usize) -> Vec<u8> {
    let mut newest: HashMap<Key, Entry> = HashMap::new();
    for entry in parts.into_iter().flat_map(read) {
        let known = newest.entry(entry.key).or_insert_with(|| entry.clone());
        // By value too, so that the order of the parts does not matter.
        if (entry.made, &entry.value) > (known.made, &known.value) {
            *known = entry;
        }
    }
    write(newest.into_values().collect(), most)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn entry(key: u8, made: u64, value: &[u8]) -> Entry {
        Entry { key: Key([key; 16]), made, value: value.to_vec() }
    }

    #[test]
    fn the_newest_stay_when_not_all_fit() {
        let bytes = write(
            vec![entry(1, 10, &[1]), entry(2, 30, &[2, 3]), entry(3, 20, &[])],
            1 + 2 * HEAD + 2,
        );
        assert_eq!(read(&bytes), [entry(2, 30, &[2, 3]), entry(3, 20, &[])]);
    }

    #[test]
    fn the_newer_of_two_answers_stays_whoever_had_it() {
        let (a, b) = (
            write(vec![entry(1, 10, &[1]), entry(2, 5, &[])], 1000),
            write(vec![entry(1, 20, &[9])], 1000),
        );
        let merged = merge([a.as_slice(), &b], 1000);
        assert_eq!(merged, merge([b.as_slice(), &a], 1000));
        assert_eq!(read(&merged), [entry(1, 20, &[9]), entry(2, 5, &[])]);
    }

    #[test]
    fn another_layout_is_not_read() {
        assert!(read(&[9, 1, 2, 3]).is_empty() && read(&[]).is_empty());
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let entries = read(&bytes);
            prop_assert!(entries.len() * HEAD <= bytes.len());
            prop_assert!(merge([bytes.as_slice()], 100).len() <= 100);
        }

        #[test]
        fn what_is_written_is_read(keys in prop::collection::btree_map(any::<[u8; 16]>(), (0_u64..1 << 32, prop::collection::vec(any::<u8>(), 0..60)), 0..20)) {
            let entries: Vec<Entry> = keys.into_iter().map(|(key, (made, value))| Entry { key: Key(key), made, value }).collect();
            let mut back = read(&write(entries.clone(), usize::MAX));
            back.sort_by_key(|entry| entry.key);
            prop_assert_eq!(back, entries);
        }
    }
}
