use proptest::prelude::*;

use super::*;
use crate::testing::{Input, Tolerance, try_check};

fn run(d: &Definition, x: Tensor, index: Tensor, updates: Tensor) -> Result<Tensor, String> {
    let inputs = [x, index, updates].map(Value::Tensor);
    let operator = from_definition(d).map_err(|e| e.to_string())?;
    let result = operator.evaluate(&mut Context::default(), Inputs(&inputs.each_ref().map(Some)));
    let y = result.map_err(|e| e.to_string())?.remove(0).into_tensor().unwrap();
    Ok(y)
}

#[test]
fn elements_go_where_the_indices_say() {
    let x = Tensor::new([1, 5], vec![1f32, 2.0, 3.0, 4.0, 5.0]).unwrap();
    let d = Definition::new("ScatterElements").attribute("axis", 1i64);
    let at = |v: Vec<i64>| Tensor::new([1, v.len()], v).unwrap();
    let updates = Tensor::new([1, 2], vec![1.5f32, 2.5]).unwrap();
    let y = run(&d, x.clone(), at(vec![1, -2]), updates.clone()).unwrap();
    assert_eq!(y.as_slice::<f32>().unwrap(), [1.0, 1.5, 3.0, 2.5, 5.0]);
    let y = run(&d.clone().attribute("reduction", "add"), x.clone(), at(vec![1, 1]), updates.clone()).unwrap();
    assert_eq!(y.as_slice::<f32>().unwrap(), [1.0, 6.0, 3.0, 4.0, 5.0]);
    assert!(run(&d, x.clone(), at(vec![1, 5]), updates.clone()).is_err());
    assert!(run(&d, x, at(vec![1]), updates).unwrap_err().contains("do not go with"));
}

#[test]
fn slices_go_where_the_indices_say() {
    let x = Tensor::new([3, 2], vec![1i32, 2, 3, 4, 5, 6]).unwrap();
    let updates = Tensor::new([2, 2], vec![10i32, 20, 30, 1]).unwrap();
    let at = || Tensor::new([2, 1], vec![2i64, 0]).unwrap();
    let y = run(&Definition::new("ScatterND"), x.clone(), at(), updates.clone()).unwrap();
    assert_eq!(y.as_slice::<i32>().unwrap(), [30, 1, 3, 4, 10, 20]);
    let y = run(&Definition::new("ScatterND").attribute("reduction", "max"), x.clone(), at(), updates).unwrap();
    assert_eq!(y.as_slice::<i32>().unwrap(), [30, 2, 3, 4, 10, 20]);
    // Single elements, and a whole tensor.
    let y = run(
        &Definition::new("ScatterND"),
        x.clone(),
        Tensor::new([1, 2], vec![1i64, -1]).unwrap(),
        Tensor::vector(vec![9i32]),
    );
    assert_eq!(y.unwrap().as_slice::<i32>().unwrap(), [1, 2, 3, 9, 5, 6]);
    let empty = Tensor::new([0, 2], Vec::<i64>::new()).unwrap();
    assert_eq!(run(&Definition::new("ScatterND"), x.clone(), empty, Tensor::vector(Vec::<i32>::new())).unwrap(), x);
}

/// Whole numbers from -6 to 6, so that sums and products are exact.
fn small(element_type: ElementType, shape: &[usize], seed: u32) -> Tensor {
    let number = |i: u32| f64::from((i.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 12) % 13) - 6.0;
    let numbers = (0..shape.iter().product::<usize>() as u32).map(number);
    let numbers = if element_type == ElementType::U8 { numbers.map(f64::abs).collect() } else { numbers.collect() };
    Tensor::from_f64(element_type, shape, numbers).unwrap()
}

const REDUCTIONS: [Reduction; 5] = [Reduction::None, Reduction::Add, Reduction::Mul, Reduction::Min, Reduction::Max];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn kernels_along_an_axis_agree(
        shape in prop::collection::vec(prop::sample::select(vec![1usize, 2, 3, 4, 5]), 1..5),
        at in any::<prop::sample::Index>(), length in 0usize..6, shrink in any::<bool>(), seed in any::<u32>(),
        reduction in prop::sample::select(&REDUCTIONS[..]),
        element_type in prop::sample::select(vec![ElementType::F32, ElementType::I32, ElementType::U8, ElementType::I8]),
    ) {
        let at = at.index(shape.len());
        let mut index: Vec<usize> = shape.iter().map(|&n| if shrink { n.div_ceil(2) } else { n }).collect();
        index[at] = length;
        let size = shape[at] as i32;
        let place = |i: u32| (i.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 8) as i32 % (2 * size) - size;
        let indices = Tensor::new(index.clone(), (0..index.iter().product::<usize>() as u32).map(place).collect());
        let updates = small(element_type, &index, seed);
        let inputs = [Input::Run(small(element_type, &shape, !seed)), Input::Run(indices.unwrap()), Input::Run(updates)];
        let operator = Scatter { axis: Some(at as i64), reduction };
        try_check(&operator, &inputs, Tolerance::EXACT).map_err(TestCaseError::fail)?;
    }

    #[test]
    fn kernels_of_tuples_agree(
        shape in prop::collection::vec(prop::sample::select(vec![1usize, 2, 3, 4, 8]), 1..5),
        tuples in prop::collection::vec(prop::sample::select(vec![0usize, 1, 2, 3, 5]), 0..3),
        taken in 1usize..4, seed in any::<u32>(), reduction in prop::sample::select(&REDUCTIONS[..]),
        element_type in prop::sample::select(vec![ElementType::F32, ElementType::I32, ElementType::I8]),
    ) {
        let taken = taken.min(shape.len());
        let (mut index, mut slots) = (tuples.clone(), tuples);
        index.push(taken);
        slots.extend_from_slice(&shape[taken..]);
        let place = |i: u32| {
            let size = shape[i as usize % taken] as i32;
            (i.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 8) as i32 % (2 * size) - size
        };
        let indices = Tensor::new(index.clone(), (0..index.iter().product::<usize>() as u32).map(place).collect());
        let updates = small(element_type, &slots, seed);
        let inputs = [Input::Run(small(element_type, &shape, !seed)), Input::Run(indices.unwrap()), Input::Run(updates)];
        let operator = Scatter { axis: None, reduction };
        try_check(&operator, &inputs, Tolerance::EXACT).map_err(TestCaseError::fail)?;
    }
}

#[test]
fn integers_keep_their_low_bits() {
    let add = Definition::new("ScatterND").attribute("reduction", "add");
    let (x, at) = (Tensor::vector(vec![i64::MAX, 1]), Tensor::new([1, 1], vec![0i64]).unwrap());
    let y = run(&add, x, at.clone(), Tensor::vector(vec![2i64])).unwrap();
    assert_eq!(y.as_slice::<i64>().unwrap(), [i64::MIN + 1, 1]);
    let y = run(&add, Tensor::vector(vec![250u8]), at, Tensor::vector(vec![9u8])).unwrap();
    assert_eq!(y.as_slice::<u8>().unwrap(), [3]);
}
