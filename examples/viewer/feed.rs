//! The threads that bring frames to the window: one reads them, one hands them over.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use scene::frames::{Frame, Frames};
use scene::queue::FrameQueue;
use winit::event_loop::EventLoopProxy;

use super::watch::Told;

/// Starts them: so many frames at most, so many a second. A word for each frame that the window has room for goes into what is given
/// back. Neither thread holds anything of the device, and both may wait for a stream: they end with the program.
pub fn start(
    frames: Frames,
    (most, pace): (u64, f64),
    queue: &Arc<FrameQueue<Frame>>,
    tell: &EventLoopProxy<Told>,
) -> Sender<()> {
    let (to, failed) = (Arc::clone(queue), tell.clone());
    thread::spawn(move || {
        if let Err(error) = frames.feed(most, Some(pace), &to) {
            drop(failed.send_event(Told::Failed(error.into())));
        }
    });
    let (room, rooms) = mpsc::channel();
    let (from, tell) = (Arc::clone(queue), tell.clone());
    thread::spawn(move || hand_over(&from, &rooms, &tell));
    room
}

/// Hands frames to the window, each when there is room for it; until then a newer one may take its place.
fn hand_over(queue: &FrameQueue<Frame>, rooms: &Receiver<()>, tell: &EventLoopProxy<Told>) {
    while let (Ok(()), Some(Frame { there, picture, .. })) = (rooms.recv(), queue.take()) {
        // Textures have four bytes a pixel, files three.
        let pixels = picture.rgb().as_chunks::<3>().0.iter().flat_map(|&[r, g, b]| [r, g, b, 255]).collect();
        if tell.send_event(Told::Frame([picture.width(), picture.height()], pixels, there)).is_err() {
            return;
        }
    }
    drop(tell.send_event(Told::End));
}
