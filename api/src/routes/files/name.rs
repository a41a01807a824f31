//! What a file of a session may be called.

use crate::error::ApiError;

/// The longest name in bytes: that of the file systems.
const LONGEST: usize = 255;

/// The name, if it is one of a file at the top of a directory.
pub(in crate::routes) fn checked(name: &str) -> Result<&str, ApiError> {
    let problem = if name.is_empty() {
        "is empty"
    } else if name.len() > LONGEST {
        "is longer than 255 bytes"
    } else if name.contains(['/', '\\']) {
        "has a separator of paths in it"
    } else if name.chars().any(char::is_control) {
        "has a control character in it"
    } else if name.chars().all(|letter| letter == '.') {
        "is dots only"
    } else {
        return Ok(name);
    };
    Err(ApiError::BadRequest(format!(
        "the file name {name:?} {problem}"
    )))
}

/// The name of a file that was sent under a path.
pub(super) fn without_path(name: &str) -> Result<&str, ApiError> {
    let last = name.rsplit(['/', '\\']).next();
    checked(last.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_lead_elsewhere_or_nowhere_are_refused() {
        for good in [
            "a",
            ".RData",
            "a b%20.csv",
            "ünï ☃.txt",
            "..a",
            "-rf",
            "a:b",
        ] {
            assert_eq!(checked(good).unwrap(), good);
        }
        let long = "é".repeat(128);
        for bad in [
            "", ".", "..", "...", "a/b", "/", "a\\b", "a\0", "a\nb", "\u{7f}", &long,
        ] {
            assert!(checked(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_path_in_front_of_a_name_goes() {
        for (sent, name) in [
            ("a.csv", "a.csv"),
            ("/etc/a.csv", "a.csv"),
            ("..\\..\\a.csv", "a.csv"),
            ("C:\\data/a.csv", "a.csv"),
        ] {
            assert_eq!(without_path(sent).unwrap(), name);
        }
        for bad in ["", "a/", "..", "a/..", "\\"] {
            assert!(without_path(bad).is_err(), "{bad:?}");
        }
    }
}
