//! Which file of which title an address means.

use std::sync::Arc;
use std::time::Duration;

use shoal_node::io::Event;
use shoal_node::link::TitleId;
use shoal_wire::metainfo::Info;
use tokio::sync::broadcast;
use tokio::time::{Instant, timeout_at};

use crate::library::{Entry, Library};

/// Why there is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Missing {
    /// The file is not given by its number.
    Number,
    /// The title is not here.
    Title,
    /// Its metadata did not come in time.
    Yet,
    /// It has no such file.
    File,
}

impl Missing {
    pub(crate) fn sentence(self) -> &'static str {
        match self {
            Self::Number => "The file is not given by its number.",
            Self::Title => "No title of that name is taken part in.",
            Self::Yet => "What this title is made of is still being fetched from peers.",
            Self::File => "The title has no file of that number.",
        }
    }
}

/// A number in an address: digits alone.
pub(crate) fn number(text: &str) -> Option<u64> {
    let is_number = (1..=19).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

/// File `file` of the title that `hash` names; its metadata is waited for if it is on its way.
pub(crate) async fn file(
    library: &dyn Library,
    hash: &str,
    file: &str,
    wait: Duration,
) -> Result<(TitleId, Arc<Info>, u32), Missing> {
    let number = number(file).and_then(|number| u32::try_from(number).ok());
    let number = number.ok_or(Missing::Number)?;
    let (title, info) = metadata(library, hash, wait).await?;
    if info.files.get(number as usize).is_none() {
        return Err(Missing::File);
    }
    Ok((title, info, number))
}

async fn metadata(
    library: &dyn Library,
    hash: &str,
    wait: Duration,
) -> Result<(TitleId, Arc<Info>), Missing> {
    let deadline = Instant::now() + wait;
    // Listened to before looking, so that what happens in between is not missed.
    let mut events = library.events();
    loop {
        let titles = library.titles().await;
        match titles.iter().find(|entry| entry.is_called(hash)) {
            None => return Err(Missing::Title),
            Some(Entry { title, info: Some(info), .. }) => return Ok((*title, Arc::clone(info))),
            Some(_) => {}
        }
        loop {
            match timeout_at(deadline, events.recv()).await {
                Ok(Ok(Event::Ready { .. }) | Err(broadcast::error::RecvError::Lagged(_))) => break,
                Ok(Ok(_)) => {}
                Ok(Err(broadcast::error::RecvError::Closed)) | Err(_) => return Err(Missing::Yet),
            }
        }
    }
}
