//! What names an entry.

use std::fmt;
use std::hash::Hasher;

/// The hash of all that decides what an entry holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key(blake3::Hash);

impl Key {
    /// The key of what is written to the hasher.
    pub fn of(write: impl FnOnce(&mut KeyHasher)) -> Key {
        let mut hasher = KeyHasher(blake3::Hasher::new());
        write(&mut hasher);
        Key(hasher.0.finalize())
    }

    /// What an entry of this key and this content begins with.
    pub(crate) fn seal(&self, content: &[u8]) -> [u8; blake3::OUT_LEN] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.0.as_bytes());
        hasher.update(content);
        *hasher.finalize().as_bytes()
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_hex())
    }
}

/// Collects what decides; takes whatever implements [`std::hash::Hash`].
#[derive(Clone, Debug)]
pub struct KeyHasher(blake3::Hasher);

impl KeyHasher {
    /// Bytes whose end is known, whatever follows.
    pub fn part(&mut self, bytes: &[u8]) {
        self.0.update(blake3::hash(bytes).as_bytes());
    }
}

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        self.0.finalize().as_bytes().first_chunk().map_or(0, |word| u64::from_le_bytes(*word))
    }
}
