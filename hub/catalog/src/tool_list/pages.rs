//! A list as JSON arrays. Rendered when first asked: most lists are asked for once or never.

use std::ops::Range;
use std::sync::OnceLock;

/// Longest list in one answer: many clients read only the first page, so there is one unless it is huge.
pub const MAX_PAGE_BYTES: usize = 4 << 20;

/// A list in pages, at least one.
#[derive(Debug)]
pub(super) struct Pages(Vec<Page>);

#[derive(Debug)]
struct Page {
    entries: Range<usize>,
    bytes: usize,
    text: OnceLock<String>,
}

impl Page {
    fn of(entries: Range<usize>, bytes: usize) -> Self {
        Self { entries, bytes, text: OnceLock::new() }
    }
}

impl Pages {
    /// Pages of entries of these lengths.
    pub(super) fn of(lengths: impl Iterator<Item = usize>) -> Self {
        Self::bounded(lengths, MAX_PAGE_BYTES)
    }

    pub(super) fn bounded(lengths: impl Iterator<Item = usize>, max: usize) -> Self {
        let mut pages = Vec::new();
        let (mut first, mut end, mut bytes) = (0, 0, 2);
        for length in lengths {
            if end > first && bytes + length + 1 > max {
                pages.push(Page::of(first..end, bytes));
                (first, bytes) = (end, 2);
            }
            end += 1;
            bytes += length + 1;
        }
        pages.push(Page::of(first..end, bytes));
        Self(pages)
    }

    /// The page that a cursor names, of the list with this digest, and the cursor of the next.
    pub(super) fn page<'p, 'd, D>(
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
                let (of, position) = cursor.split_once('-')?;
                (of == format!("{digest:016x}")).then_some(())?;
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
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}
