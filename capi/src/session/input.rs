//! Inputs: their details, their shapes, their content.

use std::ffi::{c_char, c_void};
use std::mem::MaybeUninit;

use rimlight::TensorView;
use rimlight::graph::{Dim, Fact};
use rimlight::image::{Picture, Preprocessing};

use super::{Input, Session, change, look};
use crate::details::Details;
use crate::element::ElementType;
use crate::failure::Failure;
use crate::model::{at, none_at};
use crate::picture;
use crate::pointers::{self, given, slice, text};
use crate::status::Status;

impl Session {
    fn input(&mut self, index: usize) -> Result<&mut Input, Failure> {
        let count = self.inputs.len();
        self.inputs.get_mut(index).ok_or_else(|| none_at(count, index, "input"))
    }

    fn resize(&mut self, index: usize, shape: &[usize]) -> Result<(), Failure> {
        let input = self.input(index)?;
        let fact = input.tensor()?;
        let fits = shape.len() == fact.rank() && fact.shape.iter().zip(shape).all(|(dim, n)| fits(dim, *n));
        if !fits {
            let message = format!("input '{} {fact}' cannot have the shape {shape:?}", input.name);
            return Err(Failure::new(Status::WrongSize, message));
        }
        if input.shape.as_deref() == Some(shape) {
            return Ok(());
        }
        let resized = Fact::new(fact.element_type, shape.iter().copied());
        input.details = Details::of_fact(&input.name, &resized);
        input.shape = Some(shape.to_vec());
        input.is_set = false;
        Ok(())
    }

    fn set(&mut self, index: usize, element_type: rimlight::ElementType, data: &[u8]) -> Result<(), Failure> {
        let input = self.input(index)?;
        let fact = input.tensor()?;
        if element_type != fact.element_type {
            let message = format!("input '{} {fact}' was given {element_type}", input.name);
            return Err(Failure::new(Status::WrongType, message));
        }
        let Some(shape) = input.shape.clone() else {
            let message = format!(
                "the shape of input '{} {fact}' is open: rimlight_session_resize_input comes first, or \
                 rimlight_options_set_dimension before the session is made",
                input.name
            );
            return Err(Failure::new(Status::WrongOrder, message));
        };
        let (id, name) = (input.id, input.name.clone());
        let view = TensorView::from_bytes(element_type, shape, data)
            .map_err(|error| Failure::new(Status::WrongSize, format!("input '{name}': {error}")))?;
        self.session.set(id, view)?;
        self.input(index)?.is_set = true;
        Ok(())
    }

    fn set_picture(&mut self, index: usize, picture: &Picture) -> Result<(), Failure> {
        let input = self.input(index)?;
        let how = input.preprocessing()?.clone();
        let fact = match &input.shape {
            Some(shape) => Fact::new(input.tensor()?.element_type, shape.iter().copied()),
            None => input.tensor()?.clone(),
        };
        let id = input.id;
        let tensor = how.tensor(picture, &fact)?;
        self.resize(index, tensor.shape())?;
        self.session.set(id, tensor.view())?;
        self.input(index)?.is_set = true;
        Ok(())
    }
}

/// Whether a dimension can have this size.
fn fits(dim: &Dim, size: usize) -> bool {
    i64::try_from(size).is_ok() && dim.size().is_none_or(|fixed| fixed == size)
}

impl Input {
    /// What is known of it, if it is a tensor.
    fn tensor(&self) -> Result<&Fact, Failure> {
        self.fact.as_ref().ok_or_else(|| {
            let message =
                format!("input '{}' is no tensor, and the interface for C takes no other", self.details.text());
            Failure::new(Status::Unsupported, message)
        })
    }

    /// How pictures are made into it: the likely way, until somebody says another.
    fn preprocessing(&mut self) -> Result<&mut Preprocessing, Failure> {
        let likely = match self.how.take() {
            Some(how) => how,
            None => Preprocessing::for_input(self.tensor()?)?,
        };
        Ok(self.how.insert(likely))
    }
}

/// What is known of an input: what the model says, dimensions that the options bind or rimlight_session_resize_input gave being numbers. The
/// details live until this input is resized, and no longer than the session.
#[unsafe(no_mangle)]
pub extern "C" fn rimlight_session_input(
    session: Option<&Session>,
    index: usize,
    details: Option<&mut MaybeUninit<*const Details>>,
) -> Status {
    look(session, |session| {
        let found = at(&session.inputs, index, "input")?;
        given(details, "details")?.write(&raw const found.details);
        Ok(())
    })
}

/// Gives an input with open dimensions a shape: `rank` sizes, the outermost first. What it held is forgotten if the shape is another.
/// Each set of shapes that runs meet is planned once; the last few plans are kept.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rimlight_session_resize_input(
    session: Option<&mut Session>,
    index: usize,
    shape: *const usize,
    rank: usize,
) -> Status {
    change(session, |session| {
        // SAFETY: the header asks for `rank` sizes that nobody changes during the call.
        session.resize(index, unsafe { slice(shape, rank, "shape") }?)
    })
}

/// Gives an input its content: all elements, row-major, in the byte order of the machine. `element_type` is a RimlightElementType, and must be the
/// input's; `bytes` must be as many as rimlight_details_bytes says. The content is copied, and kept for all runs to come. It may lie
/// in an output of the same session (rimlight_session_output_data).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rimlight_session_set_input(
    session: Option<&mut Session>,
    index: usize,
    element_type: i32,
    data: *const c_void,
    bytes: usize,
) -> Status {
    change(session, |session| {
        let element_type = ElementType::taken(element_type)?;
        // SAFETY: the header asks for `bytes` bytes that nobody changes during the call.
        session.set(index, element_type, unsafe { pointers::bytes(data, bytes, "data") }?)
    })
}

/// Says how pictures are made into an input; without it they are made as is likely by the input's shape and type: photographs as ImageNet's
/// are, digits as MNIST's. `property` and `value` are texts: "resize" "stretch", "short_side", "letterbox", "letterbox_centred", "multiple",
/// "none" or "digit"; "channels" "rgb", "bgr" or "grey"; "scale" "1/255"; "mean" "0.485,0.456,0.406"; "std" likewise; "layout" "nchw" or "nhwc";
/// "size" "640x480" where the model leaves that open; "turn" "90"; "mirror" "true"; "region" "left,top,width,height"; "short_side" "256";
/// "fill" "114". Each pixel becomes (value * scale - mean) / std, its values being 0 to 255 before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rimlight_session_set_preprocessing(
    session: Option<&mut Session>,
    index: usize,
    property: *const c_char,
    value: *const c_char,
) -> Status {
    change(session, |session| {
        // SAFETY: the header asks for texts that live as long as the call.
        let (property, value) = unsafe { (text(property, "property")?, text(value, "value")?) };
        let how = session.input(index)?.preprocessing()?;
        how.set(property, value).map_err(|error| Failure::new(Status::InvalidArgument, error.to_string()))
    })
}

/// Makes a picture in memory into an input: `height` rows of `width` pixels, from the top left, `stride` bytes from one row to the next.
/// `format` is a RimlightPixelFormat. Open dimensions become 1 (the batch) and what the preprocessing says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rimlight_session_set_picture(
    session: Option<&mut Session>,
    index: usize,
    format: i32,
    pixels: *const c_void,
    width: u32,
    height: u32,
    stride: usize,
) -> Status {
    change(session, |session| {
        let (format, length) = picture::layout(format, [width, height], stride)?;
        // SAFETY: the header asks for rows of so many bytes that nobody changes during the call.
        let rows = unsafe { pointers::bytes(pixels, length, "pixels") }?;
        session.set_picture(index, &picture::rgb(format, rows, [width, height], stride)?)
    })
}

/// Makes a JPEG or PNG file into an input, as rimlight_session_set_picture does. It is turned upright as its camera says.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn rimlight_session_set_picture_file(
    session: Option<&mut Session>,
    index: usize,
    path: *const c_char,
) -> Status {
    change(session, |session| {
        // SAFETY: the header asks for a text that lives as long as the call.
        let path = unsafe { text(path, "path") }?;
        session.input(index)?;
        session.set_picture(index, &Picture::open(path)?)
    })
}
