//! The window's surface and the device: the application's own, which it lends to Rimlight.

use std::sync::Arc;

use rimlight::DeviceError;
use rimlight::gpu::wgpu;
use rimlight::image::Picture;
use winit::window::Window;

use super::program::{Failure, wrong};

/// A window that is drawn into.
pub struct Screen {
    pub window: Arc<Window>,
    instance: wgpu::Instance,
    surface: wgpu::Surface<'static>,
    config: wgpu::SurfaceConfiguration,
    /// Whether the window changed since it was configured.
    stale: bool,
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
}

fn no_adapter(error: impl ToString) -> DeviceError {
    DeviceError::NoAdapter(error.to_string())
}

impl Screen {
    /// Opens a device that can draw into the window.
    pub fn new(window: Window) -> Result<Self, Failure> {
        let window = Arc::new(window);
        let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
        let surface = instance.create_surface(Arc::clone(&window)).map_err(no_adapter)?;
        let wanted = wgpu::RequestAdapterOptions { compatible_surface: Some(&surface), ..Default::default() };
        let adapter = pollster::block_on(instance.request_adapter(&wanted)).map_err(no_adapter)?;
        // Rimlight needs no feature, but has faster kernels where there are these; its plans keep to whatever limits there are.
        let faster = wgpu::Features::SUBGROUP | wgpu::Features::SHADER_F16 | wgpu::Features::SHADER_INT64;
        let limits = wgpu::Limits { max_buffer_size: 1 << 30, ..wgpu::Limits::default() };
        let opened = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
            required_features: adapter.features() & faster,
            required_limits: limits.or_worse_values_from(&adapter.limits()),
            ..Default::default()
        }));
        let (device, queue) = opened.map_err(no_adapter)?;
        let can = surface.get_capabilities(&adapter);
        let size = window.inner_size();
        let config = surface.get_default_config(&adapter, size.width.max(1), size.height.max(1));
        let mut config = config.ok_or_else(|| no_adapter("no GPU can draw into the window"))?;
        // Colours that the window encodes itself, where it can, and copies of it for screenshots.
        config.format = can.formats.iter().copied().find(|f| f.is_srgb()).unwrap_or(config.format);
        config.usage |= can.usages & wgpu::TextureUsages::COPY_SRC;
        config.present_mode = wgpu::PresentMode::AutoVsync;
        surface.configure(&device, &config);
        Ok(Self { window, instance, surface, config, stale: false, device, queue })
    }

    pub fn format(&self) -> wgpu::TextureFormat {
        self.config.format
    }

    /// Follows the window's size.
    pub fn resize(&mut self, [width, height]: [u32; 2]) {
        // One that is hidden has no pixels: its old texture stays.
        if width > 0 && height > 0 {
            (self.config.width, self.config.height) = (width, height);
            self.surface.configure(&self.device, &self.config);
            self.window.request_redraw();
        }
    }

    /// The texture that is shown next; `None` where there is none now, but may be at the next redraw.
    pub fn next(&mut self) -> Result<Option<wgpu::SurfaceTexture>, Failure> {
        use wgpu::CurrentSurfaceTexture::{Lost, Occluded, Outdated, Suboptimal, Success, Timeout, Validation};
        if std::mem::take(&mut self.stale) {
            self.surface.configure(&self.device, &self.config);
        }
        match self.surface.get_current_texture() {
            Success(texture) => return Ok(Some(texture)),
            Suboptimal(texture) => {
                // The next one fits, or is no worse.
                self.stale = true;
                return Ok(Some(texture));
            }
            Outdated => self.surface.configure(&self.device, &self.config),
            Lost => {
                self.surface = self.instance.create_surface(Arc::clone(&self.window)).map_err(no_adapter)?;
                self.surface.configure(&self.device, &self.config);
            }
            Timeout => {}
            // Behind other windows: the system says when it is seen again.
            Occluded => return Ok(None),
            Validation => return Err(wrong("the window cannot be drawn into")),
        }
        self.window.request_redraw();
        Ok(None)
    }

    /// What a texture of the window shows, once what was submitted before is done.
    pub fn read(&self, texture: &wgpu::Texture) -> Result<Picture, Failure> {
        if !texture.usage().contains(wgpu::TextureUsages::COPY_SRC) {
            return Err(wrong("this system's windows cannot be read: take the screenshot by other means"));
        }
        let (width, height) = (texture.width(), texture.height());
        // Rows of copies begin at multiples of 256 bytes.
        let pitch = (width * 4).next_multiple_of(wgpu::COPY_BYTES_PER_ROW_ALIGNMENT);
        #[expect(clippy::disallowed_methods, reason = "the application's own buffer")]
        let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("screenshot"),
            size: u64::from(pitch) * u64::from(height),
            usage: wgpu::BufferUsages::COPY_DST | wgpu::BufferUsages::MAP_READ,
            mapped_at_creation: false,
        });
        let layout = wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(pitch), rows_per_image: None };
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let to = wgpu::TexelCopyBufferInfo { buffer: &buffer, layout };
        encoder.copy_texture_to_buffer(texture.as_image_copy(), to, texture.size());
        self.queue.submit([encoder.finish()]);
        buffer.map_async(wgpu::MapMode::Read, .., |_| {});
        self.device.poll(wgpu::PollType::wait_indefinitely()).map_err(|e| DeviceError::Lost(e.to_string()))?;
        let bytes = buffer.get_mapped_range(..).map_err(|e| DeviceError::Lost(e.to_string()))?;
        let blue_first = format!("{:?}", texture.format()).starts_with("Bgra");
        let pixel = |p: &[u8; 4]| if blue_first { [p[2], p[1], p[0]] } else { [p[0], p[1], p[2]] };
        let rows = bytes.chunks_exact(pitch as usize);
        let rgb = rows.flat_map(|row| row[..width as usize * 4].as_chunks::<4>().0.iter().flat_map(pixel)).collect();
        Ok(Picture::from_rgb(width, height, rgb)?)
    }
}
