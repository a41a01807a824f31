//! The command line that the worker writes.

use std::ffi::OsString;
use std::time::Duration;

/// What the worker asks for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Args {
    /// The R executable: a path, or a name to look for.
    pub(crate) r: OsString,
    /// Who must be our parent.
    pub(crate) worker_pid: i32,
    pub(crate) tick_limit: Duration,
    pub(crate) preload: Vec<String>,
}

impl Args {
    /// Reads the arguments behind the program's name.
    pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Self, String> {
        let mut r = OsString::from("R");
        let mut worker_pid = None;
        let mut tick_limit = None;
        let mut preload = Vec::new();
        let mut arguments = arguments;
        while let Some(name) = arguments.next() {
            let name = name.to_string_lossy().into_owned();
            let value = arguments
                .next()
                .ok_or_else(|| format!("{name} needs a value"))?;
            let text = value.to_string_lossy();
            match name.as_str() {
                "--r" => r = value,
                "--worker-pid" => worker_pid = Some(number(&name, &text)?),
                "--tick-limit-ms" => {
                    tick_limit = Some(Duration::from_millis(number(&name, &text)?));
                }
                "--preload" => {
                    preload = text
                        .split(',')
                        .filter(|p| !p.is_empty())
                        .map(str::to_owned)
                        .collect();
                }
                _ => return Err(format!("unknown argument {name}")),
            }
        }
        Ok(Self {
            r,
            worker_pid: worker_pid.ok_or("--worker-pid is missing")?,
            tick_limit: tick_limit.ok_or("--tick-limit-ms is missing")?,
            preload,
        })
    }
}

fn number<T: std::str::FromStr>(name: &str, text: &str) -> Result<T, String> {
    text.parse()
        .map_err(|_| format!("{name} needs a number, not `{text}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args, String> {
        Args::parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn the_workers_command_line_is_read() {
        let args = parse("--worker-pid 7 --tick-limit-ms 13000 --preload stats,methods").unwrap();
        assert_eq!(args.r, "R");
        assert_eq!(args.worker_pid, 7);
        assert_eq!(args.tick_limit, Duration::from_secs(13));
        assert_eq!(args.preload, ["stats", "methods"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(
            parse("--worker-pid x"),
            Err("--worker-pid needs a number, not `x`".into())
        );
        assert_eq!(
            parse("--tick-limit-ms 1"),
            Err("--worker-pid is missing".into())
        );
        assert_eq!(
            parse("--nonsense 1"),
            Err("unknown argument --nonsense".into())
        );
    }
}
