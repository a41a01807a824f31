//! Names of groups.

use ldap3::SearchEntry;

/// The values of an attribute, also when the server gives only a part of them (`memberOf;range=0-1499`).
pub(super) fn values<'a>(
    entry: &'a SearchEntry,
    attribute: &str,
) -> impl Iterator<Item = &'a String> {
    let named = entry.attrs.iter().filter(move |(name, _values)| {
        let name = name.split(';').next().unwrap_or_default();
        name.eq_ignore_ascii_case(attribute)
    });
    named.flat_map(|(_name, values)| values)
}

/// Each group by its DN, and by its cn if that is what its DN begins with.
pub(super) fn names(mut dns: Vec<String>) -> Vec<String> {
    dns.sort();
    dns.dedup();
    let cns: Vec<String> = dns.iter().filter_map(|dn| cn(dn)).collect();
    dns.extend(cns);
    dns
}

/// The cn that a DN begins with (RFC 4514).
fn cn(dn: &str) -> Option<String> {
    let (kind, rest) = dn.split_once('=')?;
    if !kind.trim().eq_ignore_ascii_case("cn") {
        return None;
    }
    let mut value = Vec::new();
    let mut bytes = rest.trim_start().bytes();
    // Spaces at the end are no part of it, unless they are escaped.
    let mut length = 0;
    while let Some(byte) = bytes.next() {
        match byte {
            b',' | b'+' => break,
            b'\\' => {
                value.push(escaped(&mut bytes)?);
                length = value.len();
            }
            b' ' => value.push(byte),
            _ => {
                value.push(byte);
                length = value.len();
            }
        }
    }
    value.truncate(length);
    String::from_utf8(value).ok().filter(|cn| !cn.is_empty())
}

/// What stands behind a backslash: a character, or two hexadecimal digits for a byte.
fn escaped(bytes: &mut impl Iterator<Item = u8>) -> Option<u8> {
    let first = bytes.next()?;
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let Some(high) = digit(first) else {
        return Some(first);
    };
    let low = digit(bytes.next()?)?;
    u8::try_from(high * 16 + low).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_called_by_its_dn_or_its_cn() {
        for (dn, name) in [
            ("cn=readers,ou=groups,dc=x", Some("readers")),
            ("CN=Data Scientists,DC=x", Some("Data Scientists")),
            ("cn = readers , dc=x", Some("readers")),
            ("cn=Smith\\, Jones\\2B,dc=x", Some("Smith, Jones+")),
            ("cn=caf\\C3\\A9\\ ,dc=x", Some("café ")),
            ("cn=one+uid=two,dc=x", Some("one")),
            ("cn=\\zz,dc=x", Some("zz")),
            ("cn=\\c,dc=x", None),
            ("cn=,dc=x", None),
            ("ou=readers,dc=x", None),
            ("", None),
        ] {
            assert_eq!(cn(dn).as_deref(), name, "{dn}");
        }
        let names = names(vec!["cn=b,dc=x".into(), "cn=a".into(), "cn=b,dc=x".into()]);
        assert_eq!(names, ["cn=a", "cn=b,dc=x", "a", "b"]);
    }
}
