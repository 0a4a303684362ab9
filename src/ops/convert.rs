//! Conversions between layouts, which the planner puts between operators that want a value differently.

use crate::kernel::{Binding, DeviceFacts, Dispatch, Kernel, Layout, Storage, units};

/// Invocations of a workgroup.
const WORKGROUP: u32 = 64;

/// The dispatch that brings a value of `shape` from one layout and storage into another: it reads `Input(0)` and writes
/// `Output(0)`, all units of it. Padding that it writes is zero.
///
/// # Errors
/// If the value has more elements than a shader can count. Of an empty value there is nothing to convert: the dispatch
/// has no workgroups.
pub fn convert(
    shape: &[usize],
    from: Layout,
    to: Layout,
    from_storage: Storage,
    to_storage: Storage,
    device: &DeviceFacts,
) -> Result<Dispatch, String> {
    let image = Image::of(shape, from, to);
    let (read, written) = (countable(shape, from)?, countable(shape, to)?);
    let dispatch = |kernel: Kernel| {
        Dispatch::of(kernel.define("WORKGROUP", WORKGROUP))
            .bind(Binding::Input(0), from_storage)
            .bind(Binding::Output(0), to_storage)
    };
    if read == 0 || written == 0 {
        return Ok(dispatch(Kernel::of("convert/gather.wgsl").define("FROM", 0).define("TO", 0)).workgroups(0, 0, 0));
    }
    if image.from_channels != image.to_channels
        && let Some((height, width)) = image.whole_rows()
    {
        let groups = image.channels.div_ceil(4);
        let row_units = width.div_ceil(4);
        let blocks = image.images * groups * height * row_units;
        let kernel = Kernel::of("convert/blocks.wgsl").define("TO", image.to_channels);
        return Ok(dispatch(kernel)
            .param("blocks", blocks)
            .param("channels", image.channels)
            .param("groups", groups)
            .param("height", height)
            .param("width", width)
            .param("row_units", row_units)
            .linear(blocks as u64, WORKGROUP, device));
    }
    let kernel = Kernel::of("convert/gather.wgsl").define("FROM", image.from_channels).define("TO", image.to_channels);
    Ok(dispatch(kernel)
        .param("units", written)
        .param("channels", image.channels)
        .param("height", image.height)
        .param("width", image.width)
        .param("x_pitch", image.from_pitch)
        .param("y_pitch", image.to_pitch)
        .param("elements", read * 4)
        .param("rows", image.images * image.channels * image.height)
        .linear(written.into(), WORKGROUP, device))
}

/// The units of a value in a layout, if a shader can count its elements in 32 bits.
fn countable(shape: &[usize], layout: Layout) -> Result<u32, String> {
    units(shape, layout)
        .filter(|units| units.checked_mul(4).is_some_and(|elements| u32::try_from(elements).is_ok()))
        .and_then(|units| u32::try_from(units).ok())
        .ok_or_else(|| format!("a shader cannot count the elements of {shape:?}"))
}

/// A shape as images of rows: `[images, channels, height, width]`, and the distance between rows on both sides.
struct Image {
    images: usize,
    channels: usize,
    height: usize,
    width: usize,
    from_channels: bool,
    to_channels: bool,
    from_pitch: usize,
    to_pitch: usize,
    planar: Layout,
}

impl Image {
    fn of(shape: &[usize], from: Layout, to: Layout) -> Self {
        // Without positions, channels in groups of four are rows of channels.
        let plain = |layout: Layout| match layout.canonical(shape) {
            Layout::Channels4 if shape.len() == 2 => Layout::Rows.canonical(shape),
            layout => layout,
        };
        let (from, to) = (plain(from), plain(to));
        let width = shape.last().copied().unwrap_or(1);
        let pitch = |layout| if layout == Layout::Rows { width.next_multiple_of(4) } else { width };
        let (images, channels, height) = match shape {
            // The sizes were not checked yet: these products are used only once they were.
            [n, c, middle @ .., _] => (*n, *c, middle.iter().fold(1usize, |a, &d| a.saturating_mul(d))),
            [n, _] => (*n, 1, 1),
            _ => (1, 1, 1),
        };
        Self {
            images,
            channels,
            height,
            width,
            from_channels: from == Layout::Channels4,
            to_channels: to == Layout::Channels4,
            from_pitch: pitch(from),
            to_pitch: pitch(to),
            planar: if from == Layout::Channels4 { to } else { from },
        }
    }

    /// Height and width such that the planar side's rows are whole units, if they can be seen so.
    fn whole_rows(&self) -> Option<(usize, usize)> {
        match self.planar {
            Layout::Rows => Some((self.height, self.width)),
            _ if (self.height * self.width).is_multiple_of(4) => Some((1, self.height * self.width)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::kernel::{Candidate, DeviceClass, Want, pack};
    use crate::tensor::Tensor;
    use crate::testing::{Adapter, Input};

    #[test]
    fn every_form_is_valid_wgsl() {
        let device = DeviceFacts::floor(DeviceClass::Mali);
        let layouts = [Layout::Linear, Layout::Rows, Layout::Channels4];
        for shape in [vec![], vec![5], vec![3, 7], vec![2, 5, 7], vec![1, 3, 4, 6], vec![2, 0, 3]] {
            for from in layouts {
                for to in layouts {
                    for (a, b) in
                        [(Storage::F32, Storage::F16), (Storage::I8, Storage::U8), (Storage::I64, Storage::I64)]
                    {
                        let dispatch = convert(&shape, from, to, a, b, &device).unwrap();
                        let text = crate::kernel::assemble::assemble(&dispatch.kernel).unwrap().wgsl;
                        naga::front::wgsl::parse_str(&text).unwrap_or_else(|e| panic!("{}", e.emit_to_string(&text)));
                    }
                }
            }
        }
        assert!(
            convert(&[1 << 20, 1 << 20], Layout::Linear, Layout::Rows, Storage::F32, Storage::F32, &device).is_err()
        );
    }

    /// Of what lies between two halves the nearer one is stored, of the middle the even one, whatever the device does by
    /// itself: WGSL leaves the direction open, and rounding always towards zero would shrink each layer's values.
    #[test]
    fn floats_are_rounded_to_the_nearest_half() {
        let Some(adapter) = Adapter::shared() else { return };
        let mut x: Vec<f32> = vec![0.0, -0.0, 1.0, 65_504.0, 65_519.9, -65_519.9, 6.2e-5, 6.0e-8, 5.9e-8, 2e-8, 1e-30];
        for exponent in -14..16 {
            let scale = 2f32.powi(exponent);
            // Steps of a quarter of the last place of a half.
            x.extend((0..40).map(|i| scale * (1.0 + (i as f32 + 0.01) / 4096.0)));
            x.extend((0..40).map(|i| -scale * (1.0 + i as f32 / 4096.0)));
        }
        let shape = [x.len()];
        let dispatch =
            convert(&shape, Layout::Linear, Layout::Linear, Storage::F32, Storage::F16, &adapter.facts).unwrap();
        let expected: Vec<f32> = x.iter().map(|&v| half::f16::from_f32(v).to_f32()).collect();
        let expected = Tensor::new(shape, expected).unwrap();
        let candidate =
            Candidate::new("convert", vec![Want::In(Layout::Linear)], vec![Layout::Linear]).dispatch(dispatch);
        let inputs = [Input::Run(Tensor::new(shape, x.clone()).unwrap())];
        let storages = (&[Some(Storage::F32)][..], &[Some(Storage::F16)][..]);
        let got = adapter.run(&candidate, &inputs, std::slice::from_ref(&expected), storages, None);
        let got = got.unwrap();
        for ((x, got), expected) in
            x.iter().zip(got[0].as_slice::<f32>().unwrap()).zip(expected.as_slice::<f32>().unwrap())
        {
            assert_eq!(got, expected, "of {x}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn what_is_converted_is_what_the_host_packs(
            shape in prop::collection::vec(prop::sample::select(vec![0usize, 1, 2, 3, 4, 5, 7, 8, 13]), 0..5),
            half in any::<bool>(),
        ) {
            let Some(adapter) = Adapter::shared() else { return Ok(()) };
            // Small integers are exact in every storage, the garbage that the harness puts into paddings is not zero.
            let x: Vec<f32> = (0..shape.iter().product()).map(|i| (i % 2000) as f32 + 1.0).collect();
            let x = Tensor::new(shape.clone(), x).unwrap();
            let layouts = [Layout::Linear, Layout::Rows, Layout::Channels4].map(|l| l.canonical(&shape));
            for (from, to) in layouts.into_iter().flat_map(|from| layouts.map(|to| (from, to))) {
                let storage = if half { Storage::F16 } else { Storage::F32 };
                let dispatch = convert(&shape, from, to, storage, storage, &adapter.facts).unwrap();
                let expected = pack(&x, to).unwrap();
                let mut candidate = Candidate::new("convert", vec![Want::In(from)], vec![Layout::Linear]);
                if dispatch.workgroups[0] > 0 {
                    candidate = candidate.dispatch(dispatch);
                }
                let storages = (&[Some(storage)][..], &[Some(storage)][..]);
                let got = adapter
                    .run(&candidate, &[Input::Run(x.clone())], std::slice::from_ref(&expected), storages, None)
                    .unwrap();
                prop_assert_eq!(
                    got[0].as_slice::<f32>().unwrap(), expected.as_slice::<f32>().unwrap(), "{} to {}", from, to
                );
            }
        }
    }
}
