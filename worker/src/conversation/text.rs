//! Output of any bytes becomes UTF-8, also across the borders of reads.

/// Turns bytes into UTF-8; an incomplete character at the end waits for its rest.
#[derive(Debug, Default)]
pub(crate) struct Utf8Stream {
    pending: Vec<u8>,
}

const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();

impl Utf8Stream {
    /// Appends the text of `bytes` to `out`.
    pub(crate) fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if self.pending.is_empty() {
            let rest = append_valid(bytes, out);
            self.pending.extend_from_slice(rest);
        } else {
            self.pending.extend_from_slice(bytes);
            let joined = std::mem::take(&mut self.pending);
            self.pending = append_valid(&joined, out).to_vec();
        }
    }

    /// How many bytes of an incomplete character wait for its rest.
    pub(crate) fn incomplete(&self) -> usize {
        self.pending.len()
    }

    /// Nothing more comes: what is incomplete is not text.
    pub(crate) fn finish(&mut self, out: &mut Vec<u8>) {
        if !self.pending.is_empty() {
            self.pending.clear();
            out.extend_from_slice(REPLACEMENT);
        }
    }
}

/// Appends what is text, with a mark for what is not; returns an incomplete character at the end.
fn append_valid<'a>(mut bytes: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    loop {
        match std::str::from_utf8(bytes) {
            Ok(_text) => {
                out.extend_from_slice(bytes);
                return &[];
            }
            Err(error) => {
                let (text, rest) = bytes.split_at(error.valid_up_to());
                out.extend_from_slice(text);
                match error.error_len() {
                    None => return rest,
                    Some(length) => {
                        out.extend_from_slice(REPLACEMENT);
                        bytes = &rest[length..];
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(parts: &[&[u8]]) -> String {
        let (mut stream, mut out) = (Utf8Stream::default(), Vec::new());
        for part in parts {
            stream.push(part, &mut out);
        }
        stream.finish(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_character_cut_in_two_is_whole_again() {
        let text = "a€b😀c";
        for cut in 0..text.len() {
            let (left, right) = text.as_bytes().split_at(cut);
            assert_eq!(through(&[left, right]), text);
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_marked() {
        assert_eq!(through(&[b"a\xffb"]), "a\u{fffd}b");
        assert_eq!(through(&[b"a\xe2\x82"]), "a\u{fffd}");
        assert_eq!(through(&[b"\0"]), "\0");
    }
}
