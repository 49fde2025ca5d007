//! What ends an experiment early: one sentence, or the user.

use std::fmt;
use std::io;

/// Why an experiment gave no figures.
#[derive(Debug)]
pub(crate) enum Fault {
    /// It could not be done, or took too long; the sentence says what happened.
    Failed(String),
    /// The time for it is over; the sentence says what was waited for.
    Late(String),
    /// The user stopped it.
    Interrupted,
}

/// What everything here returns.
pub(crate) type Tried<T> = Result<T, Fault>;

impl Fault {
    /// A failure with its sentence.
    pub(crate) fn new(sentence: impl Into<String>) -> Self {
        Self::Failed(sentence.into())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(sentence) => f.write_str(sentence),
            Self::Late(what) => write!(f, "took too long: {what}"),
            Self::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl std::error::Error for Fault {}

/// Names what was being done when the system refused.
pub(crate) trait Doing<T> {
    /// `what` completes the sentence "cannot ...".
    fn doing(self, what: impl fmt::Display) -> Tried<T>;
}

impl<T> Doing<T> for io::Result<T> {
    fn doing(self, what: impl fmt::Display) -> Tried<T> {
        self.map_err(|error| Fault::new(format!("cannot {what}: {error}")))
    }
}
