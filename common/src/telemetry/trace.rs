//! W3C trace context: one id from the HTTP request to the worker's spans.

use std::fmt;
use std::str::FromStr;

use rand::RngExt;

/// The trace that a request belongs to. Its trace id is also the request id that callers and logs see.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    trace: u128,
    span: u64,
    flags: u8,
}

impl TraceContext {
    /// A trace that begins here.
    pub fn new() -> Self {
        let mut rng = rand::rng();
        Self {
            trace: rng.random_range(1..=u128::MAX),
            span: rng.random_range(1..=u64::MAX),
            flags: 1,
        }
    }

    /// The trace of a caller that sent `traceparent`, or a new one.
    pub fn continued(header: Option<&str>) -> Self {
        let own = Self::new();
        header
            .and_then(|text| text.parse::<Self>().ok())
            .map_or(own, |caller| Self {
                span: own.span,
                ..caller
            })
    }

    /// 32 hexadecimal digits: the request id.
    pub fn request_id(self) -> String {
        format!("{:032x}", self.trace)
    }
}

impl Default for TraceContext {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "00-{:032x}-{:016x}-{:02x}",
            self.trace, self.span, self.flags
        )
    }
}

impl fmt::Debug for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is no `traceparent` of version 00.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no W3C traceparent")]
pub struct NoTraceContext;

impl FromStr for TraceContext {
    type Err = NoTraceContext;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let lower_hex = |byte: &u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f' | b'-');
        let mut parts = text.split('-');
        let fields = (
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
            parts.next(),
        );
        let (Some("00"), Some(trace), Some(span), Some(flags), None) = fields else {
            return Err(NoTraceContext);
        };
        if trace.len() != 32
            || span.len() != 16
            || flags.len() != 2
            || !text.as_bytes().iter().all(lower_hex)
        {
            return Err(NoTraceContext);
        }
        let trace = u128::from_str_radix(trace, 16).map_err(|_digits| NoTraceContext)?;
        let span = u64::from_str_radix(span, 16).map_err(|_digits| NoTraceContext)?;
        let flags = u8::from_str_radix(flags, 16).map_err(|_digits| NoTraceContext)?;
        if trace == 0 || span == 0 {
            Err(NoTraceContext)
        } else {
            Ok(Self { trace, span, flags })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_header_reads_back() {
        assert_eq!(HEADER.parse::<TraceContext>().unwrap().to_string(), HEADER);
    }

    #[test]
    fn a_caller_s_trace_goes_on_in_a_span_of_our_own() {
        let context = TraceContext::continued(Some(HEADER));
        assert_eq!(context.request_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_ne!(context.to_string(), HEADER);
    }

    #[test]
    fn nonsense_begins_a_new_trace() {
        for text in [
            "",
            "00-0-0-0",
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            &HEADER.to_uppercase(),
        ] {
            assert_eq!(text.parse::<TraceContext>(), Err(NoTraceContext), "{text}");
        }
    }
}
