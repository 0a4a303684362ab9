//! Arrays in NumPy's files (.npy, .npz) and in ONNX's (.pb), as tensors.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};
use std::path::Path;

use half::f16;
use npyz::{DType, NpyFile, Order, TypeChar, WriterBuilder};
use rimlight::graph::Value;
use rimlight::tensor::Truth;
use rimlight::{Element, ElementType, Limits, Tensor, onnx};

use crate::failure::{Failure, Outcome};

/// Arrays by name.
pub type Arrays = Vec<(String, Tensor)>;

/// The array of an .npy file.
///
/// # Errors
/// If the file cannot be read or holds no tensor.
pub fn read_npy(path: &Path) -> Outcome<Tensor> {
    let file = File::open(path).map_err(|e| Failure::file(path, e))?;
    let array = NpyFile::new(BufReader::new(file)).map_err(|e| Failure::file(path, e))?;
    tensor(array).map_err(|e| Failure::file(path, e))
}

/// All arrays of an .npz file, in its order.
///
/// # Errors
/// If the file cannot be read or holds anything but tensors.
pub fn read_npz(path: &Path) -> Outcome<Arrays> {
    let file = File::open(path).map_err(|e| Failure::file(path, e))?;
    read_archive(BufReader::new(file)).map_err(|e| Failure::file(path, e))
}

fn read_archive<R: Read + Seek>(reader: R) -> io::Result<Arrays> {
    let mut archive = zip::ZipArchive::new(reader).map_err(|e| invalid(format!("it is no .npz file: {e}")))?;
    let mut arrays = vec![];
    for i in 0..archive.len() {
        let entry = archive.by_index(i).map_err(|e| invalid(e.to_string()))?;
        let name = entry.name().map_err(|e| invalid(e.to_string()))?.into_owned();
        let Some(name) = npyz::npz::array_name_from_file_name(&name).map(str::to_owned) else { continue };
        let array = NpyFile::new(entry)?;
        arrays.push((name.clone(), tensor(array).map_err(|e| invalid(format!("array '{name}': {e}")))?));
    }
    Ok(arrays)
}

/// The tensor of a .pb file (a `TensorProto`).
///
/// # Errors
/// If the file cannot be read or holds no tensor.
pub fn read_pb(path: &Path) -> Outcome<Tensor> {
    let bytes = std::fs::read(path).map_err(|e| Failure::file(path, e))?;
    let (_, tensor) = onnx::read_tensor(bytes.into(), &Limits::default()).map_err(|e| Failure::file(path, e))?;
    Ok(tensor)
}

/// Writes arrays into an .npz file, compressed.
///
/// # Errors
/// If the file cannot be written.
pub fn write_npz(path: &Path, arrays: &[(String, Tensor)]) -> Outcome {
    let file = File::create(path).map_err(|e| Failure::file(path, e))?;
    write_archive(BufWriter::new(file), arrays).map_err(|e| Failure::file(path, e))
}

fn write_archive<W: Write + Seek>(writer: W, arrays: &[(String, Tensor)]) -> io::Result<()> {
    let mut archive = zip::ZipWriter::new(writer);
    let options =
        zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Deflated).large_file(true);
    for (name, tensor) in arrays {
        archive.start_file(npyz::npz::file_name_from_array_name(name), options).map_err(|e| invalid(e.to_string()))?;
        write_tensor(&mut archive, tensor)?;
    }
    archive.finish().map_err(|e| invalid(e.to_string()))?.flush()
}

fn write_tensor(writer: impl Write, tensor: &Tensor) -> io::Result<()> {
    fn typed<T: Element + npyz::AutoSerialize>(writer: impl Write, tensor: &Tensor) -> io::Result<()> {
        let data = tensor.as_slice::<T>().map_err(|e| invalid(e.to_string()))?;
        write_elements(writer, tensor.shape(), data.iter().copied())
    }
    match tensor.element_type() {
        ElementType::F32 => typed::<f32>(writer, tensor),
        ElementType::F16 => typed::<f16>(writer, tensor),
        ElementType::F64 => typed::<f64>(writer, tensor),
        ElementType::I64 => typed::<i64>(writer, tensor),
        ElementType::I32 => typed::<i32>(writer, tensor),
        ElementType::I8 => typed::<i8>(writer, tensor),
        ElementType::U8 => typed::<u8>(writer, tensor),
        ElementType::Bool => {
            let data = tensor.as_slice::<Truth>().map_err(|e| invalid(e.to_string()))?;
            write_elements(writer, tensor.shape(), data.iter().map(|&t| bool::from(t)))
        }
        ElementType::I16 => typed::<i16>(writer, tensor),
        ElementType::U16 => typed::<u16>(writer, tensor),
        ElementType::U32 => typed::<u32>(writer, tensor),
        ElementType::U64 => typed::<u64>(writer, tensor),
        ElementType::String => write_texts(writer, tensor),
        // NumPy has none of the other types: their numbers are exact in one that it has.
        other => {
            let wider = numpy_type(other);
            let numbers = Tensor::from_f64(wider, tensor.shape(), tensor.to_f64());
            write_tensor(writer, &numbers.map_err(|e| invalid(e.to_string()))?)
        }
    }
}

/// The type of NumPy's that holds the numbers of one that it does not have; others as they are.
pub const fn numpy_type(element_type: ElementType) -> ElementType {
    match element_type {
        ElementType::I4 => ElementType::I8,
        ElementType::U4 => ElementType::U8,
        ElementType::BF16
        | ElementType::F8E4M3FN
        | ElementType::F8E4M3FNUZ
        | ElementType::F8E5M2
        | ElementType::F8E5M2FNUZ
        | ElementType::F8E8M0
        | ElementType::F4E2M1 => ElementType::F32,
        other => other,
    }
}

/// Texts, each as long as the longest, as NumPy has them.
fn write_texts(writer: impl Write, tensor: &Tensor) -> io::Result<()> {
    let texts = tensor.strings().map_err(|e| invalid(e.to_string()))?;
    let longest = texts.iter().map(|text| text.chars().count()).max().unwrap_or_default().max(1);
    let dtype =
        DType::Plain(format!("<U{longest}").parse().map_err(|_| invalid("NumPy has no such texts".to_owned()))?);
    let shape: Vec<u64> = tensor.shape().iter().map(|&d| d as u64).collect();
    let mut array = npyz::WriteOptions::<str>::new().dtype(dtype).shape(&shape).writer(writer).begin_nd()?;
    for text in texts {
        array.push(text.as_str())?;
    }
    array.finish()
}

fn write_elements<T: npyz::AutoSerialize>(
    writer: impl Write,
    shape: &[usize],
    elements: impl Iterator<Item = T>,
) -> io::Result<()> {
    let shape: Vec<u64> = shape.iter().map(|&d| d as u64).collect();
    let mut array = npyz::WriteOptions::<T>::new().default_dtype().shape(&shape).writer(writer).begin_nd()?;
    array.extend(elements)?;
    array.finish()
}

fn tensor<R: Read>(array: NpyFile<R>) -> io::Result<Tensor> {
    let shape: Option<Vec<usize>> = array.shape().iter().map(|&d| usize::try_from(d).ok()).collect();
    let shape = shape.ok_or_else(|| invalid("its shape does not fit this machine".to_owned()))?;
    // A forged header must not allocate: what is there decides, below; here the product must fit at all.
    if rimlight::tensor::shape::elements(&shape).is_none_or(|n| n > isize::MAX as usize / 8) {
        return Err(invalid(format!("an array of {shape:?} does not fit this machine")));
    }
    if array.order() == Order::Fortran && shape.len() > 1 {
        return Err(invalid("it lies in Fortran's order; save it with numpy.ascontiguousarray".to_owned()));
    }
    let dtype = array.dtype();
    let DType::Plain(plain) = &dtype else {
        return Err(invalid("it holds records, not numbers".to_owned()));
    };
    match (plain.type_char(), plain.size_field()) {
        (TypeChar::Float, 4) => typed::<f32, _>(shape, array),
        (TypeChar::Float, 8) => typed::<f64, _>(shape, array),
        (TypeChar::Float, 2) => typed::<f16, _>(shape, array),
        (TypeChar::Int, 8) => typed::<i64, _>(shape, array),
        (TypeChar::Int, 4) => typed::<i32, _>(shape, array),
        (TypeChar::Int, 1) => typed::<i8, _>(shape, array),
        (TypeChar::Int, 2) => typed::<i16, _>(shape, array),
        (TypeChar::Uint, 8) => typed::<u64, _>(shape, array),
        (TypeChar::Uint, 4) => typed::<u32, _>(shape, array),
        (TypeChar::Uint, 2) => typed::<u16, _>(shape, array),
        (TypeChar::Uint, 1) => typed::<u8, _>(shape, array),
        (TypeChar::UnicodeStr, _) => {
            let texts: io::Result<Vec<String>> = array.data::<String>().map_err(|e| invalid(e.to_string()))?.collect();
            Tensor::from_strings(shape, texts?).map_err(|e| invalid(e.to_string()))
        }
        (TypeChar::Bool, _) => {
            let elements: io::Result<Vec<Truth>> =
                array.data::<bool>().map_err(|e| invalid(e.to_string()))?.map(|e| e.map(Truth::from)).collect();
            Tensor::new(shape, elements?).map_err(|e| invalid(e.to_string()))
        }
        _ => Err(invalid(format!("its type {plain} is none of NumPy's floats, integers, bool and str"))),
    }
}

/// Elements are read as they come, so that memory grows with the file and not with its header.
fn typed<T: Element + npyz::Deserialize, R: Read>(shape: Vec<usize>, array: NpyFile<R>) -> io::Result<Tensor> {
    let mut elements = vec![];
    for element in array.data::<T>().map_err(|e| invalid(e.to_string()))? {
        elements.push(element?);
    }
    Tensor::new(shape, elements).map_err(|e| invalid(e.to_string()))
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// The tensors of a value: itself under its name, the elements of a sequence under the name with their numbers behind it,
/// nothing where an optional value is missing.
pub fn flatten(name: &str, value: &Value, tensors: &mut Vec<(String, Tensor)>) {
    match value {
        Value::Tensor(tensor) => tensors.push((name.to_owned(), tensor.clone())),
        Value::Sequence(sequence) => {
            let numbered = |(i, tensor): (usize, &Tensor)| (format!("{name}:{i}"), tensor.clone());
            tensors.extend(sequence.tensors().iter().enumerate().map(numbered));
        }
        Value::Optional(optional) => {
            if let Some(value) = &optional.value {
                flatten(name, value, tensors);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_comes_back_from_an_npz_file() {
        let arrays: Arrays = vec![
            ("in:x/0".to_owned(), Tensor::new([2, 3], vec![1f32, -2.5, f32::NAN, 0.0, 3.0, f32::INFINITY]).unwrap()),
            ("half".to_owned(), Tensor::vector(vec![f16::from_f32(1.5)])),
            ("double".to_owned(), Tensor::scalar(1e300f64)),
            ("long".to_owned(), Tensor::vector(vec![i64::MIN, i64::MAX])),
            ("int".to_owned(), Tensor::vector(vec![-7i32])),
            ("byte".to_owned(), Tensor::vector(vec![-8i8])),
            ("unsigned".to_owned(), Tensor::vector(vec![200u8])),
            ("truth".to_owned(), Tensor::vector(vec![Truth(1), Truth(0)])),
            ("short".to_owned(), Tensor::vector(vec![i16::MIN])),
            ("unsigned_long".to_owned(), Tensor::vector(vec![u64::MAX])),
            ("texts".to_owned(), Tensor::from_strings([2], vec!["a".to_owned(), "größer".to_owned()]).unwrap()),
            ("empty".to_owned(), Tensor::new([0, 4], Vec::<f32>::new()).unwrap()),
        ];
        let mut file = io::Cursor::new(vec![]);
        write_archive(&mut file, &arrays).unwrap();
        let read = read_archive(file).unwrap();
        for ((name, tensor), (read_name, read)) in arrays.iter().zip(&read) {
            assert_eq!((name, tensor.shape(), tensor.bytes()), (read_name, read.shape(), read.bytes()));
        }
        assert_eq!(read.len(), arrays.len());
    }

    #[test]
    fn a_header_that_claims_too_much_is_refused() {
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (4000000000, 4000000000), }\n";
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        file.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
        file.extend(header.as_bytes());
        let outcome = NpyFile::new(file.as_slice()).and_then(tensor);
        assert!(outcome.is_err());
        // One that fits, with next to no data behind it, ends with the data.
        let header = "{'descr': '<f4', 'fortran_order': False, 'shape': (100000, 100000), }\n";
        let mut file = b"\x93NUMPY\x01\x00".to_vec();
        file.extend(u16::try_from(header.len()).unwrap().to_le_bytes());
        file.extend(header.as_bytes());
        file.extend([0; 16]);
        assert!(NpyFile::new(file.as_slice()).and_then(tensor).is_err());
    }
}
