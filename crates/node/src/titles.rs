//! A table of what belongs to titles: only those that are here take room, and who has few pays nearly nothing to find one.

use alloc::vec::Vec;

use crate::link::TitleId;

/// One `T` for each title that is here, in the order of their ids.
#[derive(Debug)]
pub(crate) struct Titles<T> {
    /// Ascending.
    ids: Vec<TitleId>,
    /// Theirs, in the same order.
    values: Vec<T>,
}

impl<T> Default for Titles<T> {
    fn default() -> Self {
        Self { ids: Vec::new(), values: Vec::new() }
    }
}

impl<T> Titles<T> {
    fn place(&self, title: TitleId) -> Result<usize, usize> {
        match self.ids[..] {
            // Most nodes have one.
            [only] if only == title => Ok(0),
            _ => self.ids.binary_search(&title),
        }
    }
    /// That of a title.
    pub(crate) fn get(&self, title: TitleId) -> Option<&T> {
        self.place(title).ok().and_then(|place| self.values.get(place))
    }
    /// That of a title, to be changed.
    pub(crate) fn get_mut(&mut self, title: TitleId) -> Option<&mut T> {
        self.place(title).ok().and_then(|place| self.values.get_mut(place))
    }
    /// Puts one in, in place of an earlier one. O(titles).
    pub(crate) fn insert(&mut self, title: TitleId, value: T) {
        match self.place(title) {
            Ok(place) => self.values[place] = value,
            Err(place) => {
                self.ids.insert(place, title);
                self.values.insert(place, value);
            }
        }
    }
    /// Takes one out. O(titles).
    pub(crate) fn remove(&mut self, title: TitleId) {
        if let Ok(place) = self.place(title) {
            self.ids.remove(place);
            self.values.remove(place);
        }
    }
    /// Who is here, ascending.
    pub(crate) fn ids(&self) -> &[TitleId] {
        &self.ids
    }
    /// All, in the order of their titles.
    pub(crate) fn values(&self) -> &[T] {
        &self.values
    }
    /// All, to be changed.
    pub(crate) fn values_mut(&mut self) -> &mut [T] {
        &mut self.values
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;

    use proptest::prelude::*;

    use super::Titles;
    use crate::link::TitleId;

    proptest! {
        #[test]
        fn it_holds_what_a_map_would(script in proptest::collection::vec((0u32..6, any::<Option<u8>>()), 0..40)) {
            let (mut table, mut map) = (Titles::default(), BTreeMap::new());
            for (number, value) in script {
                let title = TitleId(number);
                match value {
                    Some(value) => {
                        table.insert(title, value);
                        map.insert(title, value);
                    }
                    None => {
                        table.remove(title);
                        map.remove(&title);
                    }
                }
                prop_assert!(table.ids().iter().eq(map.keys()) && table.values().iter().eq(map.values()));
                prop_assert_eq!(table.get(title), map.get(&title));
                prop_assert_eq!(table.get_mut(title), map.get_mut(&title));
            }
        }
    }
}
