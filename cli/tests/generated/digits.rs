use rimlight::{Device, Model, TensorView};

fn main() -> Result<(), rimlight::Error> {
    let model = Model::open("digits.onnx")?;
    let device = Device::auto();
    let mut session = model.session(&device)?;

    // "image" is f32[1, 1, 28, 28]: put your values here.
    let image: Vec<f32> = vec![0.0; 784];
    session.set(session.input("image")?, TensorView::new([1, 1, 28, 28], &image)?)?;
    session.run()?;

    let probabilities = session.get(session.output("probabilities")?)?;
    let values = probabilities.as_slice::<f32>()?;
    println!("probabilities {:?}: {:?} …", probabilities.shape(), &values[..values.len().min(8)]);
    Ok(())
}
