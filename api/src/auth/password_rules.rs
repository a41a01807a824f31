//! Which passwords may be set: by length and by what everybody tries first. Rules of composition only make people predictable
//! (NIST SP 800-63B, section 5.1.1.2).

/// Fewest characters.
pub const SHORTEST: usize = 8;
/// Those that are guessed first, of at least so many characters, in small letters.
const COMMONEST: &str = include_str!("commonest.txt");

/// Why a password may not be set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum UnfitPassword {
    /// It is too short.
    #[error("must have at least {SHORTEST} characters")]
    Short,
    /// Everybody tries it.
    #[error("must not be one of the commonest passwords, which are tried first")]
    Common,
    /// It is the name that it is to protect.
    #[error("must not be the name of the user")]
    Name,
}

/// Whether a password may be set for a user.
pub fn judge(password: &str, user: &str) -> Result<(), UnfitPassword> {
    if password.chars().count() < SHORTEST {
        return Err(UnfitPassword::Short);
    }
    let small = password.to_lowercase();
    if small == user.to_lowercase() {
        return Err(UnfitPassword::Name);
    }
    if COMMONEST.lines().any(|common| common == small) {
        return Err(UnfitPassword::Common);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn length_counts_and_composition_does_not() {
        assert_eq!(judge("abcdefh", "ana"), Err(UnfitPassword::Short));
        assert_eq!(judge("öööööööö", "ana"), Ok(()));
        assert_eq!(judge("only small letters", "ana"), Ok(()));
    }

    #[test]
    fn what_everybody_tries_is_refused_in_any_case() {
        assert_eq!(judge("Password1", "ana"), Err(UnfitPassword::Common));
        assert_eq!(judge("12345678", "ana"), Err(UnfitPassword::Common));
        assert_eq!(
            judge("Ana.Karenina", "ana.karenina"),
            Err(UnfitPassword::Name)
        );
    }

    #[test]
    fn the_list_can_be_met() {
        for common in COMMONEST.lines() {
            assert!(common.chars().count() >= SHORTEST, "{common}");
            assert_eq!(common, common.to_lowercase());
        }
    }
}
