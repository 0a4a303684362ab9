//! Inputs of a session, given from the host.

use super::binding::check_input;
use super::run::{InputId, Session};
use crate::error::RunError;
use crate::graph::{Optional, Value, ValueInfo, ValueType};
use crate::tensor::TensorView;

impl Session {
    /// Gives an input its content; it is copied.
    ///
    /// # Errors
    /// [`RunError::InputType`] or [`RunError::InputShape`] if it does not fit the model.
    pub fn set(&mut self, input: InputId, tensor: TensorView<'_>) -> Result<(), RunError> {
        let graph = self.engine.model().graph();
        let (Some(slot), Some(&id)) = (self.inputs.get_mut(input.0), graph.inputs.get(input.0)) else {
            return Err(RunError::State("the input is of another model".to_owned()));
        };
        let info = graph.value(id);
        match &info.fact {
            Some(fact) => check_input(&info.name, fact, self.engine.options(), &tensor)?,
            None => return self.set_value(input, tensor.to_tensor().into()),
        }
        // A steady run copies into the memory that it has.
        match slot {
            Some(Value::Tensor(kept))
                if kept.element_type() == tensor.element_type() && kept.shape() == tensor.shape() =>
            {
                kept.copy_from(&tensor);
            }
            _ => *slot = Some(tensor.to_tensor().into()),
        }
        #[cfg(feature = "gpu")]
        self.leave_device(input);
        self.begins(input);
        Ok(())
    }

    /// Takes what another session of the same model was given, wherever it lies.
    pub(super) fn take_inputs_of(&mut self, other: &Self) {
        self.inputs.clone_from(&other.inputs);
        #[cfg(feature = "gpu")]
        {
            self.on_device.clone_from(&other.on_device);
            self.pictures.clone_from(&other.pictures);
            self.resting.clone_from(&other.resting);
        }
    }

    /// Gives an input its content, which may be a sequence or an optional value. Where the model takes an optional value, a
    /// plain one is taken as one that is there.
    ///
    /// # Errors
    /// [`RunError::InputKind`], [`RunError::InputType`] or [`RunError::InputShape`] if it does not fit the model.
    pub fn set_value(&mut self, input: InputId, value: Value) -> Result<(), RunError> {
        let graph = self.engine.model().graph();
        let (Some(slot), Some(&id)) = (self.inputs.get_mut(input.0), graph.inputs.get(input.0)) else {
            return Err(RunError::State("the input is of another model".to_owned()));
        };
        let info = graph.value(id);
        let value = match (&info.fact, value) {
            (Some(_), Value::Tensor(tensor)) => return self.set(input, tensor.view()),
            (_, value) => fitting(info, value)?,
        };
        *slot = Some(value);
        #[cfg(feature = "gpu")]
        self.leave_device(input);
        self.begins(input);
        Ok(())
    }
}

/// The value as an input takes it.
fn fitting(info: &ValueInfo, value: Value) -> Result<Value, RunError> {
    let found = value.value_type();
    match &info.declared {
        Some(ValueType::Optional(of)) if **of == found => {
            Ok(Optional { of: found, value: Some(Box::new(value)) }.into())
        }
        Some(wanted) if *wanted == found => Ok(value),
        wanted => Err(RunError::InputKind {
            name: info.name.clone(),
            wanted: wanted.as_ref().map_or_else(|| "a tensor".to_owned(), ToString::to_string),
            found: found.to_string(),
        }),
    }
}
