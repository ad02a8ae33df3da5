//! Server-sent events as MCP uses them. The decoder is incremental and reads each byte once.

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Event {
    /// The type. `None` means `message`.
    pub kind: Option<String>,
    /// The data lines, joined by line feeds.
    pub data: String,
    pub id: Option<String>,
    /// How long to wait before reconnecting, in milliseconds.
    pub retry_ms: Option<u64>,
}

impl Event {
    /// Whether it carries a message. Events of other types, such as the `ping` that some servers
    /// send to keep a connection open, do not.
    pub fn is_message(&self) -> bool {
        self.kind.as_deref().is_none_or(|kind| kind == "message")
    }
}

/// Decodes events from chunks of bytes.
#[derive(Debug, Default)]
pub struct Decoder {
    line: Vec<u8>,
    after_cr: bool,
    started: bool,
    event: Event,
    has_data: bool,
}

impl Decoder {
    /// Takes a chunk and returns the events that it completes.
    pub fn push(&mut self, mut chunk: &[u8]) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(position) = chunk.iter().position(|byte| matches!(byte, b'\n' | b'\r')) {
            let (head, tail) = chunk.split_at(position);
            let second_half_of_crlf =
                self.after_cr && head.is_empty() && tail.first() == Some(&b'\n');
            self.after_cr = tail.first() == Some(&b'\r');
            chunk = tail.get(1..).unwrap_or_default();
            if second_half_of_crlf {
                continue;
            }
            self.line.extend_from_slice(head);
            let line = std::mem::take(&mut self.line);
            events.extend(self.take_line(&line));
        }
        if !chunk.is_empty() {
            self.after_cr = false;
        }
        self.line.extend_from_slice(chunk);
        events
    }

    /// The bytes of the event that is not complete yet.
    pub fn buffered_bytes(&self) -> usize {
        self.line.len() + self.event.data.len()
    }

    fn take_line(&mut self, line: &[u8]) -> Option<Event> {
        let line =
            if self.started { line } else { line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line) };
        self.started = true;
        if line.is_empty() {
            let event = std::mem::take(&mut self.event);
            let has_content = std::mem::take(&mut self.has_data)
                || event.id.is_some()
                || event.retry_ms.is_some();
            return has_content.then_some(event);
        }
        let line = String::from_utf8_lossy(line);
        let (field, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "data" => {
                if self.has_data {
                    self.event.data.push('\n');
                }
                self.has_data = true;
                self.event.data.push_str(value);
            }
            "event" if value.is_empty() => self.event.kind = None,
            "event" => self.event.kind = Some(value.to_owned()),
            "id" if !value.contains('\0') => self.event.id = Some(value.to_owned()),
            "retry" => self.event.retry_ms = value.parse().ok(),
            _ => {}
        }
        None
    }
}

/// Encodes an event with this data.
pub fn encode(data: &str) -> String {
    let mut event = String::with_capacity(data.len() + 32);
    event.push_str("event: message\n");
    for line in data.split(['\n', '\r']) {
        event.push_str("data: ");
        event.push_str(line);
        event.push('\n');
    }
    event.push('\n');
    event
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn decoded(chunks: &[&[u8]]) -> Vec<Event> {
        let mut decoder = Decoder::default();
        chunks.iter().flat_map(|chunk| decoder.push(chunk)).collect()
    }

    #[test]
    fn fields_comments_and_line_ends_are_read_as_specified() {
        let text = b"\xef\xbb\xbf: hi\r\nevent: message\r\nid: 7\r\ndata: {\"a\":\r\ndata: \
                     1}\r\n\r\nretry: 500\n\ndata\n\n:only a comment\n\n";
        let expected = [
            Event {
                kind: Some("message".into()),
                data: "{\"a\":\n1}".into(),
                id: Some("7".into()),
                retry_ms: None,
            },
            Event { retry_ms: Some(500), ..Default::default() },
            Event::default(),
        ];
        assert_eq!(decoded(&[text]), expected);
    }

    #[test]
    fn only_events_without_a_type_or_of_type_message_carry_messages() {
        let text = b"event: ping\ndata: ping\n\nevent: keepalive\ndata: {}\n\n\
                     event:\ndata: 1\n\nevent: message\ndata: 2\n\ndata: 3\n\n";
        let events = decoded(&[text]).into_iter().filter(Event::is_message);
        assert_eq!(events.map(|event| event.data).collect::<Vec<_>>(), ["1", "2", "3"]);
    }

    #[test]
    fn an_incomplete_event_is_not_returned() {
        assert_eq!(decoded(&[b"data: 1\n"]), []);
    }

    proptest! {
        #[test]
        fn the_events_do_not_depend_on_how_the_bytes_are_chunked(data in "[a-zé:{}\"]{0,30}",
            cut in 0usize..80, cr in any::<bool>()) {
            let text = encode(&data);
            let text = if cr { text.replace('\n', "\r\n") } else { text };
            let (head, tail) = text.as_bytes().split_at(cut.min(text.len()));
            let events = decoded(&[head, tail]);
            prop_assert_eq!(events.iter().map(|event| event.data.as_str()).collect::<Vec<_>>(),
                [data.as_str()]);
        }
    }
}
