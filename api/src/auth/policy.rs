//! Who may do what. This is the only place that says so: every route names what it is for, and whatever depends on whose something
//! is asks here as well.

use warren_common::id::PrincipalId;
use warren_common::model::Role;

/// What somebody wants to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// List, describe and call services, start batches, see how the fleet is.
    Call,
    /// See and end what one has: sessions, snapshots, jobs.
    Look,
    /// Open sessions, and bring code or data into them.
    RunCode,
    /// Publish, change and delete versions of a service.
    Publish,
    /// Read the code of a service.
    ReadCode,
    /// Read and delete a batch.
    ReadBatch,
    /// Say who may do what.
    ManageUsers,
    /// Change the fleet.
    ManageFleet,
}

impl Action {
    /// What it is, after "to".
    pub const fn phrase(self) -> &'static str {
        match self {
            Self::Call => "call services",
            Self::Look => "see sessions, snapshots and jobs",
            Self::RunCode => "run code in sessions",
            Self::Publish => "publish, change or delete services",
            Self::ReadCode => "read the code of services",
            Self::ReadBatch => "see batches",
            Self::ManageUsers => "manage users",
            Self::ManageFleet => "change the fleet",
        }
    }
}

/// Whose something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whose {
    /// The caller's, or it is about to be.
    Own,
    /// Somebody else's.
    Others,
}

impl Whose {
    /// What belongs to `owner`, for `caller`.
    pub fn of(owner: PrincipalId, caller: PrincipalId) -> Self {
        if owner == caller {
            Self::Own
        } else {
            Self::Others
        }
    }
}

/// Whether somebody with this role may do that.
pub fn permits(role: Role, action: Action, whose: Whose) -> bool {
    let least = match (action, whose) {
        // Services are there for everybody.
        (Action::Call, _) | (Action::Look | Action::ReadCode | Action::ReadBatch, Whose::Own) => {
            Some(Role::Reader)
        }
        (Action::RunCode | Action::Publish, Whose::Own) => Some(Role::Contributor),
        (Action::Publish | Action::ReadCode | Action::ReadBatch, Whose::Others)
        | (Action::ManageUsers | Action::ManageFleet, _) => Some(Role::Owner),
        // A session is a shell of its owner: nobody else has business there.
        (Action::Look | Action::RunCode, Whose::Others) => None,
    };
    least.is_some_and(|least| role.is_at_least(least))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Action, then who may: with what is his own, and with what is somebody else's.
    const TABLE: &[(Action, &[Role], &[Role])] = &[
        (Action::Call, Role::ALL, Role::ALL),
        (Action::Look, Role::ALL, &[]),
        (Action::RunCode, &[Role::Contributor, Role::Owner], &[]),
        (
            Action::Publish,
            &[Role::Contributor, Role::Owner],
            &[Role::Owner],
        ),
        (Action::ReadCode, Role::ALL, &[Role::Owner]),
        (Action::ReadBatch, Role::ALL, &[Role::Owner]),
        (Action::ManageUsers, &[Role::Owner], &[Role::Owner]),
        (Action::ManageFleet, &[Role::Owner], &[Role::Owner]),
    ];

    #[test]
    fn the_table_is_what_is_permitted() {
        for (action, own, others) in TABLE {
            for role in Role::ALL {
                for (whose, may) in [(Whose::Own, own), (Whose::Others, others)] {
                    assert_eq!(
                        permits(*role, *action, whose),
                        may.contains(role),
                        "{role:?} {action:?} {whose:?}"
                    );
                }
            }
        }
    }
}
