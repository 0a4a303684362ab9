//! Where frames come from: a folder of pictures, a stream of pixels, or a window that moves over one picture.

use std::io::{self, BufRead, Read};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rimlight::image::{ImageError, Picture};

use crate::queue::FrameQueue;

/// The endings of the files that a folder is searched for.
const ENDINGS: [&str; 6] = ["bmp", "jpeg", "jpg", "png", "ppm", "pnm"];
/// How many frames a window takes to go over its picture and back.
const TURN: u64 = 240;
/// The most pixels that a frame of a stream may claim to have.
const MAX_PIXELS: u64 = 1 << 27;

/// A frame on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its number among all that were made, from 0.
    pub number: u64,
    /// When it was there.
    pub there: Instant,
    /// What it shows.
    pub picture: Picture,
}

/// Frames, one after the other.
pub struct Frames(Source);

enum Source {
    Files(std::vec::IntoIter<PathBuf>),
    Pixels { from: Box<dyn BufRead + Send>, size: [u32; 2] },
    Portable(Box<dyn BufRead + Send>),
    Window { over: Picture, size: [u32; 2], at: u64 },
}

impl Frames {
    /// The pictures in these files.
    pub fn files(paths: Vec<PathBuf>) -> Self {
        Self(Source::Files(paths.into_iter()))
    }

    /// The pictures of a folder, in the order of their names.
    ///
    /// # Errors
    /// If it cannot be read, or there are none.
    pub fn folder(path: &Path) -> Result<Self, ImageError> {
        let failed = |source| ImageError::Io { path: path.display().to_string(), source };
        let is_picture = |path: &PathBuf| {
            let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
            ending.is_some_and(|ending| ENDINGS.contains(&ending.as_str()))
        };
        let entries = std::fs::read_dir(path).map_err(failed)?;
        let paths = entries.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>();
        let mut paths: Vec<PathBuf> = paths.map_err(failed)?.into_iter().filter(is_picture).collect();
        paths.sort();
        if paths.is_empty() {
            return Err(failed(io::Error::other(format!("no files in it end in {}", ENDINGS.join(", ")))));
        }
        Ok(Self::files(paths))
    }

    /// Frames of this width and height, red, green and blue of 8 bits, one frame after the other without anything between.
    pub fn pixels(from: impl BufRead + Send + 'static, size: [u32; 2]) -> Self {
        Self(Source::Pixels { from: Box::new(from), size })
    }

    /// Portable pixmaps (`P6`) one after the other: each says how large it is.
    pub fn portable(from: impl BufRead + Send + 'static) -> Self {
        Self(Source::Portable(Box::new(from)))
    }

    /// What a window of this width and height, or as much of it as fits, sees that moves over a picture, and back, without end.
    pub fn window(over: Picture, size: [u32; 2]) -> Self {
        let size = [size[0].clamp(1, over.width()), size[1].clamp(1, over.height())];
        Self(Source::Window { over, size, at: 0 })
    }

    /// Puts so many of them at most into a queue, at a pace of frames a second if there is one, until nobody takes more. Then
    /// the queue is closed.
    ///
    /// # Errors
    /// If one cannot be read.
    pub fn feed(self, most: u64, pace: Option<f64>, queue: &FrameQueue<Frame>) -> Result<(), ImageError> {
        let start = Instant::now();
        let mut put = |(number, picture): (u64, _)| {
            let picture = picture?;
            if let Some(fps) = pace {
                let due = start + Duration::from_secs_f64(number as f64 / fps);
                thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            Ok(queue.put(Frame { number, there: Instant::now(), picture }))
        };
        let ended = (0..most).zip(self).map(&mut put).find(|put| !matches!(put, Ok(true)));
        queue.close();
        ended.map_or(Ok(()), |put| put.map(drop))
    }
}

impl Iterator for Frames {
    type Item = Result<Picture, ImageError>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Source::Files(paths) => paths.next().map(Picture::open),
            Source::Pixels { from, size } => read(from, *size).transpose(),
            Source::Portable(from) => match header(from).transpose()? {
                Ok(size) => Some(read(from, size).and_then(|frame| frame.ok_or_else(|| ended("a frame")))),
                Err(error) => Some(Err(error)),
            },
            Source::Window { over, size, at } => {
                // Across and down at different paces, from one side to the other and back, slowly at the sides.
                let place = |turns: u64, room: u32| {
                    let angle = (*at * turns % TURN) as f64 / TURN as f64 * std::f64::consts::TAU;
                    ((1.0 - angle.cos()) / 2.0 * f64::from(room)).round() as u32
                };
                let corner = [place(1, over.width() - size[0]), place(2, over.height() - size[1])];
                *at += 1;
                Some(part(over, corner, *size))
            }
        }
    }
}

/// A part of a picture, which lies within it.
fn part(of: &Picture, [left, top]: [u32; 2], [width, height]: [u32; 2]) -> Result<Picture, ImageError> {
    let rows = of.rgb().chunks_exact(of.width() as usize * 3).skip(top as usize).take(height as usize);
    let rgb = rows.flat_map(|row| row.iter().skip(left as usize * 3).take(width as usize * 3)).copied().collect();
    Picture::from_rgb(width, height, rgb)
}

/// The pixels of a frame; `None` where the stream ends before it.
fn read(from: &mut impl BufRead, [width, height]: [u32; 2]) -> Result<Option<Picture>, ImageError> {
    let pixels = u64::from(width) * u64::from(height);
    if pixels > MAX_PIXELS {
        return Err(ImageError::TooLarge { width, height });
    }
    // Memory grows with what comes, not with what is claimed.
    let mut rgb = vec![];
    from.take(pixels * 3).read_to_end(&mut rgb).map_err(failed)?;
    match rgb.len() as u64 {
        0 => Ok(None),
        count if count < pixels * 3 => Err(ended("a frame")),
        _ => Picture::from_rgb(width, height, rgb).map(Some),
    }
}

/// Width and height of a portable pixmap; `None` where the stream ends before it.
fn header(from: &mut impl BufRead) -> Result<Option<[u32; 2]>, ImageError> {
    let mut words = vec![];
    while words.len() < 4 {
        let mut line = vec![];
        from.by_ref().take(1000).read_until(b'\n', &mut line).map_err(failed)?;
        match line.last() {
            Some(b'\n') => {}
            None if words.is_empty() => return Ok(None),
            _ => return Err(ended("a pixmap's header")),
        }
        let text = String::from_utf8_lossy(&line);
        let text = text.split('#').next().unwrap_or_default();
        words.extend(text.split_whitespace().map(str::to_owned));
    }
    let sides = || Some([words[1].parse().ok()?, words[2].parse().ok()?]);
    match sides() {
        Some(size) if words.len() == 4 && words[0] == "P6" && words[3] == "255" => Ok(Some(size)),
        _ => {
            let wanted = "a header of P6, width, height and 255; without --size the stream is one of portable pixmaps";
            Err(failed(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("there is '{}', not {wanted}", words.join(" ")),
            )))
        }
    }
}

fn ended(within: &str) -> ImageError {
    failed(io::Error::new(io::ErrorKind::UnexpectedEof, format!("it ends within {within}")))
}

fn failed(source: io::Error) -> ImageError {
    ImageError::Io { path: "the stream".to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::queue::Policy;

    /// A picture whose pixels all differ.
    fn drawn(width: u32, height: u32) -> Picture {
        let rgb = (0..height).flat_map(|y| (0..width).flat_map(move |x| [x as u8, y as u8, (x * y) as u8])).collect();
        Picture::from_rgb(width, height, rgb).unwrap()
    }

    #[test]
    fn a_stream_is_cut_into_frames() {
        let (first, second) = (drawn(5, 3), Picture::from_rgb(5, 3, vec![9; 45]).unwrap());
        let raw = [first.rgb(), second.rgb()].concat();
        let frames: Vec<Picture> = Frames::pixels(io::Cursor::new(raw.clone()), [5, 3]).map(Result::unwrap).collect();
        assert_eq!(frames, [first.clone(), second.clone()]);
        let pixmaps =
            [b"P6\n5 3\n255\n".as_slice(), first.rgb(), b"P6 5\n# made by hand\n3 255\n", second.rgb()].concat();
        let frames: Vec<Picture> = Frames::portable(io::Cursor::new(pixmaps)).map(Result::unwrap).collect();
        assert_eq!(frames, [first, second]);
        // What ends too early, or claims too much.
        let last = |frames: Frames| frames.last().unwrap().unwrap_err().to_string();
        assert!(last(Frames::pixels(io::Cursor::new(raw[..60].to_vec()), [5, 3])).contains("ends within a frame"));
        for wrong in ["P6 5 3 255\nabc", "P6 5", "P5 5 3 255\n", "P6 5 3 65535\n", "P6 -5 3 255\n", "P6 5 3 255 7\n"] {
            let error = Frames::portable(io::Cursor::new(wrong.as_bytes().to_vec())).next().unwrap().unwrap_err();
            assert!(matches!(error, ImageError::Io { .. }), "{wrong}: {error}");
        }
        let claims = Frames::portable(io::Cursor::new(b"P6 99999999 99999999 255\n".to_vec())).next().unwrap();
        assert!(matches!(claims, Err(ImageError::TooLarge { .. })), "{claims:?}");
    }

    #[test]
    fn a_window_moves_within_its_picture() {
        let over = drawn(40, 30);
        let seen: Vec<Picture> = Frames::window(over.clone(), [16, 12]).take(241).map(Result::unwrap).collect();
        // A pixel tells where it was: the window begins at the upper left, reaches the right side, and comes back.
        let corners: Vec<[u8; 2]> = seen.iter().map(|frame| [frame.rgb()[0], frame.rgb()[1]]).collect();
        assert_eq!((corners[0], corners[60], corners[120], corners[240]), ([0, 0], [12, 18], [24, 0], [0, 0]));
        assert!(seen.iter().all(|frame| [frame.width(), frame.height()] == [16, 12]));
        // One that is larger than its picture sees all of it.
        assert_eq!(Frames::window(over.clone(), [900, 900]).next().unwrap().unwrap(), over);
    }

    #[test]
    fn frames_come_at_their_pace_and_the_latest_wins() {
        let queue = FrameQueue::new(Policy::Latest);
        let start = Instant::now();
        Frames::window(drawn(9, 9), [4, 4]).feed(5, Some(1000.0), &queue).unwrap();
        assert!(start.elapsed() >= Duration::from_millis(4));
        let last = queue.take().unwrap();
        assert_eq!((last.number, queue.take(), queue.dropped()), (4, None, 4));
        // What cannot be read is said, after what came before it.
        let queue = FrameQueue::new(Policy::All);
        let cut = Frames::pixels(io::Cursor::new(vec![7; 13]), [2, 2]).feed(u64::MAX, None, &queue);
        assert!(cut.unwrap_err().to_string().contains("ends within a frame"));
        assert_eq!((queue.take().map(|frame| frame.number), queue.take()), (Some(0), None));
    }

    #[test]
    fn a_folder_is_read_by_name() {
        let folder = std::env::temp_dir().join(format!("rimlight-frames-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        assert!(Frames::folder(&folder).is_err());
        for (name, width) in [("b.PNG", 2), ("a.png", 1), ("c.png", 3)] {
            std::fs::write(folder.join(name), drawn(width, 1).to_png().unwrap()).unwrap();
        }
        std::fs::write(folder.join("notes.txt"), "no picture").unwrap();
        let widths: Vec<u32> = Frames::folder(&folder).unwrap().map(|frame| frame.unwrap().width()).collect();
        std::fs::remove_dir_all(&folder).unwrap();
        assert_eq!(widths, [1, 2, 3]);
        assert!(Frames::folder(&folder).is_err());
    }
}
