//! What an application does with its own device, buffers and encoders.

use super::*;

#[test]
fn sessions_of_halves_take_and_give_floats_on_the_device() {
    let Some(device) = GpuDevice::for_tests() else { return };
    let schedule = schedule(&device, graph(&[10], false), PlanOptions { half: true, ..PlanOptions::default() });
    let mut session = GpuSession::new(&GpuEngine::new(&device, schedule).unwrap()).unwrap();
    let (x, y, z) = ids(&session);
    let input = ramp(10, -1.0);
    let there = pollster::block_on(GpuTensor::upload(&device, &TensorView::new([10], &input).unwrap())).unwrap();
    session.set_device(x, &there).unwrap();
    for output in [y, z] {
        pollster::block_on(session.keep(output)).unwrap();
    }
    session.run().unwrap();
    let (relu, softplus) = expected(&input, false);
    for (output, expected) in [(y, relu), (z, softplus)] {
        let there = session.device_output(output).unwrap();
        assert_eq!(there.storage(), Storage::F32);
        close(&there.read(Duration::from_secs(60)).unwrap(), &expected, 1e-6);
        // And on to a session of floats, or of halves.
        session.set_device(x, &there).unwrap();
    }
}

#[test]
fn tensors_cross_to_the_device_and_back() {
    let Some(device) = GpuDevice::for_tests() else { return };
    let minute = Duration::from_secs(60);
    for n in [0usize, 1, 6] {
        let integers = Tensor::vector((0..n as i64).map(|i| i * 7 - 9).collect());
        let there = pollster::block_on(GpuTensor::upload(&device, &integers.view())).unwrap();
        assert_eq!(there.read(minute).unwrap(), integers);
        let bytes = Tensor::vector((0..n as u8).collect());
        let there = pollster::block_on(GpuTensor::upload(&device, &bytes.view())).unwrap();
        assert_eq!(there.read(minute).unwrap(), bytes);
    }
    let wide = Tensor::vector(vec![1i64 << 40, i64::MIN, -1]);
    let there = pollster::block_on(GpuTensor::upload(&device, &wide.view())).unwrap();
    assert_eq!(there.read(minute).unwrap(), wide);
}

#[test]
fn sessions_chain_on_the_device() {
    let Some(device) = GpuDevice::for_tests() else { return };
    let n = 37;
    let (mut first, mut second) = (session(&device, &[n], false), session(&device, &[n], false));
    let (x, y, z) = ids(&first);
    let input = ramp(n, -4.0);
    first.set(x, &TensorView::new([n], &input).unwrap()).unwrap();
    pollster::block_on(first.keep(z)).unwrap();
    first.run().unwrap();
    assert!(first.get(z).is_err());
    close(first.get(y).unwrap(), &expected(&input, false).0, 0.0);
    let softplus = first.device_output(z).unwrap();
    second.set_device(x, &softplus).unwrap();
    second.run().unwrap();
    let once = expected(&input, false).1;
    close(second.get(y).unwrap(), &once, 1e-6);
    close(second.get(z).unwrap(), &expected(&once, false).1, 1e-6);

    // What was detached is not touched by the next run; what was read back can be detached as well.
    let detached = pollster::block_on(first.detach(z)).unwrap();
    let read = pollster::block_on(first.detach(y)).unwrap();
    first.set(x, &TensorView::new([n], &vec![0f32; n]).unwrap()).unwrap();
    first.run().unwrap();
    let minute = Duration::from_secs(60);
    close(&detached.read(minute).unwrap(), &once, 1e-6);
    close(&read.read(minute).unwrap(), &expected(&input, false).0, 0.0);
    close(&first.device_output(z).unwrap().read(minute).unwrap(), &vec![std::f32::consts::LN_2; n], 1e-6);
}

#[test]
fn the_application_may_submit_itself() {
    let Some(device) = GpuDevice::for_tests() else { return };
    let n = 9;
    let mut session = session(&device, &[n], false);
    let (x, y, z) = ids(&session);
    let input = ramp(n, -1.0);
    let encode = |session: &mut GpuSession| {
        let mut encoder = device.encoder();
        session.encode(&mut encoder).map(|()| device.queue().submit([encoder.finish()]))
    };
    session.set(x, &TensorView::new([n], &input).unwrap()).unwrap();
    assert!(matches!(encode(&mut session), Err(RunError::State(ref text)) if text.contains("'x'")));
    // A buffer of the application's own, with the tensor in its middle.
    let usage = wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
    let buffer = device.create_buffer("application", 256, usage, false);
    device.queue().write_buffer(&buffer, 64, bytemuck::cast_slice(&input));
    let there = GpuTensor::from_buffer(&device, buffer.clone(), 64, ElementType::F32, [n]).unwrap();
    session.set_device(x, &there).unwrap();
    assert!(matches!(encode(&mut session), Err(RunError::State(ref text)) if text.contains("'y'")));
    pollster::block_on(session.keep(y)).unwrap();
    pollster::block_on(session.keep(z)).unwrap();
    encode(&mut session).unwrap();
    let minute = Duration::from_secs(60);
    close(&session.device_output(y).unwrap().read(minute).unwrap(), &expected(&input, false).0, 0.0);
    // What does not lie in the buffer is refused.
    for (offset, shape) in [(64, vec![49]), (2, vec![1]), (u64::MAX - 3, vec![1]), (0, vec![usize::MAX, 2])] {
        assert!(GpuTensor::from_buffer(&device, buffer.clone(), offset, ElementType::F32, shape).is_err());
    }
}

#[test]
fn plans_with_host_nodes_are_not_encoded() {
    let device = GpuDevice::noop();
    let mut session = session(&device, &[4], true);
    let (x, y, _) = ids(&session);
    let tensor = pollster::block_on(GpuTensor::upload(&device, &TensorView::new([4], &[0f32; 4]).unwrap())).unwrap();
    session.set_device(x, &tensor).unwrap();
    let refused = session.encode(&mut device.encoder());
    assert!(matches!(refused, Err(RunError::State(ref text)) if text.contains("host")), "{refused:?}");
    // The other device's tensors, and those that the host must read, are refused too.
    let other = GpuDevice::noop();
    let foreign = pollster::block_on(GpuTensor::upload(&other, &TensorView::new([4], &[0f32; 4]).unwrap())).unwrap();
    assert!(session.set_device(x, &foreign).is_err());
    assert!(pollster::block_on(session.keep(y)).is_ok());
}

#[test]
fn the_application_keeps_its_handlers() {
    let (device, queue) = wgpu::Device::noop(&wgpu::DeviceDescriptor::default());
    let seen = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = Arc::clone(&seen);
    device.on_uncaptured_error(Arc::new(move |_| {
        counter.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }));
    let ours = GpuDevice::from_wgpu(device.clone(), queue, None);
    // An error of ours does not reach the application's handler, one of its own does.
    let refused = pollster::block_on(
        ours.guarded("a buffer", || ours.create_buffer("too large", 1 << 60, wgpu::BufferUsages::STORAGE, false)),
    );
    assert!(refused.is_err());
    assert_eq!(seen.load(std::sync::atomic::Ordering::Relaxed), 0);
    drop(ours.create_buffer("too large", 1 << 60, wgpu::BufferUsages::STORAGE, false));
    assert_eq!(seen.load(std::sync::atomic::Ordering::Relaxed), 1);
}
