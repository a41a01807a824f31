//! What a token says, and what of it Warren goes by.

use serde::Deserialize;
use serde_json::{Map, Value};

/// Longest subject, in bytes: it becomes a name.
const LONGEST_SUBJECT: usize = 255;

/// The claims of a token. Audience and times are judged by the library that checks the signature.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    /// One string: RFC 7519 knows no other form.
    pub(super) iss: String,
    /// Unix seconds; some providers write fractions.
    pub(super) exp: f64,
    /// When it was issued.
    pub(super) iat: Option<f64>,
    #[serde(flatten)]
    others: Map<String, Value>,
}

/// The groups of a token are not in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Overage;

impl Claims {
    /// Whose token it is; none when the claim is missing or cannot be a name.
    pub(super) fn subject(&self, claim: &str) -> Option<&str> {
        let subject = match claim {
            "iss" => None,
            claim => self.others.get(claim)?.as_str(),
        }?;
        let is_name = !subject.is_empty()
            && subject.len() <= LONGEST_SUBJECT
            && !subject.contains(char::is_control);
        is_name.then_some(subject)
    }

    /// The groups or roles below a path of members; none when there are none.
    pub(super) fn groups(&self, path: &str) -> Result<Vec<String>, Overage> {
        if let Some(value) = self.at(path) {
            return Ok(texts(value));
        }
        if self.is_elsewhere(path) {
            return Err(Overage);
        }
        Ok(Vec::new())
    }

    /// True for what tells a program who signed in, which is no permission to act for them, as far as that can be told. Keycloak says so
    /// in a claim; its earlier versions put `nonce` into access tokens as well.
    pub(super) fn is_id_token(&self) -> bool {
        let kind = self.others.get("typ").and_then(Value::as_str);
        let has = |claim: &str| self.others.contains_key(claim);
        kind == Some("ID")
            || has("at_hash")
            || has("c_hash")
            // A notice about a sign-in, such as its end (RFC 8417).
            || has("events")
            || (has("nonce") && kind != Some("Bearer"))
    }

    /// A claim by its name, which may hold dots itself, or by the path to it.
    fn at(&self, path: &str) -> Option<&Value> {
        if let Some(value) = self.others.get(path) {
            return Some(value);
        }
        let mut members = path.split('.');
        let first = self.others.get(members.next()?)?;
        members.try_fold(first, |value, member| value.get(member))
    }

    /// True when Azure AD had too many groups to write them into the token.
    fn is_elsewhere(&self, claim: &str) -> bool {
        let is_named = self
            .others
            .get("_claim_names")
            .is_some_and(|names| names.get(claim).is_some());
        let is_hinted = claim == "groups"
            && self
                .others
                .get("hasgroups")
                .is_some_and(|has| has == true || has == "true");
        is_named || is_hinted
    }
}

/// One text or several. What is no text is no group.
fn texts(value: &Value) -> Vec<String> {
    match value {
        Value::String(one) => vec![one.clone()],
        Value::Array(many) => many
            .iter()
            .filter_map(|group| group.as_str().map(str::to_owned))
            .collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn claims(more: &Value) -> Claims {
        let mut all = json!({"iss": "https://login.example", "exp": 100, "sub": "ana"});
        for (name, value) in more.as_object().unwrap() {
            all[name] = value.clone();
        }
        serde_json::from_value(all).unwrap()
    }

    #[test]
    fn a_subject_is_one_short_text() {
        let read = |value: Value| {
            let claims = claims(&json!({ "oid": value }));
            claims.subject("oid").map(str::to_owned)
        };
        assert_eq!(read(json!("7f")), Some("7f".to_owned()));
        for wrong in [
            json!(""),
            json!(7),
            json!(["7f"]),
            json!(null),
            json!("a\0b"),
            json!("a\nb"),
            json!("x".repeat(256)),
        ] {
            assert_eq!(read(wrong), None);
        }
        assert_eq!(claims(&json!({})).subject("oid"), None);
        assert_eq!(claims(&json!({})).subject("sub"), Some("ana"));
    }

    #[test]
    fn groups_are_found_by_name_and_by_path() {
        let claims = claims(&json!({
            "groups": ["a", 7, "b"],
            "role": "one",
            "realm_access": {"roles": ["c"]},
            "https://warren.example/groups": ["d"],
            "number": 7,
        }));
        for (path, groups) in [
            ("groups", vec!["a", "b"]),
            ("role", vec!["one"]),
            ("realm_access.roles", vec!["c"]),
            ("https://warren.example/groups", vec!["d"]),
            ("number", vec![]),
            ("missing", vec![]),
            ("realm_access.missing", vec![]),
            ("role.name", vec![]),
        ] {
            assert_eq!(claims.groups(path).unwrap(), groups, "{path}");
        }
    }

    #[test]
    fn groups_that_are_elsewhere_are_not_taken_for_none() {
        for sign in [
            json!({"hasgroups": true}),
            json!({"hasgroups": "true"}),
            json!({"_claim_names": {"groups": "src1"}}),
        ] {
            assert_eq!(claims(&sign).groups("groups"), Err(Overage), "{sign}");
            assert_eq!(claims(&sign).groups("roles"), Ok(Vec::new()), "{sign}");
        }
        let both = claims(&json!({"hasgroups": true, "groups": ["a"]}));
        assert_eq!(both.groups("groups"), Ok(vec!["a".to_owned()]));
    }

    #[test]
    fn id_tokens_are_told_by_what_only_they_say() {
        for sign in [
            json!({"at_hash": "x"}),
            json!({"c_hash": "x"}),
            json!({"nonce": "x"}),
            json!({"typ": "ID"}),
            json!({"events": {}}),
        ] {
            assert!(claims(&sign).is_id_token(), "{sign}");
        }
        for access in [json!({}), json!({"typ": "Bearer", "nonce": "x"})] {
            assert!(!claims(&access).is_id_token(), "{access}");
        }
    }
}
