//! A window that shows frames with a detector's boxes over them: renderer and detector share one device, and a frame's pixels
//! cross to it once.
//!
//! ```text
//! cargo run --release -p rimlight-viewer --features window -- --pan street.jpg
//! ```

#![allow(missing_docs, reason = "a program")]

mod feed;
#[path = "../vision/film.rs"]
mod film;
#[path = "../vision/network.rs"]
mod network;
mod painter;
#[path = "../program/mod.rs"]
mod program;
mod surface;
mod watch;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use rimlight::Model;
use rimlight::vision::Detection;
use scene::detector::Detector;
use scene::drawing::write;
use scene::latency::Latencies;
use scene::quads::{Overlay, placed};
use scene::queue::{FrameQueue, Policy};
use winit::application::ApplicationHandler;
use winit::dpi::PhysicalSize;
use winit::event::{ElementState, KeyEvent, WindowEvent};
use winit::event_loop::{ActiveEventLoop, EventLoop, EventLoopProxy};
use winit::keyboard::{Key, NamedKey};
use winit::window::{Window, WindowId};

use painter::{Painter, Shown};
use program::{Failure, Typed, wrong};
use surface::Screen;
use watch::{Told, Watch};

const HELP: &str = "\
Shows frames in a window, with what a detector finds over them, and how long that took. Space pauses, escape closes.

usage: viewer PICTURE | FOLDER | - | --pan PICTURE

FOLDER has pictures, taken in the order of their names. - reads portable pixmaps from the standard input, one after the other
(ffmpeg -i FILM -f image2pipe -c:v ppm -), or with --size bare pixels (ffmpeg -i FILM -f rawvideo -pix_fmt rgb24 -).

  --pan PICTURE     a window that moves over this picture, to and fro
  --size WxH        how large frames are: those of bare pixels, or of --pan (640x480, unless told)
  --frames N        so many frames at most
  --fps R           how many come in a second; where those are too many, the newest are taken (25, unless told)
  --screenshot FILE what the window shows after the last frame, as a .png; then it closes
  --model NAME      the network, by its name or its file (yolox_nano, unless told)
  --head NAME       what its rows mean: yolox, yolov5 or yolov8 (yolox, unless told)
  --labels FILE     the classes' names, one a line (COCO's 80, unless told)
  --threshold T     from which score on an object is one (0.5, unless told)
  --overlap T       above which intersection over union two are one (0.45, unless told)";

const OPTIONS: [&str; 10] =
    ["pan", "size", "frames", "fps", "screenshot", "model", "head", "labels", "threshold", "overlap"];

/// Frames that the detector has at a time. One more is shown, and each has a texture of its own.
const IN_FLIGHT: usize = 2;

/// What the window shows: a frame, and what was found in it.
struct Scene {
    shown: Shown,
    found: Vec<Detection>,
    latency: Duration,
    /// Frames a second until then.
    rate: f64,
}

struct Viewer {
    model: Model,
    detector: Detector,
    labels: Vec<String>,
    screenshot: Option<PathBuf>,
    tell: EventLoopProxy<Told>,
    /// A word for each frame that there is room for.
    room: Sender<()>,
    /// What is made once there is a window, in the order in which it goes.
    opened: Option<(Watch, Painter, Screen)>,
    scene: Option<Scene>,
    /// Textures that nobody reads.
    free: Vec<Shown>,
    under_way: usize,
    paused: bool,
    /// Rooms that are not given away while it is paused.
    held: usize,
    ended: bool,
    latencies: Latencies,
    first: Option<Instant>,
    outcome: Result<(), Failure>,
}

impl Viewer {
    fn open(&mut self, events: &ActiveEventLoop) -> Result<(), Failure> {
        let attributes =
            Window::default_attributes().with_title("Rimlight").with_inner_size(PhysicalSize::new(1024, 768));
        let window = events.create_window(attributes).map_err(|e| wrong(format!("there is no window: {e}")))?;
        let screen = Screen::new(window)?;
        let painter = Painter::new(&screen.device, &screen.queue, screen.format())?;
        let watch = Watch::new(&screen.device, &screen.queue, &self.model, self.detector, &self.tell)?;
        self.opened = Some((watch, painter, screen));
        (0..IN_FLIGHT).for_each(|_| self.give_room());
        Ok(())
    }

    fn give_room(&mut self) {
        if self.paused {
            self.held += 1;
        } else {
            // Without a reader there are no more frames.
            let _ = self.room.send(());
        }
    }

    fn told(&mut self, told: Told) -> Result<(), Failure> {
        let Some((watch, painter, screen)) = &mut self.opened else { return Ok(()) };
        match told {
            Told::Frame(size, pixels, there) => {
                let most = screen.device.limits().max_texture_dimension_2d;
                if size[0].max(size[1]) > most {
                    return Err(wrong(format!(
                        "a frame of {} × {} pixels: the GPU takes {most} to a side",
                        size[0], size[1]
                    )));
                }
                let fits = |shown: &Shown| [shown.texture.width(), shown.texture.height()] == size;
                let spare = self.free.iter().position(fits).map(|at| self.free.swap_remove(at));
                let shown = spare.unwrap_or_else(|| {
                    self.free.clear();
                    painter.texture(size)
                });
                painter.upload(&shown, &pixels);
                watch.submit(shown, there)?;
                self.under_way += 1;
                self.first.get_or_insert(there);
            }
            Told::Seen(shown, found, latency) => {
                self.under_way -= 1;
                self.latencies.record(latency);
                let seconds = self.first.map_or(0.0, |first| first.elapsed().as_secs_f64());
                let rate = self.latencies.count() as f64 / seconds.max(1e-3);
                let before = self.scene.replace(Scene { shown, found, latency, rate });
                self.free.extend(before.map(|scene| scene.shown));
                screen.window.request_redraw();
                self.give_room();
            }
            Told::End => self.ended = true,
            Told::Failed(failure) => return Err(failure),
            Told::Lost(message) => return Err(watch.lost(&message)),
        }
        if let (true, 0, Some((.., screen))) = (self.ended, self.under_way, &self.opened) {
            screen.window.request_redraw();
        }
        Ok(())
    }

    /// Draws the window anew. Says whether it was the last time.
    fn paint(&mut self) -> Result<bool, Failure> {
        let Some((_, painter, screen)) = &mut self.opened else { return Ok(false) };
        let Some(onto) = screen.next()? else { return Ok(false) };
        let window = [onto.texture.width(), onto.texture.height()];
        let mut over = Overlay { quads: vec![], scale: screen.window.scale_factor().round().max(1.0) as f32 };
        if let Some(Scene { shown, found, latency, rate }) = &self.scene {
            let size = [shown.texture.width(), shown.texture.height()];
            let place = placed(size, window);
            let labels: Vec<&str> = self.labels.iter().map(String::as_str).collect();
            over.objects(found, &labels, size, &place);
            let rate = if self.latencies.count() > 1 { format!(", {rate:.1} frames/s") } else { String::new() };
            let paused = if self.paused { ", paused" } else { "" };
            let text = format!(" {:.0} ms{rate}{paused} ", latency.as_secs_f64() * 1e3);
            over.text([0.0, 0.0], &text, [0; 3]);
        }
        let mut encoder = screen.device.create_command_encoder(&Default::default());
        painter.paint(&mut encoder, &onto.texture, self.scene.as_ref().map(|scene| &scene.shown), &over);
        screen.queue.submit([encoder.finish()]);
        let last = self.ended && self.under_way == 0;
        let screenshot = self.screenshot.take_if(|_| last);
        if let Some(file) = &screenshot {
            write(&screen.read(&onto.texture)?, file)?;
        }
        screen.window.pre_present_notify();
        screen.queue.present(onto);
        Ok(screenshot.is_some())
    }

    fn pause(&mut self) {
        self.paused = !self.paused;
        if !self.paused {
            (0..std::mem::take(&mut self.held)).for_each(|_| self.give_room());
        }
        if let Some((.., screen)) = &self.opened {
            screen.window.request_redraw();
        }
    }

    /// Ends the program where something went wrong.
    fn check<T: Default>(&mut self, events: &ActiveEventLoop, outcome: Result<T, Failure>) -> T {
        outcome.unwrap_or_else(|failure| {
            self.outcome = Err(failure);
            events.exit();
            T::default()
        })
    }
}

impl ApplicationHandler<Told> for Viewer {
    fn resumed(&mut self, events: &ActiveEventLoop) {
        if self.opened.is_none() {
            let opened = self.open(events);
            self.check(events, opened);
        }
    }

    fn user_event(&mut self, events: &ActiveEventLoop, told: Told) {
        let outcome = self.told(told);
        self.check(events, outcome);
    }

    /// What lies on the device goes before the window does.
    fn exiting(&mut self, _: &ActiveEventLoop) {
        (self.scene, self.opened) = (None, None);
        self.free.clear();
    }

    fn window_event(&mut self, events: &ActiveEventLoop, _: WindowId, event: WindowEvent) {
        match event {
            WindowEvent::CloseRequested => events.exit(),
            WindowEvent::Resized(PhysicalSize { width, height }) => {
                if let Some((.., screen)) = &mut self.opened {
                    screen.resize([width, height]);
                }
            }
            WindowEvent::RedrawRequested => {
                let painted = self.paint();
                if self.check(events, painted) {
                    events.exit();
                }
            }
            WindowEvent::KeyboardInput {
                event: KeyEvent { logical_key: Key::Named(key), state: ElementState::Pressed, repeat: false, .. },
                ..
            } => match key {
                NamedKey::Escape => events.exit(),
                NamedKey::Space => self.pause(),
                _ => {}
            },
            _ => {}
        }
    }
}

fn run(typed: &Typed) -> Result<(), Failure> {
    let (frames, most) = film::frames(typed, u64::MAX)?;
    let pace = typed.number("fps", 25.0, [1e-3, 1e4])?;
    let detector = network::detector(typed)?;
    let labels = network::labels(typed)?.lines().map(str::to_owned).collect();
    let model = program::model(&typed.text("model").unwrap_or_else(|| "yolox_nano".to_owned()))?;
    let no_window = |error: winit::error::EventLoopError| wrong(format!("there is no window: {error}"));
    let events = EventLoop::with_user_event().build().map_err(no_window)?;
    let queue = Arc::new(FrameQueue::new(Policy::Latest));
    let room = feed::start(frames, (most, pace), &queue, &events.create_proxy());
    let mut viewer = Viewer {
        model,
        detector,
        labels,
        screenshot: typed.path("screenshot"),
        tell: events.create_proxy(),
        room,
        opened: None,
        scene: None,
        free: vec![],
        under_way: 0,
        paused: false,
        held: 0,
        ended: false,
        latencies: Latencies::default(),
        first: None,
        outcome: Ok(()),
    };
    events.run_app(&mut viewer).map_err(no_window)?;
    queue.close();
    eprintln!("{} frames, {} dropped; latency: {}", viewer.latencies.count(), queue.dropped(), viewer.latencies);
    viewer.outcome
}

fn main() -> ExitCode {
    program::main("viewer", HELP, &OPTIONS, run)
}
