//! Values that go to R and come back, and R's that go out and come in.

mod driver;

use driver::{Parent, Session, corpus, same};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use warren_rhost::session::Ending;

fn session() -> (Parent, Session) {
    let mut parent = Parent::start();
    let session = parent.fork();
    (parent, session)
}

/// JSON that R can hold: boxed vectors of one type, matrices, lists and data frames of them, in any order and in one another.
fn boxed() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        any::<i32>().prop_map(|n| n.to_string()),
        any::<f64>()
            .prop_filter("JSON has no such number", |n| n.is_finite())
            .prop_map(|n| serde_json::to_string(&n).unwrap_or_default()),
        prop::sample::select(vec!["null", "\"NaN\"", "\"Infinity\"", "\"-Infinity\""])
            .prop_map(str::to_owned),
    ];
    // A first element that is no null keeps the type of what is otherwise missing.
    let first = any::<i32>().prop_map(|n| n.to_string());
    let boolean = prop::sample::select(vec!["true", "false", "null"]).prop_map(str::to_owned);
    let text = prop_oneof![".{0,8}", "[a-zA-Zéß中\"\\\\\n ]{1,8}"]
        .prop_filter("a spelling of a number, or no string of R's", |text| {
            !text.contains('\0') && !matches!(text.as_str(), "NA" | "NaN" | "Inf" | "-Inf" | "+Inf")
        })
        .prop_map(|text| serde_json::to_string(&text).unwrap_or_default());
    let row = |element: BoxedStrategy<String>, first: BoxedStrategy<String>, length: usize| {
        (first, prop::collection::vec(element, length)).prop_map(|(first, mut row)| {
            row.insert(0, first);
            array(&row)
        })
    };
    let (number, first, boolean, text) =
        (number.boxed(), first.boxed(), boolean.boxed(), text.boxed());
    let text_or_none = prop_oneof![4 => text.clone(), 1 => Just("null".to_owned())].boxed();
    let kinds = [
        (number, first),
        (boolean.clone(), boolean),
        (text_or_none, text),
    ];
    let any_row = (0..kinds.len(), 0_usize..6)
        .prop_flat_map({
            let kinds = kinds.clone();
            move |(kind, length)| row(kinds[kind].0.clone(), kinds[kind].1.clone(), length)
        })
        .boxed();
    let matrix =
        (0..kinds.len(), 0_usize..4, 1_usize..4).prop_flat_map(move |(kind, length, rows)| {
            prop::collection::vec(
                row(kinds[kind].0.clone(), kinds[kind].1.clone(), length),
                rows,
            )
            .prop_map(|rows| array(&rows))
        });
    let leaf = prop_oneof![
        any_row,
        matrix,
        prop::sample::select(vec!["null", "[]", "{}"]).prop_map(str::to_owned)
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        let members =
            prop::collection::hash_map("[a-z é.`]{1,5}", inner.clone(), 1..4).prop_map(|members| {
                // As the map happens to give them: the order of the keys is to be kept, whatever it is.
                let members: Vec<_> = members
                    .into_iter()
                    .map(|(name, value)| {
                        format!(
                            "{}:{value}",
                            serde_json::to_string(&name).unwrap_or_default()
                        )
                    })
                    .collect();
                format!("{{{}}}", members.join(","))
            });
        let items = prop::collection::vec(inner, 1..4)
            .prop_filter("rows of a data frame", |items| {
                !items.iter().all(|item| is_row(item))
            });
        prop_oneof![members, items.prop_map(|items| array(&items))]
    })
}

/// Whether it is an object of scalars. Here only null is one.
fn is_row(json: &str) -> bool {
    serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(json).is_ok_and(|members| {
        !members.is_empty() && members.values().all(serde_json::Value::is_null)
    })
}

fn array(items: &[String]) -> String {
    format!("[{}]", items.join(","))
}

#[test]
fn json_to_r_to_json_is_the_identity() {
    let (_parent, session) = session();
    let session = std::cell::RefCell::new(session);
    let mut runner = TestRunner::new(Config {
        cases: 600,
        failure_persistence: None,
        ..Config::default()
    });
    runner
        .run(&boxed(), |json| {
            let answer =
                session
                    .borrow_mut()
                    .run_with("y <- x", &[("x", None, &json)], &[("y", None)]);
            prop_assert_eq!(&answer.ending, &Ending::Succeeded);
            let sent: serde_json::Value =
                serde_json::from_str(&json).map_err(|e| TestCaseError::fail(e.to_string()))?;
            let got: serde_json::Value = serde_json::from_str(&answer.outputs[0])
                .map_err(|e| TestCaseError::fail(e.to_string()))?;
            prop_assert!(
                same(&sent, &got, 0.0),
                "{} became {}",
                json,
                answer.outputs[0]
            );
            Ok(())
        })
        .unwrap();
}

#[test]
fn every_double_comes_back_bit_for_bit() {
    let (_parent, session) = session();
    let session = std::cell::RefCell::new(session);
    let finite = any::<u64>()
        .prop_map(f64::from_bits)
        .prop_filter("JSON has no such number", |value| value.is_finite());
    let mut runner = TestRunner::new(Config {
        cases: 20,
        failure_persistence: None,
        ..Config::default()
    });
    runner
        .run(&prop::collection::vec(finite, 200), |sent| {
            let json =
                serde_json::to_string(&sent).map_err(|e| TestCaseError::fail(e.to_string()))?;
            let answer = session
                .borrow_mut()
                .run_with("", &[("x", None, &json)], &[("x", None)]);
            let got: Vec<f64> = serde_json::from_str(&answer.outputs[0])
                .map_err(|e| TestCaseError::fail(e.to_string()))?;
            for (sent, got) in sent.iter().zip(&got) {
                prop_assert_eq!(sent.to_bits(), got.to_bits());
            }
            prop_assert_eq!(sent.len(), got.len());
            Ok(())
        })
        .unwrap();
}

#[test]
fn the_codec_survives_a_collection_at_every_allocation() {
    let (_parent, mut session) = session();
    let corpus = corpus();
    let names: Vec<String> = (0..corpus.len()).map(|at| format!("v{at}")).collect();
    let outputs: Vec<_> = names.iter().map(|name| (name.as_str(), None)).collect();
    let lines: Vec<String> = names
        .iter()
        .zip(&corpus)
        .map(|(name, expression)| format!("{name} <- {expression}"))
        .collect();
    let calm = session.run_with(&lines.join("\n"), &[], &outputs);
    assert_eq!(calm.ending, Ending::Succeeded, "{}", calm.console);

    session.start("gctorture(TRUE)", &[], &outputs);
    let written = session.answer().unwrap();
    assert_eq!(written.ending, Ending::Succeeded, "{}", written.console);
    assert_eq!(written.outputs, calm.outputs);

    let inputs: Vec<_> = names
        .iter()
        .zip(&calm.outputs)
        .map(|(name, json)| (name.as_str(), None, json.as_str()))
        .collect();
    session.start("gctorture(FALSE)", &inputs, &[]);
    assert_eq!(session.answer().unwrap().ending, Ending::Succeeded);
    let again = session.run_with("", &[], &outputs);
    for ((expression, first), second) in corpus.iter().zip(&calm.outputs).zip(&again.outputs) {
        assert_eq!(first, second, "{expression}");
    }
}
