//! Elements of every type as numbers of two: floats as `f64` and integers as `i128`, in which nothing is lost.
//!
//! What computes with numbers of any type is so written, and compiled, for these two: that which reads and writes them alone
//! is there for each type.

use super::numbers::with_number;
use super::shape::elements;
use super::{Element, ElementType, Number, Tensor, TensorError};

/// How many numbers are read, computed with and written at a time, so that they stay near.
pub const PART: usize = 256;

/// The elements of a tensor, to be read as numbers.
pub trait Numbers {
    /// The elements at `at`, `at + step`, … as floats; integers beyond 2⁵³ are rounded.
    fn floats(&self, at: usize, step: usize, to: &mut [f64]);

    /// The same as integers; floats are cut off towards zero.
    fn integers(&self, at: usize, step: usize, to: &mut [i128]);
}

impl<T: Number> Numbers for &[T] {
    fn floats(&self, at: usize, step: usize, to: &mut [f64]) {
        read(self, at, step, to, |v| v.to_float());
    }

    fn integers(&self, at: usize, step: usize, to: &mut [i128]) {
        read(self, at, step, to, |v| v.to_integer());
    }
}

#[inline]
fn read<T: Copy, V: Copy>(from: &[T], at: usize, step: usize, to: &mut [V], number: impl Fn(T) -> V) {
    let count = to.len();
    match step {
        1 => to.iter_mut().zip(&from[at..at + count]).for_each(|(to, &v)| *to = number(v)),
        0 if to.is_empty() => {}
        0 => to.fill(number(from[at])),
        _ => to.iter_mut().enumerate().for_each(|(i, to)| *to = number(from[at + i * step])),
    }
}

/// Elements of some type, in the making.
pub trait Written {
    /// Appends floats as [`Number::from_float`] has them.
    fn floats(&mut self, numbers: &[f64]);

    /// Appends integers as [`Number::from_integer`] has them.
    fn integers(&mut self, numbers: &[i128]);

    /// Appends elements of one byte, given the bits of each.
    fn codes(&mut self, numbers: &[f64], code: &dyn Fn(f64) -> u8);

    /// The tensor.
    ///
    /// # Errors
    /// If the shape has another number of elements.
    fn tensor(self: Box<Self>, shape: &[usize]) -> Result<Tensor, TensorError>;
}

impl<T: Number> Written for Vec<T> {
    fn floats(&mut self, numbers: &[f64]) {
        self.extend(numbers.iter().map(|&v| T::from_float(v)));
    }

    fn integers(&mut self, numbers: &[i128]) {
        self.extend(numbers.iter().map(|&v| T::from_integer(v)));
    }

    fn codes(&mut self, numbers: &[f64], code: &dyn Fn(f64) -> u8) {
        let element = |v| bytemuck::try_cast_slice::<u8, T>(&[code(v)]).ok()?.first().copied();
        self.extend(numbers.iter().filter_map(|&v| element(v)));
    }

    fn tensor(self: Box<Self>, shape: &[usize]) -> Result<Tensor, TensorError> {
        Tensor::new(shape, *self)
    }
}

/// Room for the elements of a shape: a small file can ask for more than there is.
///
/// # Errors
/// If there is not that much memory.
pub fn room<T: Element>(shape: &[usize]) -> Result<Vec<T>, TensorError> {
    let mut room = vec![];
    let reserved = elements(shape).is_some_and(|n| room.try_reserve_exact(n).is_ok());
    if reserved { Ok(room) } else { Err(TensorError::TooLarge { shape: shape.to_vec(), element_type: T::TYPE }) }
}

/// Room for the elements of a shape, of a type that shows in the run.
///
/// # Errors
/// If there is not that much memory, or the elements are to be texts.
pub fn written(element_type: ElementType, shape: &[usize]) -> Result<Box<dyn Written>, TensorError> {
    fn boxed<T: Number>(shape: &[usize]) -> Result<Box<dyn Written>, TensorError> {
        Ok(Box::new(room::<T>(shape)?))
    }
    with_number!(
        element_type,
        T => boxed::<T>(shape),
        else Err(TensorError::Type { wanted: ElementType::F64, found: element_type })
    )
}

/// One of the two types.
pub trait Wide: Copy + Default + PartialOrd {
    /// Reads elements as such numbers.
    fn read(from: &dyn Numbers, at: usize, step: usize, to: &mut [Self]);

    /// Appends elements that such numbers become.
    fn write(numbers: &[Self], to: &mut dyn Written);

    /// All of a tensor's elements.
    ///
    /// # Errors
    /// If they are texts.
    fn all(tensor: &Tensor) -> Result<Vec<Self>, TensorError> {
        let mut all = vec![Self::default(); tensor.len()];
        Self::read(&*tensor.numbers()?, 0, 1, &mut all);
        Ok(all)
    }

    /// A tensor of one type and shape with a function applied to all elements, some at a time.
    ///
    /// # Errors
    /// If they are texts.
    fn map(x: &Tensor, f: &mut dyn FnMut(&mut [Self])) -> Result<Tensor, TensorError> {
        let (from, mut to) = (x.numbers()?, written(x.element_type(), x.shape())?);
        let mut part = [Self::default(); PART];
        for at in (0..x.len()).step_by(PART) {
            let part = &mut part[..PART.min(x.len() - at)];
            Self::read(&*from, at, 1, part);
            f(part);
            Self::write(part, &mut *to);
        }
        to.tensor(x.shape())
    }
}

impl Wide for f64 {
    fn read(from: &dyn Numbers, at: usize, step: usize, to: &mut [Self]) {
        from.floats(at, step, to);
    }

    fn write(numbers: &[Self], to: &mut dyn Written) {
        to.floats(numbers);
    }
}

impl Wide for i128 {
    fn read(from: &dyn Numbers, at: usize, step: usize, to: &mut [Self]) {
        from.integers(at, step, to);
    }

    fn write(numbers: &[Self], to: &mut dyn Written) {
        to.integers(numbers);
    }
}

impl Tensor {
    /// The elements, to be read as numbers.
    ///
    /// # Errors
    /// If they are texts.
    pub(crate) fn numbers(&self) -> Result<Box<dyn Numbers + '_>, TensorError> {
        fn boxed<T: Number>(tensor: &Tensor) -> Result<Box<dyn Numbers + '_>, TensorError> {
            Ok(Box::new(tensor.as_slice::<T>()?))
        }
        with_number!(
            self.element_type(),
            T => boxed::<T>(self),
            else Err(TensorError::Type { wanted: ElementType::F64, found: self.element_type() })
        )
    }

    /// A tensor of integers as another type, as [`Number::from_integer`] has them.
    ///
    /// # Errors
    /// If the shape has another number of elements, or the elements are to be texts.
    pub(crate) fn from_integers(
        element_type: ElementType,
        shape: &[usize],
        integers: &[i128],
    ) -> Result<Self, TensorError> {
        let mut to = written(element_type, &[integers.len()])?;
        to.integers(integers);
        to.tensor(shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost() {
        let x = Tensor::new([2, 2], vec![i64::MAX, i64::MIN, 7, -1]).unwrap();
        assert_eq!(i128::all(&x).unwrap(), [i64::MAX.into(), i64::MIN.into(), 7, -1]);
        assert_eq!(
            i128::map(&x, &mut |part| part.reverse()).unwrap().as_slice::<i64>().unwrap()[2..],
            [i64::MIN, i64::MAX]
        );
        let largest = Tensor::from_integers(ElementType::U64, &[1], &[u64::MAX.into()]).unwrap();
        assert_eq!(
            (largest.as_slice::<u64>().unwrap(), i128::all(&largest).unwrap()),
            (&[u64::MAX][..], vec![u64::MAX.into()])
        );
        let halves = Tensor::from_f64(ElementType::F16, [3], vec![0.5, f64::NAN, -0.0]).unwrap();
        assert!(matches!(f64::all(&halves).unwrap()[..], [0.5, nan, zero] if nan.is_nan() && zero.is_sign_negative()));
        let texts = Tensor::from_strings([1], vec![String::new()]).unwrap();
        assert!(texts.numbers().is_err() && written(ElementType::String, &[1]).is_err());
        assert!(written(ElementType::F32, &[usize::MAX]).is_err());
    }

    #[test]
    fn every_step_reads_its_elements() {
        let x = Tensor::vector((0..600i32).collect());
        for (step, count) in [(0, 5), (1, 600), (2, 300), (299, 3)] {
            let mut to = vec![0.0; count];
            x.numbers().unwrap().floats(0, step, &mut to);
            assert!(to.iter().enumerate().all(|(i, &v)| v == (i * step) as f64), "{step}");
        }
        let doubled = f64::map(&x, &mut |part| part.iter_mut().for_each(|v| *v *= 2.0)).unwrap();
        assert_eq!(doubled.as_slice::<i32>().unwrap(), (0..600).map(|i| 2 * i).collect::<Vec<i32>>());
    }
}
