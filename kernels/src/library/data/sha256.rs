//! SHA-256 of many messages of one block each: rotations and additions over a few words of state, and
//! nothing that another invocation has.

use crate::library::entry::{Code, Entry, Expected, Input, Tolerance, number, poison_u32};
use crate::{Id, kernel};

/// The digests of blocks of sixteen words, padded by whoever made them. Word by word, in each the
/// messages beside each other, so that neighbours load neighbours.
#[kernel(grid = (n))]
pub fn sha256(id: Id, n: usize, rounds: &[u32], start: &[u32], blocks: &[u32], out: &mut [u32]) {
    let mut w = [0u32; 16];
    for i in 0..16 {
        w[i] = blocks[i * n + id.x];
    }
    let mut a = start[0];
    let mut b = start[1];
    let mut c = start[2];
    let mut d = start[3];
    let mut e = start[4];
    let mut f = start[5];
    let mut g = start[6];
    let mut h = start[7];
    for i in 0..64 {
        let at = i & 15;
        if i >= 16 {
            let x = w[(i + 1) & 15];
            let y = w[(i + 14) & 15];
            let s0 = x.rotate_right(7) ^ x.rotate_right(18) ^ (x >> 3);
            let s1 = y.rotate_right(17) ^ y.rotate_right(19) ^ (y >> 10);
            w[at] = w[at].wrapping_add(s0).wrapping_add(w[(i + 9) & 15]).wrapping_add(s1);
        }
        let s1 = e.rotate_right(6) ^ e.rotate_right(11) ^ e.rotate_right(25);
        let chosen = (e & f) ^ (!e & g);
        let t = h.wrapping_add(s1).wrapping_add(chosen).wrapping_add(rounds[i]).wrapping_add(w[at]);
        let s0 = a.rotate_right(2) ^ a.rotate_right(13) ^ a.rotate_right(22);
        let major = (a & b) ^ (a & c) ^ (b & c);
        h = g;
        g = f;
        f = e;
        e = d.wrapping_add(t);
        d = c;
        c = b;
        b = a;
        a = t.wrapping_add(s0).wrapping_add(major);
    }
    out[id.x] = a.wrapping_add(start[0]);
    out[n + id.x] = b.wrapping_add(start[1]);
    out[2 * n + id.x] = c.wrapping_add(start[2]);
    out[3 * n + id.x] = d.wrapping_add(start[3]);
    out[4 * n + id.x] = e.wrapping_add(start[4]);
    out[5 * n + id.x] = f.wrapping_add(start[5]);
    out[6 * n + id.x] = g.wrapping_add(start[6]);
    out[7 * n + id.x] = h.wrapping_add(start[7]);
}

/// Bytes of a message: what fits into one block with its padding.
const BYTES: usize = 52;

/// The first primes.
fn primes() -> impl Iterator<Item = u32> {
    (2u32..).filter(|n| (2..*n).take_while(|d| d * d <= *n).all(|d| n % d != 0))
}

/// The first 32 bits behind the point of a prime's root: by whole numbers, since `f64` has too few digits
/// to be sure of.
fn root_bits(prime: u32, power: u32) -> u32 {
    let target = u128::from(prime) << (32 * power);
    let (mut low, mut high) = (0u128, 1u128 << 40);
    while low + 1 < high {
        let middle = (low + high) / 2;
        if middle.pow(power) <= target { low = middle } else { high = middle }
    }
    low as u32
}

fn round_constants() -> Vec<u32> {
    primes().take(64).map(|prime| root_bits(prime, 3)).collect()
}

fn start_state() -> Vec<u32> {
    primes().take(8).map(|prime| root_bits(prime, 2)).collect()
}

/// A message with its padding, as sixteen words.
fn padded(message: &[u8]) -> [u32; 16] {
    let mut block = [0u8; 64];
    block[..message.len()].copy_from_slice(message);
    block[message.len()] = 0x80;
    block[56..].copy_from_slice(&(8 * message.len() as u64).to_be_bytes());
    std::array::from_fn(|i| u32::from_be_bytes([0, 1, 2, 3].map(|byte| block[4 * i + byte])))
}

/// The digest, with the whole schedule at once and sums in 64 bits.
fn digest(block: &[u32; 16]) -> [u32; 8] {
    let rotated = |x: u64, by: u32| (x >> by | x << (32 - by)) & 0xffff_ffff;
    let mut w: Vec<u64> = block.iter().map(|&word| u64::from(word)).collect();
    for i in 16..64 {
        let s0 = rotated(w[i - 15], 7) ^ rotated(w[i - 15], 18) ^ (w[i - 15] >> 3);
        let s1 = rotated(w[i - 2], 17) ^ rotated(w[i - 2], 19) ^ (w[i - 2] >> 10);
        w.push((w[i - 16] + s0 + w[i - 7] + s1) % (1 << 32));
    }
    let start: Vec<u64> = start_state().into_iter().map(u64::from).collect();
    let mut s = start.clone();
    for (w, k) in w.iter().zip(round_constants()) {
        let s1 = rotated(s[4], 6) ^ rotated(s[4], 11) ^ rotated(s[4], 25);
        let t = s[7] + s1 + ((s[4] & s[5]) | (!s[4] & s[6])) + u64::from(k) + w;
        let s0 = rotated(s[0], 2) ^ rotated(s[0], 13) ^ rotated(s[0], 22);
        let major = (s[0] & s[1]) | (s[2] & (s[0] | s[1]));
        s.rotate_right(1);
        s[4] = (s[4] + t) % (1 << 32);
        s[0] = (t + s0 + major) % (1 << 32);
    }
    std::array::from_fn(|i| ((s[i] + start[i]) % (1 << 32)) as u32)
}

/// Messages that the reference looks at when there are more.
const CHECKED: usize = 1 << 12;

pub(in crate::library) const ENTRY: Entry = Entry {
    name: "sha256",
    about: "SHA-256 of messages of one block each",
    tags: &["hash", "integer", "compute", "registers"],
    code: Code::Kernel(sha256::DEF),
    unit: "messages",
    sizes: [256, 1 << 14, 1 << 18],
    inputs: |n, rng| {
        let mut blocks = vec![0; 16 * n];
        for message in 0..n {
            let bytes: [u8; BYTES] = std::array::from_fn(|_| rng.next_u32() as u8);
            for (i, word) in padded(&bytes).into_iter().enumerate() {
                blocks[i * n + message] = word;
            }
        }
        let out = Input::U32(poison_u32(8 * n));
        let tables = [round_constants(), start_state(), blocks].map(Input::U32);
        let [rounds, start, blocks] = tables;
        vec![number(n), rounds, start, blocks, out]
    },
    reference: |args| {
        let n = args[0].scalar() as usize;
        let mut values = vec![f64::NAN; 8 * n];
        for message in (0..n).step_by(n.div_ceil(CHECKED).max(1)) {
            let block = std::array::from_fn(|i| args[3].u32()[i * n + message]);
            for (i, word) in digest(&block).into_iter().enumerate() {
                values[i * n + message] = f64::from(word);
            }
        }
        vec![Expected { param: 4, values }]
    },
    tolerance: Tolerance::EXACT,
    operations: |n| 64.0 * 28.0 * n as f64,
};

#[cfg(test)]
mod tests {
    /// The standard's own example.
    #[test]
    fn the_reference_is_sha256() {
        let digest = super::digest(&super::padded(b"abc"));
        let known = [
            0xba78_16bf,
            0x8f01_cfea,
            0x4141_40de,
            0x5dae_2223,
            0xb003_61a3,
            0x9617_7a9c,
            0xb410_ff61,
            0xf200_15ad,
        ];
        assert_eq!(digest, known);
    }
}
