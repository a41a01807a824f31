//! The command line that the worker writes.

use std::ffi::OsString;
use std::ops::RangeInclusive;
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
    /// None: `--sandbox=off`.
    pub(crate) sandbox: Option<Limits>,
    /// For the bench, never for a worker: children are no sessions, see [`crate::fork::bare`].
    pub(crate) bare_forks: bool,
}

/// What a sandboxed child may use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Limits {
    /// TCP ports that user code may connect to. None listed, no socket at all.
    pub(crate) connect_ports: Vec<u16>,
    /// Address space of each process, in bytes.
    pub(crate) memory_bytes: u64,
    /// The longest file, in bytes.
    pub(crate) file_bytes: u64,
    pub(crate) open_files: u64,
    /// Processes and threads of a session.
    pub(crate) processes: u64,
    /// Use no newer Landlock than this, whatever the kernel has.
    pub(crate) landlock_abi: i32,
    /// Users for the sessions, one each. None: all run as the parent's.
    pub(crate) uids: Option<RangeInclusive<u32>>,
    /// Whether sessions get control groups where there are any.
    pub(crate) cgroups: bool,
}

/// Users that no distribution gives to anybody: above those of the system, below those of user namespaces.
const UIDS: RangeInclusive<u32> = 70_000..=79_999;

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect_ports: Vec::new(),
            memory_bytes: 8 << 30,
            file_bytes: 1 << 30,
            open_files: 4_096,
            processes: 256,
            landlock_abi: i32::MAX,
            uids: Some(UIDS),
            cgroups: true,
        }
    }
}

impl Args {
    /// Reads the arguments behind the program's name.
    pub(crate) fn parse(arguments: impl Iterator<Item = OsString>) -> Result<Self, String> {
        let mut r = OsString::from("R");
        let mut worker_pid = None;
        let mut tick_limit = None;
        let mut preload = Vec::new();
        let mut sandbox = true;
        let mut bare_forks = false;
        let mut limits = Limits::default();
        let mut arguments = arguments;
        while let Some(name) = arguments.next() {
            let name = name.to_string_lossy().into_owned();
            // Both `--name value` and `--name=value`.
            let (name, value) = if let Some((name, value)) = name.split_once('=') {
                (name.to_owned(), OsString::from(value))
            } else {
                let value = arguments
                    .next()
                    .ok_or_else(|| format!("{name} needs a value"))?;
                (name, value)
            };
            let text = value.to_string_lossy();
            match name.as_str() {
                "--r" => r.clone_from(&value),
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
                "--sandbox" => sandbox = switch(&name, &text)?,
                "--bare-forks" => bare_forks = switch(&name, &text)?,
                "--uids" => limits.uids = uids(&text)?,
                "--cgroups" => {
                    limits.cgroups = match &*text {
                        "auto" => true,
                        "off" => false,
                        _ => return Err(format!("--cgroups is `auto` or `off`, not `{text}`")),
                    };
                }
                "--connect-ports" => {
                    let ports = text.split(',').filter(|port| !port.is_empty());
                    limits.connect_ports = ports
                        .map(|port| number(&name, port))
                        .collect::<Result<_, _>>()?;
                }
                "--memory-bytes" => limits.memory_bytes = number(&name, &text)?,
                "--file-bytes" => limits.file_bytes = number(&name, &text)?,
                "--open-files" => limits.open_files = number(&name, &text)?,
                "--processes" => limits.processes = number(&name, &text)?,
                "--landlock-abi" => limits.landlock_abi = number(&name, &text)?,
                _ => return Err(format!("unknown argument {name}")),
            }
        }
        Ok(Self {
            r,
            worker_pid: worker_pid.ok_or("--worker-pid is missing")?,
            tick_limit: tick_limit.ok_or("--tick-limit-ms is missing")?,
            preload,
            sandbox: sandbox.then_some(limits),
            bare_forks,
        })
    }
}

fn uids(text: &str) -> Result<Option<RangeInclusive<u32>>, String> {
    if text == "off" {
        return Ok(None);
    }
    text.split_once('-')
        .and_then(|(first, last)| Some(first.parse().ok()?..=last.parse().ok()?))
        .filter(|uids| *uids.start() > 0 && !uids.is_empty())
        .map(Some)
        .ok_or_else(|| format!("--uids is a range such as 70000-79999, or `off`, not `{text}`"))
}

fn switch(name: &str, text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("{name} is `on` or `off`, not `{text}`")),
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
    fn the_sandbox_is_on_unless_it_is_switched_off() {
        let line = "--worker-pid 7 --tick-limit-ms 1";
        let ports = parse(&format!("{line} --connect-ports=80,443"))
            .unwrap()
            .sandbox
            .unwrap();
        assert_eq!(ports.connect_ports, [80, 443]);
        assert_eq!(
            parse(&format!("{line} --sandbox=off")).unwrap().sandbox,
            None
        );
        assert!(parse(&format!("{line} --sandbox=maybe")).is_err());
    }

    #[test]
    fn users_are_a_range_or_none() {
        assert_eq!(uids("100-103"), Ok(Some(100..=103)));
        assert_eq!(uids("off"), Ok(None));
        for wrong in ["0-9", "9-3", "7", "a-b", ""] {
            assert!(uids(wrong).is_err(), "{wrong}");
        }
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
