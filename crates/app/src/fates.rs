//! Whether a peer that only serves still has something to serve.
//!
//! A title whose source changed is given up by the node piece by piece, as they are asked for, or at once when nothing can
//! be saved any more. The first trouble is what really happened; later ones follow from it, so it is the one that is
//! remembered. From then on the titles are looked at each second: what is told once is not told again of every piece.

use std::collections::HashMap;
use std::time::Duration;

use shoal_drive::Engine;
use shoal_node::io::Event;
use shoal_node::link::TitleId;
use shoal_node::stats::TitleView;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

use crate::error::Error;

/// How often titles are looked at once there is trouble.
const LOOK: Duration = Duration::from_secs(1);

/// Follows titles from the moment it is made, which should be before they are added.
#[derive(Debug)]
pub(crate) struct Fates {
    engine: Engine,
    events: Receiver<Event>,
}

/// What is known of the titles that are followed.
#[derive(Debug, Default)]
struct Known {
    causes: HashMap<TitleId, String>,
    over: HashMap<TitleId, bool>,
}

impl Known {
    fn of(titles: &[TitleId]) -> Self {
        Self { causes: HashMap::new(), over: titles.iter().map(|title| (*title, false)).collect() }
    }
    /// Takes an event; true when it is a trouble of one of the titles.
    fn hear(&mut self, event: Event) -> bool {
        let Event::Trouble { title: Some(title), message, fatal } = event else { return false };
        let Some(over) = self.over.get_mut(&title) else { return false };
        *over |= fatal;
        self.causes.entry(title).or_insert(message);
        true
    }
    /// A title that was left is over, and one of which a trouble was told and nothing is here any more.
    fn look(&mut self, views: &[TitleView]) {
        for (title, over) in &mut self.over {
            *over |= match views.iter().find(|view| view.title == *title) {
                Some(view) => view.ready && view.have == 0 && self.causes.contains_key(title),
                None => true,
            };
        }
    }
    /// The end of all of them, with its first cause.
    fn end(&self) -> Option<Error> {
        if self.over.is_empty() || !self.over.values().all(|over| *over) {
            return None;
        }
        let first = self.over.keys().min().and_then(|title| self.causes.get(title));
        Some(Error::new(first.map_or("no title can be served any more", String::as_str)))
    }
}

impl Fates {
    /// Listens from now on.
    pub(crate) fn of(engine: &Engine) -> Self {
        Self { engine: engine.clone(), events: engine.events() }
    }
    /// Returns once nothing of any of `titles` can be served any more.
    pub(crate) async fn all_over(mut self, titles: &[TitleId]) -> Error {
        let mut known = Known::of(titles);
        let mut second = tokio::time::interval(LOOK);
        second.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let heard = tokio::select! {
                event = self.events.recv() => match event {
                    Ok(event) => known.hear(event),
                    // What was missed may have been the end: the views tell.
                    Err(RecvError::Lagged(_)) => true,
                    // The end of the engine is told elsewhere.
                    Err(RecvError::Closed) => std::future::pending().await,
                },
                _ = second.tick(), if !known.causes.is_empty() => true,
            };
            if heard && let Ok(views) = self.engine.views().await {
                known.look(&views);
            }
            if let Some(error) = known.end() {
                return error;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use shoal_node::io::Event;
    use shoal_node::link::TitleId;

    use super::Known;

    fn trouble(title: u32, message: &str, fatal: bool) -> Event {
        Event::Trouble { title: Some(TitleId(title)), message: message.to_owned(), fatal }
    }

    #[test]
    fn it_is_over_when_all_titles_are_and_the_first_trouble_is_the_cause() {
        let mut known = Known::of(&[TitleId(0), TitleId(1)]);
        assert!(known.hear(trouble(0, "it changed", false)));
        assert!(known.end().is_none());
        assert!(known.hear(trouble(0, "it cannot be written", true)));
        assert!(known.end().is_none(), "the other one is served");
        assert!(known.hear(trouble(1, "it is gone", true)));
        assert_eq!(known.end().map(|error| error.to_string()).as_deref(), Some("it changed"));
    }

    #[test]
    fn troubles_of_other_titles_and_of_none_are_not_ours() {
        let mut known = Known::of(&[TitleId(3)]);
        assert!(!known.hear(trouble(4, "it is gone", true)));
        let message = "the record was cut short".to_owned();
        assert!(!known.hear(Event::Trouble { title: None, message, fatal: true }));
        assert!(known.end().is_none());
        assert!(Known::of(&[]).end().is_none(), "no titles, no end");
    }
}
