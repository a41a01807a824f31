//! Filters with places for values, filled so that no value can be more than a value (RFC 4515).

use std::str::FromStr;

use ldap3::{ldap_escape, parse_filter};

/// Stands for any value, whatever it is.
pub(crate) const ANYBODY: &str = "*";

/// A filter as an operator writes it, in parentheses and with names such as `{user}` in the place of values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(String);

/// A text that is no filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is no LDAP filter in parentheses (RFC 4515)")]
pub struct BadTemplate;

impl FromStr for Template {
    type Err = BadTemplate;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // Braces mean nothing in filters, so it can be read as it is. It may become a part of another.
        let is_filter = text.starts_with('(') && parse_filter(format!("(&{text})")).is_ok();
        is_filter.then(|| Self(text.to_owned())).ok_or(BadTemplate)
    }
}

impl Template {
    /// True when it has a place of this name.
    pub(crate) fn mentions(&self, place: &str) -> bool {
        self.0.contains(place)
    }

    /// True when it is a filter with these texts, unescaped, in its places.
    pub(crate) fn parses_with(&self, texts: &[(&str, &str)]) -> bool {
        parse_filter(self.replace(texts, str::to_owned)).is_ok()
    }

    /// With values in its places.
    pub(super) fn fill(&self, values: &[(&str, &str)]) -> String {
        self.replace(values, |value| ldap_escape(value).into_owned())
    }

    /// With this value in that attribute, and with anything in the place of `{user}`.
    pub(super) fn with_attribute(&self, attribute: &str, value: &str) -> String {
        let rest = self.replace(&[("{user}", ANYBODY)], str::to_owned);
        format!("(&({attribute}={}){rest})", ldap_escape(value))
    }

    /// In one pass: what looks like a place within a value is part of that value.
    fn replace(&self, texts: &[(&str, &str)], form: impl Fn(&str) -> String) -> String {
        let mut filled = String::new();
        let mut rest = self.0.as_str();
        while let Some(brace) = rest.find('{') {
            filled.push_str(&rest[..brace]);
            rest = &rest[brace..];
            let place = texts.iter().find(|(name, _text)| rest.starts_with(name));
            if let Some((name, text)) = place {
                filled.push_str(&form(text));
                rest = &rest[name.len()..];
            } else {
                filled.push('{');
                rest = &rest[1..];
            }
        }
        filled + rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(text: &str) -> Template {
        text.parse().unwrap()
    }

    #[test]
    fn a_value_stays_a_value() {
        let filter = template("(&(objectClass=person)(uid={user}))");
        for (typed, filled) in [
            ("ana", "ana"),
            ("*", "\\2a"),
            ("ana)(uid=*", "ana\\29\\28uid=\\2a"),
            ("\\2a", "\\5c2a"),
            ("a\0b", "a\\00b"),
            ("żółw", "żółw"),
            ("{user}", "{user}"),
        ] {
            let filter = filter.fill(&[("{user}", typed)]);
            assert_eq!(filter, format!("(&(objectClass=person)(uid={filled}))"));
            assert!(parse_filter(&filter).is_ok(), "{filter}");
        }
    }

    #[test]
    fn one_value_is_never_looked_for_in_another() {
        let filter = template("(|(member={dn})(memberUid={subject}))");
        let filled = filter.fill(&[("{dn}", "cn={subject},dc=x"), ("{subject}", "ana")]);
        assert_eq!(filled, "(|(member=cn={subject},dc=x)(memberUid=ana))");
        let backslash = filter.fill(&[("{dn}", "cn=a\\2Cb (x)"), ("{subject}", "")]);
        assert_eq!(backslash, "(|(member=cn=a\\5c2Cb \\28x\\29)(memberUid=))");
    }

    #[test]
    fn a_renewal_looks_for_one_value_and_keeps_the_rest_of_the_filter() {
        let filter = template("(&(sAMAccountName={user})(!(x:1.2.840.113556.1.4.803:=2)))");
        assert!(filter.parses_with(&[("{user}", ANYBODY)]));
        assert_eq!(
            filter.with_attribute("uid", "a*"),
            "(&(uid=a\\2a)(&(sAMAccountName=*)(!(x:1.2.840.113556.1.4.803:=2))))"
        );
    }
}
