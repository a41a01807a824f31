//! The pages for those who publish and call services: what stands there is run as it stands there, and prints what stands there.
//!
//! A block of `sh`, `r` or `python` is a program; the blocks of one language are parts of one program. A block of `json` or `text`
//! behind it is what it prints, where `…` stands for anything. All that is put in place of what a reader would put in place is the
//! address and the password.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;
use warren_tests::House;
use warren_tests::house::PASSWORD;
use warren_tests::postgres::setting;

/// What pages say where a reader has something else.
const ADDRESS: &str = "http://localhost:12800";
const SECRET: &str = "your password";

/// Printed between the blocks of a program.
const MARK: &str = "\u{1e}";
/// How long the program of one language may take: less than the runner gives a test.
const LIMIT: Duration = Duration::from_secs(80);

#[tokio::test]
async fn the_page_for_publishers_is_as_it_says() {
    try_page(
        "PUBLISHING.md",
        include_str!("../../../docs/PUBLISHING.md"),
        &["r", "sh"],
    )
    .await;
}

#[tokio::test]
async fn the_page_for_callers_is_as_it_says() {
    try_page(
        "CALLING.md",
        include_str!("../../../docs/CALLING.md"),
        &["sh", "python", "r"],
    )
    .await;
}

/// A piece of a page between fences.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Block<'a> {
    /// Of its first line, for people.
    line: usize,
    language: &'a str,
    text: &'a str,
}

/// The blocks of a page, in order.
fn blocks(page: &str) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut rest = page;
    let line_of = |rest: &str| page[..page.len() - rest.len()].lines().count() + 1;
    while let Some((_, after)) = rest.split_once("\n```") {
        let (language, text) = after.split_once('\n').expect("a block begins");
        let end = text.find("```").expect("a block ends");
        blocks.push(Block {
            line: line_of(text),
            language,
            text: &text[..end],
        });
        rest = &text[end + 3..];
    }
    blocks
}

/// A program's block, and what the page says that it prints.
struct Step<'a> {
    code: Block<'a>,
    expected: Option<Block<'a>>,
}

fn steps<'a>(blocks: &[Block<'a>], language: &str) -> Vec<Step<'a>> {
    let ours = |(at, block): (usize, &Block<'a>)| {
        let expected = blocks.get(at + 1);
        (block.language == language).then(|| Step {
            code: block.clone(),
            expected: expected
                .filter(|next| matches!(next.language, "json" | "text"))
                .cloned(),
        })
    };
    blocks.iter().enumerate().filter_map(ours).collect()
}

async fn try_page(name: &str, page: &str, languages: &[&str]) {
    let house = House::build().await;
    assert!(page.contains(ADDRESS) && page.contains(SECRET), "{name}");
    let address = format!("http://{}", house.apis[0].addr);
    let page = page.replace(ADDRESS, &address).replace(SECRET, PASSWORD);
    try_blocks(name, &page, languages, house.dir()).await;
}

/// Runs what stands between the fences of a page, in a folder.
pub(crate) async fn try_blocks(name: &str, page: &str, languages: &[&str], dir: &Path) {
    let blocks = blocks(page);
    let known = |block: &Block<'_>| {
        languages.contains(&block.language) || matches!(block.language, "json" | "text")
    };
    for block in &blocks {
        assert!(
            known(block),
            "{name}:{}: nothing runs {:?}",
            block.line,
            block.language
        );
    }
    for language in languages {
        let dir = dir.join(language);
        std::fs::create_dir(&dir).unwrap();
        run(name, language, &steps(&blocks, language), &dir).await;
    }
}

/// Runs the blocks of one language, and holds what they print against the page.
async fn run(page: &str, language: &str, steps: &[Step<'_>], dir: &Path) {
    assert!(!steps.is_empty(), "{page} has nothing in {language}");
    let (program, options, suffix, mark) = match language {
        "sh" => (
            "bash".to_owned(),
            &["-euo", "pipefail"][..],
            "sh",
            "printf '\\036'",
        ),
        "r" => (
            "Rscript".to_owned(),
            &["--vanilla"][..],
            "R",
            "cat('\\036')",
        ),
        "python" => (
            setting("WARREN_TEST_PYTHON"),
            &[][..],
            "py",
            "print('\\036', end='', flush=True)",
        ),
        other => panic!("nothing runs {other:?}"),
    };
    let mut code = String::new();
    for step in steps {
        code.push_str(step.code.text);
        code.push_str(mark);
        code.push('\n');
    }
    let script = dir.join(format!("page.{suffix}"));
    std::fs::write(&script, &code).unwrap();
    let child = Command::new(&program)
        .args(options)
        .arg(&script)
        .current_dir(dir)
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(LIMIT, child)
        .await
        .unwrap_or_else(|_| {
            panic!("{page}: the {language} of the page takes longer than {LIMIT:?}")
        })
        .unwrap_or_else(|error| panic!("{program} cannot be run: {error}"));
    let printed = String::from_utf8(output.stdout).unwrap();
    let complaints = String::from_utf8_lossy(&output.stderr);
    let parts: Vec<&str> = printed.split(MARK).collect();
    for (step, part) in steps.iter().zip(&parts) {
        let whole = std::ptr::eq(*part, *parts.last().unwrap());
        assert!(
            !whole,
            "{page}:{}: this block ends the program.\nIt printed:\n{part}\n{complaints}",
            step.code.line
        );
        if let Some(expected) = &step.expected {
            assert!(
                matches(expected, part),
                "{page}:{}: the page says\n{}\nand this was printed:\n{part}\n{complaints}",
                expected.line,
                expected.text
            );
        }
    }
    assert!(output.status.success(), "{page}: {complaints}");
}

fn matches(expected: &Block<'_>, printed: &str) -> bool {
    if expected.language == "json" {
        let read = |text: &str| serde_json::from_str::<Value>(text).ok();
        let wanted = read(expected.text)
            .unwrap_or_else(|| panic!("line {} of the page is no JSON", expected.line));
        return read(printed).is_some_and(|printed| fits_json(&wanted, &printed));
    }
    let lines = |text: &str| -> Vec<String> {
        let lines = text.trim().lines();
        lines.map(|line| line.trim_end().to_owned()).collect()
    };
    let (wanted, printed) = (lines(expected.text), lines(printed));
    fits(&wanted.join("\n"), &printed.join("\n"))
}

fn fits_json(wanted: &Value, printed: &Value) -> bool {
    match (wanted, printed) {
        (Value::String(any), _) if any == "…" => true,
        (Value::String(wanted), Value::String(printed)) => fits(wanted, printed),
        // Pages do not show all digits.
        (Value::Number(wanted), Value::Number(printed)) => {
            let (wanted, printed) = (wanted.as_f64().unwrap(), printed.as_f64().unwrap());
            (wanted - printed).abs() <= wanted.abs() * 1e-6
        }
        (Value::Array(wanted), Value::Array(printed)) => {
            wanted.len() == printed.len()
                && wanted
                    .iter()
                    .zip(printed)
                    .all(|(wanted, printed)| fits_json(wanted, printed))
        }
        (Value::Object(wanted), Value::Object(printed)) => {
            wanted.len() == printed.len()
                && wanted.iter().all(|(name, wanted)| {
                    printed
                        .get(name)
                        .is_some_and(|printed| fits_json(wanted, printed))
                })
        }
        _ => wanted == printed,
    }
}

/// Whether a text is the wanted one, in which `…` stands for anything.
fn fits(wanted: &str, printed: &str) -> bool {
    let Some((start, mut wanted)) = wanted.split_once('…') else {
        return wanted == printed;
    };
    let Some(mut printed) = printed.strip_prefix(start) else {
        return false;
    };
    while let Some((piece, after)) = wanted.split_once('…') {
        let Some((_, left)) = printed.split_once(piece) else {
            return false;
        };
        (wanted, printed) = (after, left);
    }
    printed.ends_with(wanted)
}

#[test]
fn blocks_and_what_they_print_are_found() {
    let page = "# A\n\n```sh\none\ntwo\n```\n\nprints\n\n```text\na … c\n```\n\n```r\nthree\n```\n";
    let found = blocks(page);
    assert_eq!(found.len(), 3);
    assert_eq!((found[0].line, found[0].text), (4, "one\ntwo\n"));
    let steps = steps(&found, "sh");
    assert_eq!(steps[0].expected.as_ref().unwrap().text, "a … c\n");
    assert!(super::pages::steps(&found, "r")[0].expected.is_none());
}

#[test]
fn an_ellipsis_stands_for_anything() {
    for (wanted, printed, fit) in [
        ("a … c", "a b c", true),
        ("a … c", "a b d", false),
        ("…", "", true),
        ("a", "ab", false),
        ("…b…d", "abcd", true),
    ] {
        assert_eq!(fits(wanted, printed), fit, "{wanted} {printed}");
    }
    let read = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let wanted = read(r#"{"a":"…","b":["x…"]}"#);
    assert!(fits_json(&wanted, &read(r#"{"b":["xy"],"a":1}"#)));
    assert!(!fits_json(&wanted, &read(r#"{"b":["xy"]}"#)));
    assert!(!fits_json(&wanted, &read(r#"{"b":["xy"],"a":1,"c":2}"#)));
}
