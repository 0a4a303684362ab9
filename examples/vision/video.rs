//! Follows objects through a film: a folder of pictures, a stream of pixels, or a window that moves over one picture.
//!
//! ```text
//! cargo run --release --example video -- --pan street.jpg --fps 10 --zone 'left=0,0,320,0,320,480,0,480'
//! ffmpeg -i film.mp4 -f image2pipe -c:v ppm - | cargo run --release --example video -- -
//! ```
//!
//! One thread reads frames, one brings them to the device, one waits for what it says. So while a frame is computed, the next
//! is brought and the one before is read back: `--in-flight` says how many are under way.

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Instant;

use rimlight::image::Picture;
use rimlight::{OutputId, Pending};
use scene::detector::Detector;
use scene::frames::Frame;
use scene::latency::Latencies;
use scene::queue::{FrameQueue, Policy};
use scene::report::{Report, Stamp, zone};

#[path = "film.rs"]
mod film;
#[path = "network.rs"]
mod network;
#[path = "../program/mod.rs"]
mod program;

use program::{Failure, Typed, wrong};

const HELP: &str = "\
Follows objects through a film, and writes a line of JSON for each frame: its number and time, its latency, how many frames were
dropped before it, who is in it (with numbers that stay), and how many are in each zone. At the end the standard error gets
percentiles of the latencies, from when a frame was there to its line, and how many frames went through.

usage: video PICTURE | FOLDER | - | --pan PICTURE

FOLDER has pictures, taken in the order of their names. - reads portable pixmaps from the standard input, one after the other
(ffmpeg -i FILM -f image2pipe -c:v ppm -), or with --size bare pixels (ffmpeg -i FILM -f rawvideo -pix_fmt rgb24 -).

  --pan PICTURE     a window that moves over this picture: a film for whoever has none
  --size WxH        how large frames are: those of bare pixels, or the window (640x480, unless told)
  --frames N        so many frames at most (240 of a window, unless told)
  --fps R           frames come at this pace, as a camera's do
  --policy NAME     latest: a newer frame takes the place of one that waits; all: none is dropped (latest with --fps, else all)
  --in-flight N     how many frames are under way at most (3, unless told)
  --zone NAME=x,y,… counts who stands in this polygon; may be given again
  --model NAME      the network, by its name or its file (yolox_nano, unless told)
  --head NAME       what its rows mean: yolox, yolov5 or yolov8 (yolox, unless told)
  --labels FILE     the classes' names, one a line (COCO's 80, unless told)
  --threshold T     from which score on an object is one (0.5, unless told)
  --overlap T       above which intersection over union two are one (0.45, unless told)
  --backend NAME    auto, gpu or cpu";

const OPTIONS: [&str; 13] = [
    "pan",
    "size",
    "frames",
    "fps",
    "policy",
    "in-flight",
    "zone",
    "model",
    "head",
    "labels",
    "threshold",
    "overlap",
    "backend",
];

/// A run on its way: its frame's number, when that was there, and its width and height.
type Run = (u64, Instant, [u32; 2], Pending);

/// Waits for runs in their order, tells of each, and gives back the room that it took.
struct Teller<'a> {
    detector: Detector,
    output: OutputId,
    shape: &'a [usize],
    report: Report<'a>,
    latencies: Latencies,
    start: Instant,
}

impl Teller<'_> {
    fn tell(&mut self, runs: Receiver<Run>, room: Sender<()>) -> Result<(), Failure> {
        for (number, there, size, run) in runs {
            let outputs = run.wait()?;
            let found = self.detector.found(outputs.get(self.output)?, self.shape, size)?;
            // What holds the outputs serves the next run.
            drop(outputs);
            let latency = there.elapsed();
            self.latencies.record(latency);
            let line = self.report.frame(&Stamp { number, time: there - self.start, latency }, &found);
            // A reader who has had enough (`| head`) is no failure.
            if writeln!(io::stdout(), "{line}").is_err() || room.send(()).is_err() {
                break;
            }
        }
        Ok(())
    }
}

fn run(typed: &Typed) -> Result<(), Failure> {
    let (frames, most) = film::frames(typed, 240)?;
    let pace = typed.text("fps").map(|_| typed.number("fps", 0.0, [1e-3, 1e4])).transpose()?;
    let policy = match (typed.text("policy").as_deref(), pace) {
        (Some("latest"), _) | (None, Some(_)) => Policy::Latest,
        (Some("all"), _) | (None, None) => Policy::All,
        (Some(other), _) => return Err(wrong(format!("--policy is latest or all, not '{other}'"))),
    };
    let in_flight = typed.number("in-flight", 3, [1, 7])?;
    let zones = typed.texts("zone").map(|text| zone(&text).map_err(wrong)).collect::<Result<_, _>>()?;
    let detector = network::detector(typed)?;
    let how = detector.head.preprocessing()?;
    let labels = network::labels(typed)?;
    let labels: Vec<&str> = labels.lines().collect();
    let model = program::model(&typed.text("model").unwrap_or_else(|| "yolox_nano".to_owned()))?;
    let (name, fact) = program::first_input(&model)?;
    let device = typed.device()?;
    let mut session = model.session(&device)?;
    let input = session.input(name)?;
    let output = session.output(model.outputs().next().ok_or_else(|| wrong("the model has no output"))?.name)?;
    // The first run makes kernels, which is no frame's fault.
    let grey = how.tensor(&Picture::from_rgb(1, 1, vec![114; 3])?, fact)?;
    session.set(input, grey.view())?;
    session.run()?;

    let queue = FrameQueue::new(policy);
    let ((room, rooms), (sender, runs)) = (mpsc::channel(), mpsc::channel::<Run>());
    (0..in_flight).try_for_each(|_| room.send(())).map_err(|e| wrong(e.to_string()))?;
    let (start, report) = (Instant::now(), Report::new(&labels, zones));
    let mut teller = Teller { detector, output, shape: grey.shape(), report, latencies: Latencies::default(), start };
    let outcome = thread::scope(|scope| {
        let told = scope.spawn(|| teller.tell(runs, room));
        let read = scope.spawn(|| frames.feed(most, pace, &queue).map_err(Failure::from));
        let mut submit = || -> Result<(), Failure> {
            // Room first: a frame that waits for it may still be replaced by a newer one.
            while let (Ok(()), Some(Frame { number, there, picture })) = (rooms.recv(), queue.take()) {
                session.set(input, how.tensor(&picture, fact)?.view())?;
                let size = [picture.width(), picture.height()];
                if sender.send((number, there, size, session.submit()?)).is_err() {
                    break;
                }
            }
            Ok(())
        };
        let submitted = submit();
        queue.close();
        drop(sender);
        [submitted, joined(told.join()), joined(read.join())]
    });
    let (count, seconds, name) = (teller.latencies.count(), start.elapsed().as_secs_f64(), device.name());
    eprintln!(
        "{count} frames in {seconds:.1} s, {:.1} a second, on {name}; dropped: {}",
        count as f64 / seconds,
        queue.dropped()
    );
    eprintln!("latency: {}", teller.latencies);
    outcome.into_iter().collect()
}

fn joined(outcome: thread::Result<Result<(), Failure>>) -> Result<(), Failure> {
    outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn main() -> ExitCode {
    program::main("video", HELP, &OPTIONS, run)
}
