//! Inputs and outputs that stay on the GPU, and runs that the application submits itself.

use std::sync::Arc;

use super::binding::shape_from_options;
use super::run::{InputId, OutputId, Runner, Session};
use crate::error::RunError;
use crate::gpu::{GpuPicture, GpuSession, GpuTensor, PictureInput, wgpu};
use crate::graph::{Fact, ValueId};
use crate::image::Preprocessing;

/// A picture that is an input once its memory is taken again.
pub(super) type Resting = (GpuPicture, Preprocessing);

impl Session {
    /// Gives an input that lies on the GPU already: another session's output, or a buffer of the application's own.
    ///
    /// # Errors
    /// If the input is of another model. Whether it fits is said by the run.
    pub fn set_on_device(&mut self, input: InputId, tensor: &GpuTensor) -> Result<(), RunError> {
        match self.on_device.get_mut(input.0) {
            Some(slot) => {
                *slot = Some(tensor.clone());
                self.pictures[input.0] = None;
                self.resting.retain(|(resting, _)| *resting != input);
                self.begins(input);
                Ok(())
            }
            None => Err(RunError::State("the input is of another model".to_owned())),
        }
    }

    /// Gives an input as a picture on the GPU, brought to what the model takes by two dispatches of every run, which read
    /// the texture as it is then. Of a camera that fills several textures in turn the next one is given before its run; as
    /// long as size, format and settings stay, that makes a bind group and nothing else.
    ///
    /// The same settings make the same tensor of a [`Picture`](crate::image::Picture) on the host.
    ///
    /// ```no_run
    /// # async fn frame(device: wgpu::Device, queue: wgpu::Queue, camera: wgpu::Texture) -> Result<(), rimlight::Error> {
    /// use rimlight::gpu::{GpuPicture, wgpu};
    /// use rimlight::{Device, Model, image::Preprocessing};
    /// let mut session = Model::open("classifier.onnx")?.session(&Device::from_wgpu(device.clone(), queue.clone()))?;
    /// let (input, scores) = (session.input("image")?, session.output("scores")?);
    /// session.set_picture(input, &GpuPicture::new(&camera)?, &Preprocessing::default()).await?;
    /// session.keep(scores).await?;
    /// // Every frame, in the application's own commands:
    /// let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
    /// session.encode(&mut encoder)?;
    /// queue.submit([encoder.finish()]);
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`RunError::Picture`] if the preprocessing does not fit the picture or the input; [`RunError::Device`] if the textures
    /// are another device's or memory runs out; [`RunError::State`] if the session's device is the CPU.
    pub async fn set_picture(
        &mut self,
        input: InputId,
        picture: &GpuPicture,
        how: &Preprocessing,
    ) -> Result<(), RunError> {
        let device = self.engine.device().as_gpu().cloned().ok_or_else(on_the_cpu)?;
        let fact = self.picture_fact(input)?;
        let of_another_model = || RunError::State("the input is of another model".to_owned());
        let slot = self.pictures.get(input.0).ok_or_else(of_another_model)?;
        // What was given before stays if this fails.
        let ready = match slot.as_ref().filter(|kept| kept.is_for(how, &fact) && kept.serves(picture)) {
            Some(kept) => {
                let mut ready = PictureInput::clone(kept);
                ready.change(picture).await?;
                ready
            }
            None => PictureInput::new(&device, picture, how, &fact).await?,
        };
        let tensor = ready.tensor().clone();
        self.set_on_device(input, &tensor)?;
        self.pictures[input.0] = Some(Arc::new(ready));
        Ok(())
    }

    /// Gives back the memory in which pictures become inputs.
    pub(super) fn rest_pictures(&mut self) {
        for (i, (picture, tensor)) in self.pictures.iter_mut().zip(&mut self.on_device).enumerate() {
            let whose = |picture: &Arc<PictureInput>| tensor.as_ref().is_some_and(|t| picture.is_in(t));
            if let Some(picture) = picture.take().filter(whose) {
                *tensor = None;
                self.resting.push((InputId(i), picture.given()));
            }
        }
    }

    /// Takes it again.
    pub(super) async fn wake_pictures(&mut self) -> Result<(), RunError> {
        while let Some((input, (picture, how))) = self.resting.last().cloned() {
            // Which takes it from the list.
            self.set_picture(input, &picture, &how).await?;
        }
        Ok(())
    }

    /// Forgets what an input was given on the GPU.
    pub(super) fn leave_device(&mut self, input: InputId) {
        self.resting.retain(|(resting, _)| *resting != input);
        self.on_device[input.0] = None;
        self.pictures[input.0] = None;
    }

    /// What an input takes, its dimensions bound as far as the options bind them.
    fn picture_fact(&self, input: InputId) -> Result<Fact, RunError> {
        let graph = self.engine.model().graph();
        let id =
            *graph.inputs.get(input.0).ok_or_else(|| RunError::State("the input is of another model".to_owned()))?;
        let info = graph.value(id);
        let fact = info.fact.as_ref().ok_or_else(|| RunError::InputKind {
            name: info.name.clone(),
            wanted: info.declared.as_ref().map_or_else(|| "no tensor".to_owned(), ToString::to_string),
            found: "a picture".to_owned(),
        })?;
        Ok(match shape_from_options(graph, id, self.engine.options()) {
            Ok(shape) => Fact::new(fact.element_type, shape),
            Err(_) => fact.clone(),
        })
    }

    /// An output of the last run as a tensor on the GPU, which no later run touches. It was read back by that run and is
    /// brought there again, unless [`Session::keep`] was asked for before.
    ///
    /// # Errors
    /// [`RunError::State`] before the first run, or if the session runs on the CPU.
    pub async fn detach(&mut self, output: OutputId) -> Result<GpuTensor, RunError> {
        if !self.has_run {
            return Err(RunError::State("there is no output yet: nothing was run".to_owned()));
        }
        if self.is_turned(output) {
            let graph = self.engine.model().graph();
            let state = self.state_async(&graph.value(graph.outputs[output.0]).name).await?;
            let (gpu, _) = self.gpu_output(output)?;
            return GpuTensor::upload(gpu.engine().device(), &state.view()).await;
        }
        let (gpu, id) = self.gpu_output(output)?;
        gpu.detach(id).await
    }

    /// Leaves an output on the GPU in all runs of these input shapes, instead of reading it back: [`Session::detach`]
    /// and [`Session::device_output`] have it then. The inputs must have been given.
    ///
    /// # Errors
    /// If an input is missing, the session runs on the CPU, or a node on the host computes or reads the output.
    pub async fn keep(&mut self, output: OutputId) -> Result<(), RunError> {
        self.select().await?;
        let (gpu, id) = self.gpu_output(output)?;
        gpu.keep(id).await?;
        if let Some((planned, _)) = self.runners.last() {
            let kept = (planned.request.shapes.clone(), output);
            if !self.kept.contains(&kept) {
                self.kept.push(kept);
            }
        }
        Ok(())
    }

    /// Leaves on the GPU what was asked for with other parameters, where the plan for these allows it.
    pub(super) async fn keep_again(&mut self) -> Result<(), RunError> {
        let Some((planned, Runner::Gpu(gpu))) = self.runners.last_mut() else { return Ok(()) };
        for (_, output) in self.kept.iter().filter(|(shapes, _)| *shapes == planned.request.shapes) {
            match planned.graph.outputs.get(output.0) {
                Some(&id) if gpu.can_keep(id) => gpu.keep(id).await?,
                _ => {}
            }
        }
        Ok(())
    }

    /// An output that stays on the GPU; the next run writes over it.
    ///
    /// # Errors
    /// If [`Session::keep`] was not asked for.
    pub fn device_output(&mut self, output: OutputId) -> Result<GpuTensor, RunError> {
        if self.is_turned(output) {
            return Err(RunError::State(
                "the output is kept in another order: `state` or `detach` gives it".to_owned(),
            ));
        }
        let (gpu, id) = self.gpu_output(output)?;
        gpu.device_output(id)
    }

    /// Encodes a run into an encoder of the application's own, to be submitted on the device's queue. Every input must
    /// lie on the GPU, and every output must be kept there.
    ///
    /// # Errors
    /// If one does not, or nodes run on the host, so that it would be several submissions.
    pub fn encode(&mut self, encoder: &mut wgpu::CommandEncoder) -> Result<(), RunError> {
        if !self.resting.is_empty() || !self.is_ready()? {
            let reason = "the outputs must be kept on the device first (`Session::keep`; after `trim`, `resume`)";
            return Err(RunError::State(reason.to_owned()));
        }
        if !self.takes_states() {
            let reason = "the plan for these inputs does not take a state as it lies on the GPU: `run` it once";
            return Err(RunError::State(reason.to_owned()));
        }
        self.give()?;
        match self.as_gpu() {
            Some(gpu) => gpu.encode(encoder)?,
            None => return Err(on_the_cpu()),
        }
        self.hand_on()
    }

    fn gpu_output(&mut self, output: OutputId) -> Result<(&mut GpuSession, ValueId), RunError> {
        match self.runners.last_mut() {
            Some((planned, Runner::Gpu(gpu))) => match planned.graph.outputs.get(output.0) {
                Some(&id) => Ok((gpu, id)),
                None => Err(RunError::State("the output is of another model".to_owned())),
            },
            _ => Err(on_the_cpu()),
        }
    }
}

fn on_the_cpu() -> RunError {
    RunError::State("the session runs on the CPU: nothing lies on a GPU".to_owned())
}

#[cfg(all(test, not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use crate::graph::{Definition, Graph};
    use crate::image::Resize;
    use crate::model::Model;
    use crate::session::{Backend, Device, DeviceOptions, Options, Precision};
    use crate::{ElementType, Tensor};

    /// The application's own texture of 9 × 5 pixels.
    fn texture(gpu: &crate::gpu::GpuDevice) -> wgpu::Texture {
        #[allow(clippy::disallowed_methods, reason = "the application's own texture")]
        gpu.wgpu().create_texture(&wgpu::TextureDescriptor {
            label: None,
            size: wgpu::Extent3d { width: 9, height: 5, depth_or_array_layers: 1 },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: wgpu::TextureFormat::Rgba8Unorm,
            usage: wgpu::TextureUsages::TEXTURE_BINDING | wgpu::TextureUsages::COPY_DST,
            view_formats: &[],
        })
    }

    fn write(gpu: &crate::gpu::GpuDevice, texture: &wgpu::Texture, value: u8) {
        let layout = wgpu::TexelCopyBufferLayout { offset: 0, bytes_per_row: Some(36), rows_per_image: None };
        gpu.queue().write_texture(texture.as_image_copy(), &[value; 180], layout, texture.size());
    }

    /// Before 16 bits are chosen a run is made in both, of the picture too: halves do not hold what it becomes here.
    #[test]
    fn a_texture_is_what_a_precision_is_chosen_by() {
        let Some(gpu) = crate::gpu::GpuDevice::for_tests() else { return };
        let device = Device::from_wgpu(gpu.wgpu().clone(), gpu.queue().clone());
        let mut graph = Graph::builder();
        let mut x = graph.input("x", ElementType::F32, [1usize, 3, 4, 4]);
        for _ in 0..3 {
            let pool = Definition::new("MaxPool").attribute("kernel_shape", [3, 3]).attribute("pads", [1, 1, 1, 1]);
            x = graph.node(&pool, &[x]).unwrap();
        }
        graph.output("y", x);
        let model = Model::from_graph(graph.build().unwrap());
        let options = Options::new().precision(Precision::Auto);
        let camera = texture(&gpu);
        write(&gpu, &camera, 200);
        for (scale, chosen) in [(1.0, Precision::F16), (1e6, Precision::F32)] {
            let mut session = model.session_with(&device, &options).unwrap();
            let (x, y) = (session.input("x").unwrap(), session.output("y").unwrap());
            let how = Preprocessing { resize: Resize::Stretch, scale, mean: [0.0; 3], ..Preprocessing::default() };
            let how = Preprocessing { std: [1.0; 3], ..how };
            pollster::block_on(session.set_picture(x, &GpuPicture::new(&camera).unwrap(), &how)).unwrap();
            session.run().unwrap();
            assert_eq!(session.precision(), Some(chosen));
            assert_eq!(session.get(y).unwrap().as_slice::<f32>().unwrap()[0], 200.0 * scale);
            // Three planes of five rows of a unit, beside the tables and the tensor.
            assert!(session.memory().crossing > 3 * 5 * 16);
        }
    }

    #[test]
    fn a_texture_becomes_an_input_in_every_run() {
        let Some(gpu) = crate::gpu::GpuDevice::for_tests() else { return };
        let device = Device::from_wgpu(gpu.wgpu().clone(), gpu.queue().clone());
        let mut graph = Graph::builder();
        let x = graph.input("x", ElementType::F32, [1usize, 3, 4, 4]);
        let y = graph.node(&Definition::new("Neg"), &[x]).unwrap();
        graph.output("y", y);
        let model = Model::from_graph(graph.build().unwrap());
        let mut session = model.session(&device).unwrap();
        let (x, y) = (session.input("x").unwrap(), session.output("y").unwrap());
        let how = Preprocessing { resize: Resize::Stretch, scale: 1.0, ..Preprocessing::default() };
        let how = Preprocessing { mean: [0.0; 3], std: [1.0; 3], ..how };
        let (first, second) = (texture(&gpu), texture(&gpu));
        write(&gpu, &first, 7);
        write(&gpu, &second, 9);
        let seen = |session: &Session, value: f32| {
            let all = session.get(y).unwrap().as_slice::<f32>().unwrap();
            assert!(all.iter().all(|v| *v == -value), "{value}: {all:?}");
        };
        pollster::block_on(session.set_picture(x, &GpuPicture::new(&first).unwrap(), &how)).unwrap();
        session.run().unwrap();
        seen(&session, 7.0);
        // Its new content, another texture, and frames in flight.
        let made = session.engine().device().as_gpu().unwrap().creations();
        write(&gpu, &first, 8);
        session.run().unwrap();
        seen(&session, 8.0);
        assert_eq!(session.engine().device().as_gpu().unwrap().creations(), made);
        pollster::block_on(session.set_picture(x, &GpuPicture::new(&second).unwrap(), &how)).unwrap();
        assert_eq!(session.engine().device().as_gpu().unwrap().creations(), made + 1, "a bind group");
        let pending = session.submit().unwrap();
        pollster::block_on(session.set_picture(x, &GpuPicture::new(&first).unwrap(), &how)).unwrap();
        let next = session.submit().unwrap();
        for (pending, value) in [(pending, 9.0), (next, 8.0)] {
            assert_eq!(pending.wait().unwrap().get(y).unwrap().as_slice::<f32>().unwrap()[0], -value);
        }
        // What cannot be leaves what was.
        let digit = Preprocessing { resize: Resize::Digit, ..how.clone() };
        assert!(pollster::block_on(session.set_picture(x, &GpuPicture::new(&first).unwrap(), &digit)).is_err());
        write(&gpu, &first, 6);
        session.run().unwrap();
        seen(&session, 6.0);
        write(&gpu, &first, 8);
        // After a pause, with its memory back.
        let before = session.memory().crossing;
        session.trim();
        assert!(session.memory().crossing < before);
        pollster::block_on(session.resume()).unwrap();
        assert_eq!(session.memory().crossing, before);
        session.run().unwrap();
        seen(&session, 8.0);
        // And from the host again.
        session.set(x, Tensor::new([1, 3, 4, 4], vec![5f32; 48]).unwrap().view()).unwrap();
        session.run().unwrap();
        seen(&session, 5.0);
        // Not where there is no GPU.
        let mut on_cpu = model.session(&Device::cpu()).unwrap();
        let refused = pollster::block_on(on_cpu.set_picture(x, &GpuPicture::new(&first).unwrap(), &how));
        assert!(matches!(refused, Err(RunError::State(_))), "{refused:?}");
    }

    #[test]
    fn sessions_chain_without_reading_back() {
        let options = DeviceOptions { backend: Backend::Gpu, ..DeviceOptions::default() };
        let Ok(device) = Device::new(&options).inspect_err(|e| eprintln!("skipped: {e}")) else { return };
        let mut graph = Graph::builder();
        let x = graph.input("x", ElementType::F32, [5usize]);
        let y = graph.node(&Definition::new("Neg"), &[x]).unwrap();
        graph.output("y", y);
        let model = Model::from_graph(graph.build().unwrap());
        let (mut first, mut second) = (model.session(&device).unwrap(), model.session(&device).unwrap());
        let (x, y) = (first.input("x").unwrap(), first.output("y").unwrap());
        let input = Tensor::vector(vec![1f32, -2.0, 3.0, -4.0, 5.0]);
        first.set(x, input.view()).unwrap();
        pollster::block_on(async {
            first.keep(y).await.unwrap();
            first.run_async().await.unwrap();
            let negated = first.detach(y).await.unwrap();
            assert_eq!(negated.read_async().await.unwrap().as_slice::<f32>().unwrap(), [-1.0, 2.0, -3.0, 4.0, -5.0]);
            second.set_on_device(x, &negated).unwrap();
            second.run_async().await.unwrap();
        });
        assert_eq!(second.get(y).unwrap(), &input);
        // Into the application's own commands.
        pollster::block_on(second.keep(y)).unwrap();
        let gpu = device.as_gpu().unwrap();
        let mut encoder = gpu.wgpu().create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        second.encode(&mut encoder).unwrap();
        gpu.queue().submit([encoder.finish()]);
        assert_eq!(pollster::block_on(second.device_output(y).unwrap().read_async()).unwrap(), input);
        // Not where there is no GPU.
        let mut on_cpu = model.session(&Device::cpu()).unwrap();
        on_cpu.set_on_device(x, &second.device_output(y).unwrap()).unwrap();
        assert!(on_cpu.run().is_err());
    }
}
