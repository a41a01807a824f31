//! From the groups of a directory or a provider to a role.

use clap::Args;
use warren_common::model::Role;

/// Which groups have which role.
#[derive(Debug, Clone, Default, Args)]
pub struct RoleGroups {
    /// Groups with the role owner, separated by semicolons
    #[arg(
        id = "owner_groups",
        long = "owner-groups",
        env = "WARREN_OWNER_GROUPS",
        value_delimiter = ';'
    )]
    pub owner: Vec<String>,
    /// Groups with the role contributor, separated by semicolons
    #[arg(
        id = "contributor_groups",
        long = "contributor-groups",
        env = "WARREN_CONTRIBUTOR_GROUPS",
        value_delimiter = ';'
    )]
    pub contributor: Vec<String>,
    /// Groups with the role reader, separated by semicolons; with one of these, whoever is in no group is refused
    #[arg(
        id = "reader_groups",
        long = "reader-groups",
        env = "WARREN_READER_GROUPS",
        value_delimiter = ';'
    )]
    pub reader: Vec<String>,
}

impl RoleGroups {
    /// The highest role that one of these groups has. Whoever is in none of them is what the original made of him: a contributor while
    /// at most owners are told apart, a reader when contributors are, and nobody when readers are.
    pub fn role_of(&self, groups: &[String]) -> Option<Role> {
        let is_in = |named: &[String]| {
            let mut named = named.iter();
            named.any(|name| groups.iter().any(|group| is_same(group, name)))
        };
        if is_in(&self.owner) {
            Some(Role::Owner)
        } else if is_in(&self.contributor) {
            Some(Role::Contributor)
        } else if is_in(&self.reader) {
            Some(Role::Reader)
        } else if is_any(&self.reader) {
            None
        } else if is_any(&self.contributor) {
            Some(Role::Reader)
        } else {
            Some(Role::Contributor)
        }
    }
}

/// An empty variable is a list of one empty name.
fn is_any(named: &[String]) -> bool {
    named.iter().any(|name| !name.trim().is_empty())
}

/// Directories do not tell upper case from lower case in names.
fn is_same(group: &str, named: &str) -> bool {
    let named = named.trim();
    !named.is_empty() && group.trim().to_lowercase() == named.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn groups(owner: &[&str], contributor: &[&str], reader: &[&str]) -> RoleGroups {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        RoleGroups {
            owner: list(owner),
            contributor: list(contributor),
            reader: list(reader),
        }
    }

    fn role(groups: &RoleGroups, of: &[&str]) -> Option<Role> {
        let of: Vec<String> = of.iter().map(|name| (*name).to_owned()).collect();
        groups.role_of(&of)
    }

    #[test]
    fn the_highest_role_wins() {
        let groups = groups(&["cn=Admins,dc=x"], &["analysts"], &["everybody"]);
        assert_eq!(
            role(&groups, &["everybody", "CN=admins,DC=x"]),
            Some(Role::Owner)
        );
        assert_eq!(
            role(&groups, &["everybody", "analysts"]),
            Some(Role::Contributor)
        );
        assert_eq!(role(&groups, &["everybody"]), Some(Role::Reader));
        assert_eq!(role(&groups, &["others", ""]), None);
    }

    #[test]
    fn who_is_in_no_group_has_what_is_left_open() {
        assert_eq!(role(&groups(&[], &[], &[]), &[]), Some(Role::Contributor));
        assert_eq!(
            role(&groups(&["a"], &[""], &[]), &["b"]),
            Some(Role::Contributor)
        );
        assert_eq!(
            role(&groups(&["a"], &["c"], &[""]), &["b"]),
            Some(Role::Reader)
        );
        assert_eq!(role(&groups(&["a"], &[], &["r"]), &["b"]), None);
    }
}
