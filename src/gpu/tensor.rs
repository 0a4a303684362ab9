//! Tensors that stay on the device.

use std::fmt;
use std::sync::Arc;

use super::wait::{Staging, Wait};
use super::{GpuDevice, elements};
use crate::error::{DeviceError, RunError};
use crate::interrupt::Interrupt;
use crate::kernel::{Layout, Storage, units};
use crate::tensor::{ElementType, Tensor, TensorView};

/// A dense tensor on the device, in ONNX's order. Cloning it shares the memory.
#[derive(Clone)]
pub struct GpuTensor {
    device: GpuDevice,
    buffer: wgpu::Buffer,
    offset: u64,
    /// Shared: a state is handed on after every run, and a run allocates nothing.
    shape: Arc<[usize]>,
    element_type: ElementType,
    storage: Storage,
}

impl GpuTensor {
    /// A part of a buffer of the application's own as a tensor: dense, from `offset` (a multiple of 4) on.
    ///
    /// The buffer needs the usage `COPY_SRC` to be an input; 64-bit elements lie there as they are, the lower word first.
    ///
    /// # Errors
    /// [`RunError::State`] if the part does not lie in the buffer, or no kernel can hold the elements.
    pub fn from_buffer(
        device: &GpuDevice,
        buffer: wgpu::Buffer,
        offset: u64,
        element_type: ElementType,
        shape: impl Into<Vec<usize>>,
    ) -> Result<Self, RunError> {
        let storage = Storage::of(element_type, false)
            .ok_or_else(|| RunError::State(format!("a GPU holds no tensor of {element_type}")))?;
        let shape = shape.into().into();
        let tensor = Self { device: device.clone(), buffer, offset, shape, element_type, storage };
        let end = tensor.bytes().and_then(|bytes| bytes.checked_add(offset));
        if !offset.is_multiple_of(4) || end.is_none_or(|end| end > tensor.buffer.size()) {
            return Err(RunError::State(format!(
                "a tensor of shape {:?} and type {element_type} from byte {offset} on does not lie in a buffer of {} bytes",
                tensor.shape,
                tensor.buffer.size()
            )));
        }
        Ok(tensor)
    }

    /// An uninitialised tensor in memory of its own.
    pub(crate) async fn new(
        device: &GpuDevice,
        element_type: ElementType,
        storage: Storage,
        shape: Vec<usize>,
    ) -> Result<Self, DeviceError> {
        let bytes = units(&shape, Layout::Linear).and_then(|u| u.checked_mul(storage.unit_bytes()));
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        let buffer = device
            .guarded("memory for a tensor", || {
                device.create_buffer("tensor", bytes.unwrap_or(u64::MAX / 2), usage, false)
            })
            .await?;
        Ok(Self { device: device.clone(), buffer, offset: 0, shape: shape.into(), element_type, storage })
    }

    /// What lies at the beginning of a buffer.
    pub(super) fn in_buffer(
        device: &GpuDevice,
        buffer: wgpu::Buffer,
        element_type: ElementType,
        storage: Storage,
        shape: Vec<usize>,
    ) -> Self {
        Self { device: device.clone(), buffer, offset: 0, shape: shape.into(), element_type, storage }
    }

    /// Brings a tensor to the device.
    ///
    /// # Errors
    /// If memory runs out, or no kernel can hold the elements.
    pub async fn upload(device: &GpuDevice, view: &TensorView<'_>) -> Result<Self, RunError> {
        let element_type = view.element_type();
        let storage = Storage::of(element_type, false)
            .ok_or_else(|| RunError::State(format!("a GPU holds no tensor of {element_type}")))?;
        Self::stored(device, view, storage).await
    }

    /// A copy of a tensor on the device, in this storage.
    pub(super) async fn stored(device: &GpuDevice, view: &TensorView<'_>, storage: Storage) -> Result<Self, RunError> {
        let element_type = view.element_type();
        let tensor = Self::new(device, element_type, storage, view.shape().to_vec()).await?;
        let bytes = stored_bytes(view, storage)?;
        if !bytes.is_empty() {
            device.guarded("an upload", || device.write(&tensor.buffer, 0, &bytes)).await?;
        }
        Ok(tensor)
    }

    /// Writes other elements into it, before what is submitted next.
    pub(super) fn write(&self, view: &TensorView<'_>) -> Result<(), RunError> {
        let bytes = stored_bytes(view, self.storage)?;
        if !bytes.is_empty() {
            self.device.write(&self.buffer, self.offset, &bytes);
        }
        Ok(())
    }

    /// The buffer in which it lies.
    pub fn buffer(&self) -> &wgpu::Buffer {
        &self.buffer
    }

    /// Where it begins in [`GpuTensor::buffer`], in bytes.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The shape, outermost dimension first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The type of the elements, as the model names it.
    pub fn element_type(&self) -> ElementType {
        self.element_type
    }

    /// The type that the elements are stored as: 32-bit floats can be stored as halves.
    pub fn storage(&self) -> Storage {
        self.storage
    }

    /// The device.
    pub fn device(&self) -> &GpuDevice {
        &self.device
    }

    /// Bytes of its elements, rounded up to whole words; `None` where an address cannot count them.
    pub(super) fn bytes(&self) -> Option<u64> {
        let elements = u64::try_from(crate::tensor::shape::elements(&self.shape)?).ok()?;
        elements.checked_mul(elements::cell(self.storage) as u64)?.checked_next_multiple_of(4)
    }

    /// Brings the elements to the host.
    ///
    /// # Errors
    /// If the device fails.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn read(&self, timeout: std::time::Duration) -> Result<Tensor, RunError> {
        self.read_within(&Wait::blocking(timeout, Interrupt::default()))
    }

    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn read_within(&self, bound: &Wait) -> Result<Tensor, RunError> {
        super::wait::now(self.download(bound))
    }

    /// [`GpuTensor::read`], for callers that must not block.
    ///
    /// # Errors
    /// If the device fails.
    pub async fn read_async(&self) -> Result<Tensor, RunError> {
        #[cfg(not(target_arch = "wasm32"))]
        let wait = Wait::giving_back(self.device.patience(None), Interrupt::default());
        #[cfg(target_arch = "wasm32")]
        let wait = Wait::giving_back(Interrupt::default());
        self.download(&wait).await
    }

    async fn download(&self, wait: &Wait) -> Result<Tensor, RunError> {
        let mut tensor = Tensor::zeros(self.element_type, self.shape.to_vec())?;
        let bytes = self.bytes().unwrap_or(0);
        if bytes == 0 {
            return Ok(tensor);
        }
        let (staging, submission) = self
            .device
            .guarded("a read-back", || {
                let staging = Staging::download(&self.device, bytes);
                let mut encoder = self.device.encoder();
                encoder.copy_buffer_to_buffer(&self.buffer, self.offset, &staging.buffer, 0, bytes);
                let submission = self.device.submit([encoder.finish()]);
                staging.map();
                (staging, submission)
            })
            .await?;
        self.device.settle(&staging, &submission, wait).await?;
        let view = staging.read(0..bytes)?;
        elements::load(&view, self.storage, self.element_type, tensor.overwrite())
            .map_err(|e| RunError::State(e.to_string()))?;
        Ok(tensor)
    }
}

/// A tensor's bytes in this storage.
fn stored_bytes(view: &TensorView<'_>, storage: Storage) -> Result<Vec<u8>, RunError> {
    let mut bytes = vec![];
    elements::store(view.bytes(), view.element_type(), storage, |_, piece| bytes.extend_from_slice(piece))
        .map_err(|e| RunError::State(format!("the tensor cannot be uploaded: {e}")))?;
    Ok(bytes)
}

impl fmt::Debug for GpuTensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GpuTensor({} {:?} as {:?})", self.element_type, self.shape, self.storage)
    }
}
