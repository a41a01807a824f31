//! A JSON array on its way in, cut into its elements: however many there are, one is in memory at a time.

/// Cuts an array.
#[derive(Debug)]
pub struct Records {
    state: State,
    /// What has come of the element under way.
    element: Vec<u8>,
    /// The longest element, in bytes.
    longest: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    BeforeArray,
    /// After `[`: an element or the end.
    First,
    /// After a comma.
    Next,
    Element {
        depth: u32,
        in_string: bool,
        escaped: bool,
    },
    AfterElement,
    AfterArray,
}

/// Why bytes are no array of objects.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoRecords {
    /// They are something else.
    #[error("the body must be an array of objects, one for each record")]
    NoArray,
    /// They end too early.
    #[error("the array does not end")]
    Unfinished,
    /// One element is too long.
    #[error("a record is longer than {0} bytes")]
    TooLong(usize),
}

impl Records {
    /// Elements may have so many bytes each.
    pub fn new(longest: usize) -> Self {
        Self {
            state: State::BeforeArray,
            element: Vec::new(),
            longest,
        }
    }

    /// Takes the next bytes and hands on each element that is whole, as bytes of JSON that nobody has read yet.
    pub fn push<E: From<NoRecords>>(
        &mut self,
        bytes: &[u8],
        mut whole: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        for byte in bytes {
            if let State::Element { .. } = self.state {
                self.element.push(*byte);
                if self.element.len() > self.longest {
                    return Err(NoRecords::TooLong(self.longest).into());
                }
            }
            self.state = self.after(*byte)?;
            match self.state {
                State::Element { .. } if self.element.is_empty() => self.element.push(*byte),
                State::AfterElement if !self.element.is_empty() => {
                    whole(&self.element)?;
                    self.element.clear();
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Says whether the array is whole.
    pub fn finish(&self) -> Result<(), NoRecords> {
        match self.state {
            State::AfterArray => Ok(()),
            State::BeforeArray => Err(NoRecords::NoArray),
            _ => Err(NoRecords::Unfinished),
        }
    }

    fn after(&self, byte: u8) -> Result<State, NoRecords> {
        let begun = State::Element {
            depth: 1,
            in_string: false,
            escaped: false,
        };
        Ok(match (self.state, byte) {
            (
                State::Element {
                    depth,
                    in_string,
                    escaped,
                },
                byte,
            ) => within(depth, in_string, escaped, byte),
            (state, b' ' | b'\t' | b'\n' | b'\r') => state,
            (State::BeforeArray, b'[') => State::First,
            (State::First | State::AfterElement, b']') => State::AfterArray,
            (State::First | State::Next, b'{') => begun,
            (State::AfterElement, b',') => State::Next,
            _ => return Err(NoRecords::NoArray),
        })
    }
}

/// Only what opens and closes counts; whether the rest is JSON is found out when the element is read.
fn within(depth: u32, in_string: bool, escaped: bool, byte: u8) -> State {
    let (depth, in_string, escaped) = match (in_string, byte) {
        (true, b'\\') if !escaped => (depth, true, true),
        (true, b'"') if !escaped => (depth, false, false),
        (true, _) | (false, b'"') => (depth, true, false),
        (false, b'{' | b'[') => (depth.saturating_add(1), false, false),
        (false, b'}' | b']') => (depth - 1, false, false),
        (false, _) => (depth, false, false),
    };
    if depth == 0 {
        State::AfterElement
    } else {
        State::Element {
            depth,
            in_string,
            escaped,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(pieces: &[&str], longest: usize) -> Result<Vec<String>, NoRecords> {
        let mut records = Records::new(longest);
        let mut found = Vec::new();
        for piece in pieces {
            records.push(piece.as_bytes(), |element| {
                found.push(String::from_utf8(element.to_vec()).unwrap());
                Ok::<_, NoRecords>(())
            })?;
        }
        records.finish().map(|()| found)
    }

    #[test]
    fn elements_come_whole_wherever_the_bytes_are_cut() {
        let text = r#" [ {"a":"}]\"\\"} ,{"b":[{"c":[]}]},{}] "#;
        let expected = [r#"{"a":"}]\"\\"}"#, r#"{"b":[{"c":[]}]}"#, "{}"];
        assert_eq!(cut(&[text], 100).unwrap(), expected);
        for at in 0..text.len() {
            let (one, two) = text.split_at(at);
            assert_eq!(cut(&[one, two], 100).unwrap(), expected, "{at}");
        }
        let bytes: Vec<&str> = text.split("").filter(|piece| !piece.is_empty()).collect();
        assert_eq!(cut(&bytes, 100).unwrap(), expected);
        assert!(cut(&["[]"], 100).unwrap().is_empty());
    }

    #[test]
    fn what_is_no_array_of_objects_is_refused() {
        for (text, problem) in [
            ("", NoRecords::NoArray),
            ("{}", NoRecords::NoArray),
            ("[1]", NoRecords::NoArray),
            ("[{},]", NoRecords::NoArray),
            ("[{}{}]", NoRecords::NoArray),
            ("[{}] x", NoRecords::NoArray),
            ("[", NoRecords::Unfinished),
            ("[{}", NoRecords::Unfinished),
            (r#"[{"a":1"#, NoRecords::Unfinished),
        ] {
            assert_eq!(cut(&[text], 100), Err(problem), "{text}");
        }
        assert_eq!(cut(&[r#"[{"a":"long"}]"#], 5), Err(NoRecords::TooLong(5)));
    }
}
