//! File names in the `Content-Disposition` of a part of a form, as every client sends them.

use axum::http::{HeaderMap, header};

/// The file name of a part: `filename*` of RFC 5987, which some clients send for names that are not ASCII, else `filename`.
pub(super) fn file_name(headers: &HeaderMap) -> Option<String> {
    let disposition = headers.get(header::CONTENT_DISPOSITION)?;
    // Names that are not ASCII come as UTF-8, as browsers send them.
    let disposition = std::str::from_utf8(disposition.as_bytes()).ok()?;
    let mut plain = None;
    for (name, value) in parameters(disposition) {
        if name.eq_ignore_ascii_case("filename*") {
            if let Some(name) = extended(&value) {
                return Some(name);
            }
        } else if name.eq_ignore_ascii_case("filename") {
            plain.get_or_insert(value);
        }
    }
    plain
}

/// The parameters of a header value, with quoted strings opened.
fn parameters(value: &str) -> Vec<(&str, String)> {
    let mut found = Vec::new();
    let mut rest = value.split_once(';').map_or("", |(_kind, rest)| rest);
    while let Some((name, after)) = rest.split_once('=') {
        let name = name.trim_start_matches([';', ' ', '\t']).trim();
        let after = after.trim_start();
        let (text, left) = if let Some(quoted) = after.strip_prefix('"') {
            open_quotes(quoted)
        } else {
            let (text, left) = after.split_once(';').unwrap_or((after, ""));
            (text.trim().to_owned(), left)
        };
        found.push((name, text));
        rest = left;
    }
    found
}

/// A quoted string without its quotes, and what comes after it. Only a quote and a backslash are escaped: some clients send the
/// backslashes of a path as they are.
fn open_quotes(quoted: &str) -> (String, &str) {
    let mut text = String::new();
    let mut letters = quoted.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return (text, &quoted[at + 1..]),
            '\\' => match letters.next_if(|(_at, next)| matches!(next, '"' | '\\')) {
                Some((_at, escaped)) => text.push(escaped),
                None => text.push('\\'),
            },
            other => text.push(other),
        }
    }
    (text, "")
}

/// A value of RFC 5987 in UTF-8: `utf-8'en'%e2%82%ac`.
fn extended(value: &str) -> Option<String> {
    let mut parts = value.splitn(3, '\'');
    let (charset, _language, text) = (parts.next()?, parts.next()?, parts.next()?);
    if !charset.eq_ignore_ascii_case("utf-8") {
        return None;
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first == b'%' {
            let (digits, after) = rest.split_at_checked(2)?;
            bytes.push(u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?);
            rest = after;
        } else {
            bytes.push(*first);
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name_in(disposition: &str) -> Option<String> {
        let mut headers = HeaderMap::new();
        let value = axum::http::HeaderValue::from_bytes(disposition.as_bytes()).unwrap();
        headers.insert(header::CONTENT_DISPOSITION, value);
        file_name(&headers)
    }

    #[test]
    fn file_names_are_read_as_every_client_sends_them() {
        for (disposition, name) in [
            (
                r#"form-data; name="file"; filename="a b.csv""#,
                Some("a b.csv"),
            ),
            ("form-data; filename=plain; name=file", Some("plain")),
            (
                r#"form-data; name="file"; filename="ünï.csv""#,
                Some("ünï.csv"),
            ),
            (
                r#"form-data; filename="x"; filename*=utf-8''%C3%BC.csv"#,
                Some("ü.csv"),
            ),
            (
                r#"form-data; filename*=UTF-8'de'a%20b; filename="x""#,
                Some("a b"),
            ),
            (
                r#"form-data; filename="x"; filename*=latin1''%FC"#,
                Some("x"),
            ),
            (
                r#"form-data; filename="C:\data\x.csv""#,
                Some(r"C:\data\x.csv"),
            ),
            (
                r#"form-data; filename="say \"hi\"; now""#,
                Some(r#"say "hi"; now"#),
            ),
            (r#"form-data; filename="50%25""#, Some("50%25")),
            (r#"form-data; name="filename=x""#, None),
            ("form-data", None),
        ] {
            assert_eq!(name_in(disposition).as_deref(), name, "{disposition}");
        }
    }
}
