//! The frames that the user asks for.

use std::io;
use std::path::Path;

use rimlight::image::Picture;
use scene::frames::Frames;

use super::program::{Failure, Typed, wrong};

/// What `pan`, `size` and the rest say of them, and how many there are at most: of a window without end so many
/// unless told.
pub fn frames(typed: &Typed, of_window: u64) -> Result<(Frames, u64), Failure> {
    let size = typed.text("size").map(|text| {
        let sides = text.split_once('x').and_then(|(w, h)| Some([w.parse().ok()?, h.parse().ok()?]));
        let sides = sides.filter(|sides: &[u32; 2]| !sides.contains(&0));
        sides.ok_or_else(|| wrong(format!("--size is WxH, as in 640x480, not '{text}'")))
    });
    let size = size.transpose()?;
    let stdin = || io::BufReader::new(io::stdin());
    let (frames, most) = match (typed.path("pan"), typed.rest.as_slice(), size) {
        (Some(picture), [], _) => (Frames::window(Picture::open(picture)?, size.unwrap_or([640, 480])), of_window),
        (None, [path], Some(size)) if path == "-" => (Frames::pixels(stdin(), size), u64::MAX),
        (None, [path], None) if path == "-" => (Frames::portable(stdin()), u64::MAX),
        (None, [path], None) if Path::new(path).is_dir() => (Frames::folder(Path::new(path))?, u64::MAX),
        (None, [path], None) => (Frames::files(vec![path.into()]), u64::MAX),
        (None, [_], Some(_)) => return Err(wrong("--size is for - and --pan: files say how large they are")),
        _ => return Err(wrong("a picture, a folder of them, - or --pan PICTURE; --help tells more")),
    };
    Ok((frames, typed.number("frames", most, [1, u64::MAX])?))
}
