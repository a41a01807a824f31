//! What is recorded of who did what.

use super::words;

words! {
    /// What a record is about.
    AuditEvent, "audit event" {
        /// Somebody signed in, or tried to.
        SignIn = "sign_in",
        /// Somebody signed out.
        SignOut = "sign_out",
        /// Something was refused for want of a token or of a role.
        Refusal = "refusal",
        /// A session was opened.
        OpenSession = "open_session",
        /// A session was closed by its owner.
        CloseSession = "close_session",
        /// A version of a service was published.
        Publish = "publish",
        /// A version of a service was changed.
        ChangeService = "change_service",
        /// A version of a service was deleted.
        DeleteService = "delete_service",
        /// A file of a session was deleted by its owner.
        DeleteFile = "delete_file",
        /// An object of a session's workspace was deleted by its owner.
        DeleteObject = "delete_object",
        /// A snapshot was deleted.
        DeleteSnapshot = "delete_snapshot",
        /// A batch was deleted.
        DeleteBatch = "delete_batch",
        /// A user was added.
        AddUser = "add_user",
        /// A user's role, password or permission to sign in was changed.
        ChangeUser = "change_user",
        /// A user was deleted.
        DeleteUser = "delete_user",
        /// Access tokens are signed with another key.
        RotateKeys = "rotate_keys",
    }
}

words! {
    /// What became of it.
    AuditOutcome, "audit outcome" {
        /// It is done.
        Done = "done",
        /// A job will do it.
        Accepted = "accepted",
        /// Whoever asked may not, or could not show who it is.
        Refused = "refused",
        /// It could not be done.
        Failed = "failed",
    }
}
