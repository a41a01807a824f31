//! Memory of processes, page tables included. Pages that several processes map are counted by shares.

use std::fs;
use std::io;

/// Its share of the memory that it maps, and its page tables, in KiB.
pub(super) fn of_process(pid: u32) -> io::Result<u64> {
    let maps = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    match (field(&maps, "Pss:"), field(&status, "VmPTE:")) {
        (Some(share), Some(tables)) => Ok(share + tables),
        _ => Err(io::Error::other(format!(
            "the kernel does not tell the memory of process {pid}"
        ))),
    }
}

/// KiB as megabytes.
#[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
pub(super) fn megabytes(kibibytes: u64) -> f64 {
    (kibibytes * 1024) as f64 / 1e6
}

/// A number of KiB behind a name at the beginning of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let maps = "Rss:  5 kB\nPss_Dirty:   1 kB\nPss:      12 kB\n";
        assert_eq!(field(maps, "Pss:"), Some(12));
        assert_eq!(field(maps, "Swap:"), None);
    }

    #[test]
    fn this_process_has_memory() {
        assert!(of_process(std::process::id()).unwrap() > 0);
    }
}
