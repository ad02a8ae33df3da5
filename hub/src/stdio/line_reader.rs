//! Reads lines of bounded length from a pipe.

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _};

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// Without its line end.
    Complete(Bytes),
    /// The first bytes of a line over the bound. The rest was dropped.
    Truncated(Bytes),
    /// The pipe is closed. A last line without a line end is dropped, because it may be incomplete.
    End,
}

/// Reads the next line, of at most `max` bytes.
pub(super) async fn read_line(
    pipe: &mut (impl AsyncBufRead + Unpin),
    max: usize,
) -> std::io::Result<Line> {
    let mut line = BytesMut::new();
    let mut over = false;
    loop {
        let chunk = pipe.fill_buf().await?;
        if chunk.is_empty() {
            return Ok(Line::End);
        }
        let end = chunk.iter().position(|byte| *byte == b'\n');
        let text = chunk.get(..end.unwrap_or(chunk.len())).unwrap_or_default();
        let fits = text.len().min(max - line.len());
        over |= fits < text.len();
        line.extend_from_slice(text.get(..fits).unwrap_or_default());
        let used = end.map_or(chunk.len(), |end| end + 1);
        pipe.consume(used);
        if end.is_some() {
            if line.ends_with(b"\r") {
                line.truncate(line.len() - 1);
            }
            return Ok(if over {
                Line::Truncated(line.freeze())
            } else {
                Line::Complete(line.freeze())
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::BufReader;

    use super::*;

    async fn all(text: &'static str, max: usize) -> Vec<Line> {
        let mut pipe = BufReader::with_capacity(3, text.as_bytes());
        let mut lines = Vec::new();
        loop {
            match read_line(&mut pipe, max).await.unwrap() {
                Line::End => return lines,
                line => lines.push(line),
            }
        }
    }

    #[tokio::test]
    async fn lines_that_span_reads_are_complete_and_an_incomplete_last_line_is_dropped() {
        let whole = |text: &'static str| Line::Complete(Bytes::from(text));
        assert_eq!(
            all("one\r\n\nthree is long\nhalf", 99).await,
            [whole("one"), whole(""), whole("three is long")]
        );
    }

    #[tokio::test]
    async fn a_line_over_the_bound_is_truncated_and_the_next_line_is_complete() {
        let lines = all("0123456789\nok\n", 5).await;
        assert_eq!(
            lines,
            [Line::Truncated(Bytes::from("01234")), Line::Complete(Bytes::from("ok"))]
        );
    }
}
