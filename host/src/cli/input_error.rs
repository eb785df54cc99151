//! Errors in what the user gives to a command.

/// An error in the input, so a retry fails again: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(crate) struct InputError(pub String);

impl InputError {
    pub(crate) fn of(error: anyhow::Error) -> Self {
        Self(format!("{error:#}"))
    }
}
