//! Mutations: small changes of an input that was interesting before. Seeded.

/// Changes of one input at most.
const MAX_CHANGES: usize = 6;
/// Largest input made.
const MAX_BYTES: usize = 16 * 1024;
/// Bytes that mean something to parsers of text.
const TELLING: &[u8] = b"\0\t\n\r \"#$%&'()*+,-./0:;<=>?@[\\]^_`{|}~\x7f\x80\xbf\xc0\xed\xf4\xff";
/// Numbers at the edges of their types, and such as look like numbers.
const NUMBERS: &[&str] = &[
    "0",
    "-1",
    "1",
    "255",
    "256",
    "32768",
    "65536",
    "2147483648",
    "4294967296",
    "9007199254740993",
    "9223372036854775808",
    "18446744073709551616",
    "1e999",
    "-0",
    "0.1",
    "1e3",
    "00",
    "NaN",
    "0x10",
];
/// Characters that are more than one byte, or none that shows.
const CHARACTERS: &[&str] = &[
    "ä",
    "\u{200b}",
    "\u{2028}",
    "\u{feff}",
    "\u{fffe}",
    "\u{ffff}",
    "\u{10ffff}",
    "\u{85}",
    "\u{202e}",
    "İ",
    "ß",
];

/// Makes inputs of others.
pub(crate) struct Mutator<'t> {
    random: fastrand::Rng,
    tokens: &'t [&'t str],
}

impl<'t> Mutator<'t> {
    pub(crate) fn new(seed: u64, tokens: &'t [&'t str]) -> Self {
        Self { random: fastrand::Rng::with_seed(seed), tokens }
    }

    /// One of the pool, changed.
    pub(crate) fn mutate(&mut self, pool: &[Vec<u8>]) -> Vec<u8> {
        let mut input = self.one_of(pool).clone();
        for _ in 0..self.random.usize(1..=MAX_CHANGES) {
            self.change(&mut input, pool);
        }
        input.truncate(MAX_BYTES);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, pool: &[Vec<u8>]) {
        match self.random.u8(0..11) {
            0 if !input.is_empty() => {
                let at = self.random.usize(..input.len());
                input[at] ^= 1 << self.random.u8(0..8);
            }
            1 if !input.is_empty() => {
                let at = self.random.usize(..input.len());
                input[at] = *self.one_of(TELLING);
            }
            2 => {
                let byte = self.random.u8(..);
                self.insert(input, &[byte]);
            }
            3 => {
                let byte = *self.one_of(TELLING);
                self.insert(input, &[byte]);
            }
            4 if !self.tokens.is_empty() => {
                let token = *self.one_of(self.tokens);
                self.insert(input, token.as_bytes());
            }
            5 => {
                let number = *self.one_of(NUMBERS);
                let range = digits(input, self.random.usize(..=input.len()));
                input.splice(range, number.bytes());
            }
            6 => {
                let character = *self.one_of(CHARACTERS);
                self.insert(input, character.as_bytes());
            }
            7 => {
                let range = self.range(input.len());
                input.drain(range);
            }
            8 => {
                let range = self.range(input.len());
                let times = 1 << self.random.usize(0..6);
                let part = input[range].repeat(times);
                self.insert(input, &part[..part.len().min(MAX_BYTES / 4)]);
            }
            9 => {
                let other = self.one_of(pool).clone();
                let (from, to) = (self.random.usize(..=input.len()), self.random.usize(..=other.len()));
                input.truncate(from);
                input.extend_from_slice(&other[to..]);
            }
            _ => {
                let other = self.one_of(pool).clone();
                let range = self.range(other.len());
                self.insert(input, &other[range]);
            }
        }
    }

    fn insert(&mut self, input: &mut Vec<u8>, part: &[u8]) {
        let at = self.random.usize(..=input.len());
        input.splice(at..at, part.iter().copied());
    }

    /// A part of something this long; mostly a short one.
    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.random.usize(..=length);
        let most = if self.random.bool() { 8 } else { length };
        start..(start + self.random.usize(..=most)).min(length)
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.random.usize(..all.len())]
    }
}

/// The number that begins at or after a place; nothing, where there is none.
fn digits(input: &[u8], from: usize) -> std::ops::Range<usize> {
    let start = from + input[from..].iter().take_while(|byte| !byte.is_ascii_digit()).count();
    let end = start + input[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    start..end
}
