//! The frames of a gRPC-Web answer, read as they pass: its status stands in the last one, in the body.
//!
//! A frame is a byte of flags, four of length, and its payload (gRPC's PROTOCOL-WEB.md). The one with the highest bit set holds
//! the trailers as lines. With `grpc-web-text` all of it is base64, in pieces that may each end with padding. Whatever an
//! upstream sends, this keeps no more than [`MAX_TRAILERS`] bytes of it.

/// A status stands in the first lines of the trailers; more of them are not kept.
const MAX_TRAILERS: usize = 4096;
/// Flags of a frame.
const IS_TRAILERS: u8 = 0x80;
const IS_COMPRESSED: u8 = 0x01;

/// How the body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GrpcWebCoding {
    /// As it is.
    Binary,
    /// In base64.
    Text,
}

/// What has come of one answer's body.
#[derive(Clone, Debug)]
pub struct GrpcWebAnswer {
    coding: GrpcWebCoding,
    /// Characters of base64 that wait for the rest of their four.
    quad: [u8; 4],
    in_quad: usize,
    header: [u8; 5],
    in_header: usize,
    /// Bytes of the present frame's payload still to come.
    left: u32,
    trailers: Vec<u8>,
    /// Whether the frame of the trailers has come in whole: before that a number may go on.
    is_trailed: bool,
    is_opaque: bool,
}

impl GrpcWebAnswer {
    /// Nothing has come.
    pub const fn new(coding: GrpcWebCoding) -> Self {
        Self {
            coding,
            quad: [0; 4],
            in_quad: 0,
            header: [0; 5],
            in_header: 0,
            left: 0,
            trailers: Vec::new(),
            is_trailed: false,
            is_opaque: false,
        }
    }

    /// One in a coding that is not read here.
    pub fn opaque() -> Self {
        Self { is_opaque: true, ..Self::new(GrpcWebCoding::Binary) }
    }

    /// Whether more of the body could say more.
    pub fn is_open(&self) -> bool {
        !self.is_opaque && self.status().is_none()
    }

    /// More of the body, in any pieces.
    pub fn push(&mut self, bytes: &[u8]) {
        match self.coding {
            GrpcWebCoding::Binary => self.frames(bytes),
            GrpcWebCoding::Text => bytes.iter().filter(|b| !b.is_ascii_whitespace()).for_each(|b| self.character(*b)),
        }
    }

    /// The status in the trailers, if they have come.
    pub fn status(&self) -> Option<u32> {
        if !self.is_trailed {
            return None;
        }
        let lines = self.trailers.split(|b| *b == b'\n');
        lines.filter_map(|line| line.iter().position(|b| *b == b':').map(|at| line.split_at(at))).find_map(
            |(name, value)| {
                let value = value.get(1..).unwrap_or_default().trim_ascii();
                name.trim_ascii().eq_ignore_ascii_case(b"grpc-status").then(|| number(value)).flatten()
            },
        )
    }

    /// Whether the trailers came in a form that cannot be read here: then the answer says nothing.
    pub const fn is_opaque(&self) -> bool {
        self.is_opaque
    }

    fn character(&mut self, character: u8) {
        if let Some(place) = self.quad.get_mut(self.in_quad) {
            *place = character;
        }
        self.in_quad += 1;
        if self.in_quad < self.quad.len() {
            return;
        }
        self.in_quad = 0;
        let [a, b, c, d] = self.quad.map(sextet);
        let (Some(a), Some(b)) = (a, b) else { return };
        let sextets = (a << 18) | (b << 12) | (c.unwrap_or(0) << 6) | d.unwrap_or(0);
        let [_, first, second, third] = sextets.to_be_bytes();
        let decoded = [first, second, third];
        let count = 1 + usize::from(c.is_some()) + usize::from(c.is_some() && d.is_some());
        self.frames(decoded.get(..count).unwrap_or_default());
    }

    fn frames(&mut self, mut bytes: &[u8]) {
        while let Some((first, rest)) = bytes.split_first() {
            if self.in_header < self.header.len() {
                self.header_byte(*first);
                bytes = rest;
                continue;
            }
            let taken = bytes.len().min(self.left as usize);
            let (payload, rest) = bytes.split_at(taken);
            self.payload(payload);
            bytes = rest;
        }
    }

    fn header_byte(&mut self, byte: u8) {
        if let Some(place) = self.header.get_mut(self.in_header) {
            *place = byte;
        }
        self.in_header += 1;
        if self.in_header == self.header.len() {
            let [flags, length @ ..] = self.header;
            self.left = u32::from_be_bytes(length);
            self.is_opaque |= flags & IS_TRAILERS != 0 && flags & IS_COMPRESSED != 0;
            self.end_of_frame();
        }
    }

    fn payload(&mut self, payload: &[u8]) {
        let [flags, ..] = self.header;
        if flags & IS_TRAILERS != 0 && flags & IS_COMPRESSED == 0 {
            let room = MAX_TRAILERS.saturating_sub(self.trailers.len());
            self.trailers.extend(payload.iter().take(room));
        }
        self.left = self.left.saturating_sub(u32::try_from(payload.len()).unwrap_or(u32::MAX));
        self.end_of_frame();
    }

    const fn end_of_frame(&mut self) {
        if self.left == 0 {
            let [flags, ..] = self.header;
            self.is_trailed |= flags & IS_TRAILERS != 0;
            self.in_header = 0;
        }
    }
}

/// The six bits of a character of base64, in either alphabet; `None` for padding and all others.
const fn sextet(character: u8) -> Option<u32> {
    Some(match character {
        b'A'..=b'Z' => (character - b'A') as u32,
        b'a'..=b'z' => (character - b'a') as u32 + 26,
        b'0'..=b'9' => (character - b'0') as u32 + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    })
}

/// A decimal number of at most nine digits.
pub(crate) fn number(value: &[u8]) -> Option<u32> {
    if value.is_empty() || value.len() > 9 {
        return None;
    }
    value.iter().try_fold(0u32, |sum, b| b.is_ascii_digit().then(|| sum * 10 + u32::from(b - b'0')))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(flags: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![flags];
        frame.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
        frame.extend(payload);
        frame
    }

    fn base64(bytes: &[u8]) -> Vec<u8> {
        const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let quad = |chunk: &[u8]| {
            let at = |n: usize| u32::from(chunk.get(n).copied().unwrap_or(0));
            let all = (at(0) << 16) | (at(1) << 8) | at(2);
            let character = move |n: u32| ALPHABET[(all >> (18 - 6 * n) & 63) as usize];
            let used = chunk.len() as u32 + 1;
            (0..4).map(move |n| if n < used { character(n) } else { b'=' }).collect::<Vec<u8>>()
        };
        bytes.chunks(3).flat_map(quad).collect()
    }

    fn read(coding: GrpcWebCoding, pieces: &[&[u8]]) -> GrpcWebAnswer {
        let mut answer = GrpcWebAnswer::new(coding);
        pieces.iter().for_each(|piece| answer.push(piece));
        answer
    }

    #[test]
    fn the_status_stands_in_the_frame_of_the_trailers() {
        let status = |trailers: &[u8]| {
            let body = [frame(0, b"message"), frame(0, b""), frame(0x80, trailers)].concat();
            read(GrpcWebCoding::Binary, &[&body]).status()
        };
        assert_eq!(status(b"grpc-status:13\r\ngrpc-message:no\r\n"), Some(13));
        assert_eq!(status(b"grpc-message: no\r\nGrpc-Status: 0\r\n"), Some(0));
        for wrong in
            [&b""[..], b"grpc-status:", b"grpc-status: -1\r\n", b"x-grpc-status: 3\r\n", b"grpc-status:99999999999"]
        {
            assert_eq!(status(wrong), None, "{}", String::from_utf8_lossy(wrong));
        }
        assert_eq!(read(GrpcWebCoding::Binary, &[b"<html>not found</html>"]).status(), None);
    }

    #[test]
    fn compressed_trailers_say_nothing_and_huge_ones_are_not_kept() {
        let body = frame(0x81, b"grpc-status:13");
        assert!(read(GrpcWebCoding::Binary, &[&body]).is_opaque());
        let huge = frame(0x80, &vec![b'x'; 1 << 20]);
        assert_eq!(read(GrpcWebCoding::Binary, &[&huge]).trailers.len(), MAX_TRAILERS);
    }

    proptest! {
        #[test]
        fn however_a_body_is_cut_it_reads_the_same(
            messages in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..4), status in 0u32..17,
            cuts in prop::collection::vec(1usize..9, 1..200), is_text: bool, is_padded_in_between: bool,
        ) {
            let mut frames: Vec<Vec<u8>> = messages.iter().map(|message| frame(0, message)).collect();
            frames.push(frame(0x80, format!("grpc-status: {status}\r\n").as_bytes()));
            let body = match (is_text, is_padded_in_between) {
                (false, _) => frames.concat(),
                (true, false) => base64(&frames.concat()),
                (true, true) => frames.iter().flat_map(|frame| base64(frame)).collect(),
            };
            let mut answer = GrpcWebAnswer::new(if is_text { GrpcWebCoding::Text } else { GrpcWebCoding::Binary });
            let mut rest = &body[..];
            for cut in cuts.iter().cycle() {
                let (piece, more) = rest.split_at((*cut).min(rest.len()));
                answer.push(piece);
                rest = more;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(answer.status(), Some(status));
        }

        #[test]
        fn nothing_breaks_it(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..30), 0..20), is_text: bool) {
            let mut answer = GrpcWebAnswer::new(if is_text { GrpcWebCoding::Text } else { GrpcWebCoding::Binary });
            pieces.iter().for_each(|piece| answer.push(piece));
            prop_assert!(answer.trailers.len() <= MAX_TRAILERS);
            let _ = answer.status();
        }
    }
}
