//! Frames on a stream: a length (`u32`, little endian, bytes of payload) and a payload.
//!
//! The decoder works on whatever bytes have arrived, so the same code serves a blocking reader in the R host and an
//! asynchronous one in the worker. It trusts nothing: a length over the limit is an error before any byte is kept.

/// Bytes in front of every payload.
pub const HEADER_BYTES: usize = 4;

/// A frame could not be written or read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The payload is longer than the limit of this conversation.
    #[error("a frame of {bytes} bytes is over the limit of {limit}")]
    TooLong {
        /// What the header says.
        bytes: usize,
        /// What is allowed.
        limit: usize,
    },
}

/// Writes the header for a payload.
pub fn header(payload: &[u8], limit: usize) -> Result<[u8; HEADER_BYTES], FrameError> {
    header_of_length(payload.len(), limit)
}

/// Writes the header for a payload of this many bytes.
pub fn header_of_length(bytes: usize, limit: usize) -> Result<[u8; HEADER_BYTES], FrameError> {
    match u32::try_from(bytes) {
        Ok(length) if bytes <= limit => Ok(length.to_le_bytes()),
        _ => Err(FrameError::TooLong { bytes, limit }),
    }
}

/// The number of payload bytes that follow a header.
pub fn payload_bytes(header: [u8; HEADER_BYTES], limit: usize) -> Result<usize, FrameError> {
    let bytes = u32::from_le_bytes(header) as usize;
    if bytes <= limit {
        Ok(bytes)
    } else {
        Err(FrameError::TooLong { bytes, limit })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_says_how_much_follows() {
        let head = header(b"hello", 10).unwrap();
        assert_eq!(payload_bytes(head, 10), Ok(5));
    }

    #[test]
    fn a_frame_over_the_limit_is_refused_on_both_sides() {
        let expected = FrameError::TooLong { bytes: 5, limit: 4 };
        assert_eq!(header(b"hello", 4), Err(expected.clone()));
        assert_eq!(payload_bytes(5_u32.to_le_bytes(), 4), Err(expected));
    }

    proptest::proptest! {
        #[test]
        fn no_header_asks_for_more_than_the_limit(head: [u8; HEADER_BYTES], limit in 0_usize..1 << 33) {
            match payload_bytes(head, limit) {
                Ok(bytes) => proptest::prop_assert!(bytes <= limit),
                Err(FrameError::TooLong { bytes, .. }) => proptest::prop_assert!(bytes > limit),
            }
        }
    }
}
