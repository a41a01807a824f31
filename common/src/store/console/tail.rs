//! The text behind the last chunk as pieces of a fixed size, so that a cursor that counts chunks counts on through it.
//!
//! A piece begins and ends where a character does: its borders are the multiples of [`PIECE`], moved back to the beginning of
//! the character that lies across them. So the pieces are the same for whoever asks, and together they are the text.

/// Bytes of a piece, but for what its borders are moved.
pub(super) const PIECE: i64 = 64 * 1024;
/// How far a border is moved at most: the longest character of UTF-8 has four bytes.
pub(super) const LONGEST_MOVE: i64 = 3;

/// Pieces of a text of that many bytes.
pub(super) const fn pieces(bytes: i64) -> i64 {
    (bytes + PIECE - 1) / PIECE
}

/// Where in the text to read, and how many bytes, to know `count` pieces from the piece `first` on.
pub(super) const fn window(first: i64, count: i64) -> (i64, i64) {
    let begin = first * PIECE;
    let from = if begin < LONGEST_MOVE {
        0
    } else {
        begin - LONGEST_MOVE
    };
    // One byte more tells whether a character ends at the border.
    (from, begin + count * PIECE + 1 - from)
}

/// The pieces themselves, out of what [`window`] said to read.
pub(super) fn cut(read: &[u8], first: i64, count: i64) -> &[u8] {
    let (from, _bytes) = window(first, count);
    let border = |piece: i64| {
        let nominal = usize::try_from(piece * PIECE - from).unwrap_or_default();
        let mut border = nominal.min(read.len());
        while border > 0
            && read
                .get(border)
                .is_some_and(|byte| !starts_character(*byte))
        {
            border -= 1;
        }
        border
    };
    read.get(border(first)..border(first + count))
        .unwrap_or_default()
}

/// True for the first byte of a character of UTF-8.
const fn starts_character(byte: u8) -> bool {
    byte & 0b1100_0000 != 0b1000_0000
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Postgres would read of the text.
    fn read(text: &[u8], first: i64, count: i64) -> &[u8] {
        let (from, bytes) = window(first, count);
        let from = usize::try_from(from).unwrap().min(text.len());
        let end = (from + usize::try_from(bytes).unwrap()).min(text.len());
        &text[from..end]
    }

    #[test]
    fn pieces_of_any_count_are_whole_characters_and_together_the_text() {
        let size = usize::try_from(PIECE).unwrap();
        for letter in ["x", "é", "語", "🦀", "\0"] {
            // Each way a border can lie in a character.
            for shift in 0..4 {
                for bytes in [0, 1, size - 2, size, size + 1, 3 * size - 1, 3 * size + 5] {
                    let mut text = "x".repeat(shift);
                    while text.len() < bytes {
                        text.push_str(letter);
                    }
                    let total = pieces(i64::try_from(text.len()).unwrap());
                    for count in 1..=total.max(1) {
                        let mut all = String::new();
                        for first in (0..total).step_by(usize::try_from(count).unwrap()) {
                            let piece = cut(read(text.as_bytes(), first, count), first, count);
                            assert!(
                                i64::try_from(piece.len()).unwrap() <= count * PIECE + LONGEST_MOVE
                            );
                            all.push_str(std::str::from_utf8(piece).unwrap());
                        }
                        assert!(all == text, "{letter:?} {shift} {bytes} {count}");
                    }
                }
            }
        }
    }

    #[test]
    fn behind_the_end_there_is_nothing() {
        assert_eq!(pieces(0), 0);
        assert_eq!(cut(b"", 0, 1), b"");
        assert_eq!(cut(b"", 7, 2), b"");
    }

    #[test]
    fn bytes_that_are_no_text_lose_nothing_either() {
        let text = vec![0b1000_0000; usize::try_from(2 * PIECE + 9).unwrap()];
        let pieces = (0..pieces(i64::try_from(text.len()).unwrap()))
            .map(|first| cut(read(&text, first, 1), first, 1).len());
        assert!(pieces.sum::<usize>() <= text.len());
    }
}
