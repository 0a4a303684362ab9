//! Shapes, numbers and attributes, drawn from a seed.

use std::ops::RangeInclusive;

use super::case::Case;
use crate::graph::Definition;
use crate::tensor::shape::elements;
use crate::tensor::{ElementType, Tensor, Truth};
use crate::testing::{Input, Random};

pub use crate::tensor::ElementType::{BF16, Bool, F16, F32, F64, I4, I8, I16, I32, I64, U4, U8, U16, U32, U64};

/// What kernels compute with as floating-point numbers.
pub const FLOATS: &[ElementType] = &[F32, F16, BF16];
pub const INTEGERS: &[ElementType] = &[I64, I32, I16, I8, U64, U32, U16, U8];
pub const NUMBERS: &[ElementType] = &[F32, F16, BF16, I64, I32, I16, I8, U64, U32, U16, U8];
/// What kernels compute with as one number of 32 bits.
pub const COMPUTED: &[ElementType] = &[F32, F16, BF16, I32, I16, U16, I8, U8];
pub const TRUTHS: &[ElementType] = &[Bool];
/// What kernels move: everything but texts.
pub const ALL: &[ElementType] = ElementType::ALL.split_at(21).0;

/// Elements of a drawn shape at most, so that a case takes no time.
const MOST: usize = 1200;
/// Sizes of dimensions: single, even, odd, prime, whole units of four and beyond.
const SIZES: [usize; 12] = [1, 1, 2, 3, 3, 4, 5, 6, 7, 8, 13, 17];

/// Whether a case's shapes are special.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Usual,
    /// Every other dimension that may be 0 is.
    Empty,
    /// Most dimensions are 1.
    Single,
}

/// What a case is drawn from: its operator and type are given, the rest is random.
pub struct Draw {
    pub random: Random,
    pub kind: Kind,
    /// The type that the operator is tried with.
    pub element_type: ElementType,
    domain: &'static str,
    name: &'static str,
}

impl Draw {
    pub fn new(seed: u64, kind: Kind, element_type: ElementType, (domain, name): (&'static str, &'static str)) -> Self {
        Self { random: Random::new(seed), kind, element_type, domain, name }
    }

    /// A case of the operator, to be filled.
    pub fn case(&self) -> Case {
        Case::new(Definition { domain: self.domain.to_owned(), ..Definition::new(self.name) })
    }

    pub fn below(&mut self, n: usize) -> usize {
        self.random.below(n)
    }

    pub fn name(&self) -> &'static str {
        self.name
    }

    pub fn flip(&mut self) -> bool {
        self.random.one_in(2)
    }

    /// 0 or 1, for attributes that are truth values.
    pub fn flag(&mut self) -> i64 {
        i64::from(self.flip())
    }

    pub fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        self.random.pick(from)
    }

    pub fn within(&mut self, range: RangeInclusive<usize>) -> usize {
        range.start() + self.random.below(range.end() - range.start() + 1)
    }

    /// [`Draw::within`] of integers.
    pub fn integer(&mut self, range: RangeInclusive<i64>) -> i64 {
        let n = usize::try_from(range.end() - range.start() + 1).unwrap();
        range.start() + i64::try_from(self.random.below(n)).unwrap()
    }

    pub fn number(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.random.fraction() as f32
    }

    /// A dimension that may be 0.
    pub fn size(&mut self) -> usize {
        let zero = match self.kind {
            Kind::Empty => self.flip(),
            Kind::Usual => self.random.one_in(40),
            Kind::Single => false,
        };
        if zero { 0 } else { self.positive() }
    }

    /// A dimension that is not 0.
    pub fn positive(&mut self) -> usize {
        if self.kind == Kind::Single && !self.random.one_in(3) { 1 } else { self.pick(&SIZES) }
    }

    /// A dimension from 1 to `most`.
    pub fn up_to(&mut self, most: usize) -> usize {
        if self.kind == Kind::Single && !self.random.one_in(3) { 1 } else { self.within(1..=most) }
    }

    pub fn shape(&mut self, rank: RangeInclusive<usize>) -> Vec<usize> {
        let rank = self.within(rank);
        let shape = (0..rank).map(|_| self.size()).collect();
        self.bounded(shape)
    }

    /// A shape without a 0.
    pub fn full(&mut self, rank: RangeInclusive<usize>) -> Vec<usize> {
        let rank = self.within(rank);
        let shape = (0..rank).map(|_| self.positive()).collect();
        self.bounded(shape)
    }

    /// The shape with its largest dimensions cut down until it is small.
    fn bounded(&mut self, mut shape: Vec<usize>) -> Vec<usize> {
        while shape.iter().map(|&n| n.max(1)).product::<usize>() > MOST {
            let largest = (0..shape.len()).max_by_key(|&i| shape[i]).unwrap_or(0);
            shape[largest] = self.within(1..=3);
        }
        shape
    }

    /// A shape that broadcasts to this one: some of its first dimensions are gone, some are 1.
    pub fn broadcast(&mut self, shape: &[usize]) -> Vec<usize> {
        if self.random.one_in(3) {
            return shape.to_vec();
        }
        let gone = self.within(0..=shape.len());
        shape[gone..].iter().map(|&n| if self.random.one_in(3) { 1 } else { n }).collect()
    }

    /// Two shapes that broadcast to each other's.
    pub fn pair(&mut self) -> (Vec<usize>, Vec<usize>) {
        let shape = self.shape(0..=4);
        let (mut a, b) = (shape.clone(), self.broadcast(&shape));
        for n in &mut a {
            if self.random.one_in(6) {
                *n = 1;
            }
        }
        if self.flip() { (a, b) } else { (b, a) }
    }

    /// An axis of this many, perhaps counted from the back.
    pub fn axis(&mut self, rank: usize) -> i64 {
        let (at, rank) = (self.random.below(rank) as i64, rank as i64);
        if self.flip() { at } else { at - rank }
    }

    /// Different axes of this many in any order, perhaps counted from the back, perhaps none.
    pub fn axes(&mut self, rank: usize) -> Vec<i64> {
        let count = self.within(0..=rank);
        let mut order = self.permutation(rank);
        order.truncate(count);
        order.into_iter().map(|at| if self.flip() { at } else { at - rank as i64 }).collect()
    }

    pub fn permutation(&mut self, n: usize) -> Vec<i64> {
        let mut order: Vec<i64> = (0..n as i64).collect();
        for i in (1..n).rev() {
            order.swap(i, self.random.below(i + 1));
        }
        order
    }

    /// Floating-point numbers of a range as the case's type.
    pub fn floats(&mut self, shape: &[usize], low: f32, high: f32) -> Tensor {
        self.numbers(self.element_type, shape, f64::from(low), f64::from(high))
    }

    /// Numbers of a range; the integers there, if they are to be such.
    pub fn numbers(&mut self, element_type: ElementType, shape: &[usize], low: f64, high: f64) -> Tensor {
        let n = elements(shape).unwrap();
        let float = element_type.is_float() || element_type.is_small_float();
        let mut number = || {
            let number = low + (high - low) * self.random.fraction();
            if float { number } else { number.round() }
        };
        let numbers: Vec<f64> = (0..n).map(|_| number()).collect();
        Tensor::from_f64(element_type, shape, numbers).unwrap()
    }

    /// Whole numbers of a range as the case's type: sums and products of few of them are exact in every order. Of
    /// types without a sign their magnitudes.
    pub fn whole(&mut self, shape: &[usize], low: i64, high: i64) -> Tensor {
        let n = elements(shape).unwrap();
        let signed = self.element_type.is_float() || self.element_type.is_signed_integer();
        let mut number = || {
            let number = self.integer(low..=high) as f64;
            if signed { number } else { number.abs() }
        };
        let numbers: Vec<f64> = (0..n).map(|_| number()).collect();
        Tensor::from_f64(self.element_type, shape, numbers).unwrap()
    }

    /// Numbers up to 1, or integers that are so small that sums of 120 of them, or of products of two, are exact.
    pub fn summands(&mut self, shape: &[usize]) -> Tensor {
        match self.element_type {
            t if t.is_float() => self.floats(shape, -1.0, 1.0),
            t if t.size() == 1 => self.whole(shape, -1, 1),
            _ => self.whole(shape, -4, 4),
        }
    }

    /// Any elements of the case's type: integers of all magnitudes, floats of some; what is not a number is among them.
    pub fn any(&mut self, shape: &[usize]) -> Tensor {
        if self.element_type == Bool {
            return self.truths(shape);
        }
        let (n, random) = (elements(shape).unwrap(), &mut self.random);
        if self.element_type.is_any_float() {
            let values = (0..n).map(|_| any_float(random)).collect();
            return Tensor::from_f64(self.element_type, shape, values).unwrap();
        }
        let values: Vec<i128> = (0..n).map(|_| any_integer(random)).collect();
        Tensor::from_integers(self.element_type, shape, &values).unwrap()
    }

    pub fn truths(&mut self, shape: &[usize]) -> Tensor {
        let n = elements(shape).unwrap();
        Tensor::new(shape, (0..n).map(|_| Truth::from(self.flip())).collect()).unwrap()
    }

    /// Places along a dimension of this size, some counted from the back; as 32- or 64-bit integers.
    pub fn places(&mut self, shape: &[usize], size: usize) -> Tensor {
        let (n, size) = (elements(shape).unwrap(), size as i64);
        let places: Vec<i64> = (0..n).map(|_| self.integer(-size..=size - 1)).collect();
        self.indices(shape, places)
    }

    /// Indices as 32- or 64-bit integers.
    pub fn indices(&mut self, shape: &[usize], values: Vec<i64>) -> Tensor {
        match self.flip() {
            true => Tensor::new(shape, values),
            false => Tensor::new(shape, values.into_iter().map(|v| i32::try_from(v).unwrap()).collect()),
        }
        .unwrap()
    }

    /// An input that is given when the model runs, or known before.
    pub fn input(&mut self, tensor: Tensor) -> Input {
        if self.random.one_in(3) { Input::Constant(tensor) } else { Input::Run(tensor) }
    }
}

/// Where the words of an integer end, and numbers of every magnitude.
fn any_integer(random: &mut Random) -> i128 {
    const EDGES: [i128; 12] = [
        0,
        1,
        -1,
        i8::MIN as i128,
        i16::MIN as i128,
        i32::MAX as i128,
        i32::MIN as i128,
        u32::MAX as i128,
        1 << 32,
        i64::MAX as i128,
        i64::MIN as i128,
        u64::MAX as i128,
    ];
    let word = i128::from(random.word().cast_signed());
    match random.below(4) {
        0 => random.pick(&EDGES),
        1 => word >> random.below(64),
        2 => word % 100,
        _ => word,
    }
}

/// Numbers about 1, now and then a special one. None is below the smallest normal number of 16 bits: devices may take
/// such for zero.
fn any_float(random: &mut Random) -> f64 {
    if random.one_in(12) {
        return random.pick(&[0.0, -0.0, 1.0, 65_504.0, -240.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN]);
    }
    let magnitude = 0.01 + 8.0 * random.fraction();
    if random.one_in(2) { magnitude } else { -magnitude }
}
