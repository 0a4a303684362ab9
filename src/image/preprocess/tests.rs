use super::*;

fn gradient(width: u32, height: u32) -> Picture {
    let rgb = (0..height).flat_map(|y| (0..width).flat_map(move |x| [x as u8, y as u8, 200])).collect();
    Picture::from_rgb(width, height, rgb).unwrap()
}

fn f32_input(shape: &[usize]) -> Fact {
    Fact::new(ElementType::F32, shape.to_vec())
}

#[test]
fn the_middle_is_cropped_and_normalised() {
    let mut how = Preprocessing::default();
    for (property, value) in
        [("short_side", "100"), ("channels", "bgr"), ("scale", "1"), ("mean", "104,117,123"), ("std", "2")]
    {
        how.set(property, value).unwrap();
    }
    let tensor = how.tensor(&gradient(200, 100), &f32_input(&[1, 3, 4, 6])).unwrap();
    let values = tensor.as_slice::<f32>().unwrap();
    // Left = (200 - 6) / 2, top = (100 - 4) / 2; blue comes first.
    assert_eq!(values[..6], [48.0; 6]);
    assert_eq!(values[24..30], [(48.0 - 117.0) / 2.0; 6]);
    assert_eq!(values[48..51], [(97.0 - 123.0) / 2.0, (98.0 - 123.0) / 2.0, (99.0 - 123.0) / 2.0]);
}

#[test]
fn places_are_mapped_as_the_picture_was_fitted() {
    use crate::vision;

    let input = f32_input(&[1, 3, 64, 48]);
    for size in [[37, 41], [300, 168], [1, 90], [48, 64]] {
        let picture = gradient(size[0], size[1]);
        let mut how = Preprocessing::default();
        for (resize, fitted) in [
            ("letterbox", vision::Fitted::letterbox(size, [48, 64], false)),
            ("letterbox_centred", vision::Fitted::letterbox(size, [48, 64], true)),
            ("stretch", vision::Fitted::stretched(size, [48, 64])),
        ] {
            how.set("resize", resize).unwrap();
            assert_eq!(how.mapping(&picture, &input).unwrap(), fitted.unwrap());
        }
        how.mirror = true;
        assert!(how.mapping(&picture, &input).is_err());
    }
    assert!(Preprocessing::default().mapping(&gradient(300, 168), &input).is_err(), "sides are cut off");
}

#[test]
fn the_way_back_is_the_way_there_reversed() {
    let picture = gradient(16, 12);
    for (channels, layout, shape) in
        [("rgb", "nchw", [1, 3, 12, 16]), ("bgr", "nhwc", [1, 12, 16, 3]), ("bgr", "nchw", [1, 3, 12, 16])]
    {
        let mut how = Preprocessing { resize: Resize::Stretch, ..Preprocessing::default() };
        how.set("channels", channels).unwrap();
        how.set("layout", layout).unwrap();
        let tensor = how.tensor(&picture, &f32_input(&shape)).unwrap();
        assert_eq!(how.picture(&tensor.view()).unwrap(), picture);
    }
}

#[cfg(feature = "image")]
#[test]
fn pictures_of_the_crate_image_keep_their_bits_where_resizing_is_exact() {
    let (picture, input) = (gradient(19, 11), f32_input(&[1, 3, 5, 7]));
    let bytes = ::image::RgbImage::from_raw(19, 11, picture.rgb().to_vec()).unwrap();
    let plain = ::image::DynamicImage::ImageRgb8(bytes);
    // A quarter of a byte's step above 100.
    let deep =
        ::image::DynamicImage::ImageRgb16(::image::ImageBuffer::from_pixel(8, 8, ::image::Rgb([25_700 + 64; 3])));
    for (exact, value) in [(false, 100.0), (true, 25_764.0 / 257.0)] {
        let how = Preprocessing { exact, scale: 1.0, mean: [0.0; 3], std: [1.0; 3], ..Preprocessing::default() };
        assert_eq!(how.tensor_of(&plain, &input).unwrap(), how.tensor(&picture, &input).unwrap());
        let tensor = how.tensor_of(&deep, &input).unwrap();
        assert!(tensor.as_slice::<f32>().unwrap().iter().all(|v| (v - value).abs() < 1e-4), "{tensor:?}");
    }
}

#[test]
fn inputs_are_judged_by_type_and_shape() {
    let how = Preprocessing::for_input(&Fact::new(ElementType::U8, [1usize, 96, 64, 3])).unwrap();
    assert_eq!((how.layout, how.scale, how.mean), (PixelLayout::Nhwc, 1.0, [0.0; 3]));
    let digit = Fact::new(ElementType::F32, [Dim::symbol("N"), Dim::Known(1), Dim::Known(28), Dim::Known(28)]);
    assert_eq!(Preprocessing::for_input(&digit).unwrap().resize, Resize::Digit);
    assert!(Preprocessing::for_input(&f32_input(&[1, 2048])).is_err());
    let open = Fact::new(ElementType::F32, [Dim::symbol("N"), Dim::Known(3), Dim::symbol("h"), Dim::symbol("w")]);
    let mut how = Preprocessing::for_input(&open).unwrap();
    assert!(how.tensor(&gradient(9, 9), &open).unwrap_err().to_string().contains("give a size"));
    how.set("size", "64x32").unwrap();
    assert_eq!(how.tensor(&gradient(9, 9), &open).unwrap().shape(), [1, 3, 32, 64]);
}
