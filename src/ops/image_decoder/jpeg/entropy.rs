//! Numbers out of the entropy-coded bits of a JPEG file.

/// A Huffman table: how many codes of each length there are, and what they stand for, in order.
#[derive(Clone)]
pub(super) struct Codes {
    pub(super) counts: [u16; 16],
    pub(super) values: Vec<u8>,
}

/// The entropy-coded bits of a scan.
pub(super) struct Bits<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
    pub(super) held: u32,
    pub(super) count: u32,
    /// Whether more was asked for than there is.
    pub(super) ended: bool,
}

impl Bits<'_> {
    /// The next bit; zeros behind the end, which a marker tells.
    pub(super) fn bit(&mut self) -> i32 {
        if self.count == 0 {
            let byte = match (self.bytes.get(self.at), self.bytes.get(self.at + 1)) {
                (Some(0xff), Some(0)) => {
                    self.at += 2;
                    0xff
                }
                (Some(0xff), _) | (None, _) => {
                    self.ended = true;
                    0
                }
                (Some(&byte), _) => {
                    self.at += 1;
                    byte
                }
            };
            (self.held, self.count) = (byte.into(), 8);
        }
        self.count -= 1;
        i32::from(self.held >> self.count & 1 == 1)
    }

    /// A number of so many bits; those whose first bit is 0 are negative.
    pub(super) fn number(&mut self, bits: u32) -> i32 {
        let value = (0..bits).fold(0, |v, _| v << 1 | self.bit());
        if bits > 0 && value < 1 << (bits - 1) { value - (1 << bits) + 1 } else { value }
    }

    pub(super) fn symbol(&mut self, codes: &Codes) -> Result<u8, String> {
        let (mut code, mut first, mut index) = (0i32, 0i32, 0usize);
        for &count in &codes.counts {
            code |= self.bit();
            let count = i32::from(count);
            if code - first < count {
                let at = index + usize::try_from(code - first).unwrap_or(usize::MAX / 2);
                return codes.values.get(at).copied().ok_or_else(|| "a code is not in its table".to_owned());
            }
            index += count.unsigned_abs() as usize;
            first = (first + count) << 1;
            code <<= 1;
        }
        Err("a code is not in its table".to_owned())
    }
}
