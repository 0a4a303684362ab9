//! Frames that another device or driver made, read where they lie: a camera's or a decoder's dma-buf on Linux, an
//! `AHardwareBuffer` on Android. Through Vulkan, without a copy.
//!
//! A frame belongs to whoever wrote it until it is acquired, and again once it is released:
//!
//! ```ignore
//! let device = Device::new(&options)?;                        // options.imports = true
//! let frame = unsafe { gpu.import_dma_buf(&described)? };     // once for each buffer of the camera's ring
//! session.set_picture(input, frame.picture(), &how).await?;
//! // Whenever the camera says that this buffer is full:
//! frame.acquire()?;
//! session.run()?;
//! frame.release()?;                                           // the camera may have it again once the run is finished
//! ```

mod dma_buf;
mod error;
#[cfg(target_os = "android")]
mod hardware_buffer;
mod image;
mod importer;
mod open;
#[cfg(test)]
mod tests;
mod transfer;

use std::fmt;
use std::sync::{Mutex, PoisonError};

pub use dma_buf::{DmaBuf, DmaBufFormat, DmaBufPlane};
pub use error::ImportError;
pub(super) use open::open;

use super::{GpuDevice, GpuPicture};
use image::Image;
use transfer::{Owner, transfer};

/// A picture in memory that another device or driver made. Who wrote it has to be finished when it is acquired: nothing here
/// waits for another device's fences.
pub struct ForeignPicture {
    device: GpuDevice,
    picture: GpuPicture,
    images: Vec<Image>,
    acquired: Mutex<bool>,
}

impl ForeignPicture {
    fn new(device: &GpuDevice, picture: GpuPicture, images: Vec<Image>) -> Self {
        Self { device: device.clone(), picture, images, acquired: Mutex::new(false) }
    }

    /// What [`Session::set_picture`](crate::Session::set_picture) takes. It may be read between [`ForeignPicture::acquire`] and
    /// [`ForeignPicture::release`]; at other times its texels are undefined.
    pub fn picture(&self) -> &GpuPicture {
        &self.picture
    }

    /// Takes the picture over from whoever wrote it: submits, on the device's queue, what makes the writes seen by what is
    /// submitted later. Does nothing if it was acquired.
    ///
    /// # Errors
    /// [`ImportError::Lost`] if the device is.
    pub fn acquire(&self) -> Result<(), ImportError> {
        self.hand_over(true)
    }

    /// Gives the picture back: submits what lets others write it once all that was submitted before is finished. Does nothing
    /// if it was not acquired.
    ///
    /// # Errors
    /// [`ImportError::Lost`] if the device is.
    pub fn release(&self) -> Result<(), ImportError> {
        self.hand_over(false)
    }

    fn hand_over(&self, to_us: bool) -> Result<(), ImportError> {
        self.device.check().map_err(|error| ImportError::Lost(error.to_string()))?;
        let mut acquired = self.acquired.lock().unwrap_or_else(PoisonError::into_inner);
        if *acquired != to_us {
            let (from, to) = if to_us { (Owner::Others, Owner::Queue) } else { (Owner::Queue, Owner::Others) };
            let commands = transfer(&self.device, &self.images, from, to)?;
            self.device.submit([commands]);
            *acquired = to_us;
        }
        Ok(())
    }
}

impl Drop for ForeignPicture {
    /// The images outlive the transfers that were submitted, of which wgpu does not know that they use them.
    fn drop(&mut self) {
        let images = std::mem::take(&mut self.images);
        self.device.queue().on_submitted_work_done(move || drop(images));
    }
}

impl fmt::Debug for ForeignPicture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Foreign{:?}", self.picture)
    }
}
