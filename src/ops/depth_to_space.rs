//! DepthToSpace and SpaceToDepth (ONNX opsets 1 to 27): channels into blocks of positions, and back.
//!
//! With blocks of b by b, `y[n, c, h·b + i, w·b + j] = x[n, k, h, w]`, where k = (i·b + j)·C + c (DCR) or c·b² + i·b + j (CRD).

use std::sync::Arc;

use super::strided::{Strided, signed_strides};
use crate::graph::{
    Context, Definition, DefinitionError, Dim, EvaluateError, Fact, Inputs, Operator, Request, ShapeError, Value,
};
use crate::kernel::{Candidates, Layout};

/// In which order a block's positions and the result's channels lie in the channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    /// Positions outside, channels inside.
    DepthColumnRow,
    /// Channels outside, positions inside.
    ColumnRowDepth,
}

/// Channels into blocks of positions, or back.
#[derive(Debug, Clone, PartialEq)]
pub struct DepthToSpace {
    block: usize,
    order: Order,
    /// From positions into channels.
    back: bool,
}

pub(super) fn from_definition(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let block = d.int("blocksize")?.ok_or(DefinitionError::Missing("blocksize"))?;
    let block = usize::try_from(block)
        .ok()
        .filter(|b| (1..1 << 15).contains(b))
        .ok_or_else(|| DefinitionError::Value("blocksize", format!("is {block}")))?;
    let back = d.op_type == "SpaceToDepth";
    let order = match d.string("mode")?.as_deref() {
        None | Some("DCR") => Order::DepthColumnRow,
        Some("CRD") => Order::ColumnRowDepth,
        Some(other) => return Err(DefinitionError::Value("mode", format!("is '{other}'"))),
    };
    Ok(Arc::new(DepthToSpace { block, order, back }))
}

impl DepthToSpace {
    /// How the result is read from an input whose shape is known, in order.
    pub(crate) fn read(&self, inputs: &[Option<&Fact>]) -> Option<Strided> {
        self.strided(&Fact::at(inputs, 0).ok()?.concrete()?, Layout::Linear)
    }

    /// The result over a source of this shape as it lies in `layout`, or `None` where its units would not stay whole.
    fn strided(&self, shape: &[usize], layout: Layout) -> Option<Strided> {
        let b = self.block;
        let &[n, c, h, w] = shape else { return None };
        let small = if self.back { c } else { c / (b * b) };
        let mut strides = signed_strides(&[n, c, h, w]);
        let mut groups = (c, small);
        if layout == Layout::Channels4 {
            if small % 4 != 0 || self.order == Order::ColumnRowDepth {
                return None;
            }
            groups = (c / 4, small / 4);
            strides = signed_strides(&[n, groups.0, h, w, 4]);
        }
        let channels = i64::try_from(groups.1).ok()?;
        let block = i64::try_from(b).ok()?;
        let [sn, sc, sh, sw] = [strides[0], strides[1], strides[2], strides[3]];
        let mut strided = if self.back {
            let (down, right) = (sh.checked_mul(block)?, sw.checked_mul(block)?);
            let (dims, strides) = match self.order {
                Order::DepthColumnRow => ([b, b, groups.1], [sh, sw, sc]),
                Order::ColumnRowDepth => ([groups.1, b, b], [sc, sh, sw]),
            };
            Strided {
                dims: [&[n], &dims[..], &[h / b, w / b]].concat(),
                strides: [&[sn], &strides[..], &[down, right]].concat(),
                base: 0,
            }
        } else {
            let (si, sj, sc) = match self.order {
                Order::DepthColumnRow => {
                    let position = channels.checked_mul(sc)?;
                    (position.checked_mul(block)?, position, sc)
                }
                Order::ColumnRowDepth => (block.checked_mul(sc)?, sc, (block * block).checked_mul(sc)?),
            };
            Strided { dims: vec![n, groups.1, h, b, w, b], strides: vec![sn, sc, sh, si, sw, sj], base: 0 }
        };
        if layout == Layout::Channels4 {
            strided.dims.push(4);
            strided.strides.push(1);
        }
        Some(strided)
    }
}

impl Operator for DepthToSpace {
    fn name(&self) -> &str {
        if self.back { "SpaceToDepth" } else { "DepthToSpace" }
    }

    fn moves_elements(&self) -> bool {
        true
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let x = Fact::at(inputs, 0)?;
        let [n, c, h, w] = x.shape.as_slice() else {
            return Err(ShapeError::new(format!("its input is {x}, but it takes four dimensions")));
        };
        let (block, square) = (Dim::from(self.block), Dim::from(self.block * self.block));
        let divided = |dim: &Dim, by: &Dim| match (dim.known(), by.known()) {
            (Some(n), Some(by)) if n % by != 0 => Err(ShapeError::new(format!("{n} is no multiple of {by}"))),
            _ => Ok(dim.floor_div(by)),
        };
        let shape = if self.back {
            vec![n.clone(), c.mul(&square), divided(h, &block)?, divided(w, &block)?]
        } else {
            vec![n.clone(), divided(c, &square)?, h.mul(&block), w.mul(&block)]
        };
        Ok(vec![x.with_shape(shape)])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let x = inputs.tensor(0)?;
        let fact = Fact::new(x.element_type(), x.shape().to_vec());
        let shape = self.infer(&[Some(&fact)])?.first().and_then(Fact::concrete);
        let strided = self.strided(x.shape(), Layout::Linear);
        let (Some(shape), Some(strided)) = (shape, strided) else {
            return Err(ShapeError::new("its result is too large").into());
        };
        Ok(vec![strided.gather(x, &shape)?.into()])
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let shape = request.shape(0)?;
        let mut candidates = vec![];
        for layout in [Layout::Linear, Layout::Channels4] {
            if let Some(strided) = self.strided(&shape, layout) {
                candidates.extend(strided.candidates(request, layout, layout)?);
            }
        }
        Ok(candidates)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor::Tensor;
    use crate::testing::{Input, Tolerance, check};

    fn operator(name: &str, block: i64, mode: &str) -> Arc<dyn Operator> {
        from_definition(&Definition::new(name).attribute("blocksize", block).attribute("mode", mode)).unwrap()
    }

    #[test]
    fn the_examples_of_the_standard() {
        // Channel c of [1, 8, 1, 2] holds 10·c and 10·c + 1.
        let x = (0..8).flat_map(|c| [10.0 * c as f32, 10.0 * c as f32 + 1.0]).collect();
        let x = Value::from(Tensor::new([1, 8, 1, 2], x).unwrap());
        let run =
            |mode| operator("DepthToSpace", 2, mode).evaluate(&mut Context::default(), Inputs(&[Some(&x)])).unwrap();
        let expected = |v: Vec<f32>| [Value::from(Tensor::new([1, 2, 2, 4], v).unwrap())];
        let dcr = vec![0., 20., 1., 21., 40., 60., 41., 61., 10., 30., 11., 31., 50., 70., 51., 71.];
        assert_eq!(run("DCR"), expected(dcr));
        let crd = vec![0., 10., 1., 11., 20., 30., 21., 31., 40., 50., 41., 51., 60., 70., 61., 71.];
        assert_eq!(run("CRD"), expected(crd));
    }

    #[test]
    fn one_undoes_the_other() {
        let x = Value::from(Tensor::new([2, 12, 2, 3], (0..144).collect::<Vec<i64>>()).unwrap());
        let y = operator("DepthToSpace", 2, "DCR").evaluate(&mut Context::default(), Inputs(&[Some(&x)])).unwrap();
        let back =
            |y: &Value, mode| operator("SpaceToDepth", 2, mode).evaluate(&mut Context::default(), Inputs(&[Some(y)]));
        assert_eq!(back(&y[0], "DCR").unwrap(), std::slice::from_ref(&x));
        let y = operator("DepthToSpace", 2, "CRD").evaluate(&mut Context::default(), Inputs(&[Some(&x)])).unwrap();
        assert_eq!(back(&y[0], "CRD").unwrap(), [x]);
    }

    #[test]
    fn gpu_and_reference_agree() {
        for shape in [[1, 9, 2, 4], [2, 16, 3, 5], [1, 4, 1, 1], [1, 36, 4, 2], [0, 4, 2, 2], [2, 32, 3, 2]] {
            let x = Input::Run(Tensor::new(shape, (0..shape.iter().product()).map(|i| i as f32).collect()).unwrap());
            for block in [1usize, 2, 3] {
                if shape[1] % (block * block) == 0 {
                    check(&*operator("DepthToSpace", block as i64, "DCR"), std::slice::from_ref(&x), Tolerance::EXACT);
                    check(&*operator("DepthToSpace", block as i64, "CRD"), std::slice::from_ref(&x), Tolerance::EXACT);
                }
                if shape[2] % block == 0 && shape[3] % block == 0 {
                    check(&*operator("SpaceToDepth", block as i64, "DCR"), std::slice::from_ref(&x), Tolerance::EXACT);
                    check(&*operator("SpaceToDepth", block as i64, "CRD"), std::slice::from_ref(&x), Tolerance::EXACT);
                }
            }
        }
    }

    #[test]
    fn wrong_blocks_are_refused() {
        let make = |block: i64| from_definition(&Definition::new("DepthToSpace").attribute("blocksize", block));
        assert!(make(0).is_err() && make(-1).is_err() && make(i64::MAX).is_err());
        let x = Fact::new(crate::ElementType::F32, [1usize, 6, 2, 2]);
        assert!(make(2).unwrap().infer(&[Some(&x)]).is_err());
    }
}
