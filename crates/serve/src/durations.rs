//! How long films are, found out from what of them is here: their published time index, else the head and the index of
//! their container.
//!
//! Nothing is fetched for it. A publisher knows from its own files; whoever fetches a title knows soon after a player has
//! begun, since a player needs the same bytes first.

use core::ops::Range;

use shoal_media::Prober;
use shoal_wire::metainfo::Info;
use shoal_wire::time_index::TimeIndex;

use crate::kind::is_film;
use crate::limits::{FILMS_MAX, STORED_READ_BYTES, TIME_INDEX_BYTES_MAX};

/// What a search sees of a title.
pub(crate) trait Stored {
    /// What it is.
    fn info(&self) -> &Info;
    /// Whether a piece is here.
    fn has(&self, piece: u32) -> bool;
    /// Bytes of a file that are here; `None` when they cannot be read after all.
    fn read(&self, file: u32, range: Range<u64>) -> Option<Vec<u8>>;
}

/// The films of a title whose length is not known.
#[derive(Debug, Default)]
pub(crate) struct Search {
    quests: Vec<Quest>,
    /// Bytes that were here at the last look.
    seen: u64,
}

#[derive(Debug)]
struct Quest {
    film: u32,
    way: Way,
}

#[derive(Debug)]
enum Way {
    /// The time index in this file.
    Index(u32),
    /// The container itself.
    Container(Box<Prober>),
}

/// How a look ended.
enum Seen {
    /// More must come.
    Nothing,
    /// The length, if it can be known.
    All(Option<u64>),
}

impl Search {
    /// A search for the lengths of all films but those `known`.
    pub(crate) fn new(info: &Info, known: &[(u32, u64)]) -> Self {
        let films = (0u32..).zip(&info.files).filter(|(number, file)| {
            file.path.last().is_some_and(|name| is_film(name))
                && known.iter().all(|(film, _)| film != number)
        });
        let quest = |(film, file): (u32, &shoal_wire::metainfo::FileEntry)| {
            let index = info.time_indexes.iter().find(|place| place.film == film);
            let way = match index {
                Some(place) => Way::Index(place.index),
                None => Way::Container(Box::new(Prober::new(file.length))),
            };
            Quest { film, way }
        };
        Self { quests: films.take(FILMS_MAX).map(quest).collect(), seen: 0 }
    }
    /// Whether a look may find something: `have` bytes are here now.
    pub(crate) fn is_worth(&self, have: u64) -> bool {
        !self.quests.is_empty() && have != self.seen
    }
    /// Looks at what came. Returns films and their lengths in ms. Reads the disk.
    pub(crate) fn look(&mut self, stored: &dyn Stored, have: u64) -> Vec<(u32, u64)> {
        self.seen = have;
        let mut found = Vec::new();
        self.quests.retain_mut(|quest| match quest.look(stored) {
            Seen::Nothing => true,
            Seen::All(length) => {
                found.extend(length.map(|length| (quest.film, length)));
                false
            }
        });
        found
    }
}

impl Quest {
    fn look(&mut self, stored: &dyn Stored) -> Seen {
        if let Way::Index(file) = self.way {
            let length = length_of(stored.info(), file);
            if (1..=TIME_INDEX_BYTES_MAX).contains(&length) {
                if !is_here(stored, file, &(0..length)) {
                    return Seen::Nothing;
                }
                let bytes = stored.read(file, 0..length);
                if let Some(index) = bytes.and_then(|bytes| TimeIndex::decode(&bytes).ok()) {
                    return Seen::All(Some(index.duration_ms));
                }
            }
            // An index that cannot be read is as good as none.
            let film = length_of(stored.info(), self.film);
            self.way = Way::Container(Box::new(Prober::new(film)));
        }
        let Way::Container(prober) = &mut self.way else { return Seen::Nothing };
        while let Some(range) = prober.need().first().cloned() {
            // In one go: what is kept for a container that is not all here stays small.
            if !is_here(stored, self.film, &range) {
                return Seen::Nothing;
            }
            let mut at = range.start;
            while at < range.end {
                let end = range.end.min(at.saturating_add(STORED_READ_BYTES));
                let Some(bytes) = stored.read(self.film, at..end) else { return Seen::Nothing };
                prober.feed(at, &bytes);
                at = end;
            }
            if prober.need().first() == Some(&range) {
                return Seen::All(None);
            }
        }
        let prober = std::mem::replace(prober.as_mut(), Prober::new(0));
        Seen::All(prober.finish().ok().and_then(|film| film.duration_ms))
    }
}

fn length_of(info: &Info, file: u32) -> u64 {
    usize::try_from(file).ok().and_then(|file| info.files.get(file)).map_or(0, |file| file.length)
}

/// Whether all pieces under a range of a file are here.
fn is_here(stored: &dyn Stored, file: u32, range: &Range<u64>) -> bool {
    let info = stored.info();
    let Some(entry) = usize::try_from(file).ok().and_then(|file| info.files.get(file)) else {
        return false;
    };
    let piece = |at: u64| info.layout.piece_at(entry.start + at).map(|piece| piece.get());
    if range.is_empty() {
        return true;
    }
    match (piece(range.start), piece(range.end - 1)) {
        (Some(first), Some(last)) => (first..=last).all(|piece| stored.has(piece)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use shoal_wire::InfoHashes;
    use shoal_wire::metainfo::{FileEntry, Layout, TimeIndexRef};

    use super::*;

    const FILM: &[u8] = include_bytes!("../../media/testdata/end.mp4");
    const PIECE: u32 = 16 << 10;

    struct Title {
        info: Info,
        space: Vec<u8>,
        here: Vec<bool>,
    }

    impl Stored for Title {
        fn info(&self) -> &Info {
            &self.info
        }
        fn has(&self, piece: u32) -> bool {
            self.here[piece as usize]
        }
        fn read(&self, file: u32, range: Range<u64>) -> Option<Vec<u8>> {
            let start = self.info.files[file as usize].start;
            let at = |offset: u64| usize::try_from(start + offset).expect("small");
            Some(self.space[at(range.start)..at(range.end)].to_vec())
        }
    }

    /// A film, and a file behind it.
    fn title(index: Option<&[u8]>) -> Title {
        let mut space = FILM.to_vec();
        space.resize(space.len().next_multiple_of(PIECE as usize), 0);
        let start = space.len() as u64;
        space.extend(index.unwrap_or(b"notes"));
        let end = space.len() as u64;
        let file = |name: &str, length, start| FileEntry {
            path: vec![name.to_owned()],
            length,
            start,
            pieces_root: None,
        };
        let layout = Layout::new(PIECE, end, Vec::new()).expect("a layout");
        let here = vec![false; layout.piece_count() as usize];
        let info = Info {
            hashes: InfoHashes::default(),
            raw: Bytes::new(),
            name: "Title".to_owned(),
            folder: true,
            files: vec![file("film.mp4", FILM.len() as u64, 0), file("more", end - start, start)],
            layout,
            piece_hashes: Bytes::new(),
            private: false,
            slots: shoal_wire::slot::Slots::new(0, shoal_wire::slot::SLOT_MS),
            time_indexes: index.map(|_| TimeIndexRef { film: 0, index: 1 }).into_iter().collect(),
        };
        Title { info, space, here }
    }

    /// The order in which pieces come until the length is known, and the length.
    fn found(mut title: Title, order: impl Iterator<Item = u32>) -> (usize, Option<u64>) {
        let mut search = Search::new(&title.info, &[]);
        for (count, piece) in order.enumerate() {
            title.here[piece as usize] = true;
            let have = count as u64 + 1;
            assert!(search.is_worth(have));
            if let [(0, length)] = search.look(&title, have)[..] {
                assert!(!search.is_worth(have + 1), "it is over");
                return (count + 1, Some(length));
            }
        }
        (title.here.len(), None)
    }

    #[test]
    fn a_film_whose_head_and_index_are_here_has_a_length() {
        let pieces = title(None).here.len() as u32;
        let (head_to_end, length) = found(title(None), 0..pieces);
        let (end_to_head, same) = found(title(None), (0..pieces).rev());
        assert_eq!((length, same), (Some(12_000), Some(12_000)));
        // Its index is at its end: both must be here, and nothing more.
        assert!(head_to_end + 1 >= pieces as usize && end_to_head + 1 >= pieces as usize);
        let (few, _) = found(title(None), [0, pieces - 2, pieces - 3, 1].into_iter());
        assert!(few <= 4, "{few}");
    }

    #[test]
    fn a_published_time_index_is_enough_and_a_broken_one_no_harm() {
        let film = Prober::new(FILM.len() as u64).run(|range| {
            let at = |offset| usize::try_from(offset).expect("small");
            Ok::<_, ()>(FILM[at(range.start)..at(range.end)].to_vec())
        });
        let index = film.expect("a film").index.expect("an index").encode();
        let pieces = title(Some(&index)).here.len() as u32;
        assert_eq!(found(title(Some(&index)), (0..pieces).rev()), (1, Some(12_000)));
        let (_, length) = found(title(Some(b"no index")), 0..pieces);
        assert_eq!(length, Some(12_000));
    }

    #[test]
    fn what_is_known_or_no_film_is_not_looked_for() {
        let title = title(None);
        assert!(!Search::new(&title.info, &[(0, 5)]).is_worth(1));
        let mut other = title.info;
        other.files[0].path = vec!["notes.txt".to_owned()];
        assert!(!Search::new(&other, &[]).is_worth(1));
    }
}
