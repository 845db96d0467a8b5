//! A hash of a few words, for keys that are looked up at every call: a handful of multiplications,
//! where the standard library's guards against chosen keys, which nobody chooses here.

use std::hash::{BuildHasherDefault, Hasher};

/// Maps from keys made of words.
pub(crate) type WordMap<K, V> = std::collections::HashMap<K, V, BuildHasherDefault<Words>>;

/// FNV-1a over words instead of bytes, and a last mix that spreads into all bits.
pub(crate) struct Words(u64);

impl Default for Words {
    fn default() -> Words {
        Words(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Words {
    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(17);
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }

    fn finish(&self) -> u64 {
        let mixed = (self.0 ^ (self.0 >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        mixed ^ (mixed >> 29)
    }
}
