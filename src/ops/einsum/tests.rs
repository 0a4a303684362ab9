use proptest::prelude::*;

use super::*;
use crate::testing::{Input, Tolerance, try_check};

/// Sums of up to 125 · 5 products of numbers up to 1, in another order than the reference's.
const SUMS: Tolerance = Tolerance { absolute: 5e-5, relative: 1e-5 };

fn einsum(formula: &str) -> Arc<dyn Operator> {
    make(&Definition::new("Einsum").attribute("equation", formula)).unwrap()
}

fn numbers(shape: &[usize], seed: usize) -> Tensor {
    let n = shape.iter().product();
    Tensor::new(shape, (0..n).map(|i| ((i + seed) * 7919 % 211) as f32 / 105.0 - 1.0).collect()).unwrap()
}

fn evaluate(operator: &dyn Operator, inputs: &[Tensor]) -> Result<Tensor, String> {
    let facts: Vec<_> = inputs.iter().map(|t| Fact::new(t.element_type(), t.shape().to_vec())).collect();
    let facts: Vec<_> = facts.iter().map(Some).collect();
    let inferred = operator.infer(&facts).map_err(|e| e.to_string())?;
    let values: Vec<_> = inputs.iter().cloned().map(Value::Tensor).collect();
    let values: Vec<_> = values.iter().map(Some).collect();
    let y = operator.evaluate(&mut Context::default(), Inputs(&values)).map_err(|e| e.to_string())?.remove(0);
    let y = y.into_tensor().unwrap();
    assert_eq!(inferred[0].concrete().as_deref(), Some(y.shape()));
    // What it is expanded to computes the same.
    if let Some(graph) = operator.expansion(&facts).unwrap() {
        let other = composite::evaluate(&graph, &mut Context::default(), Inputs(&values)).unwrap().remove(0);
        let other = other.into_tensor().unwrap();
        SUMS.compare(&other, &y, None).unwrap();
    }
    Ok(y)
}

#[test]
fn formulas_by_hand() {
    let m = Tensor::new([2, 2], vec![1f32, 2.0, 3.0, 4.0]).unwrap();
    let v = Tensor::vector(vec![10f32, 100.0]);
    let one = |formula: &str| evaluate(&*einsum(formula), std::slice::from_ref(&m)).unwrap();
    let floats = |t: Tensor| t.as_slice::<f32>().unwrap().to_vec();
    assert_eq!(floats(one("ij->ji")), [1.0, 3.0, 2.0, 4.0]);
    assert_eq!(floats(one("ba")), [1.0, 3.0, 2.0, 4.0]);
    assert_eq!(floats(one("ii->i")), [1.0, 4.0]);
    assert_eq!(floats(one("ii")), [5.0]);
    assert_eq!(floats(one("ij -> ")), [10.0]);
    assert_eq!(floats(one("...j->...")), [3.0, 7.0]);
    let two = |formula: &str| floats(evaluate(&*einsum(formula), &[m.clone(), v.clone()]).unwrap());
    assert_eq!(two("ij,j->i"), [210.0, 430.0]);
    assert_eq!(two("ij,k->kij"), [10.0, 20.0, 30.0, 40.0, 100.0, 200.0, 300.0, 400.0]);
    assert_eq!(two("i...,i"), [310.0, 420.0]);
    assert_eq!(two("ij,i->j"), [310.0, 420.0]);
    let three = evaluate(&*einsum("ij,jk,k->i"), &[m.clone(), m.clone(), v]).unwrap();
    assert_eq!(floats(three), [1070.0, 2350.0]);
    let words = Tensor::new([2], vec![i64::MAX, 2]).unwrap();
    let sum = evaluate(&*einsum("i->"), &[words]).unwrap();
    assert_eq!(sum.as_slice::<i64>().unwrap(), [i64::MIN + 1]);
}

#[test]
fn what_is_no_formula_is_refused() {
    for formula in ["i->j", "i->ii", "i+j", "ij->...", "..i..", "i..."] {
        let made = make(&Definition::new("Einsum").attribute("equation", formula));
        assert!(made.is_err() != (formula == "i..."), "{formula}");
    }
    let x = numbers(&[2, 3], 1);
    assert!(evaluate(&*einsum("i->i"), std::slice::from_ref(&x)).is_err());
    assert!(evaluate(&*einsum("ii->i"), std::slice::from_ref(&x)).is_err());
    assert!(evaluate(&*einsum("ij,ij->ij"), &[x.clone(), numbers(&[3, 3], 1)]).is_err());
    assert!(evaluate(&*einsum("ij,jk->ik"), std::slice::from_ref(&x)).is_err());
    assert!(evaluate(&*einsum("ijk"), &[x]).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn gpu_and_reference_agree(
        terms in prop::collection::vec(prop::collection::vec(0usize..5, 0..4), 1..4),
        sizes in prop::collection::vec(prop::sample::select(vec![1usize, 2, 3, 5]), 5),
        kept in prop::collection::vec(any::<bool>(), 5), reversed: bool, arrow: bool, integers: bool,
    ) {
        let letter = |i: &usize| char::from(b'a' + *i as u8);
        let mut formula = terms.iter().map(|t| t.iter().map(letter).collect::<String>()).collect::<Vec<_>>().join(",");
        if arrow {
            let mut result: Vec<char> =
                (0..5).filter(|i| kept[*i] && terms.iter().any(|t| t.contains(i))).map(|i| letter(&i)).collect();
            if reversed {
                result.reverse();
            }
            formula = format!("{formula}->{}", result.iter().collect::<String>());
        }
        let operator = einsum(&formula);
        let tensors: Vec<Tensor> = terms.iter().enumerate().map(|(i, term)| {
            let shape: Vec<usize> = term.iter().map(|&l| sizes[l]).collect();
            let t = numbers(&shape, i);
            if integers { Tensor::from_f64(ElementType::I32, shape, t.to_f64().iter().map(|v| v * 9.0).collect()).unwrap() } else { t }
        }).collect();
        evaluate(&*operator, &tensors).map_err(TestCaseError::fail)?;
        let inputs: Vec<Input> = tensors.into_iter().map(Input::Run).collect();
        try_check(&*operator, &inputs, if integers { Tolerance::EXACT } else { SUMS }).map_err(TestCaseError::fail)?;
    }
}
