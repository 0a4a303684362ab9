//! Waiting, blocking and not; threads; lost devices.

use super::*;

#[test]
fn a_lost_device_ends_runs_with_an_error() {
    let device = GpuDevice::noop();
    let mut session = session(&device, &[4], false);
    let (x, ..) = ids(&session);
    session.set(x, &TensorView::new([4], &[0f32; 4]).unwrap()).unwrap();
    session.run().unwrap();
    device.wgpu().destroy();
    device.notify_lost("gone");
    assert!(matches!(session.run(), Err(RunError::Device(DeviceError::Lost(_)))));
}

#[test]
fn pipelines_that_are_new_are_waited_for_longer() {
    let device = GpuDevice::noop();
    let seconds = |device: &GpuDevice| device.patience(None).as_secs();
    assert_eq!(seconds(&device), 30);
    let mut session = session(&device, &[4], false);
    assert!(seconds(&device) > 30);
    assert_eq!(device.patience(Some(Duration::ZERO)), Duration::ZERO);
    let (x, ..) = ids(&session);
    session.set(x, &TensorView::new([4], &[0f32; 4]).unwrap()).unwrap();
    session.run().unwrap();
    assert_eq!(seconds(&device), 30);
}

/// The device's answer is held back, so that none is too quick for the test.
#[test]
fn a_wait_has_its_bound() {
    for device in GpuDevice::for_tests().into_iter().chain([GpuDevice::noop()]) {
        let mut session = session(&device, &[4], false);
        let (x, y, _) = ids(&session);
        session.set(x, &TensorView::new([4], &[-1f32, 0.0, 2.0, 3.0]).unwrap()).unwrap();
        let mut pending = session.submit().unwrap();
        let held = Arc::new(Signal::default());
        held.set(Mapping::Pending);
        let answer = pending.hold_back(Arc::clone(&held));
        for bound in [Duration::ZERO, Duration::from_millis(20)] {
            pending.set_timeout(bound);
            let start = std::time::Instant::now();
            let outcome = pending.wait();
            assert!(matches!(outcome, Err(RunError::Device(DeviceError::Timeout(b))) if b == bound), "{outcome:?}");
            assert!(start.elapsed() >= bound);
            assert!(pending.value(y).is_err());
        }
        // The work went on, and the next call has its result.
        while answer.get() == Mapping::Pending {
            device.poll(wgpu::PollType::Poll).unwrap();
        }
        held.set(answer.get());
        pending.set_timeout(Duration::MAX);
        pending.wait().unwrap();
        if device.info().backend != "noop" {
            close(pending.value(y).unwrap().as_tensor().unwrap(), &[0.0, 0.0, 2.0, 3.0], 0.0);
        }
        assert!(matches!(session.run(), Err(RunError::MissingInput(_))));
    }
}

#[test]
fn futures_need_no_runtime_and_may_cross_threads() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    let Some(device) = GpuDevice::for_tests() else { return };
    let mut session = session(&device, &[1000], true);
    let (x, y, _) = ids(&session);
    let input = ramp(1000, -9.0);
    session.set(x, &TensorView::new([1000], &input).unwrap()).unwrap();
    for _ in 0..10 {
        pollster::block_on(is_send(session.run_async())).unwrap();
    }
    close(session.get(y).unwrap(), &expected(&input, true).0, 0.0);
    // Dropped before its end: the next run waits for it.
    let mut run = Box::pin(session.run_async());
    let _ = run.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
    drop(run);
    pollster::block_on(session.run_async()).unwrap();
    close(session.get(y).unwrap(), &expected(&input, true).0, 0.0);
}

#[test]
fn the_thread_that_waits_ends_with_its_device() {
    let Some(device) = GpuDevice::for_this_test() else { return };
    let mut session = session(&device, &[5], false);
    let (x, ..) = ids(&session);
    session.set(x, &TensorView::new([5], &ramp(5, 0.0)).unwrap()).unwrap();
    pollster::block_on(session.run_async()).unwrap();
    // The thread and the driver's callback hold one each.
    let failure = device.failure();
    drop((session, device));
    assert_eq!(Arc::strong_count(&failure), 1);
}

#[test]
fn sessions_run_on_several_threads() {
    let Some(device) = GpuDevice::for_tests() else { return };
    let n = 333;
    let schedule = schedule(&device, graph(&[n], true), PlanOptions::default());
    let engine = GpuEngine::new(&device, schedule).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4u8 {
            let engine = &engine;
            scope.spawn(move || {
                let mut session = GpuSession::new(engine).unwrap();
                let (x, y, z) = ids(&session);
                for i in 0..20u8 {
                    let input = ramp(n, f32::from(thread) * 10.0 - f32::from(i));
                    session.set(x, &TensorView::new([n], &input).unwrap()).unwrap();
                    if i % 2 == 0 {
                        session.run().unwrap()
                    } else {
                        pollster::block_on(session.run_async()).unwrap()
                    }
                    let (relu, softplus) = expected(&input, true);
                    close(session.get(y).unwrap(), &relu, 0.0);
                    close(session.get(z).unwrap(), &softplus, 1e-6);
                }
            });
        }
    });
}

#[test]
fn runs_under_way_keep_their_outputs_apart() {
    let Some(device) = GpuDevice::for_tests() else { return };
    for host in [false, true] {
        let n = 257;
        let mut session = session(&device, &[n], host);
        let (x, y, z) = ids(&session);
        let input = |i: u8| ramp(n, f32::from(i) - 30.0);
        let check = |pending: &super::super::GpuPending, i: u8| {
            let (relu, softplus) = expected(&input(i), host);
            close(pending.value(y).unwrap().as_tensor().unwrap(), &relu, 0.0);
            close(pending.value(z).unwrap().as_tensor().unwrap(), &softplus, 1e-6);
        };
        let mut under_way = std::collections::VecDeque::new();
        for i in 0..40u8 {
            session.set(x, &TensorView::new([n], &input(i)).unwrap()).unwrap();
            under_way.push_back((i, session.submit().unwrap()));
            assert!(session.get(y).is_err(), "there is no whole run to take outputs from");
            if under_way.len() == 3 {
                let (i, mut pending) = under_way.pop_front().unwrap();
                if i % 2 == 0 {
                    pending.wait().unwrap()
                } else {
                    pollster::block_on(pending.wait_async()).unwrap()
                }
                assert!(pending.is_ready());
                check(&pending, i);
            }
            // One that nobody waits for.
            if i % 5 == 0 {
                session.set(x, &TensorView::new([n], &input(99)).unwrap()).unwrap();
                drop(session.submit().unwrap());
            }
        }
        for (i, mut pending) in under_way {
            pending.wait().unwrap();
            check(&pending, i);
        }
        // An ordinary run among them.
        session.set(x, &TensorView::new([n], &input(7)).unwrap()).unwrap();
        session.run().unwrap();
        close(session.get(y).unwrap(), &expected(&input(7), host).0, 0.0);
    }
}

#[test]
fn runs_under_way_take_the_memory_of_those_that_are_over() {
    let Some(device) = GpuDevice::for_this_test() else { return };
    let mut session = session(&device, &[64], false);
    let (x, ..) = ids(&session);
    let mut under_way = std::collections::VecDeque::new();
    let mut made = vec![];
    for i in 0..12u8 {
        session.set(x, &TensorView::new([64], &ramp(64, f32::from(i))).unwrap()).unwrap();
        under_way.push_back(session.submit().unwrap());
        if under_way.len() == 3 {
            under_way.pop_front().unwrap().wait().unwrap();
        }
        made.push(device.creations());
    }
    assert!(made[4..].iter().all(|n| *n == made[4]), "{made:?}");
}

#[test]
fn outputs_that_nobody_waits_for_are_not_read() {
    let Some(device) = GpuDevice::for_tests() else { return };
    let mut session = session(&device, &[64], false);
    let (x, y, _) = ids(&session);
    for i in 0..2u8 {
        session.set(x, &TensorView::new([64], &ramp(64, f32::from(i))).unwrap()).unwrap();
        let pending = session.submit().unwrap();
        while !pending.is_ready() {
            std::thread::yield_now();
        }
    }
    // The first run's frame is the next one's: it holds what it held before that run.
    let held = session.frame.values[y.0].as_ref().unwrap().as_tensor().unwrap();
    close(held, &[0.0; 64], 0.0);
}

#[test]
fn long_runs_are_submitted_in_parts() {
    let Some(device) = GpuDevice::for_this_test() else { return };
    for host in [false, true] {
        let n = 257;
        let whole = session(&device, &[n], host);
        let schedule = Arc::clone(whole.engine().schedule());
        let most = std::time::Duration::from_nanos(1);
        let loading = Loading { keep_weights: true, submission: Some(most), ..Loading::default() };
        let engine = pollster::block_on(GpuEngine::load(&device, schedule, loading)).unwrap();
        assert!(engine.submissions() > whole.engine().submissions());
        let dispatches = engine.schedule().summary.dispatches;
        assert_eq!(engine.submissions(), dispatches.max(whole.engine().submissions()));
        let mut session = GpuSession::new(&engine).unwrap();
        let (x, y, z) = ids(&session);
        let mut made = vec![];
        for i in 0..6u8 {
            let input = ramp(n, f32::from(i) - 30.0);
            let (relu, softplus) = expected(&input, host);
            session.set(x, &TensorView::new([n], &input).unwrap()).unwrap();
            let mut pending = session.submit().unwrap();
            pending.wait().unwrap();
            close(pending.value(y).unwrap().as_tensor().unwrap(), &relu, 0.0);
            close(pending.value(z).unwrap().as_tensor().unwrap(), &softplus, 1e-6);
            drop(pending);
            session.set(x, &TensorView::new([n], &input).unwrap()).unwrap();
            session.run().unwrap();
            close(session.get(z).unwrap(), &softplus, 1e-6);
            made.push(device.creations());
        }
        assert!(made[2..].iter().all(|n| *n == made[2]), "{made:?}");
    }
}

#[test]
fn who_holds_too_many_runs_is_told() {
    let device = GpuDevice::noop();
    let mut session = session(&device, &[4], false);
    let (x, ..) = ids(&session);
    let mut submit = || {
        session.set(x, &TensorView::new([4], &[0f32; 4]).unwrap()).unwrap();
        session.submit()
    };
    let mut held: Vec<_> = (0..8).map(|_| submit().unwrap()).collect();
    assert!(matches!(submit(), Err(RunError::State(_))));
    held.pop();
    submit().unwrap();
}
