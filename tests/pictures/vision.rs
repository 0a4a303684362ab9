//! What detectors find in photographs, on both backends: what ONNX Runtime and a postprocessing in numpy find there
//! (`reference/vision.py` wrote it down). Boxes within a pixel, scores within a hundredth.

use rimlight::image::{Picture, Preprocessing};
use rimlight::vision::{Detection, Fitted, NonMaximumSuppression, Rectangle, TextDetector, ultraface, yolox};
use rimlight::{Model, Tensor, TensorView};
use rimlight_tests::{models, root};
use serde_json::Value;

use super::{backends, preprocessing};

/// Above this score, what is expected must be found, and nothing else may be.
const CERTAIN: f32 = 0.5;
/// By how much scores may differ.
const SCORE: f32 = 0.01;
/// By how much sides and corners may differ, in pixels.
const SIDE: f32 = 1.0;

/// The rows that are expected of a model, by picture.
fn expected(model: &str) -> Vec<(String, Value)> {
    let text = std::fs::read_to_string(root().join("tests/data/vision.json")).expect("the answers");
    let all: Value = serde_json::from_str(&text).expect("answers");
    let pictures = all[model].as_object().expect("a model's answers");
    assert!(!pictures.is_empty());
    pictures.iter().map(|(picture, rows)| (picture.clone(), rows.clone())).collect()
}

fn numbers(row: &Value) -> Vec<f32> {
    serde_json::from_value(row.clone()).expect("numbers")
}

fn number(row: &Value) -> f32 {
    row.as_f64().expect("a number") as f32
}

/// Runs a model on each picture that something is expected of, on a device after the other.
fn each_picture(name: &str, check: impl Fn(&str, &[(String, Tensor)], &Fitted, &Value)) {
    let Some(folder) = models() else { return };
    let model = Model::open(folder.join(format!("{name}.onnx"))).expect("the model loads");
    let port = model.inputs().next().expect("an input");
    let (input, fact) = (port.name.to_owned(), port.fact.expect("a typed input").clone());
    let how: Preprocessing = preprocessing(name);
    // Storage of 16 bits is the models' own test.
    for (device, options) in backends().into_iter().take(2) {
        let mut session = model.session_with(&device, &options).expect("the model is planned and loaded");
        for (photo, rows) in expected(name) {
            let picture = Picture::open(folder.join("../images").join(&photo)).expect("a picture");
            let fitted = how.mapping(&picture, &fact).expect("the picture fits");
            let tensor = how.tensor(&picture, &fact).expect("a tensor");
            let outputs = session.run_with([(input.as_str(), tensor.view())]).expect("the model runs");
            check(&format!("{photo} on {}", device.name()), &outputs, &fitted, &rows);
        }
    }
}

fn output<'a>(outputs: &'a [(String, Tensor)], name: &str) -> TensorView<'a> {
    outputs.iter().find(|(n, _)| n == name).expect("an output of that name").1.view()
}

/// Each expected detection is found once, and none is found that is not expected. Those at the threshold may be on either side.
fn agree(what: &str, found: &[Detection], rows: &Value, threshold: f32) {
    let rows = rows.as_array().expect("rows");
    assert!(!rows.is_empty());
    let near = |found: &Detection, row: &Value| {
        let Rectangle { left, top, right, bottom } = found.rectangle;
        let sides = numbers(&row["box"]);
        found.class as u64 == row["class"].as_u64().expect("a class")
            && (found.score - number(&row["score"])).abs() <= SCORE
            && [left, top, right, bottom].iter().zip(&sides).all(|(side, expected)| (side - expected).abs() <= SIDE)
    };
    for row in rows.iter().filter(|row| number(&row["score"]) >= threshold + SCORE) {
        let count = found.iter().filter(|found| near(found, row)).count();
        assert_eq!(count, 1, "{what}: {row} in {found:#?}");
    }
    for found in found.iter().filter(|found| found.score >= threshold + SCORE) {
        assert!(rows.iter().any(|row| near(found, row)), "{what}: {found:?} is not expected");
    }
}

#[test]
fn objects_are_those_of_onnx_runtime() {
    let threshold = 0.3;
    each_picture("yolox_nano", |what, outputs, fitted, rows| {
        let found = yolox(&output(outputs, "output"), [416, 416], threshold).expect("YOLOX's rows");
        let mut found = NonMaximumSuppression::default().apply(&found);
        found.iter_mut().for_each(|found| found.rectangle = fitted.back(found.rectangle));
        agree(what, &found, rows, threshold);
        // What the photographs show (shared/manifest.toml): persons, cars, a dog, a horse, a cat, a tie.
        let shown: &[usize] = match what.split('.').next() {
            Some("street") => &[0, 2, 16],
            Some("horse-cart") => &[0, 2, 17],
            Some("grace_hopper") => &[0, 27],
            Some("chelsea") => &[15],
            _ => panic!("{what}: nobody said what it shows"),
        };
        let certain: Vec<usize> = found.iter().filter(|found| found.score > CERTAIN).map(|found| found.class).collect();
        assert!(certain.iter().all(|class| shown.contains(class)), "{what}: {certain:?}");
        assert!(shown.iter().all(|class| certain.contains(class)), "{what}: {certain:?}");
    });
}

#[test]
fn faces_are_those_of_onnx_runtime() {
    let threshold = 0.7;
    each_picture("version-RFB-320", |what, outputs, fitted, rows| {
        let found = ultraface(&output(outputs, "scores"), &output(outputs, "boxes"), threshold).expect("faces");
        let mut found = NonMaximumSuppression { iou_threshold: 0.3, ..NonMaximumSuppression::default() }.apply(&found);
        let size = fitted.inner.map(|side| side as f32);
        found.iter_mut().for_each(|found| found.rectangle = fitted.back(found.rectangle.scaled(size)));
        agree(what, &found, rows, threshold);
    });
}

#[test]
fn regions_of_text_are_those_of_onnx_runtime() {
    each_picture("ch_PP-OCRv3_det", |what, outputs, fitted, rows| {
        let found = TextDetector::default().regions(&output(outputs, "sigmoid_0.tmp_0")).expect("a map");
        let rows = rows.as_array().expect("rows");
        assert_eq!(found.len(), rows.len(), "{what}: {found:#?}");
        for (found, row) in found.iter().zip(rows) {
            assert!((found.score - number(&row["score"])).abs() <= SCORE, "{what}: {found:?}, not {row}");
            let corners = found.rectangle.corners().map(|corner| fitted.point_back(corner));
            let expected = row["corners"].as_array().expect("corners").iter().flat_map(numbers);
            for (found, expected) in corners.into_iter().flatten().zip(expected) {
                assert!((found - expected).abs() <= SIDE, "{what}: {corners:?}, not {row}");
            }
        }
    });
}

/// The luma of a picture, 0 to 255.
fn luma(picture: &Picture) -> Vec<f64> {
    let luma = |&[r, g, b]: &[u8; 3]| 0.299 * f64::from(r) + 0.587 * f64::from(g) + 0.114 * f64::from(b);
    picture.rgb().as_chunks::<3>().0.iter().map(luma).collect()
}

/// The middle of a photograph, a third as large and enlarged again, is as near to the photograph as by ONNX Runtime, and nearer than
/// by bicubic alone; colours are those of Pillow.
#[test]
fn pictures_are_enlarged_as_by_onnx_runtime() {
    const SIDE: u32 = 288;
    let Some(folder) = models() else { return };
    let model = Model::open(folder.join("super_resolution.onnx")).expect("the model loads");
    let fact = model.inputs().next().expect("an input").fact.expect("a typed input").clone();
    let (photo, answer) = expected("super_resolution").remove(0);
    let photo = Picture::open(folder.join("../images").join(photo)).expect("a picture");
    let (left, top) = ((photo.width() - SIDE) / 2, (photo.height() - SIDE) / 2);
    let rows = photo.rgb().chunks_exact(photo.width() as usize * 3).skip(top as usize).take(SIDE as usize);
    let whole = rows.flat_map(|row| row[left as usize * 3..][..SIDE as usize * 3].to_vec()).collect();
    let whole = Picture::from_rgb(SIDE, SIDE, whole).expect("a part");
    let small = whole.resized_bicubic(SIDE / 3, SIDE / 3).expect("a third");
    let decibels = |other: &Picture| {
        let squares = luma(&whole).iter().zip(luma(other)).map(|(a, b)| (a - b).powi(2)).sum::<f64>();
        10.0 * (255.0 * 255.0 * f64::from(SIDE * SIDE) / squares).log10()
    };
    let tensor = preprocessing("super_resolution").tensor(&small, &fact).expect("a tensor");
    for (device, options) in backends().into_iter().take(2) {
        let mut session =
            model.session_with(&device, &options.dim("batch", 1)).expect("the model is planned and loaded");
        let outputs = session.run_with([("input", tensor.view())]).expect("the model runs");
        let large = small.with_luma(&output(&outputs, "output")).expect("an enlarged picture");
        assert_eq!((large.width(), large.height()), (SIDE, SIDE));
        let found = decibels(&large);
        let expected = f64::from(number(&answer["decibels"]));
        assert!((found - expected).abs() < 0.05, "{found} dB on {}, not {expected}", device.name());
        let bicubic = decibels(&small.resized_bicubic(SIDE, SIDE).expect("an enlarged picture"));
        assert!(
            (bicubic - f64::from(number(&answer["bicubic"]))).abs() < 0.05 && found > bicubic + 0.1,
            "{bicubic} dB"
        );
        // Means of 4 × 4 parts, of each colour.
        let mut means = vec![0f32; 48];
        for (i, &value) in large.rgb().iter().enumerate() {
            let (x, y, colour) = (i / 3 % SIDE as usize, i / 3 / SIDE as usize, i % 3);
            means[(y / 72 * 4 + x / 72) * 3 + colour] += f32::from(value) / (72.0 * 72.0);
        }
        for (found, expected) in means.iter().zip(numbers(&answer["means"])) {
            assert!((found - expected).abs() < 0.5, "{means:?}, not {}", answer["means"]);
        }
    }
}
