//! What values are stored as, and how [`Precision::Auto`] comes to a decision: by a run in 16 bits beside one in 32.

use super::{Engine, Session, Tolerance};
use crate::error::{Error, RunError};
use crate::graph::Value;

/// The arithmetic's storage on the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Precision {
    /// 32-bit floats.
    #[default]
    F32,
    /// Values and weights are stored as 16-bit floats, sums are in 32 bits. Half the memory and bandwidth; on a GPU only.
    F16,
    /// 16 bits if the first run's outputs are as near to those in 32 bits as [`Tolerance::of`] 16 bits allows, else 32. The
    /// first run of an engine is made twice for that; [`Session::precision`] says what was chosen. On the CPU, 32 bits.
    Auto,
}

impl Precision {
    /// The name used on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Auto => "auto",
        }
    }
}

impl Session {
    /// What values are stored as; `None` as long as [`Precision::Auto`] waits for the first run.
    pub fn precision(&self) -> Option<Precision> {
        self.engine.precision()
    }

    /// Decides about [`Precision::Auto`], by the inputs of the run to come.
    pub(super) async fn settle_precision(&mut self) -> Result<(), RunError> {
        if self.engine.precision().is_some() {
            return Ok(());
        }
        let single = self.outputs_in(Precision::F32).await.map_err(|error| match error {
            Error::Run(error) => error,
            other => RunError::State(other.to_string()),
        })?;
        let half = self.outputs_in(Precision::F16).await;
        let (chosen, reason) = match (&single, half) {
            (None, _) => (Precision::F32, "the model does not run on the GPU".to_owned()),
            (Some(_), Err(error)) => (Precision::F32, format!("16 bits are refused: {error}")),
            (Some(single), Ok(half)) => match differing(single, &half.unwrap_or_default()) {
                None => (Precision::F16, "the outputs agree with those in 32 bits".to_owned()),
                Some(reason) => (Precision::F32, reason),
            },
        };
        log::info!("values are stored as {}: {reason}", chosen.name());
        self.engine.settle(chosen);
        // The comparison has looked.
        #[cfg(feature = "gpu")]
        self.engine.note_halves();
        // What was made ready before was so in 32 bits.
        self.runners.clear();
        Ok(())
    }

    /// The outputs of a run in this precision, or `None` where the model does not run on a GPU.
    async fn outputs_in(&self, precision: Precision) -> Result<Option<Vec<(String, Value)>>, Error> {
        let options = self.engine.options().clone().precision(precision);
        let engine = Engine::new(&self.engine.whole_model()?, self.engine.device(), &options)?;
        // What 16 bits do not hold is to be seen.
        #[cfg(feature = "gpu")]
        engine.note_halves();
        let mut session = Session::new(engine);
        session.take_inputs_of(self);
        session.run_async().await?;
        if session.schedule().is_none() {
            return Ok(None);
        }
        let outputs = self.engine.model().outputs().map(|port| {
            let id = session.output(port.name)?;
            Ok((port.name.to_owned(), session.get_value(id)?.clone()))
        });
        Ok(Some(outputs.collect::<Result<_, RunError>>()?))
    }
}

/// How the outputs in 16 bits differ from those in 32, if by too much.
fn differing(single: &[(String, Value)], half: &[(String, Value)]) -> Option<String> {
    let tolerance = Tolerance::of(Precision::F16).end_to_end();
    single.iter().enumerate().find_map(|(i, (name, expected))| {
        let same = match (half.get(i).map(|(_, value)| value), expected.as_tensor()) {
            (Some(Value::Tensor(got)), Some(expected)) => tolerance.compare(name, got, expected).passed,
            (got, _) => got == Some(expected),
        };
        (!same).then(|| format!("output '{name}' is another in 16 bits"))
    })
}

#[cfg(all(test, feature = "gpu", not(target_arch = "wasm32")))]
mod tests {
    use super::*;
    use crate::graph::{Definition, Graph};
    use crate::model::Model;
    use crate::session::{Device, Options};
    use crate::tensor::{ElementType, Tensor};

    /// `exp(x · scale)` times the identity: where the scale is large, far beyond what 16 bits hold in between.
    fn model(scale: f32) -> Model {
        let mut graph = Graph::builder();
        let x = graph.input("x", ElementType::F32, [64, 64]);
        let s = graph.constant("s", Tensor::vector(vec![scale]));
        let one = |i: usize| f32::from(u8::from(i / 64 == i % 64));
        let identity = graph.constant("identity", Tensor::new([64, 64], (0..4096).map(one).collect()).unwrap());
        let a = graph.node(&Definition::new("Mul"), &[x, s]).unwrap();
        let b = graph.node(&Definition::new("Exp"), &[a]).unwrap();
        let y = graph.node(&Definition::new("MatMul"), &[b, identity]).unwrap();
        graph.output("y", y);
        Model::from_graph(graph.build().unwrap())
    }

    #[test]
    fn sixteen_bits_are_taken_where_the_outputs_bear_them() {
        let Some(gpu) = crate::session::run::tests::gpu() else { return };
        let auto = Options::new().precision(Precision::Auto);
        let x = Tensor::new([64, 64], (0..4096).map(|i| (i % 64) as f32 / 64.0).collect::<Vec<f32>>()).unwrap();
        for (scale, chosen) in [(1.0f32, Precision::F16), (30.0, Precision::F32)] {
            let mut session = model(scale).session_with(&gpu, &auto).unwrap();
            assert_eq!(session.precision(), None);
            for _ in 0..2 {
                let outputs = session.run_with([("x", x.view())]).unwrap();
                assert_eq!(session.precision(), Some(chosen), "{scale}");
                assert_eq!(session.schedule().unwrap().half, chosen == Precision::F16);
                let (got, x) = (outputs[0].1.as_slice::<f32>().unwrap(), x.as_slice::<f32>().unwrap());
                let close = |(y, x): (&f32, &f32)| (y / (x * scale).exp() - 1.0).abs() < 1e-2;
                assert!(got.iter().zip(x).all(close), "{scale}");
            }
            // Another session of the engine need not look again, and submits at once.
            let mut other = session.engine().session().unwrap();
            assert_eq!(other.precision(), Some(chosen));
            other.set(other.input("x").unwrap(), x.view()).unwrap();
            drop(other.submit().unwrap().wait().unwrap());
        }
        let mut on_cpu = model(1.0).session_with(&Device::cpu(), &auto).unwrap();
        on_cpu.run_with([("x", x.view())]).unwrap();
        assert_eq!(on_cpu.precision(), Some(Precision::F32));
    }
}
