//! What is known of an input or an output.

use std::ffi::{CString, c_char};
use std::mem::MaybeUninit;

use rimlight::graph::{Dim, Fact, Value};
use rimlight::{Port, Tensor};

use crate::element::ElementType;
use crate::failure::{Failure, guard};
use crate::pointers::{given, owned_text};
use crate::status::Status;

/// What is known of an input or an output: its name, its type, its shape. Lent by a model or a session.
#[derive(Debug)]
pub struct Details {
    name: CString,
    text: CString,
    element_type: ElementType,
    /// Bytes of one element.
    element: usize,
    /// `None` where not even the rank is known.
    shape: Option<Vec<Dimension>>,
}

/// A dimension of a shape.
#[derive(Debug)]
struct Dimension {
    /// `None` where it is open.
    size: Option<usize>,
    /// What the model calls it, where it is open; empty where it has no name.
    name: CString,
}

impl Details {
    /// What a model says of one of its inputs or outputs.
    pub(crate) fn of_port(port: &Port<'_>) -> Self {
        match port.fact {
            Some(fact) => Self::of_fact(port.name, fact),
            None => Self {
                name: owned_text(port.name),
                text: owned_text(&port.to_string()),
                element_type: ElementType::Unknown,
                element: 0,
                shape: None,
            },
        }
    }

    /// A tensor of which this is known.
    pub(crate) fn of_fact(name: &str, fact: &Fact) -> Self {
        let dimension = |dim: &Dim| Dimension {
            size: dim.size(),
            name: match dim {
                Dim::Expression(_) => owned_text(&dim.to_string()),
                _ => CString::default(),
            },
        };
        Self {
            name: owned_text(name),
            text: owned_text(&format!("{name} {fact}")),
            element_type: ElementType::of(fact.element_type),
            element: fact.element_type.size(),
            shape: Some(fact.shape.iter().map(dimension).collect()),
        }
    }

    /// A tensor that a run gave.
    fn of_tensor(name: &str, tensor: &Tensor) -> Self {
        Self::of_fact(name, &Fact::new(tensor.element_type(), tensor.shape().iter().copied()))
    }

    /// Takes what a run gave; what is known already stays where it is, and is not made again.
    pub(crate) fn follow(&mut self, name: &str, value: &Value) {
        match value.as_tensor() {
            Some(tensor) if !self.is_of(tensor) => *self = Self::of_tensor(name, tensor),
            _ => {}
        }
    }

    fn is_of(&self, tensor: &Tensor) -> bool {
        let sizes = self.shape.iter().flatten().map(|dimension| dimension.size);
        self.element_type == ElementType::of(tensor.element_type())
            && self.shape.is_some()
            && sizes.eq(tensor.shape().iter().copied().map(Some))
    }

    /// Whether this is its name.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        self.name.to_bytes() == name.as_bytes()
    }

    /// Name, type and shape in a line.
    pub(crate) fn text(&self) -> String {
        self.text.to_string_lossy().into_owned()
    }

    fn shape(&self) -> Result<&[Dimension], Failure> {
        let unknown = || format!("of '{}' not even the rank is known before a run gives it", self.text());
        self.shape.as_deref().ok_or_else(|| Failure::new(Status::WrongOrder, unknown()))
    }

    fn dimension(&self, axis: usize) -> Result<&Dimension, Failure> {
        let shape = self.shape()?;
        shape.get(axis).ok_or_else(|| {
            Failure::new(Status::NotFound, format!("'{}' has {} dimensions, none at {axis}", self.text(), shape.len()))
        })
    }

    fn bytes(&self) -> Result<usize, Failure> {
        if self.element_type == ElementType::String {
            return Err(Failure::new(Status::Unsupported, "texts are neither taken nor given by the interface for C"));
        }
        let open = || Failure::new(Status::WrongOrder, format!("the shape of '{}' is not known yet", self.text()));
        let large = || Failure::new(Status::WrongSize, format!("'{}' has more bytes than can be counted", self.text()));
        let sizes: Option<Vec<usize>> = self.shape()?.iter().map(|dimension| dimension.size).collect();
        // A size of 0 makes it empty, however large the others are.
        let sizes = sizes.ok_or_else(open)?;
        if sizes.contains(&0) {
            return Ok(0);
        }
        sizes.into_iter().try_fold(self.element, usize::checked_mul).ok_or_else(large)
    }
}

/// The name, as the model's file has it. It lives as long as the details.
#[unsafe(no_mangle)]
pub extern "C" fn rimlight_details_name(
    details: Option<&Details>,
    name: Option<&mut MaybeUninit<*const c_char>>,
) -> Status {
    guard(|| {
        let details = given(details, "details")?;
        given(name, "name")?.write(details.name.as_ptr());
        Ok(())
    })
}

/// Name, type and shape in a line for people: `data f32[batch, 3, 227, 227]`. It lives as long as the details.
#[unsafe(no_mangle)]
pub extern "C" fn rimlight_details_text(
    details: Option<&Details>,
    text: Option<&mut MaybeUninit<*const c_char>>,
) -> Status {
    guard(|| {
        let details = given(details, "details")?;
        given(text, "text")?.write(details.text.as_ptr());
        Ok(())
    })
}

/// The type of the elements.
#[unsafe(no_mangle)]
pub extern "C" fn rimlight_details_type(
    details: Option<&Details>,
    element_type: Option<&mut MaybeUninit<ElementType>>,
) -> Status {
    guard(|| {
        let details = given(details, "details")?;
        given(element_type, "element_type")?.write(details.element_type);
        Ok(())
    })
}

/// The number of dimensions; 0 of a scalar. RIMLIGHT_STATUS_WRONG_ORDER where only a run will show it.
#[unsafe(no_mangle)]
pub extern "C" fn rimlight_details_rank(details: Option<&Details>, rank: Option<&mut MaybeUninit<usize>>) -> Status {
    guard(|| {
        let details = given(details, "details")?;
        given(rank, "rank")?.write(details.shape()?.len());
        Ok(())
    })
}

/// The size along an axis, the outermost being 0; -1 where the model leaves it open.
#[unsafe(no_mangle)]
pub extern "C" fn rimlight_details_size(
    details: Option<&Details>,
    axis: usize,
    size: Option<&mut MaybeUninit<i64>>,
) -> Status {
    guard(|| {
        let dimension = given(details, "details")?.dimension(axis)?;
        let found = dimension.size.and_then(|size| i64::try_from(size).ok()).unwrap_or(-1);
        given(size, "size")?.write(found);
        Ok(())
    })
}

/// What the model calls an open dimension: a symbol that rimlight_options_set_dimension binds ("batch"), or arithmetic over symbols
/// ("(width + 2)"); an empty text where it is a number, or has no name. It lives as long as the details.
#[unsafe(no_mangle)]
pub extern "C" fn rimlight_details_symbol(
    details: Option<&Details>,
    axis: usize,
    symbol: Option<&mut MaybeUninit<*const c_char>>,
) -> Status {
    guard(|| {
        let dimension = given(details, "details")?.dimension(axis)?;
        given(symbol, "symbol")?.write(dimension.name.as_ptr());
        Ok(())
    })
}

/// How many bytes all elements take: the size of the array that an input is set from, or an output is copied to.
/// RIMLIGHT_STATUS_WRONG_ORDER while a dimension is open.
#[unsafe(no_mangle)]
pub extern "C" fn rimlight_details_bytes(details: Option<&Details>, bytes: Option<&mut MaybeUninit<usize>>) -> Status {
    guard(|| {
        let (details, bytes) = (given(details, "details")?, given(bytes, "bytes")?);
        bytes.write(details.bytes()?);
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_dimensions_have_names_and_no_size() {
        let twice = Dim::symbol("w").add(&Dim::Known(2));
        let fact = Fact::new(rimlight::ElementType::I64, [Dim::symbol("batch"), Dim::Known(3), twice, Dim::Unknown]);
        let mut details = Details::of_fact("x", &fact);
        let names: Vec<_> =
            (0..4).map(|axis| details.dimension(axis).unwrap().name.to_str().unwrap().to_owned()).collect();
        assert_eq!(names, ["batch", "", "(w + 2)", ""]);
        let mut size = MaybeUninit::uninit();
        assert_eq!(rimlight_details_size(Some(&details), 0, Some(&mut size)), Status::Ok);
        let mut bytes = MaybeUninit::uninit();
        assert_eq!(rimlight_details_bytes(Some(&details), Some(&mut bytes)), Status::WrongOrder);
        assert_eq!(rimlight_details_size(Some(&details), 4, Some(&mut size)), Status::NotFound);

        let tensor = Tensor::new([2, 3, 4, 1], vec![0i64; 24]).unwrap();
        details.follow("x", &Value::Tensor(tensor));
        assert_eq!((details.text().as_str(), details.bytes().unwrap()), ("x i64[2, 3, 4, 1]", 192));
    }

    #[test]
    fn sizes_that_nothing_can_have_are_no_panic() {
        let large = Fact::new(rimlight::ElementType::F32, [i64::MAX, i64::MAX].map(Dim::Known));
        assert_eq!(Details::of_fact("x", &large).bytes().unwrap_err().status(), Status::WrongSize);
        let empty = Fact::new(rimlight::ElementType::F32, [i64::MAX, i64::MAX, 0].map(Dim::Known));
        assert_eq!(Details::of_fact("x", &empty).bytes().unwrap(), 0);
    }
}
