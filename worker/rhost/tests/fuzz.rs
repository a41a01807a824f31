//! Whatever arrives is answered: arbitrary JSON as inputs, arbitrary bytes as frames.

#![allow(
    clippy::unwrap_used,
    reason = "a test that cannot go on should stop here"
)]

mod driver;

use std::cell::RefCell;

use driver::Parent;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use warren_rhost::control::Exit;
use warren_rhost::session::{Ending, FromChild, RType};

fn runner(cases: u32) -> TestRunner {
    TestRunner::new(Config {
        cases,
        failure_persistence: None,
        ..Config::default()
    })
}

/// Text that the frame takes for a JSON value, with everything in it that a parser may stumble over.
fn any_json() -> impl Strategy<Value = String> {
    let number = prop_oneof![
        any::<i64>().prop_map(|n| n.to_string()),
        any::<f64>()
            .prop_filter("not JSON", |n| n.is_finite())
            .prop_map(|n| n.to_string()),
        "-?(0|[1-9][0-9]{0,30})(\\.[0-9]{1,30})?([eE][+-]?[0-9]{1,4})?",
    ];
    let text = prop_oneof![
        ".{0,12}".prop_map(|text| serde_json::to_string(&text).unwrap()),
        Just("\"\\u0000\"".to_owned()),
        Just("\"\\ud800\"".to_owned()),
        Just("\"\\ud83c\\udf89\"".to_owned()),
        "(NA|NaN|[+-]?Inf(inity)?|TRUE|2017-01-31)".prop_map(|text| format!("\"{text}\"")),
        (0_usize..20_000).prop_map(|length| format!("\"{}\"", "é".repeat(length))),
    ];
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        number,
        text.clone()
    ];
    leaf.prop_recursive(5, 60, 6, move |inner| {
        let name = prop_oneof![
            "[ab]{0,2}".prop_map(|text| format!("\"{text}\"")),
            text.clone()
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6)
                .prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec((name, inner.clone()), 0..5).prop_map(|members| {
                let members: Vec<_> = members
                    .into_iter()
                    .map(|(name, value)| format!("{name}:{value}"))
                    .collect();
                format!("{{{}}}", members.join(" , "))
            }),
            (1_usize..300, inner).prop_map(|(depth, value)| {
                format!("{}{value}{}", "[".repeat(depth), "]".repeat(depth))
            }),
        ]
    })
}

fn any_type() -> impl Strategy<Value = Option<RType>> {
    prop::sample::select(vec![
        None,
        Some(RType::Logical),
        Some(RType::Numeric),
        Some(RType::Integer),
        Some(RType::Character),
        Some(RType::Vector),
        Some(RType::Matrix),
        Some(RType::DataFrame),
    ])
}

#[test]
fn any_json_as_an_input_is_assigned_or_refused() {
    let mut parent = Parent::start();
    let session = RefCell::new(parent.fork());
    let strategy = (any_json(), any_type(), any_type(), ".{1,6}");
    runner(600)
        .run(&strategy, |(json, read_as, written_as, name)| {
            let mut session = session.borrow_mut();
            let answer = session.run_with("", &[(&name, read_as, &json)], &[(&name, written_as)]);
            match answer.ending {
                Ending::Succeeded => {
                    let back: Result<serde_json::Value, _> =
                        serde_json::from_str(&answer.outputs[0]);
                    prop_assert!(back.is_ok(), "{} became {}", json, answer.outputs[0]);
                }
                Ending::ValueError { message } => {
                    prop_assert!(
                        message.contains(&format!("`{name}`")) || name.contains('\0'),
                        "{}",
                        message
                    );
                }
                other => prop_assert!(false, "{json}: {other:?}"),
            }
            Ok(())
        })
        .unwrap();
    assert_eq!(session.borrow_mut().console_of("1 + 1"), "[1] 2\n");
}

#[test]
fn any_bytes_in_the_place_of_a_value_are_answered_or_end_the_child_in_good_order() {
    let parent = RefCell::new(Parent::start());
    runner(60)
        .run(&prop::collection::vec(any::<u8>(), 0..200), |bytes| {
            let mut parent = parent.borrow_mut();
            let mut session = parent.fork();
            let mut frame = br#"{"run":{"run":1,"code":"","inputs":[{"name":"x","value":"#.to_vec();
            frame.extend_from_slice(&bytes);
            frame.extend_from_slice(br#"}],"outputs":[],"max_output_bytes":100}}"#);
            session.send(&frame);
            match session.receive() {
                Some(FromChild::Done(done)) => {
                    let fine = matches!(done.ending, Ending::Succeeded | Ending::ValueError { .. });
                    prop_assert!(fine, "{:?}", done.ending);
                }
                Some(FromChild::Ready) => prop_assert!(false, "ready twice"),
                None => prop_assert_eq!(parent.exit_of(&session), Exit::Status { code: 0 }),
            }
            Ok(())
        })
        .unwrap();
}

#[test]
fn any_bytes_as_a_frame_end_the_child_in_good_order() {
    let parent = RefCell::new(Parent::start());
    runner(60)
        .run(&prop::collection::vec(any::<u8>(), 0..200), |bytes| {
            let mut parent = parent.borrow_mut();
            let mut session = parent.fork();
            session.send_raw(&bytes);
            session.hang_up();
            prop_assert_eq!(parent.exit_of(&session), Exit::Status { code: 0 });
            Ok(())
        })
        .unwrap();
}

proptest! {
    #[test]
    fn any_bytes_from_a_child_are_a_message_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = serde_json::from_slice::<FromChild>(&bytes);
    }

    #[test]
    fn a_message_with_a_byte_changed_is_a_message_or_an_error(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut frame = br#"{"kind":"done","run":7,"ending":{"kind":"error","message":"no"},"outputs":[[1.0],{"a":null}],"changed_files":["a"]}"#.to_vec();
        let at = at.index(frame.len());
        frame[at] = byte;
        let _ = serde_json::from_slice::<FromChild>(&frame);
    }
}
