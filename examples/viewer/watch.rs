//! The detector beside the window: frames in, boxes out, and nobody waits in between.
//!
//! The window's thread uploads a frame and submits a run, which reads the very texture that is shown. Another thread waits for
//! the rows, which are all that comes back, and tells the window what they mean.

use std::sync::mpsc::{self, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rimlight::gpu::{GpuPicture, wgpu};
use rimlight::image::{Picture, Preprocessing};
use rimlight::vision::Detection;
use rimlight::{Device, DeviceError, InputId, Model, Pending, Session};
use scene::detector::Detector;
use winit::event_loop::EventLoopProxy;

use super::painter::Shown;
use super::program::{self, Failure, wrong};

/// What the other threads tell the window.
pub enum Told {
    /// A frame: its size, its pixels with four bytes each, and when it was there.
    Frame([u32; 2], Vec<u8>, Instant),
    /// There are no more.
    End,
    /// What a frame shows, and how long that took.
    Seen(Shown, Vec<Detection>, Duration),
    /// It cannot go on.
    Failed(Failure),
    /// The device is lost.
    Lost(String),
}

type Run = (Shown, Instant, Pending);

/// Runs under way.
pub struct Watch {
    session: Session,
    input: InputId,
    how: Preprocessing,
    /// There until this is dropped.
    runs: Option<Sender<Run>>,
    waiter: Option<JoinHandle<()>>,
}

impl Watch {
    /// On the application's device.
    pub fn new(
        device: &wgpu::Device,
        queue: &wgpu::Queue,
        model: &Model,
        detector: Detector,
        tell: &EventLoopProxy<Told>,
    ) -> Result<Self, Failure> {
        let guest = Device::from_wgpu(device.clone(), queue.clone());
        let lost = tell.clone();
        device.set_device_lost_callback(move |_, message| drop(lost.send_event(Told::Lost(message))));
        let (name, fact) = program::first_input(model)?;
        let how = detector.head.preprocessing()?;
        let shape: Option<Vec<usize>> = fact.shape.iter().map(rimlight::Dim::size).collect();
        let shape = shape
            .ok_or_else(|| wrong("the network leaves its input's size open; the viewer takes one of a fixed size"))?;
        let mut session = model.session(&guest)?;
        let input = session.input(name)?;
        // The first run makes kernels, which is no frame's fault.
        session.set(input, how.tensor(&Picture::from_rgb(1, 1, vec![114; 3])?, fact)?.view())?;
        session.run()?;
        let output = session.output(model.outputs().next().ok_or_else(|| wrong("the model has no output"))?.name)?;
        let (runs, under_way) = mpsc::channel::<Run>();
        let tell = tell.clone();
        let wait = move |(shown, there, run): Run| -> Result<Told, Failure> {
            let outputs = run.wait()?;
            let size = [shown.texture.width(), shown.texture.height()];
            let found = detector.found(outputs.get(output)?, &shape, size)?;
            Ok(Told::Seen(shown, found, there.elapsed()))
        };
        let waiter = thread::spawn(move || {
            for run in under_way {
                let told = wait(run).unwrap_or_else(Told::Failed);
                if tell.send_event(told).is_err() {
                    break;
                }
            }
        });
        Ok(Self { session, input, how, runs: Some(runs), waiter: Some(waiter) })
    }

    /// Submits a run that reads this texture. Does not wait for it.
    pub fn submit(&mut self, shown: Shown, there: Instant) -> Result<(), Failure> {
        let picture = GpuPicture::new(&shown.texture)?;
        // Ready at once: nothing of it waits for the device.
        pollster::block_on(self.session.set_picture(self.input, &picture, &self.how))?;
        let run = self.session.submit()?;
        if let Some(runs) = &self.runs {
            drop(runs.send((shown, there, run)));
        }
        Ok(())
    }

    /// The application learns first that its device is lost, and tells its guest.
    pub fn lost(&self, message: &str) -> Failure {
        self.session.engine().device().notify_lost(message);
        DeviceError::Lost(message.to_owned()).into()
    }
}

impl Drop for Watch {
    /// Sees the thread off, which holds the device.
    fn drop(&mut self) {
        self.runs = None;
        drop(self.waiter.take().map(JoinHandle::join));
    }
}
