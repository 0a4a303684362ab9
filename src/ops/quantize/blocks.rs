//! MatMulNBits (com.microsoft): a product with weights of 2, 4 or 8 bits in blocks.
//!
//! `Y = A × Wᵀ + bias`, `W[n, k] = (q[n, k] - zero[n, k / block]) · scale[n, k / block]`. The weights of a block lie packed in
//! bytes, the first in the lowest bits; packed zero points as well, a whole number of bytes for each n. Where they are
//! constants, it is a product with a matrix; the kernel here is for the others.

use std::sync::Arc;

use super::block_weights::BlockWeights;
use super::finish::scales;
use super::linear::matches_type;
use super::table::Table;
use crate::graph::{
    Context, Definition, DefinitionError, Dim, EvaluateError, Fact, Graph, Inputs, Operator, Request, ShapeError,
    Value, ValueId,
};
use crate::kernel::{Binding, Candidate, Candidates, Dispatch, Kernel, Layout, Want};
use crate::ops::composite::{self, Recipe};
use crate::ops::matmul::Gemm;
use crate::tensor::shape::elements;
use crate::tensor::{ElementType, Tensor};

/// The largest K, N and block: products of two stay far below what a `usize` holds.
const LIMIT: i64 = 1 << 24;

/// A product with packed weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct BlockProduct {
    pub(super) k: usize,
    pub(super) n: usize,
    pub(super) bits: usize,
    pub(super) block: usize,
}

/// Makes a MatMulNBits.
pub(in crate::ops) fn make(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let size = |name: &'static str| {
        let value = d.int(name)?.ok_or(DefinitionError::Missing(name))?;
        let size = usize::try_from(value).ok().filter(|_| (1..=LIMIT).contains(&value));
        size.ok_or_else(|| DefinitionError::Value(name, format!("is {value}; it must be 1 to {LIMIT}")))
    };
    let bits = match d.int("bits")?.unwrap_or(4) {
        bits @ (2 | 4 | 8) => bits as usize,
        bits => return Err(DefinitionError::Value("bits", format!("is {bits}; it must be 2, 4 or 8"))),
    };
    let block = size("block_size")?;
    if block < 16 || !block.is_power_of_two() {
        return Err(DefinitionError::Value("block_size", format!("is {block}; it must be a power of two, 16 or more")));
    }
    if d.flag("weight_prepacked", false)? {
        return Err(DefinitionError::Unsupported("weights packed for one device are not supported".to_owned()));
    }
    Ok(Arc::new(BlockProduct { k: size("K")?, n: size("N")?, bits, block }))
}

impl BlockProduct {
    pub(super) const fn blocks(&self) -> usize {
        self.k.div_ceil(self.block)
    }

    /// Bytes of the packed zero points of one column.
    pub(super) const fn zero_bytes(&self) -> usize {
        (self.blocks() * self.bits).div_ceil(8)
    }

    /// The number of `bits` bits at place `index` of packed bytes.
    fn unpacked(&self, bytes: &[u8], index: usize) -> f32 {
        let bit = index * self.bits;
        f32::from((u16::from(bytes[bit / 8]) >> (bit % 8)) as u8 & ((1u16 << self.bits) - 1) as u8)
    }
}

impl Operator for BlockProduct {
    fn name(&self) -> &str {
        "MatMulNBits"
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let (a, b, scale) = (Fact::at(inputs, 0)?, Fact::at(inputs, 1)?, Fact::at(inputs, 2)?);
        use ElementType::{BF16, F16, F32, U8};
        if !matches!(a.element_type, F32 | F16 | BF16) {
            return Err(ShapeError::new(format!("it multiplies floats, not {}", a.element_type)));
        }
        matches_type(Some(b), U8)?;
        matches_type(Some(scale), a.element_type)?;
        let blocks = self.n * self.blocks();
        let count = |fact: &Fact, wanted: usize, what: &str| match fact.concrete().and_then(|shape| elements(&shape)) {
            Some(found) if found != wanted => {
                Err(ShapeError::new(format!("{what} are {fact}, {found} and not {wanted} in number")))
            }
            _ => Ok(()),
        };
        count(b, blocks * (self.block * self.bits / 8), "the weights' bytes")?;
        count(scale, blocks, "the scales")?;
        if let Some(zero) = Fact::optional(inputs, 3) {
            match zero.element_type {
                U8 => count(zero, self.n * self.zero_bytes(), "the zero points' bytes")?,
                t if t == a.element_type => count(zero, blocks, "the zero points")?,
                t => return Err(ShapeError::new(format!("zero points of {t} are not supported"))),
            }
        }
        if Fact::optional(inputs, 4).is_some() {
            return Err(ShapeError::new("indices of groups are not supported"));
        }
        if let Some(bias) = Fact::optional(inputs, 5) {
            matches_type(Some(bias), a.element_type)?;
            count(bias, self.n, "the biases")?;
        }
        let Some((k, rows)) = a.shape.split_last() else {
            return Err(ShapeError::new("a scalar cannot be multiplied as a matrix"));
        };
        if k.known().is_some_and(|k| Dim::Known(k) != Dim::from(self.k)) {
            return Err(ShapeError::new(format!("A has {k} columns, not {}", self.k)));
        }
        let mut shape = rows.to_vec();
        shape.push(Dim::from(self.n));
        Ok(vec![a.with_shape(shape)])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let facts: Vec<_> = (0..inputs.len())
            .map(|i| inputs.optional(i).map(|t| Fact::new(t.element_type(), t.shape().to_vec())))
            .collect();
        let facts: Vec<_> = facts.iter().map(Option::as_ref).collect();
        let fact = self.infer(&facts)?.remove(0);
        let shape = fact.concrete().ok_or_else(|| ShapeError::new("the sizes overflow"))?;
        let a = inputs.tensor(0)?;
        if a.shape().last() != Some(&self.k) {
            return Err(ShapeError::new(format!("A is {:?}, it should have {} columns", a.shape(), self.k)).into());
        }
        let packed = inputs.tensor(1)?.as_slice::<u8>()?;
        let factors = scales(inputs.optional(2));
        let (blocks, blob) = (self.blocks(), self.block * self.bits / 8);
        let default = (1u32 << (self.bits - 1)) as f32;
        let zero = inputs.optional(3);
        let floats = scales(zero.filter(|z| z.element_type() != ElementType::U8));
        let bytes = zero.and_then(|z| z.as_slice::<u8>().ok());
        let zero = |column: usize, block: usize| match (zero, bytes) {
            (None, _) => default,
            (_, Some(bytes)) => self.unpacked(&bytes[column * self.zero_bytes()..], block),
            _ => floats[column * blocks + block],
        };
        let mut weights = Vec::with_capacity(self.n * self.k);
        for column in 0..self.n {
            for k in 0..self.k {
                let line = column * blocks + k / self.block;
                let q = self.unpacked(&packed[line * blob..], k % self.block);
                weights.push(f64::from((q - zero(column, k / self.block)) * factors[line]));
            }
        }
        let bias = inputs.optional(5).map(Tensor::to_f64);
        let a = a.to_f64();
        let mut y = Vec::with_capacity(elements(&shape).unwrap_or(0));
        for row in a.chunks_exact(self.k) {
            for (column, weights) in weights.chunks_exact(self.k).enumerate() {
                let sum: f64 = row.iter().zip(weights).map(|(a, w)| a * w).sum();
                y.push(sum + bias.as_ref().map_or(0.0, |bias| bias[column]));
            }
        }
        Ok(vec![Tensor::from_f64(fact.element_type, shape, y)?.into()])
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let shape = request.output_shape(0)?;
        let results = elements(&shape).filter(|&n| n < 1 << 30).ok_or("it is too large for 32-bit indices")?;
        let packed = self.n * self.blocks() * self.block;
        if packed >= 1 << 30 || elements(&request.shape(0)?).is_none_or(|n| n >= 1 << 30) {
            return Err("it is too large for 32-bit indices".to_owned());
        }
        let mut wants = vec![Want::Nothing; request.inputs.len()];
        (wants[0], wants[1]) = (Want::In(Layout::Linear), Want::In(Layout::Linear));
        let candidate = Candidate::new("blocks", wants, vec![Layout::Linear]);
        if results == 0 {
            return Ok(vec![candidate]);
        }
        let zero = request.optional(3).map(|zero| zero.fact.element_type);
        let form = match zero {
            None => 0,
            Some(ElementType::U8) => 1,
            Some(_) => 2,
        };
        let mut table = Table::of(request);
        let biased = request.optional(5).is_some();
        let lines = self.n * self.blocks();
        let scales = table.add(Some(2), lines, 0);
        let zeros = match form {
            0 => 0,
            1 => table.add(Some(3), self.n * self.zero_bytes(), 0),
            _ => table.add(Some(3), lines, 0),
        };
        let bias = table.add(Some(5), if biased { self.n } else { 1 }, 0);
        let kernel = Kernel::of("quantize/blocks_product.wgsl").define("BITS", self.bits as i64).define("ZERO", form);
        let dispatch = Dispatch::of(kernel)
            .bind(Binding::Input(0), request.storage(0)?)
            .bind(Binding::Input(1), request.storage(1)?)
            .param("units", results.div_ceil(4))
            .param("results", results)
            .param("k", self.k)
            .param("n", self.n)
            .param("block", self.block)
            .param("blocks", self.blocks())
            .param("scales", scales)
            .param("zeros", zeros)
            .param("zero_bytes", self.zero_bytes())
            .param("bias", bias)
            .param("bias_each", usize::from(biased));
        let (candidate, dispatch) = table.bind(candidate, dispatch)?;
        let dispatch = dispatch.bind(Binding::Output(0), request.output_storage(0)?).linear(
            results.div_ceil(4) as u64,
            64,
            request.device,
        );
        let work = results as f64 * self.k as f64 * 2.0;
        Ok(vec![candidate.dispatch(dispatch).cost(work * 20.0, packed as f64)])
    }

    fn expansion(&self, inputs: &[Option<&Fact>]) -> Result<Option<Graph>, ShapeError> {
        let y = self.infer(inputs)?.remove(0);
        let Some(shape) = y.concrete().filter(|_| self.has_matrix(inputs)) else { return Ok(None) };
        let rows = shape[..shape.len() - 1].to_vec();
        composite::graph(inputs, 1, |recipe: &mut Recipe, inputs: &[Option<ValueId>]| {
            let given = |i: usize| inputs.get(i).copied().flatten();
            let weights = Arc::new(BlockWeights { product: *self });
            let weights = recipe.operator(weights, &[given(1), given(2), given(3)], 1)?[0];
            let gemm = Arc::new(Gemm { transpose_b: true, rows: Some(rows.clone()), ..Gemm::default() });
            let mut operands = vec![given(0), Some(weights)];
            operands.extend(given(5).map(Some));
            Ok(Some(vec![Some(recipe.operator(gemm, &operands, 1)?[0])]))
        })
    }

    fn work(&self, _: &[Option<&Fact>], outputs: &[Fact]) -> f64 {
        let results = outputs.first().and_then(Fact::concrete).map_or(0.0, |s| s.iter().map(|&d| d as f64).product());
        2.0 * results * self.k as f64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::{Input, Tolerance, check};

    fn definition(k: usize, n: usize, bits: i64, block: i64) -> Definition {
        let d = Definition::new("MatMulNBits").attribute("K", k as i64).attribute("N", n as i64);
        d.attribute("bits", bits).attribute("block_size", block)
    }

    #[test]
    fn hostile_sizes_are_refused() {
        assert!(make(&definition(32, 2, 4, 32)).is_ok());
        for d in
            [definition(0, 2, 4, 32), definition(1 << 40, 2, 4, 32), definition(32, 2, 3, 32), definition(32, 2, 4, 24)]
        {
            assert!(make(&d).is_err(), "{d:?}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20))]

        #[test]
        fn kernels_agree(
            rows in prop::sample::select(vec![vec![], vec![0usize], vec![1], vec![3], vec![2, 5]]), k in 1usize..70, n in 1usize..9,
            bits in prop::sample::select(vec![2usize, 4, 8]), block in prop::sample::select(vec![16usize, 32]), zero in 0usize..3,
            biased: bool, constant: bool, seed in 0usize..1000,
        ) {
            let operator = make(&definition(k, n, bits as i64, block as i64)).unwrap();
            let blocks = k.div_ceil(block);
            let given = |t: Tensor| if constant { Input::Constant(t) } else { Input::Run(t) };
            let bytes = |shape: &[usize]| {
                let count = elements(shape).unwrap();
                Tensor::new(shape, (0..count).map(|i| ((i + seed).wrapping_mul(2_654_435_761) >> 9 & 255) as u8).collect()).unwrap()
            };
            let floats = |shape: &[usize], scale: f32| {
                let count = elements(shape).unwrap();
                Tensor::new(shape, (0..count).map(|i| ((i * 37 + seed) % 19) as f32 * scale - scale).collect::<Vec<_>>()).unwrap()
            };
            let zero = match zero {
                0 => Input::Missing,
                1 => given(bytes(&[n, (blocks * bits).div_ceil(8)])),
                _ => given(floats(&[n, blocks], 0.5)),
            };
            let mut inputs = vec![
                Input::Run(floats(&[&rows[..], &[k]].concat(), 0.25)), given(bytes(&[n, blocks, block * bits / 8])),
                given(floats(&[n * blocks], 0.005)), zero,
            ];
            if biased {
                inputs.extend([Input::Missing, given(floats(&[n], 1.0))]);
            }
            // Up to 70 terms of up to 255 · 4.25 · 0.085, which may cancel.
            check(&*operator, &inputs, Tolerance { absolute: 5e-3, relative: 1e-5 });
        }
    }
}
