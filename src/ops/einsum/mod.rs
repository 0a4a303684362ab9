//! Einsum (ONNX opset 12): products of tensors, summed along dimensions that a formula names.
//!
//! `ij, jk -> ik` multiplies matrices. Each letter is a dimension; one that the result does not name is summed, one that an
//! operand names twice is its diagonal. `...` stands for the dimensions that have no letter, which broadcast. Without an
//! arrow the result has those of `...` and then the letters that stand once, in their order.

use std::sync::Arc;

use super::composite::{self, Recipe};
use super::contraction::{Axis, Contraction, Place};
use crate::graph::{
    Context, Definition, DefinitionError, Dim, EvaluateError, Fact, Graph, Inputs, Operator, Request, ShapeError,
    Value, ValueId,
};
use crate::kernel::{Binding, Candidate, Candidates, Layout, Storage, Want};
use crate::tensor::shape::{elements, strides};
use crate::tensor::{ElementType, Tensor};

/// A dimension that a formula names: a letter, or one of those of `...` counted from the last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Label {
    Rest(usize),
    Letter(char),
}

/// The letters of an operand, those before and those behind `...` where it has that.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Term {
    before: Vec<char>,
    behind: Option<Vec<char>>,
}

impl Term {
    fn parse(text: &str) -> Result<Self, String> {
        let letters = |part: &str| -> Result<Vec<char>, String> {
            let wrong = |c: char| format!("has '{c}', which is no letter");
            part.chars().map(|c| if c.is_ascii_alphabetic() { Ok(c) } else { Err(wrong(c)) }).collect()
        };
        match text.split_once("...") {
            None => Ok(Self { before: letters(text)?, behind: None }),
            Some((before, behind)) => Ok(Self { before: letters(before)?, behind: Some(letters(behind)?) }),
        }
    }

    fn letters(&self) -> impl Iterator<Item = char> + '_ {
        self.before.iter().chain(self.behind.iter().flatten()).copied()
    }

    /// The label of each of `rank` dimensions.
    fn labels(&self, rank: usize) -> Option<Vec<Label>> {
        let rest = rank.checked_sub(self.letters().count())?;
        if self.behind.is_none() && rest > 0 {
            return None;
        }
        let letters = |letters: &[char]| letters.iter().map(|&c| Label::Letter(c)).collect::<Vec<_>>();
        let middle = (0..rest).rev().map(Label::Rest).collect();
        Some([letters(&self.before), middle, letters(self.behind.as_deref().unwrap_or_default())].concat())
    }
}

/// Sums of products, by a formula.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Einsum {
    operands: Vec<Term>,
    result: Option<Term>,
}

/// Makes an Einsum.
pub(super) fn make(d: &Definition) -> Result<Arc<dyn Operator>, DefinitionError> {
    let text = d.string("equation")?.ok_or(DefinitionError::Missing("equation"))?;
    let formula: String = text.chars().filter(|c| !c.is_whitespace()).collect();
    let wrong = |message: String| DefinitionError::Value("equation", format!("'{text}' {message}"));
    let (operands, result) = match formula.split_once("->") {
        Some((operands, result)) => (operands.to_owned(), Some(Term::parse(result).map_err(wrong)?)),
        None => (formula, None),
    };
    let operands = operands.split(',').map(Term::parse).collect::<Result<Vec<_>, _>>().map_err(wrong)?;
    if let Some(result) = &result {
        let letters: Vec<char> = result.letters().collect();
        for (i, c) in letters.iter().enumerate() {
            if letters[..i].contains(c) || !operands.iter().any(|term| term.letters().any(|l| l == *c)) {
                return Err(wrong(format!("names '{c}' in its result, which no operand has, or twice")));
            }
        }
        if result.behind.is_some() && operands.iter().all(|term| term.behind.is_none()) {
            return Err(wrong("has '...' in its result alone".to_owned()));
        }
    }
    Ok(Arc::new(Einsum { operands, result }))
}

/// A tensor on the way: its labels, each once, with sizes and strides in elements.
#[derive(Debug, Clone)]
struct View {
    labels: Vec<Label>,
    sizes: Vec<usize>,
    strides: Vec<usize>,
}

impl View {
    /// The distance between neighbours along a dimension, 0 where there is none or it is repeated.
    fn stride(&self, label: Label) -> usize {
        let place = self.labels.iter().position(|&l| l == label);
        place.map_or(0, |i| if self.sizes[i] == 1 { 0 } else { self.strides[i] })
    }
}

impl Einsum {
    /// The labels of the operands' dimensions, and of the result's.
    fn labels(&self, ranks: &[usize]) -> Result<(Vec<Vec<Label>>, Vec<Label>), ShapeError> {
        if ranks.len() != self.operands.len() {
            return Err(ShapeError::new(format!(
                "its formula has {} operands, but {} are given",
                self.operands.len(),
                ranks.len()
            )));
        }
        let named = |(term, &rank): (&Term, &usize)| {
            let wrong = || ShapeError::new(format!("an operand of rank {rank} does not fit its formula"));
            term.labels(rank).ok_or_else(wrong)
        };
        let operands = self.operands.iter().zip(ranks).map(named).collect::<Result<Vec<_>, _>>()?;
        let all = || operands.iter().flatten().copied();
        let rest = all().filter_map(|l| if let Label::Rest(i) = l { Some(i + 1) } else { None }).max().unwrap_or(0);
        let result = match &self.result {
            Some(term) => {
                let own = if term.behind.is_some() { rest } else { 0 };
                term.labels(term.letters().count() + own).unwrap_or_default()
            }
            None => {
                let mut letters: Vec<Label> = all()
                    .filter(|&l| matches!(l, Label::Letter(_)) && all().filter(|&m| m == l).count() == 1)
                    .collect();
                letters.sort_unstable();
                (0..rest).rev().map(Label::Rest).chain(letters).collect()
            }
        };
        Ok((operands, result))
    }

    /// The steps of two operands each (the first step may have one), with what they give: the result last.
    fn steps(&self, shapes: &[Vec<usize>]) -> Result<(Vec<Contraction>, Vec<usize>), ShapeError> {
        let ranks: Vec<usize> = shapes.iter().map(Vec::len).collect();
        let (operands, result) = self.labels(&ranks)?;
        let mut views = vec![];
        for (shape, labels) in shapes.iter().zip(&operands) {
            let own = strides(shape);
            let mut view = View { labels: vec![], sizes: vec![], strides: vec![] };
            for (i, &label) in labels.iter().enumerate() {
                match view.labels.iter().position(|&l| l == label) {
                    // A diagonal: both advance together.
                    Some(k) if view.sizes[k] == shape[i] => view.strides[k] += own[i],
                    Some(_) => return Err(ShapeError::new(format!("a diagonal of {shape:?} is not square"))),
                    None => {
                        view.labels.push(label);
                        view.sizes.push(shape[i]);
                        view.strides.push(own[i]);
                    }
                }
            }
            views.push(view);
        }
        let size = |label: Label| -> Result<usize, ShapeError> {
            let sizes = views.iter().flat_map(|v| v.labels.iter().zip(&v.sizes)).filter(|(l, _)| **l == label);
            sizes.map(|(_, &n)| n).try_fold(1, |all, n| match (all, n) {
                (1, n) | (n, 1) => Ok(n),
                (a, b) if a == b => Ok(a),
                (a, b) => Err(ShapeError::new(format!("a dimension has {a} and {b} elements"))),
            })
        };
        for label in views.iter().flat_map(|v| &v.labels) {
            size(*label)?;
        }
        let mut steps = vec![];
        let mut rest = views.iter();
        let mut so_far = rest.next().cloned().ok_or_else(|| ShapeError::new("there are no operands"))?;
        let mut left: Vec<&View> = rest.collect();
        loop {
            let next = if left.is_empty() { None } else { Some(left.remove(0)) };
            let mut both = so_far.labels.clone();
            both.extend(next.iter().flat_map(|v| &v.labels).filter(|l| !so_far.labels.contains(l)));
            let last = left.is_empty();
            let needed = |l: &Label| result.contains(l) || left.iter().any(|v| v.labels.contains(l));
            let kept: Vec<Label> = if last { result.clone() } else { both.iter().copied().filter(needed).collect() };
            let axis = |label: Label| -> Result<Axis, ShapeError> {
                // What only a later operand repeats is of size 1 here.
                let own = [Some(&so_far), next].into_iter().flatten();
                let wide = own.flat_map(|v| v.labels.iter().zip(&v.sizes)).filter(|(l, _)| **l == label);
                let own = wide.map(|(_, &n)| n).find(|&n| n != 1).unwrap_or(1);
                let n = if last { size(label)? } else { own };
                Ok(Axis::new(n, so_far.stride(label), next.map_or(0, |v| v.stride(label))))
            };
            let summed: Vec<Label> = both.into_iter().filter(|l| !kept.contains(l)).collect();
            let axes = |labels: &[Label]| labels.iter().map(|&l| axis(l)).collect::<Result<Vec<_>, _>>();
            let step = Contraction { kept: axes(&kept)?, summed: axes(&summed)?, scale: None, padded: false };
            let sizes: Vec<usize> = step.kept.iter().map(|axis| axis.size).collect();
            if elements(&sizes).is_none() {
                return Err(ShapeError::new("its result is too large"));
            }
            so_far = View { labels: kept, strides: strides(&sizes), sizes: sizes.clone() };
            steps.push(step);
            if last {
                return Ok((steps, sizes));
            }
        }
    }

    fn shapes(inputs: &[Option<&Fact>]) -> Option<Vec<Vec<usize>>> {
        inputs.iter().map(|f| f.and_then(Fact::concrete)).collect()
    }

    /// A product of two as a MatMul, where it is one: batches in both and the result, sums in both and not in it.
    fn as_product(&self, recipe: &mut Recipe, inputs: &[Option<ValueId>]) -> Result<Option<ValueId>, ShapeError> {
        let &[Some(a), Some(b)] = inputs else { return Ok(None) };
        let facts = [recipe.fact(a)?.clone(), recipe.fact(b)?.clone()];
        let (Some(shape_a), Some(shape_b)) = (facts[0].concrete(), facts[1].concrete()) else { return Ok(None) };
        let (operands, result) = self.labels(&[shape_a.len(), shape_b.len()])?;
        let (la, lb) = (&operands[0], &operands[1]);
        let once = |labels: &[Label]| labels.iter().enumerate().all(|(i, l)| !labels[..i].contains(l));
        let size = |l: &Label| {
            let [a, b] =
                [(la, &shape_a), (lb, &shape_b)].map(|(labels, s)| labels.iter().position(|m| m == l).map(|i| s[i]));
            (a.is_none() || b.is_none() || a == b).then(|| a.or(b)).flatten().filter(|&n| n > 0)
        };
        let pick = |from: &[Label], other: bool, in_result: bool| -> Vec<Label> {
            let second = |l: &Label| if std::ptr::eq(from, &la[..]) { lb.contains(l) } else { la.contains(l) };
            from.iter().filter(|l| second(l) == other && result.contains(l) == in_result).copied().collect()
        };
        let (batch, summed) = (pick(la, true, true), pick(la, true, false));
        let (rows, columns) = (pick(la, false, true), pick(lb, false, true));
        let simple = facts[0].element_type == facts[1].element_type
            && facts[0].element_type.is_float()
            && once(la)
            && once(lb)
            && !summed.is_empty()
            && la.iter().chain(lb).all(|l| size(l).is_some())
            && pick(la, false, false).is_empty()
            && pick(lb, false, false).is_empty();
        if !simple {
            return Ok(None);
        }
        let sizes = |labels: &[Label]| -> Vec<i64> {
            labels.iter().filter_map(size).map(|n| i64::try_from(n).unwrap_or(i64::MAX)).collect()
        };
        let count = |labels: &[Label]| sizes(labels).into_iter().product::<i64>();
        let order = |from: &[Label], to: &[Label]| -> Vec<i64> {
            to.iter().filter_map(|l| from.iter().position(|m| m == l)).filter_map(|i| i64::try_from(i).ok()).collect()
        };
        let groups = [[&batch, &rows, &summed], [&batch, &summed, &columns]];
        let mut parts = vec![];
        for ((x, labels), groups) in [(a, la), (b, lb)].into_iter().zip(groups) {
            let to: Vec<Label> = groups.into_iter().flatten().copied().collect();
            let turned = recipe.transpose(x, order(labels, &to))?;
            parts.push(recipe.reshape(turned, groups.map(|g| count(g)))?);
        }
        let product = recipe.apply("MatMul", &parts)?;
        let dims: Vec<Label> = [batch, rows, columns].concat();
        let spread = recipe.reshape(product, sizes(&dims))?;
        recipe.transpose(spread, order(&dims, &result)).map(Some)
    }
}

impl Operator for Einsum {
    fn name(&self) -> &str {
        "Einsum"
    }

    fn infer(&self, inputs: &[Option<&Fact>]) -> Result<Vec<Fact>, ShapeError> {
        let facts = (0..inputs.len()).map(|i| Fact::at(inputs, i)).collect::<Result<Vec<_>, _>>()?;
        let Some(first) = facts.first() else { return Err(ShapeError::new("there are no operands")) };
        let numbers = first.element_type.is_float() || first.element_type.is_integer();
        if !numbers || facts.iter().any(|f| f.element_type != first.element_type) {
            return Err(ShapeError::new("its operands should be numbers of one type"));
        }
        if let Some(shapes) = Self::shapes(inputs) {
            return Ok(vec![first.with_shape(self.steps(&shapes)?.1.into_iter().map(Dim::from).collect())]);
        }
        let ranks: Vec<usize> = facts.iter().map(|f| f.rank()).collect();
        let (operands, result) = self.labels(&ranks)?;
        let dim = |label: &Label| {
            let own = operands.iter().zip(&facts).flat_map(|(labels, fact)| labels.iter().zip(&fact.shape));
            own.filter(|(l, _)| *l == label).try_fold(Dim::Known(1), |all, (_, dim)| {
                all.broadcast(dim).ok_or_else(|| ShapeError::new(format!("a dimension has {all} and {dim} elements")))
            })
        };
        Ok(vec![first.with_shape(result.iter().map(dim).collect::<Result<_, _>>()?)])
    }

    fn evaluate(&self, _: &mut Context, inputs: Inputs<'_>) -> Result<Vec<Value>, EvaluateError> {
        let tensors = (0..inputs.len()).map(|i| inputs.tensor(i)).collect::<Result<Vec<_>, _>>()?;
        let shapes: Vec<_> = tensors.iter().map(|t| t.shape().to_vec()).collect();
        let (steps, shape) = self.steps(&shapes)?;
        let Some(element_type) = tensors.first().map(|t| t.element_type()) else {
            return Err(ShapeError::new("there are no operands").into());
        };
        Tensor::bounded(element_type, &shape)?;
        if matches!(element_type, ElementType::I64 | ElementType::U64) {
            // Exactly, and modulo 2⁶⁴.
            let words = |t: &Tensor| -> Vec<u64> {
                t.bytes().chunks_exact(8).map(|b| u64::from_le_bytes(b.try_into().unwrap_or_default())).collect()
            };
            let all: Vec<Vec<u64>> = tensors.iter().map(|t| words(t)).collect();
            let y = run(&steps, all, u64::wrapping_mul, u64::wrapping_add);
            let bytes: Vec<u8> = y.into_iter().flat_map(u64::to_le_bytes).collect();
            return Ok(vec![Tensor::from_bytes(element_type, shape, bytes.into())?.into()]);
        }
        let y = run(&steps, tensors.iter().map(|t| t.to_f64()).collect(), |a, b| a * b, |a, b| a + b);
        Ok(vec![Tensor::from_f64(element_type, shape, y)?.into()])
    }

    fn candidates(&self, request: &Request<'_>) -> Candidates {
        let count = request.inputs.len();
        let shapes = (0..count).map(|i| request.shape(i)).collect::<Result<Vec<_>, _>>()?;
        if shapes.iter().any(|shape| elements(shape).is_none_or(|n| i32::try_from(n).is_err())) {
            return Err("it has more elements than a shader can count".to_owned());
        }
        let (steps, _) = self.steps(&shapes).map_err(|e| e.to_string())?;
        let place = |i: usize| -> Result<Place, String> { Ok((Binding::Input(i), request.storage(i)?)) };
        let (mut so_far, output) = (place(0)?, (Binding::Output(0), request.output_storage(0)?));
        let between = if output.1.is_float() { Storage::F32 } else { Storage::I32 };
        let mut candidate = Candidate::new("steps", vec![Want::In(Layout::Linear); count], vec![Layout::Linear]);
        let work = steps.iter().map(Contraction::work).sum();
        let last = steps.len().saturating_sub(1);
        for (i, step) in steps.iter().enumerate() {
            let next = if count > 1 { Some(place(i + 1)?) } else { None };
            let to = if i == last {
                output.clone()
            } else {
                let sizes: Vec<usize> = step.kept.iter().map(|axis| axis.size).collect();
                let n = elements(&sizes).ok_or("it is too large")?;
                candidate.scratch.push((n.div_ceil(4).max(1) as u64, between));
                (Binding::Scratch(candidate.scratch.len() - 1), between)
            };
            candidate.dispatches.extend(step.dispatch(so_far, next, to.clone(), request.device)?);
            so_far = to;
        }
        Ok(vec![candidate.cost(work, 0.0)])
    }

    fn expansion(&self, inputs: &[Option<&Fact>]) -> Result<Option<Graph>, ShapeError> {
        composite::graph(inputs, 1, |recipe, ids| Ok(self.as_product(recipe, ids)?.map(|y| vec![Some(y)])))
    }

    fn work(&self, inputs: &[Option<&Fact>], _: &[Fact]) -> f64 {
        let steps = Self::shapes(inputs).and_then(|shapes| self.steps(&shapes).ok());
        steps.map_or(0.0, |(steps, _)| steps.iter().map(Contraction::work).sum())
    }
}

/// The steps one after another, in any numbers.
fn run<T: Copy + Default>(
    steps: &[Contraction],
    operands: Vec<Vec<T>>,
    multiply: impl Fn(T, T) -> T,
    add: impl Fn(T, T) -> T,
) -> Vec<T> {
    let mut operands = operands.into_iter();
    let mut so_far = operands.next().unwrap_or_default();
    for step in steps {
        let next = operands.next();
        let mut y = vec![];
        each(&step.kept, [0, 0], &mut |from| {
            let mut sum = T::default();
            each(&step.summed, from, &mut |[a, b]| {
                sum = add(sum, next.as_ref().map_or(so_far[a], |next| multiply(so_far[a], next[b])));
            });
            y.push(sum);
        });
        so_far = y;
    }
    so_far
}

/// Every index of these dimensions, as offsets in both tensors.
fn each(axes: &[Axis], from: [usize; 2], visit: &mut impl FnMut([usize; 2])) {
    let Some((axis, inner)) = axes.split_first() else { return visit(from) };
    if inner.iter().any(|axis| axis.size == 0) {
        return;
    }
    for i in 0..axis.size {
        each(inner, [from[0] + i * axis.a, from[1] + i * axis.b], visit);
    }
}

#[cfg(test)]
mod tests;
