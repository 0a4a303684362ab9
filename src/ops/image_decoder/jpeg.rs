//! JPEG as the ImageDecoder operator wants it: bit for bit what the Independent JPEG Group's decoder makes of baseline files,
//! its accurate integer transform and its smooth upsampling included. Progressive files and those of four colours are refused.
//!
//! Of the crates that decode JPEG, those that stand any damage to a file (`zune-jpeg`, `jpeg-decoder`) round otherwise, by up to 3.
//! The one that gives these pictures exactly (`libjpeg-turbo-rs` 0.9) panics on some damaged files, which no model may bring about.

mod entropy;
mod samples;

use entropy::{Bits, Codes};
use samples::{colour, inverse};

use super::Picture;
use super::decode::check_size;

/// A colour component.
struct Component {
    id: u8,
    /// How many of its samples stand for `most` of the picture along each axis.
    across: usize,
    down: usize,
    quantization: usize,
    /// Blocks in a row and rows of blocks, whole units of the scan included.
    columns: usize,
    rows: usize,
    samples: Vec<u8>,
}

/// The places of a block's coefficients in the order of the file.
const ZIGZAG: [u8; 64] = [
    0, 1, 8, 16, 9, 2, 3, 10, 17, 24, 32, 25, 18, 11, 4, 5, 12, 19, 26, 33, 40, 48, 41, 34, 27, 20, 13, 6, 7, 14, 21,
    28, 35, 42, 49, 56, 57, 50, 43, 36, 29, 22, 15, 23, 30, 37, 44, 51, 58, 59, 52, 45, 38, 31, 39, 46, 53, 60, 61, 54,
    47, 55, 62, 63,
];

#[derive(Default)]
struct Decoder {
    tables: [Option<[i32; 64]>; 4],
    /// Of constant coefficients, then of the others.
    codes: [[Option<Codes>; 4]; 2],
    width: usize,
    height: usize,
    components: Vec<Component>,
    interval: usize,
    /// Whether the colours are red, green and blue already, if the file says.
    plain: Option<bool>,
    /// Components that were decoded.
    decoded: usize,
}

fn word(bytes: &[u8], at: usize) -> Result<usize, String> {
    match bytes.get(at..at + 2) {
        Some(&[a, b]) => Ok(usize::from(a) << 8 | usize::from(b)),
        _ => Err("it ends too early".to_owned()),
    }
}

impl Decoder {
    /// The most samples that a component has along each axis.
    fn most(&self) -> (usize, usize) {
        let most = |f: fn(&Component) -> usize| self.components.iter().map(f).max().unwrap_or(1);
        (most(|c| c.across), most(|c| c.down))
    }

    fn quantization(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        while let Some((&head, rest)) = bytes.split_first() {
            let wide = head >> 4 != 0;
            let length = if wide { 128 } else { 64 };
            let table = self.tables.get_mut(usize::from(head & 15)).ok_or("it has too many tables")?;
            let values = rest.get(..length).ok_or("a table is too short")?;
            let mut own = [0i32; 64];
            for (i, &place) in ZIGZAG.iter().enumerate() {
                own[usize::from(place)] =
                    if wide { i32::try_from(word(values, 2 * i)?).unwrap_or(0) } else { values[i].into() };
            }
            *table = Some(own);
            bytes = &rest[length..];
        }
        Ok(())
    }

    fn huffman(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        while let Some((&head, rest)) = bytes.split_first() {
            let counts = rest.get(..16).ok_or("a table is too short")?;
            let counts: [u16; 16] = std::array::from_fn(|i| counts[i].into());
            let total: usize = counts.iter().map(|&n| usize::from(n)).sum();
            let values = rest.get(16..16 + total).ok_or("a table is too short")?.to_vec();
            let class = self.codes.get_mut(usize::from(head >> 4)).ok_or("it has too many tables")?;
            *class.get_mut(usize::from(head & 15)).ok_or("it has too many tables")? = Some(Codes { counts, values });
            bytes = &rest[16 + total..];
        }
        Ok(())
    }

    fn frame(&mut self, bytes: &[u8]) -> Result<(), String> {
        let (height, width) = (word(bytes, 1)?, word(bytes, 3)?);
        if bytes.first() != Some(&8) || !self.components.is_empty() {
            return Err("its samples have no 8 bits".to_owned());
        }
        check_size(width, height)?;
        (self.width, self.height) = (width, height);
        let fields = bytes.get(6..).unwrap_or_default().chunks_exact(3).take(bytes.get(5).copied().unwrap_or(0).into());
        for field in fields {
            let (across, down) = (usize::from(field[1] >> 4), usize::from(field[1] & 15));
            if !matches!(across, 1 | 2 | 4) || !matches!(down, 1 | 2 | 4) || field[2] > 3 {
                return Err("its components are divided as none should be".to_owned());
            }
            let quantization = usize::from(field[2]);
            let samples = vec![];
            self.components.push(Component { id: field[0], across, down, quantization, columns: 0, rows: 0, samples });
        }
        if !matches!(self.components.len(), 1 | 3) {
            return Err(format!("it has {} colour components", self.components.len()));
        }
        let (across, down) = self.most();
        for own in &mut self.components {
            own.columns = width.div_ceil(8 * across) * own.across;
            own.rows = height.div_ceil(8 * down) * own.down;
            own.samples = vec![0; own.columns * own.rows * 64];
        }
        Ok(())
    }

    /// Decodes a scan, and says how many bytes it took.
    fn scan(&mut self, header: &[u8], bytes: &[u8]) -> Result<usize, String> {
        let count = usize::from(*header.first().ok_or("a scan is too short")?);
        let mut chosen = vec![];
        for field in header.get(1..1 + 2 * count).ok_or("a scan is too short")?.chunks_exact(2) {
            let at = self.components.iter().position(|c| c.id == field[0]).ok_or("a scan is of no component")?;
            let codes = |class: usize, i: u8| {
                let table = self.codes[class].get(usize::from(i)).and_then(Option::as_ref);
                table.cloned().ok_or_else(|| "a table is missing".to_owned())
            };
            let table = self.tables[self.components[at].quantization].ok_or("a table is missing")?;
            chosen.push((at, codes(0, field[1] >> 4)?, codes(1, field[1] & 15)?, table));
        }
        if chosen.is_empty() {
            return Err("a scan is of no component".to_owned());
        }
        let (across, down) = self.most();
        // Several components come in units of as many blocks as each has for one area; one comes block by block.
        let single = chosen.len() == 1;
        let (columns, rows) = match single {
            true => {
                let own = &self.components[chosen[0].0];
                ((self.width * own.across).div_ceil(8 * across), (self.height * own.down).div_ceil(8 * down))
            }
            false => (self.width.div_ceil(8 * across), self.height.div_ceil(8 * down)),
        };
        let mut bits = Bits { bytes, at: 0, held: 0, count: 0, ended: false };
        let mut before = [0i32; 4];
        for unit in 0..columns * rows {
            if bits.ended {
                return Err("it ends too early".to_owned());
            }
            if self.interval > 0 && unit > 0 && unit % self.interval == 0 {
                bits.count = 0;
                before = [0; 4];
                if matches!(bytes.get(bits.at..bits.at + 2), Some(&[0xff, 0xd0..=0xd7])) {
                    bits.at += 2;
                }
            }
            for (i, (at, constant, others, table)) in chosen.iter().enumerate() {
                let own = &mut self.components[*at];
                let (wide, high) = if single { (1, 1) } else { (own.across, own.down) };
                for (y, x) in (0..high).flat_map(|y| (0..wide).map(move |x| (y, x))) {
                    let mut block = [0i32; 64];
                    let size = u32::from(bits.symbol(constant)?).min(16);
                    before[i & 3] = before[i & 3].wrapping_add(bits.number(size));
                    block[0] = before[i & 3].wrapping_mul(table[0]);
                    let mut k = 1;
                    while k < 64 {
                        let symbol = bits.symbol(others)?;
                        let (run, size) = (usize::from(symbol >> 4), u32::from(symbol & 15));
                        match (run, size) {
                            (15, 0) => k += 16,
                            (_, 0) => break,
                            _ => {
                                k += run;
                                let place = usize::from(*ZIGZAG.get(k).ok_or("a block is too long")?);
                                block[place] = bits.number(size).wrapping_mul(table[place]);
                                k += 1;
                            }
                        }
                    }
                    let (column, row) = (unit % columns * wide + x, unit / columns * high + y);
                    let pitch = own.columns * 8;
                    for (line, samples) in inverse(&block).chunks_exact(8).enumerate() {
                        let to = (row * 8 + line) * pitch + column * 8;
                        own.samples[to..to + 8].copy_from_slice(samples);
                    }
                }
            }
        }
        self.decoded += chosen.len();
        Ok(bits.at)
    }

    fn finish(self) -> Result<Picture, String> {
        if self.decoded < self.components.len() {
            return Err("it ends too early".to_owned());
        }
        let planes: Vec<Vec<u8>> = self.components.iter().map(|own| self.spread(own)).collect();
        let pixels = match planes.as_slice() {
            [grey] => grey.clone(),
            [a, b, c] if self.plain == Some(true) => {
                a.iter().zip(b).zip(c).flat_map(|((&r, &g), &b)| [r, g, b]).collect()
            }
            [y, cb, cr] => y.iter().zip(cb).zip(cr).flat_map(|((&y, &cb), &cr)| colour(y, cb, cr)).collect(),
            _ => return Err("it has no picture".to_owned()),
        };
        Ok(Picture { width: self.width, height: self.height, channels: planes.len(), bytes: pixels })
    }
}

/// Decodes a baseline JPEG file.
pub(super) fn decode(bytes: &[u8]) -> Result<Picture, String> {
    let mut decoder = Decoder::default();
    let mut at = 2;
    loop {
        // Fill bytes may stand before a marker.
        while bytes.get(at) == Some(&0xff) && bytes.get(at + 1) == Some(&0xff) {
            at += 1;
        }
        let (Some(0xff), Some(&marker)) = (bytes.get(at), bytes.get(at + 1)) else { break };
        if marker == 0xd9 {
            break;
        }
        let length = word(bytes, at + 2)?;
        let segment = bytes.get(at + 4..(at + 2 + length).max(at + 4)).ok_or("it ends too early")?;
        at += 2 + length.max(2);
        match marker {
            0xc0 | 0xc1 => decoder.frame(segment)?,
            0xc4 => decoder.huffman(segment)?,
            0xdb => decoder.quantization(segment)?,
            0xdd => decoder.interval = word(segment, 0)?,
            0xda => at += decoder.scan(segment, bytes.get(at..).unwrap_or_default())?,
            0xee if segment.starts_with(b"Adobe") => decoder.plain = Some(segment.get(11) == Some(&0)),
            0xc2..=0xcf => return Err("it is not baseline (but progressive, or of another kind)".to_owned()),
            _ => {}
        }
        // Whatever stands between a scan and the next marker is passed over.
        while marker == 0xda && at + 1 < bytes.len() && (bytes[at] != 0xff || matches!(bytes[at + 1], 0 | 0xd0..=0xd7))
        {
            at += 1;
        }
    }
    decoder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture of random blots as another encoder writes it, and what another decoder makes of that.
    fn encoded(width: u32, height: u32, grey: bool) -> (Vec<u8>, Vec<u8>) {
        let colour = if grey { image::ExtendedColorType::L8 } else { image::ExtendedColorType::Rgb8 };
        let pixels =
            (0..width * height * if grey { 1 } else { 3 }).map(|i| (i / 7 * 37 % 256) as u8).collect::<Vec<_>>();
        let mut bytes = vec![];
        image::codecs::jpeg::JpegEncoder::new_with_quality(&mut bytes, 85)
            .encode(&pixels, width, height, colour)
            .unwrap();
        let other = image::load_from_memory(&bytes).unwrap();
        (bytes, if grey { other.into_luma8().into_raw() } else { other.into_rgb8().into_raw() })
    }

    #[test]
    fn another_decoder_sees_the_same_picture() {
        for (width, height, grey) in [(16, 16, false), (17, 11, false), (1, 3, true), (40, 9, true)] {
            let (bytes, other) = encoded(width, height, grey);
            let own = decode(&bytes).unwrap();
            assert_eq!((own.width, own.height, own.bytes.len()), (width as usize, height as usize, other.len()));
            // Their inverse transforms round otherwise.
            assert!(own.bytes.iter().zip(&other).all(|(a, b)| a.abs_diff(*b) <= 4), "{:?} {other:?}", own.bytes);
        }
    }

    #[test]
    fn no_damage_ends_the_program() {
        let (bytes, _) = encoded(17, 11, false);
        let mut seed = 1u32;
        let mut random = |n: usize| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) as usize % n
        };
        for _ in 0..3000 {
            let mut damaged = bytes.clone();
            for _ in 0..=random(3) {
                let at = random(damaged.len());
                damaged[at] = random(256) as u8;
            }
            damaged.truncate(bytes.len() - if random(4) == 0 { random(bytes.len()) } else { 0 });
            // Whatever comes of it.
            let _ = decode(&damaged);
        }
    }

    #[test]
    fn what_has_no_picture_is_refused() {
        for bytes in [
            &b"\xff\xd8"[..],
            b"\xff\xd8\xff\xc0\x00\x07\x08\xff\xff\xff\xff",
            b"\xff\xd8\xff\xda\x00\x00",
            b"\xff\xd8\xff\xc2\x00\x02",
        ] {
            assert!(decode(bytes).is_err());
        }
    }
}
