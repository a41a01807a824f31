//! Values between JSON and R.

mod driver;

use driver::{Parent, Session};
use warren_rhost::session::{Ending, RType};

fn session() -> (Parent, Session) {
    let mut parent = Parent::start();
    let session = parent.fork();
    (parent, session)
}

#[test]
fn outputs_of_a_session_are_boxed() {
    let (_parent, mut session) = session();
    let cases = [
        ("5", "[5]"),
        ("1:3", "[1,2,3]"),
        (
            "c(0.1, 1/3, 1e-300, 123456789012)",
            "[0.1,0.3333333333333333,1e-300,123456789012]",
        ),
        (
            "c(1, NA, NaN, Inf, -Inf)",
            "[1,null,\"NaN\",\"Infinity\",\"-Infinity\"]",
        ),
        ("c(1L, NA)", "[1,null]"),
        ("c(TRUE, NA, FALSE)", "[true,null,false]"),
        (
            "c('a', NA, 'é\"\\n', '\\u4e2d')",
            "[\"a\",null,\"é\\\"\\n\",\"中\"]",
        ),
        ("c(x = 1, y = 2)", "[1,2]"),
        (
            "structure(list(1, 2), class = 'data.frame')",
            "{\"1\":[1],\"2\":[2]}",
        ),
        ("NULL", "null"),
        ("character()", "[]"),
        ("list()", "[]"),
        (
            "list(1, 'a', list(b = TRUE))",
            "[[1],[\"a\"],{\"b\":[true]}]",
        ),
        ("list(a = 1, 2, a = 3)", "{\"a\":[1],\"2\":[2],\"a.1\":[3]}"),
        (
            "factor(c('x', NA, 'y'), levels = c('y', 'x'))",
            "[\"x\",null,\"y\"]",
        ),
        (
            "as.Date(c('2017-01-31', NA, '1969-12-31'))",
            "[\"2017-01-31\",null,\"1969-12-31\"]",
        ),
        ("structure(17197L, class = 'Date')", "[\"2017-01-31\"]"),
        (
            "as.POSIXct('2017-01-31 12:00:00.25', tz = 'UTC')",
            "[\"2017-01-31T12:00:00.250Z\"]",
        ),
        (
            "as.POSIXlt('2017-01-31 13:00:00', tz = 'Europe/Berlin')",
            "[\"2017-01-31T12:00:00.000Z\"]",
        ),
        ("matrix(1:6, 2)", "[[1,3,5],[2,4,6]]"),
        ("array(1:8, c(2, 2, 2))", "[[[1,5],[3,7]],[[2,6],[4,8]]]"),
        ("matrix(numeric(), 0, 3)", "[]"),
        ("matrix(c('a', NA), 1)", "[[\"a\",null]]"),
        (
            "data.frame(b = 1:2, a = c('x', NA), row.names = c('r', 's'))",
            "{\"b\":[1,2],\"a\":[\"x\",null]}",
        ),
        ("data.frame(a = 1)", "{\"a\":[1]}"),
        (
            "data.frame(a = numeric(), b = character())",
            "{\"a\":[],\"b\":[]}",
        ),
        ("complex(real = 1, imaginary = -2.5)", "[\"1-2.5i\"]"),
        ("as.raw(0:2)", "[\"AAEC\"]"),
        ("2^31", "[2147483648]"),
        ("2^53 + 2", "[9007199254740994]"),
        ("structure(5e-324, class = 'integer64')", "[1]"),
        ("iconv('é', 'UTF-8', 'latin1')", "[\"é\"]"),
        ("`Encoding<-`('\\xe9', 'bytes')", "[\"\u{fffd}\"]"),
        ("as.difftime(1.5, units = 'mins')", "[1.5]"),
        (
            "complex(real = c(NaN, Inf), imaginary = 1)",
            "[\"NaN+1i\",\"Inf+1i\"]",
        ),
        (
            "formals(function(a = 1, b = 'x') 1)",
            "{\"a\":[1],\"b\":[\"x\"]}",
        ),
    ];
    for (code, expected) in cases {
        assert_eq!(
            session.output(&format!("x <- {code}"), "x"),
            expected,
            "{code}"
        );
    }
    assert_eq!(session.output("", "no such object"), "null");
    assert_eq!(session.output("delayedAssign('p', 42)", "p"), "[42]");
}

#[test]
fn what_has_no_json_is_null_and_said_so() {
    let (_parent, mut session) = session();
    for code in [
        "function(x) x",
        "sum",
        "globalenv()",
        "quote(a + b)",
        "setClass('P', representation(a = 'numeric'))(a = 1)",
    ] {
        let answer = session.run_with(&format!("x <- {code}"), &[], &[("x", None)]);
        assert_eq!(answer.outputs, ["null"], "{code}");
        assert!(
            answer
                .console
                .starts_with("Warning message:\noutput `x` holds "),
            "{}",
            answer.console
        );
    }
    assert_eq!(
        session.output("x <- list(a = sum, b = 1)", "x"),
        "{\"a\":null,\"b\":[1]}"
    );
}

#[test]
fn outputs_of_a_service_have_their_declared_form() {
    let (_parent, mut session) = session();
    let cases = [
        ("5", RType::Numeric, "5"),
        ("5L", RType::Integer, "5"),
        ("TRUE", RType::Logical, "true"),
        ("'a'", RType::Character, "\"a\""),
        ("NA_character_", RType::Character, "null"),
        ("numeric()", RType::Numeric, "null"),
        ("1:2", RType::Numeric, "[1,2]"),
        ("1", RType::Vector, "[1]"),
        ("matrix(1:4, 2)", RType::Vector, "[1,2,3,4]"),
        ("matrix(1:4, 2)", RType::Matrix, "[[1,3],[2,4]]"),
        (
            "data.frame(p = 0.5332668559970368)",
            RType::DataFrame,
            "{\"p\":[0.5332668559970368]}",
        ),
    ];
    for (code, declared, expected) in cases {
        let answer = session.run_with(&format!("x <- {code}"), &[], &[("x", Some(declared))]);
        assert_eq!(answer.outputs, [expected], "{code}");
    }
}

#[test]
fn inputs_arrive_as_what_they_look_like() {
    let (_parent, mut session) = session();
    let cases = [
        ("5", "num 5"),
        ("true", "logi TRUE"),
        ("\"a\"", "chr \"a\""),
        ("null", "NULL"),
        ("[]", "list()"),
        (
            "[1,null,\"NaN\",\"-Inf\",\"NA\"]",
            "num [1:5] 1 NA NaN -Inf NA",
        ),
        ("[\"NA\",\"b\"]", "chr [1:2] \"NA\" \"b\""),
        ("[1,\"b\",true]", "chr [1:3] \"1\" \"b\" \"TRUE\""),
        ("[[1,2],[3,4]]", "num [1:2, 1:2] 1 3 2 4"),
        ("[[1,2],[3]]", "List of 2\n $ : num [1:2] 1 2\n $ : num 3"),
        (
            "{\"b\":[1,2],\"a\":[\"x\",null]}",
            "'data.frame':\t2 obs. of  2 variables:\n $ b: num  1 2\n $ a: chr  \"x\" NA",
        ),
        (
            "[{\"a\":1},{\"b\":\"x\"}]",
            "'data.frame':\t2 obs. of  2 variables:\n $ a: num  1 NA\n $ b: chr  NA \"x\"",
        ),
        (
            "{\"a\":1,\"b\":{\"c\":[1,2]}}",
            "List of 2\n $ a: num 1\n $ b:'data.frame':\t2 obs. of  1 variable:\n  ..$ c: num [1:2] 1 2",
        ),
    ];
    for (json, expected) in cases {
        let answer = session.run_with("str(x)", &[("x", None, json)], &[]);
        assert_eq!(answer.ending, Ending::Succeeded, "{json}");
        assert_eq!(answer.console.trim(), expected, "{json}");
    }
}

#[test]
fn declared_inputs_are_checked_and_refusals_name_the_input() {
    let (_parent, mut session) = session();
    let good = [
        (RType::Integer, "3", "int 3"),
        (RType::Numeric, "2", "num 2"),
        (RType::Numeric, "\"Infinity\"", "num Inf"),
        (RType::Logical, "null", "NULL"),
        (RType::Vector, "[1,2]", "num [1:2] 1 2"),
        (RType::Matrix, "[[1,2],[3,4]]", "num [1:2, 1:2] 1 3 2 4"),
        (
            RType::DataFrame,
            "{\"hp\":120}",
            "'data.frame':\t1 obs. of  1 variable:\n $ hp: num 120",
        ),
    ];
    for (declared, json, expected) in good {
        let answer = session.run_with("str(x)", &[("x", Some(declared), json)], &[]);
        assert_eq!(answer.console.trim(), expected, "{json}");
    }
    let records = session.run_with(
        "str(x)",
        &[(
            "x",
            Some(RType::DataFrame),
            "[{\"hp\":120,\"wt\":2.8},{\"wt\":2.6,\"am\":true}]",
        )],
        &[("x", Some(RType::DataFrame))],
    );
    assert_eq!(
        records.outputs,
        ["{\"hp\":[120,null],\"wt\":[2.8,2.6],\"am\":[null,true]}"]
    );
    let bad = [
        (RType::Integer, "2147483648", "2147483648"),
        // Which is what R calls NA.
        (RType::Integer, "-2147483648", "-2147483648"),
        (RType::Integer, "1.5", "1.5"),
        (RType::Logical, "1", "expected logical"),
        (RType::Character, "1", "expected character"),
        (RType::Matrix, "[[1,2],[3]]", "row 2 has 1 values"),
        (
            RType::DataFrame,
            "{\"a\":[1],\"b\":[1,2]}",
            "column `b` has 2 rows",
        ),
        (RType::Character, "\"a\\u0000b\"", "nul"),
    ];
    for (declared, json, expected) in bad {
        let answer = session.run_with("cat('ran')", &[("x", Some(declared), json)], &[]);
        let Ending::ValueError { message } = answer.ending else {
            panic!("{json}: {:?}", answer.ending)
        };
        assert!(
            message.contains("input `x`") && message.contains(expected),
            "{message}"
        );
        assert_eq!(answer.console, "");
    }
}

#[test]
fn names_are_taken_as_they_are() {
    let (_parent, mut session) = session();
    for name in ["T", "if", "my var", "é", "..1x", "a`b"] {
        let answer = session.run_with("", &[(name, None, "[7]")], &[(name, None)]);
        assert_eq!(answer.outputs, ["[7]"], "{name}");
    }
    let answer = session.run_with("", &[("", None, "1")], &[]);
    assert!(matches!(answer.ending, Ending::ValueError { .. }));
}

#[test]
fn an_output_that_cannot_be_read_fails_the_run_and_is_named() {
    let (_parent, mut session) = session();
    let answer = session.run_with("delayedAssign('p', stop('never'))", &[], &[("p", None)]);
    let Ending::ValueError { message } = answer.ending else {
        panic!("{:?}", answer.ending)
    };
    assert!(
        message.contains("output `p`") && message.contains("never"),
        "{message}"
    );
    let answer = session.run_with(
        "x <- 1; for (i in 1:1000) x <- list(x)",
        &[],
        &[("x", None)],
    );
    let Ending::ValueError { message } = answer.ending else {
        panic!("{:?}", answer.ending)
    };
    assert!(message.contains("nested too deep"), "{message}");
    assert_eq!(session.console_of("1"), "[1] 1\n");
}

#[test]
fn an_output_that_memory_does_not_hold_as_json_is_refused_and_the_session_lives() {
    let mut parent = Parent::start_with(&["--memory-bytes", "450000000"]).unwrap();
    let mut session = parent.fork();
    // One string, many times: small in R.
    let answer = session.run_with("x <- rep(strrep('x', 1e6), 400)", &[], &[("x", None)]);
    assert_eq!(
        answer.ending,
        Ending::ValueError {
            message: "output `x`: there is not enough memory for its JSON".to_owned()
        }
    );
    assert_eq!(session.output("y <- 1", "y"), "[1]");
}

#[test]
fn numbers_beyond_an_integer_stay_numbers() {
    let (_parent, mut session) = session();
    let json = "[2147483647,2147483648,-2147483649,9007199254740992,1e300]";
    let printed = session.run_with(
        "typeof(x); sprintf('%.0f', x[1:4])",
        &[("x", None, json)],
        &[("x", None)],
    );
    assert_eq!(
        printed.console,
        "[1] \"double\"\n[1] \"2147483647\"       \"2147483648\"       \"-2147483649\"      \"9007199254740992\"\n"
    );
    assert_eq!(
        printed.outputs,
        ["[2147483647,2147483648,-2147483649,9007199254740992,1e+300]"]
    );
}

#[test]
fn repeated_names_are_taken_as_they_are() {
    let (_parent, mut session) = session();
    let answer = session.run_with(
        "names(frame); names(list)",
        &[
            ("x", None, "[1]"),
            ("x", None, "[2]"),
            ("frame", None, "{\"a b\":[1],\"\":[2],\"a b\":[3]}"),
            ("list", None, "{\"k\":1,\"if\":{},\"k\":2}"),
        ],
        &[("x", None)],
    );
    assert_eq!(answer.outputs, ["[2]"]);
    assert_eq!(
        answer.console,
        "[1] \"a b\" \"\"    \"a b\"\n[1] \"k\"  \"if\" \"k\" \n"
    );
}

#[test]
fn code_finds_inputs_whose_names_are_no_names() {
    let (_parent, mut session) = session();
    let answer = session.run_with(
        "T\n`my var` + 1\nget('if')",
        &[
            ("T", None, "[false]"),
            ("my var", None, "[1]"),
            ("if", None, "[\"x\"]"),
        ],
        &[],
    );
    assert_eq!(answer.console, "[1] FALSE\n[1] 2\n[1] \"x\"\n");
}
