//! The titles of a world: films alike in all but their names, so that all hashes but those of the info dictionaries are the same.

use std::collections::BTreeMap;
use std::sync::Arc;

use shoal_node::link::TitleId;
use shoal_wire::metainfo::TitleExtras;
use shoal_wire::time_index::TimeIndex;
use shoal_wire::{Hash20, InfoHashes};

use crate::content::{Content, Format};

/// All titles of a world. On every host the n-th of them is `TitleId(n)`.
#[derive(Clone, Debug)]
pub struct Catalogue {
    titles: Vec<Content>,
    /// Names that a handshake may carry.
    names: BTreeMap<Hash20, TitleId>,
}

impl Catalogue {
    /// `count` titles of `length` bytes each, at least one.
    ///
    /// # Errors
    /// As [`Content::with_extras`].
    pub fn new(
        count: u32,
        length: u64,
        piece_length: u32,
        format: Format,
        extras: &TitleExtras,
    ) -> Result<Self, String> {
        let name = |number: u32| match number {
            0 => "film.mp4".to_owned(),
            _ => format!("film-{}.mp4", number + 1),
        };
        let titles = (0..count.max(1))
            .map(|number| Content::with_extras(&name(number), length, piece_length, format, extras))
            .collect::<Result<Vec<_>, String>>()?;
        let mut names = BTreeMap::new();
        for (number, title) in (0u32..).zip(&titles) {
            let InfoHashes { v1, v2 } = title.info.hashes;
            let all = v1.into_iter().chain(v2.map(|hash| hash.truncated()));
            names.extend(all.map(|name| (name, TitleId(number))));
        }
        Ok(Self { titles, names })
    }
    /// Gives all of them a time index.
    pub fn set_time_index(&mut self, index: Option<&Arc<TimeIndex>>) {
        for title in &mut self.titles {
            title.time_index = index.cloned();
        }
    }
    /// How many they are: at least one.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.titles.len() as u32
    }
    /// A title; the first one for a number that names none.
    #[must_use]
    pub fn title(&self, title: TitleId) -> &Content {
        self.titles.get(title.0 as usize).unwrap_or(&self.titles[0])
    }
    /// What holds for every title: its geometry, the hashes of its pieces and blocks, its time index.
    #[must_use]
    pub fn any(&self) -> &Content {
        &self.titles[0]
    }
    /// The title that a handshake names.
    #[must_use]
    pub fn named(&self, name: &Hash20) -> Option<TitleId> {
        self.names.get(name).copied()
    }
    /// Whether an info dictionary is that of the title with these names.
    #[must_use]
    pub fn is_info(&self, raw: &[u8], hashes: &InfoHashes) -> bool {
        self.titles.iter().any(|title| title.info.hashes == *hashes && title.info.raw == *raw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn titles_differ_in_their_names_and_in_nothing_else() {
        let extras = TitleExtras::default();
        let all = Catalogue::new(3, 300_000, 65_536, Format::Hybrid, &extras).expect("titles");
        let alone = Content::new("film.mp4", 300_000, 65_536, Format::Hybrid).expect("a title");
        assert_eq!((all.count(), all.any().info.hashes), (3, alone.info.hashes));
        let v1 = |number: u32| all.title(TitleId(number)).info.hashes.v1.expect("v1");
        assert_eq!(
            [0, 1, 2].map(|number| all.named(&v1(number))),
            [0, 1, 2].map(|n| Some(TitleId(n)))
        );
        for number in 1..3 {
            let title = all.title(TitleId(number));
            assert_eq!(title.piece_layers, alone.piece_layers);
            assert!(all.is_info(&title.info.raw, &title.info.hashes));
            assert!(!all.is_info(&alone.info.raw, &title.info.hashes));
        }
    }
}
