//! The inputs of a call: a flat object, each member a declared input.

use std::collections::HashSet;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor};
use serde_json::value::RawValue;
use warren_common::model::{InputParameter, Parameter, ParameterType};

/// Inputs that a call may have, which is what a service may declare.
pub const MOST: usize = 1_000;

/// Named values in the order they were sent.
#[derive(Debug, Default)]
pub struct Inputs(pub Vec<InputParameter>);

impl<'de> Deserialize<'de> for Inputs {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Inputs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with a member for each input")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Inputs, A::Error> {
                let mut inputs: Vec<InputParameter> = Vec::new();
                let mut seen = HashSet::new();
                while let Some((name, value)) = members.next_entry::<String, Box<RawValue>>()? {
                    if seen.len() == MOST {
                        return Err(A::Error::custom(format_args!("there are more than {MOST}")));
                    }
                    if !seen.insert(name.clone()) {
                        return Err(A::Error::custom(format_args!("{name:?} is there twice")));
                    }
                    inputs.push(InputParameter { name, value });
                }
                Ok(Inputs(inputs))
            }

            /// An empty array is no input: R clients write an empty list so.
            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Inputs, A::Error> {
                match elements.next_element::<IgnoredAny>()? {
                    None => Ok(Inputs::default()),
                    Some(_) => Err(A::Error::invalid_type(Unexpected::Seq, &self)),
                }
            }
        }
        from.deserialize_any(Members)
    }
}

/// What is wrong with the inputs of a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{problem}; {expected}")]
pub struct WrongInputs {
    problem: String,
    expected: String,
}

/// Compares inputs with what is declared: each has to be there, nothing else may, and a value must look like what its type can
/// hold. What only R's own reading of it can tell is told by the call.
pub fn check(declared: &[Parameter], inputs: &Inputs) -> Result<(), WrongInputs> {
    let wrong = |problem: String| WrongInputs {
        problem,
        expected: told(declared),
    };
    for input in &inputs.0 {
        let Some(parameter) = declared.iter().find(|known| known.name == input.name) else {
            return Err(wrong(format!("there is no input {:?}", input.name)));
        };
        if !looks_like(parameter.r#type, input.value.get()) {
            return Err(wrong(format!(
                "the input {:?} is declared as {}: expected {}",
                input.name,
                parameter.r#type.word(),
                form(parameter.r#type)
            )));
        }
    }
    let missing = declared
        .iter()
        .find(|parameter| !inputs.0.iter().any(|input| input.name == parameter.name));
    match missing {
        Some(parameter) => Err(wrong(format!("the input {:?} is missing", parameter.name))),
        None => Ok(()),
    }
}

fn told(declared: &[Parameter]) -> String {
    if declared.is_empty() {
        return "the service takes no inputs".to_owned();
    }
    let all: Vec<String> = declared
        .iter()
        .map(|parameter| format!("{:?} ({})", parameter.name, parameter.r#type.word()))
        .collect();
    format!("the inputs are {}", all.join(", "))
}

/// What JSON of a type looks like, for people.
fn form(kind: ParameterType) -> &'static str {
    match kind {
        ParameterType::Logical => "true or false",
        ParameterType::Numeric => "a number",
        ParameterType::Integer => "a number without a fraction",
        ParameterType::Character => "a string",
        ParameterType::Vector => "an array",
        ParameterType::Matrix => "an array of rows, each an array",
        ParameterType::DataFrame => "an object of columns, or an array of objects that are rows",
    }
}

/// Judged by the first byte, and for numbers and strings that stand for missing values by the whole. Clients in R write one element
/// with an array or without as their library has it, so either is taken for the other; R looks at what is in an array.
fn looks_like(kind: ParameterType, json: &str) -> bool {
    let first = json.as_bytes().first().copied().unwrap_or_default();
    let is_number = first == b'-' || first.is_ascii_digit();
    let special = matches!(
        json.trim_matches('"'),
        "NA" | "NaN" | "Inf" | "+Inf" | "-Inf" | "Infinity" | "+Infinity" | "-Infinity"
    );
    if json == "null" {
        return true;
    }
    let is_array = first == b'[';
    match kind {
        ParameterType::Logical => is_array || matches!(json, "true" | "false" | "\"NA\""),
        ParameterType::Numeric => is_array || is_number || first == b'"' && special,
        ParameterType::Integer => is_array || is_number || json == "\"NA\"",
        ParameterType::Character => is_array || first == b'"',
        ParameterType::Vector => first != b'{',
        ParameterType::Matrix => is_array,
        ParameterType::DataFrame => first == b'{' || first == b'[',
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(kind: &str) -> Vec<Parameter> {
        serde_json::from_str(&format!(r#"[{{"name":"x","type":"{kind}"}}]"#)).unwrap()
    }

    fn checked(kind: &str, json: &str) -> Result<(), WrongInputs> {
        check(&declared(kind), &serde_json::from_str(json).unwrap())
    }

    #[test]
    fn values_look_like_their_types() {
        for (kind, right, wrong) in [
            ("logical", "true", "1"),
            ("numeric", "-2.5", "\"a\""),
            ("numeric", "\"NaN\"", "{}"),
            ("numeric", "[1]", "false"),
            ("integer", "3", "true"),
            ("character", "\"a\"", "1"),
            ("vector", "[1]", "{}"),
            ("vector", "1", "{\"a\":1}"),
            ("matrix", "[[1]]", "{}"),
            ("data.frame", "{\"a\":[1]}", "1"),
            ("data.frame", "[{\"a\":1}]", "\"a\""),
            ("numeric", "null", "\"\""),
        ] {
            checked(kind, &format!("{{\"x\":{right}}}")).unwrap();
            let problem = checked(kind, &format!("{{\"x\":{wrong}}}")).unwrap_err();
            assert!(problem.to_string().contains(kind), "{problem}");
        }
    }

    #[test]
    fn each_input_is_there_once_and_nothing_else() {
        let missing = checked("numeric", "{}").unwrap_err().to_string();
        assert!(missing.contains("\"x\" is missing") && missing.contains("\"x\" (numeric)"));
        let unknown = checked("numeric", r#"{"x":1,"y":1}"#).unwrap_err();
        assert!(unknown.to_string().contains("no input \"y\""));
        assert!(serde_json::from_str::<Inputs>(r#"{"x":1,"x":2}"#).is_err());
        assert!(check(&[], &Inputs::default()).is_ok());
        let many: Vec<String> = (0..=MOST).map(|at| format!("\"x{at}\":1")).collect();
        assert!(serde_json::from_str::<Inputs>(&format!("{{{}}}", many.join(","))).is_err());
        let problem = check(&[], &serde_json::from_str(r#"{"x":1}"#).unwrap()).unwrap_err();
        assert!(
            problem.to_string().ends_with("takes no inputs"),
            "{problem}"
        );
        assert!(serde_json::from_str::<Inputs>("[]").is_ok_and(|none| none.0.is_empty()));
        let problem = serde_json::from_str::<Inputs>("[1]").unwrap_err();
        assert!(problem.to_string().contains("an object"), "{problem}");
    }

    #[test]
    fn order_and_bytes_of_values_stay() {
        let inputs: Inputs = serde_json::from_str(r#"{"b":1.50,"a":{"z":1,"y":2}}"#).unwrap();
        let sent: Vec<_> = inputs
            .0
            .iter()
            .map(|input| (input.name.as_str(), input.value.get()))
            .collect();
        assert_eq!(sent, [("b", "1.50"), ("a", r#"{"z":1,"y":2}"#)]);
    }
}
