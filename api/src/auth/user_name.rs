//! Which names local users may have.

/// Most characters.
const LONGEST: usize = 128;

/// Why nobody may have a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a user name is 1 to {LONGEST} characters without control characters")]
pub struct UnfitName;

/// Whether a user may have this name.
pub fn judge(name: &str) -> Result<(), UnfitName> {
    let length = name.chars().count();
    if (1..=LONGEST).contains(&length) && !name.chars().any(char::is_control) {
        Ok(())
    } else {
        Err(UnfitName)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_short_and_can_be_shown() {
        for good in ["ana", "Ana María", "ana@example.com", &"ä".repeat(128)] {
            assert_eq!(judge(good), Ok(()), "{good}");
        }
        for bad in ["", "a\nb", "a\0", &"x".repeat(129)] {
            assert_eq!(judge(bad), Err(UnfitName), "{bad:?}");
        }
    }
}
