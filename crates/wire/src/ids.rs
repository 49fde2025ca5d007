//! Names of titles and peers: info-hashes (BEP 3, BEP 52) and peer ids (BEP 20).

use core::fmt;

macro_rules! hash_type {
    ($(#[$doc:meta])* $name:ident, $size:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub [u8; $size]);

        impl $name {
            /// Parses exactly
            #[doc = concat!(stringify!($size), " * 2")]
            /// hexadecimal digits of either case.
            #[must_use]
            pub fn from_hex(text: &str) -> Option<Self> {
                let text = text.as_bytes();
                if text.len() != $size * 2 {
                    return None;
                }
                let mut out = [0u8; $size];
                for (byte, pair) in out.iter_mut().zip(text.chunks_exact(2)) {
                    let high = (pair[0] as char).to_digit(16)?;
                    let low = (pair[1] as char).to_digit(16)?;
                    *byte = u8::try_from(high * 16 + low).ok()?;
                }
                Some(Self(out))
            }
            /// The bytes, when there are exactly as many as this hash has.
            #[must_use]
            pub fn from_slice(bytes: &[u8]) -> Option<Self> {
                bytes.try_into().ok().map(Self)
            }
        }

        /// Lower-case hexadecimal.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{self}")
            }
        }
    };
}

hash_type!(
    /// A SHA-1 digest, or the first 20 bytes of a SHA-256 one where a protocol has room for 20.
    Hash20, 20
);
hash_type!(
    /// A SHA-256 digest.
    Hash32, 32
);

impl Hash32 {
    /// The first 20 bytes: the form of a v2 info-hash in handshakes, trackers and the DHT (BEP 52).
    #[must_use]
    pub fn truncated(&self) -> Hash20 {
        let mut out = [0u8; 20];
        out.copy_from_slice(&self.0[..20]);
        Hash20(out)
    }
}

/// The names of one title: a v1 title has the first, a v2 title the second, a hybrid both.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Debug)]
pub struct InfoHashes {
    /// SHA-1 of the info dictionary (BEP 3).
    pub v1: Option<Hash20>,
    /// SHA-256 of the info dictionary (BEP 52).
    pub v2: Option<Hash32>,
}

impl InfoHashes {
    /// The names under which the title is announced and met, v1 first: one or two of 20 bytes.
    pub fn wire_hashes(&self) -> impl Iterator<Item = Hash20> + use<> {
        self.v1.into_iter().chain(self.v2.map(|hash| hash.truncated()))
    }
    /// The 20 bytes that name the title where one name is wanted: v1, else truncated v2.
    #[must_use]
    pub fn primary(&self) -> Option<Hash20> {
        self.wire_hashes().next()
    }
    /// Whether one of the title's wire names is `hash`.
    #[must_use]
    pub fn contains(&self, hash: &Hash20) -> bool {
        self.wire_hashes().any(|own| own == *hash)
    }
}

/// The 20 bytes by which a peer names itself for the length of a run. Ours begin with `-SH0100-`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PeerId(pub [u8; 20]);

/// The part of our peer ids that is the same in every run (BEP 20, Azureus style).
pub const PEER_ID_PREFIX: [u8; 8] = *b"-SH0100-";

impl PeerId {
    /// An id of another program's kind, with `random` behind it: for nodes that do not speak our extension.
    #[must_use]
    pub fn foreign(random: [u8; 12]) -> Self {
        let mut id = Self::from_random(random);
        id.0[1..3].copy_from_slice(b"--");
        id
    }
    /// Our prefix followed by twelve bytes of the caller's randomness.
    #[must_use]
    pub fn from_random(random: [u8; 12]) -> Self {
        let mut id = [0u8; 20];
        id[..8].copy_from_slice(&PEER_ID_PREFIX);
        id[8..].copy_from_slice(&random);
        Self(id)
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for &byte in &self.0 {
            if byte.is_ascii_graphic() {
                write!(f, "{}", byte as char)?
            } else {
                write!(f, "%{byte:02x}")?
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::ToString;
    use alloc::vec::Vec;

    use super::{Hash20, Hash32, InfoHashes, PeerId};

    const V1: &str = "c12fe1c06bba254a9dc9f519b335aa7c1367a88a";
    const V2: &str = "caf1e1c06bba254a9dc9f519b335aa7c1367a88a000102030405060708090a0b";

    #[test]
    fn hashes_are_read_in_hex_of_either_case_and_written_in_lower() {
        let hash = Hash20::from_hex(&V1.to_uppercase()).unwrap();
        assert_eq!(hash.to_string(), V1);
        assert_eq!(Hash20::from_slice(&hash.0), Some(hash));
        assert_eq!(Hash32::from_hex(V2).unwrap().to_string(), V2);
    }

    #[test]
    fn text_that_is_no_hash_is_refused() {
        let odd = format!("é{}", &V1[2..]);
        for text in ["", &V1[1..], &V1[2..], &odd, &V1.replace('c', "g"), &V1.replace('c', "+")] {
            assert_eq!(Hash20::from_hex(text), None, "{text}");
        }
        assert_eq!(Hash32::from_hex(V1), None);
        assert_eq!(Hash20::from_slice(&[0; 21]), None);
    }

    #[test]
    fn a_hybrid_is_met_under_both_names_the_second_one_cut() {
        let (v1, v2) = (Hash20::from_hex(V1), Hash32::from_hex(V2));
        let both = InfoHashes { v1, v2 };
        let cut = v2.unwrap().truncated();
        assert_eq!(cut.to_string(), &V2[..40]);
        assert_eq!(both.wire_hashes().collect::<Vec<_>>(), [v1.unwrap(), cut]);
        assert_eq!(both.primary(), v1);
        assert_eq!(InfoHashes { v1: None, v2 }.primary(), Some(cut));
        assert!(both.contains(&cut) && !InfoHashes { v1, v2: None }.contains(&cut));
        assert_eq!(InfoHashes::default().primary(), None);
    }

    #[test]
    fn our_peer_ids_begin_with_our_mark_and_are_shown_readably() {
        let id = PeerId::from_random(*b"\x00abcdefghij\xff");
        assert_eq!(format!("{id:?}"), "-SH0100-%00abcdefghij%ff");
    }
}
