//! Server-sent events from bytes, as far as the agent's watch needs them: a line ends with LF or CRLF, an event with an
//! empty line. What a frame or its name may take is bounded, since the other end may be anything.

use std::mem;

/// Longest event accepted, in bytes; a canary's status has a few thousand.
const MAX_FRAME_BYTES: usize = 4 << 20;

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Frame {
    /// Its name; empty when none was given.
    pub(crate) event: String,
    /// Its text.
    pub(crate) data: String,
}

/// An event was longer than is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event of the watch is longer than {MAX_FRAME_BYTES} bytes")]
pub(crate) struct TooLong;

/// Bytes in, frames out, however the bytes were split on their way.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    line: Vec<u8>,
    frame: Frame,
}

impl Decoder {
    /// The frames that these bytes complete.
    ///
    /// # Errors
    /// When an event is longer than is accepted; the decoder is of no use then.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<Vec<Frame>, TooLong> {
        let mut frames = Vec::new();
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            if self.line.len() + self.frame.data.len() + self.frame.event.len() > MAX_FRAME_BYTES {
                return Err(TooLong);
            }
            if piece.ends_with(b"\n") {
                let line = mem::take(&mut self.line);
                frames.extend(self.take(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n'])));
            }
        }
        Ok(frames)
    }

    fn take(&mut self, line: &str) -> Option<Frame> {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" if line.is_empty() => {
                let frame = mem::take(&mut self.frame);
                return (!frame.data.is_empty()).then_some(frame);
            }
            "event" => self.frame.event = value.to_owned(),
            "data" => {
                if !self.frame.data.is_empty() {
                    self.frame.data.push('\n');
                }
                self.frame.data.push_str(value);
            }
            // Comments keep the stream alive; ids and retry times are of no use to a reader that starts anew.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_any_cut() {
        let text = ":hello\n\nevent: status\r\ndata: {\"a\":\r\ndata: 1}\r\n\r\nid: 7\ndata:é\n\nevent: lone\n\n";
        let frame = |event: &str, data: &str| Frame { event: event.into(), data: data.into() };
        for size in 1..text.len() {
            let mut decoder = Decoder::default();
            let frames: Vec<Frame> =
                text.as_bytes().chunks(size).flat_map(|bytes| decoder.push(bytes).unwrap()).collect();
            assert_eq!(frames, [frame("status", "{\"a\":\n1}"), frame("", "é")], "cut every {size} bytes");
        }
    }

    #[test]
    fn an_endless_event_is_refused() {
        let mut decoder = Decoder::default();
        let block = vec![b'x'; 1 << 20];
        let refused = (0..8).find_map(|_| decoder.push(&block).err());
        assert_eq!(refused, Some(TooLong));
        let mut decoder = Decoder::default();
        let line = [b"data: ".as_slice(), &block, b"\n"].concat();
        let refused = (0..8).find_map(|_| decoder.push(&line).err());
        assert_eq!(refused, Some(TooLong));
    }
}
