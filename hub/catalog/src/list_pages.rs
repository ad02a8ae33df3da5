//! A list as JSON arrays, cut into pages. A page is rendered on first use: most lists are asked for
//! once or never.

use std::ops::Range;
use std::sync::OnceLock;

/// Largest page in bytes. Many clients read only the first page, so there is only one unless the
/// list is huge.
const MAX_PAGE_BYTES: usize = 4 << 20;

/// The pages of a list, at least one.
#[derive(Debug)]
pub(crate) struct ListPages(Vec<Page>);

#[derive(Debug)]
struct Page {
    /// The entries of the list that are on it.
    entries: Range<usize>,
    bytes: usize,
    text: OnceLock<String>,
}

impl Page {
    fn new(entries: Range<usize>, bytes: usize) -> Self {
        Self { entries, bytes, text: OnceLock::new() }
    }
}

impl ListPages {
    /// Pages for entries of these lengths.
    pub(crate) fn new(lengths: impl Iterator<Item = usize>) -> Self {
        Self::with_limit(lengths, MAX_PAGE_BYTES)
    }

    pub(crate) fn with_limit(lengths: impl Iterator<Item = usize>, max_bytes: usize) -> Self {
        let mut pages = Vec::new();
        let (mut first, mut end, mut bytes) = (0, 0, 2);
        for length in lengths {
            if end > first && bytes + length + 1 > max_bytes {
                pages.push(Page::new(first..end, bytes));
                (first, bytes) = (end, 2);
            }
            end += 1;
            bytes += length + 1;
        }
        pages.push(Page::new(first..end, bytes));
        Self(pages)
    }

    /// The page that a cursor names, and the cursor of the next page. A cursor contains the digest
    /// of its list, so one for an older list is `None`.
    pub(crate) fn page<'p, 'd, D>(
        &'p self,
        digest: u64,
        cursor: Option<&str>,
        definitions: impl FnOnce() -> D,
    ) -> Option<(&'p str, Option<String>)>
    where
        D: Iterator<Item = &'d str>,
    {
        let position = match cursor {
            None => 0,
            Some(cursor) => {
                let (list, position) = cursor.split_once('-')?;
                (list == format!("{digest:016x}")).then_some(())?;
                position.parse().ok()?
            }
        };
        let page = self.0.get(position)?;
        let text = page.text.get_or_init(|| {
            let mut text = String::with_capacity(page.bytes);
            text.push('[');
            for definition in definitions().skip(page.entries.start).take(page.entries.len()) {
                if text.len() > 1 {
                    text.push(',');
                }
                text.push_str(definition);
            }
            text.push(']');
            text
        });
        let next = (position + 1 < self.0.len()).then(|| format!("{digest:016x}-{}", position + 1));
        Some((text, next))
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}
