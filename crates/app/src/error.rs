//! What ends a command early: one sentence for the user, or an interruption.

use std::fmt;

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(crate) enum Error {
    /// It failed; the sentence says what happened and what to do.
    Failed(String),
    /// The command line makes no sense in a way that clap cannot see.
    Usage(String),
    /// It failed, and its sentence stands on the terminal already.
    Told,
    /// The user stopped it.
    Interrupted,
}

impl Error {
    /// A failure with its sentence.
    pub(crate) fn new(sentence: impl Into<String>) -> Self {
        Self::Failed(sentence.into())
    }
    /// Whether the user has yet to be told.
    pub(crate) fn is_news(&self) -> bool {
        matches!(self, Self::Failed(_) | Self::Usage(_))
    }
    /// The exit status that goes with it.
    pub(crate) fn status(&self) -> u8 {
        match self {
            Self::Failed(_) | Self::Told => 1,
            Self::Usage(_) => 2,
            Self::Interrupted => 130,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(sentence) | Self::Usage(sentence) => f.write_str(sentence),
            Self::Told => f.write_str("failed"),
            Self::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl std::error::Error for Error {}

impl From<shoal_drive::DriveError> for Error {
    fn from(error: shoal_drive::DriveError) -> Self {
        Self::Failed(error.to_string())
    }
}
