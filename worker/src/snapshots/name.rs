//! Names of entries.

/// The parts of an entry's name, if it is one that a working directory may have.
pub(super) fn parts(name: &str) -> Result<Vec<&str>, &'static str> {
    let name = name.strip_suffix('/').unwrap_or(name);
    if name.starts_with('/') {
        return Err("is absolute");
    }
    if name.contains(['\0', '\\']) {
        return Err("has a character that a name cannot have");
    }
    let parts: Vec<&str> = name.split('/').collect();
    if parts.len() > super::DEEPEST {
        return Err("lies too deep");
    }
    for part in &parts {
        match *part {
            "" | "." | ".." => return Err("leads elsewhere"),
            long if long.len() > 255 => return Err("is too long"),
            _ => {}
        }
    }
    Ok(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_are_refused() {
        for (name, expected) in [
            ("a", &["a"][..]),
            (".library/p/R/p.rdb", &[".library", "p", "R", "p.rdb"]),
            ("a b/", &["a b"]),
            ("..a/b..", &["..a", "b.."]),
        ] {
            assert_eq!(parts(name).unwrap(), expected);
        }
        let deep = "a/".repeat(super::super::DEEPEST) + "a";
        for name in [
            "",
            "/",
            "/etc/passwd",
            "..",
            "../a",
            "a/../b",
            "a//b",
            "./a",
            "a/.",
            "a\0",
            "..\\a",
            "C:\\a",
            &"a".repeat(256),
            &deep,
        ] {
            assert!(parts(name).is_err(), "{name:?}");
        }
    }
}
