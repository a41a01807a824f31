//! Code on its way to R's prompt.
//!
//! Usually a line at a time, as somebody would type it. R parses everything anew with each further line of an unfinished
//! expression, and its buffer ends after 4,095 bytes; so long code is handed over as what was parsed: the prompt is given a name,
//! usually `.Last.value`, which until R replaces it holds a promise of the next expression. Both ways print the same.

use warren_rhost::session::Ending;

use crate::console;
use crate::eval::{self, Failure, Parsed};
use crate::setup::Helpers;

/// More lines than this are handed over parsed.
const MAX_LINES: usize = 300;
/// And so is a line of more bytes.
const MAX_LINE_BYTES: usize = 4_000;

/// The code of one run, parsed as a whole before any of it is given to R.
pub(crate) enum Source {
    Lines {
        code: String,
        given: usize,
    },
    Expressions {
        parsed: Parsed,
        next: isize,
        name: String,
    },
}

impl Source {
    /// Parses the code. What R refuses is said on the console.
    pub(crate) fn parse(code: &str, helpers: Helpers) -> Result<Self, Ending> {
        let mut code = plain_line_ends(code);
        let failure = match eval::parse(&code) {
            Ok(Some(parsed)) => {
                if is_long(&code) {
                    let name = eval::text_of(helpers.choose, &[&code]).unwrap_or_default();
                    if !name.is_empty() || has_long_line(&code) {
                        return Ok(Self::Expressions {
                            parsed,
                            next: 0,
                            name,
                        });
                    }
                }
                if !code.is_empty() && !code.ends_with('\n') {
                    code.push('\n');
                }
                return Ok(Self::Lines { code, given: 0 });
            }
            // What is no token, R refuses with an error of its own kind.
            Ok(None) | Err(Failure::Error(_)) => eval::text_of(helpers.parse_message, &[&code]),
            Err(failure) => Err(failure),
        };
        Err(match failure {
            Ok(message) | Err(Failure::Error(message)) => {
                let message = message.trim_end().to_owned();
                console::say(&format!("Error: {message}\n"));
                Ending::ParseError { message }
            }
            Err(Failure::Interrupted) => Ending::Interrupted,
        })
    }

    /// Fills R's buffer with the next line. False when there is none.
    pub(crate) fn give(&mut self, buffer: &mut [u8], helpers: Helpers) -> bool {
        match self {
            Self::Lines { code, given } => {
                let rest = &code[*given..];
                let line = rest.find('\n').map_or(rest.len(), |at| at + 1);
                let mut length = line.min(buffer.len() - 1);
                while !rest.is_char_boundary(length) {
                    length -= 1;
                }
                *given += length;
                fill(buffer, &rest[..length]);
                length > 0
            }
            Self::Expressions { parsed, next, name } => {
                let promised = eval::promise_next(helpers.promise, parsed, *next);
                *next += 1;
                match promised {
                    Ok(true) => fill(buffer, &format!("{name}\n")),
                    Ok(false) => fill(buffer, ""),
                    // User code took or locked the names: the run must not seem to have succeeded.
                    Err(_) => fill(
                        buffer,
                        "stop(\"code this long needs the name .Last.value, which this session took or locked\")\n",
                    ),
                }
                !matches!(promised, Ok(false))
            }
        }
    }
}

fn fill(buffer: &mut [u8], line: &str) {
    buffer[..line.len()].copy_from_slice(line.as_bytes());
    buffer[line.len()] = 0;
}

fn is_long(code: &str) -> bool {
    has_long_line(code) || code.lines().nth(MAX_LINES).is_some()
}

/// R's parser takes a piece of a line for the whole of it.
fn has_long_line(code: &str) -> bool {
    code.lines().any(|line| line.len() > MAX_LINE_BYTES)
}

/// R's parser takes `\n` only.
fn plain_line_ends(code: &str) -> String {
    if code.contains('\r') {
        code.replace("\r\n", "\n").replace('\r', "\n")
    } else {
        code.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_end_becomes_a_newline() {
        assert_eq!(plain_line_ends("a\r\nb\rc\n"), "a\nb\nc\n");
    }

    #[test]
    fn long_lines_and_many_lines_are_long_code() {
        assert!(!is_long(&"x\n".repeat(MAX_LINES)));
        assert!(is_long(&"x\n".repeat(MAX_LINES + 1)));
        assert!(is_long(&"x".repeat(MAX_LINE_BYTES + 1)));
    }
}
