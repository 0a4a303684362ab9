use std::sync::Arc;

use proptest::prelude::*;

use naga::valid::{Capabilities, ValidationFlags, Validator};

use super::split::Split;
use super::{Gemm, Product};
use crate::graph::{Activation, Context, Definition, Dim, Fact, Inputs, Operand, Operator, Request, Value};
use crate::kernel::assemble::assemble;
use crate::kernel::{Candidate, DeviceClass, DeviceFacts, Layout, Storage};
use crate::ops::operator;
use crate::tensor::{ElementType, Tensor};
use crate::testing::{Input, Tolerance, check, try_check};

/// Sums of up to 150 products of magnitude at most 1, in f32: each of the roundings is at most 2⁻²⁴ of a sum of at most
/// 150, so that 150 · 150 · 6e-8 = 1.3e-3 can never be passed; real errors grow with the square root.
const SUMS: Tolerance = Tolerance { absolute: 4e-5, relative: 1e-5 };

fn tensor(shape: &[usize], seed: u32) -> Tensor {
    // Numbers of [-1, 1) from a multiplicative hash; no two operands alike.
    let n: usize = shape.iter().product();
    let data = (0..n as u32)
        .map(|i| {
            (i.wrapping_mul(2_654_435_761).wrapping_add(seed.wrapping_mul(40_503)) >> 8) as f32 / (1 << 23) as f32 - 1.0
        })
        .collect();
    Tensor::new(shape.to_vec(), data).unwrap()
}

fn evaluate(op: &dyn Operator, inputs: &[Tensor]) -> Tensor {
    let values: Vec<Value> = inputs.iter().cloned().map(Value::Tensor).collect();
    let values: Vec<Option<&Value>> = values.iter().map(Some).collect();

    op.evaluate(&mut Context::default(), Inputs(&values)).unwrap().remove(0).into_tensor().unwrap()
}

fn f32s(shape: &[usize], data: &[f32]) -> Tensor {
    Tensor::new(shape.to_vec(), data.to_vec()).unwrap()
}

fn matmul() -> Arc<dyn Operator> {
    operator(&Definition::new("MatMul")).unwrap()
}

#[test]
fn products_by_hand() {
    let a = f32s(&[2, 3], &[1., 2., 3., 4., 5., 6.]);
    let b = f32s(&[3, 2], &[1., 0., 0., 1., 1., 1.]);
    assert_eq!(evaluate(&*matmul(), &[a.clone(), b.clone()]), f32s(&[2, 2], &[4., 5., 10., 11.]));
    let v = f32s(&[3], &[1., 1., 2.]);
    assert_eq!(evaluate(&*matmul(), &[a.clone(), v.clone()]), f32s(&[2], &[9., 21.]));
    assert_eq!(evaluate(&*matmul(), &[v.clone(), b]), f32s(&[2], &[3., 3.]));
    assert_eq!(evaluate(&*matmul(), &[v.clone(), v]), f32s(&[], &[6.]));
    let ints = Tensor::new([1, 2], vec![3i64, -4]).unwrap();
    let column = Tensor::new([2, 1], vec![5i64, 6]).unwrap();
    assert_eq!(evaluate(&*matmul(), &[ints, column]), Tensor::new([1, 1], vec![-9i64]).unwrap());

    let gemm = operator(
        &Definition::new("Gemm")
            .attribute("alpha", 0.5f32)
            .attribute("beta", 2.0f32)
            .attribute("transA", 1i64)
            .attribute("transB", 1i64),
    )
    .unwrap();
    let c = f32s(&[2, 1], &[10., 20.]);
    // A' = [[1, 3], [2, 4]], B' = [[1, 0], [2, 1]]: A' × B' = [[7, 3], [10, 4]].
    let y = evaluate(&*gemm, &[f32s(&[2, 2], &[1., 2., 3., 4.]), f32s(&[2, 2], &[1., 2., 0., 1.]), c]);
    assert_eq!(y, f32s(&[2, 2], &[23.5, 21.5, 45., 42.]));
}

#[test]
fn shapes_are_inferred_or_refused() {
    let fact = |shape: &[i64]| Fact::new(ElementType::F32, shape.iter().map(|&d| Dim::Known(d)));
    let infer = |a: &Fact, b: &Fact| matmul().infer(&[Some(a), Some(b)]).map(|f| f[0].to_string());
    assert_eq!(infer(&fact(&[7, 1, 2, 3]), &fact(&[5, 3, 4])).unwrap(), "f32[7, 5, 2, 4]");
    assert_eq!(infer(&fact(&[3]), &fact(&[5, 3, 4])).unwrap(), "f32[5, 4]");
    assert_eq!(infer(&fact(&[3]), &fact(&[3])).unwrap(), "f32[]");
    assert!(infer(&fact(&[2, 3]), &fact(&[2, 3])).is_err());
    assert!(infer(&fact(&[2, 3]), &fact(&[])).is_err());
    assert!(infer(&fact(&[2, 1, 3]), &fact(&[1, 3, 1])).is_ok());
    assert!(infer(&fact(&[2, 1, 3]), &Fact::new(ElementType::F64, [3usize, 1])).is_err());
    let symbolic = Fact::new(ElementType::F32, [Dim::symbol("batch"), Dim::symbol("k")]);
    assert_eq!(infer(&symbolic, &fact(&[3, 4])).unwrap(), "f32[batch, 4]");

    let gemm = operator(&Definition::new("Gemm")).unwrap();
    let (a, b) = (fact(&[2, 3]), fact(&[3, 4]));
    for (c, fits) in [(vec![], true), (vec![4], true), (vec![2, 1], true), (vec![2], false), (vec![1, 2, 4], false)] {
        assert_eq!(gemm.infer(&[Some(&a), Some(&b), Some(&fact(&c))]).is_ok(), fits, "{c:?}");
    }
    assert!(gemm.infer(&[Some(&fact(&[2])), Some(&b)]).is_err());
}

#[test]
fn sizes_at_the_edges_of_the_tiles_agree() {
    for (a, b) in [
        (vec![1, 130], vec![130, 100]),
        (vec![3, 5], vec![5, 7]),
        (vec![8, 4], vec![4, 4]),
        (vec![33, 17], vec![17, 37]),
        (vec![65, 8], vec![8, 66]),
        (vec![2, 9, 6], vec![6, 5]),
        (vec![2, 1, 9, 6], vec![3, 6, 5]),
        (vec![6], vec![2, 6, 5]),
        (vec![2, 5, 6], vec![6]),
        (vec![1, 1], vec![1, 1]),
    ] {
        for constant in [false, true] {
            let b = tensor(&b, 2);
            let b = if constant { Input::Constant(b) } else { Input::Run(b) };
            check(&*matmul(), &[Input::Run(tensor(&a, 1)), b], SUMS);
        }
    }
}

#[test]
fn large_products_agree_with_their_operands_in_panels() {
    // Nothing is a multiple of a panel. The bound of the sums grows with their square here: 650² · 6e-8 = 2.5e-2.
    let (a, b) = (tensor(&[75, 650], 1), tensor(&[650, 661], 2));
    let sums = Tolerance { absolute: 1e-4, relative: 1e-5 };
    for b in [Input::Run(b.clone()), Input::Constant(b)] {
        check(&*matmul(), &[Input::Run(a.clone()), b], sums);
    }
}

/// What a product offers to a device in 16 bits.
fn offered(gemm: &Gemm, inputs: &[Fact], y: [usize; 2], device: &DeviceFacts) -> Vec<Candidate> {
    let operand = |fact| Some(Operand { fact, layout: Layout::Linear, storage: Some(Storage::F16) });
    let operands: Vec<_> = inputs.iter().map(operand).collect();
    let outputs = [Fact::new(ElementType::F32, y)];
    let output_storages = &[Some(Storage::F16)];
    gemm.candidates(&Request { inputs: &operands, outputs: &outputs, output_storages, device, open: false }).unwrap()
}

/// Long sums over few workgroups: parts of k that are no multiple of four, and fewer than were wanted.
#[test]
fn long_sums_are_split_and_agree() {
    // 2,600 roundings of a sum that random signs keep near 30: 51 · 30 · 6e-8 in a random walk, and twice that.
    let sums = Tolerance { absolute: 2e-4, relative: 1e-5 };
    let mut split = std::collections::BTreeSet::new();
    for (m, k, n, biased, residual, activation) in [
        (1, 2048, 5, true, false, Activation::Relu),
        (3, 2117, 130, false, true, Activation::Identity),
        (9, 2600, 33, true, true, Activation::Relu),
        (70, 2306, 70, false, false, Activation::Identity),
    ] {
        let gemm = Gemm { residual, activation, alpha: 0.5, ..Gemm::default() };
        let mut inputs = vec![Input::Run(tensor(&[m, k], 1)), Input::Constant(tensor(&[k, n], 2))];
        inputs.push(if biased { Input::Constant(tensor(&[n], 3)) } else { Input::Missing });
        if residual {
            inputs.push(Input::Run(tensor(&[m, n], 4)));
        }
        check(&gemm, &inputs, sums);
        for class in DeviceClass::ALL {
            let product = Product::of_matrices(m, k, n, false, false);
            let device = DeviceFacts::floor(class);
            let families = super::families(&product, &device);
            split.extend(
                families.iter().filter_map(|tiles| Split::of(tiles, &product, None, &device)).map(|split| split.name),
            );
        }
    }
    assert_eq!(split.into_iter().collect::<Vec<_>>(), ["register, split", "vector, split", "workgroup, split"]);
    // With everything that can be fused they fit the fewest buffers that a device has.
    let gemm = Gemm { residual: true, ..Gemm::default() };
    let inputs = [&[9, 2100][..], &[2100, 8], &[8], &[9, 8]].map(|shape| Fact::constant(tensor(shape, 1)));
    let offered = offered(&gemm, &inputs, [9, 8], &DeviceFacts::floor(DeviceClass::Nvidia));
    let split: Vec<_> = offered.iter().filter(|candidate| candidate.name.ends_with("split")).collect();
    assert!(!split.is_empty() && split.iter().flat_map(|c| &c.dispatches).all(|d| d.bindings.len() <= 4));
    // B and a C of several rows that come with the run.
    let gemm = operator(&Definition::new("Gemm").attribute("beta", -0.5f32)).unwrap();
    let inputs = [&[5, 2050][..], &[2050, 36], &[5, 36]].map(|shape| Input::Run(tensor(shape, shape[0] as u32)));
    check(&*gemm, &inputs, sums);
}

/// Where an adapter has cooperative matrices, they are multiplied; everywhere, what would be run is valid.
#[test]
fn cooperative_matrices_agree_and_are_valid() {
    for (m, k, n) in [(64, 48, 80), (9, 5, 7), (70, 33, 130)] {
        let gemm = Gemm { activation: Activation::Relu, residual: true, ..Gemm::default() };
        let inputs = [(&[m, k][..], 1), (&[k, n], 2), (&[n], 3), (&[m, n], 4)].map(|(shape, i)| tensor(shape, i));
        let [a, b, c, residual] = inputs.clone();
        check(&gemm, &[Input::Run(a), Input::Constant(b), Input::Constant(c), Input::Run(residual)], SUMS);

        for (side, lanes) in [(8, 32), (16, 32), (16, 64)] {
            let floor = DeviceFacts::floor(DeviceClass::Nvidia);
            let device = DeviceFacts { matrix_side: Some(side), subgroup_size: Some(lanes), ..floor };
            let offered = offered(&gemm, &inputs.clone().map(Fact::constant), [m, n], &device);
            let cooperative = offered.iter().find(|c| c.name == "cooperative").unwrap();
            assert!(offered.iter().all(|c| c.cost <= cooperative.cost), "no plan takes it unmeasured");
            let text = assemble(&cooperative.dispatches[0].kernel).unwrap().wgsl;
            let module = naga::front::wgsl::parse_str(&text).unwrap_or_else(|e| panic!("{}", e.emit_to_string(&text)));
            let capabilities = Capabilities::COOPERATIVE_MATRIX
                | Capabilities::SHADER_FLOAT16
                | Capabilities::SHADER_FLOAT16_IN_FLOAT32;
            let valid = Validator::new(ValidationFlags::all(), capabilities).validate(&module);
            valid.unwrap_or_else(|e| panic!("{}", e.emit_to_string(&text)));
        }
    }
}

#[test]
fn integers_agree_exactly() {
    let ints = |shape: &[usize]| {
        let n: usize = shape.iter().product();
        Input::Run(Tensor::new(shape.to_vec(), (0..n as i32).map(|i| i * 7919 - 4000).collect()).unwrap())
    };
    check(&*matmul(), &[ints(&[3, 5]), ints(&[5, 6])], Tolerance::EXACT);
    let gemm = operator(&Definition::new("Gemm")).unwrap();
    check(&*gemm, &[ints(&[3, 5]), ints(&[5, 6]), ints(&[3, 1])], Tolerance::EXACT);
}

#[test]
fn constants_of_every_type_are_packed() {
    // Whole numbers: every type holds their products.
    for t in [ElementType::F32, ElementType::F16, ElementType::BF16] {
        let whole = |shape: &[usize], n: usize| {
            let numbers = (0..shape.iter().product()).map(|i: usize| (i * n % 5) as f64 - 2.0).collect();
            Tensor::from_f64(t, shape, numbers).unwrap()
        };
        for turned in [0i64, 1] {
            let gemm = operator(&Definition::new("Gemm").attribute("transB", turned)).unwrap();
            let b = if turned == 1 { whole(&[8, 3], 3) } else { whole(&[3, 8], 3) };
            let c = Input::Constant(whole(&[2, 1], 1));
            check(&*gemm, &[Input::Run(whole(&[2, 3], 2)), Input::Constant(b), c], Tolerance::EXACT);
        }
    }
}

#[test]
fn every_activation_can_be_fused() {
    for activation in [
        Activation::Relu,
        Activation::Clip(-0.5, 0.75),
        Activation::LeakyRelu(0.1),
        Activation::Sigmoid,
        Activation::Tanh,
        Activation::Silu,
        Activation::HardSigmoid(0.2, 0.5),
        Activation::HardSwish,
        Activation::Gelu,
        Activation::GeluTanh,
    ] {
        let op = matmul().with_activation(activation).unwrap();
        assert!(op.with_activation(Activation::Relu).is_none());
        check(&*op, &[Input::Run(tensor(&[9, 6], 1)), Input::Constant(tensor(&[6, 5], 2))], SUMS);
    }
}

/// Rows of any number of dimensions, a bias behind the weights, a residual and an activation behind both.
#[test]
fn residuals_are_added_before_the_activation() {
    for (rows, k, n, biased, activation) in [
        (vec![1], 6, 5, true, Activation::Gelu),
        (vec![2, 3], 8, 12, true, Activation::Identity),
        (vec![1, 37], 7, 33, true, Activation::GeluTanh),
        (vec![2, 20], 12, 8, false, Activation::Gelu),
        (vec![70], 16, 40, true, Activation::GeluTanh),
    ] {
        let shape = |last: usize| [&rows[..], &[last]].concat();
        let gemm = Gemm { residual: true, rows: Some(rows.clone()), activation, beta: 0.5, ..Gemm::default() };
        let c = if biased { Input::Constant(tensor(&[n], 3)) } else { Input::Missing };
        let inputs = [
            Input::Run(tensor(&shape(k), 1)),
            Input::Constant(tensor(&[k, n], 2)),
            c,
            Input::Run(tensor(&shape(n), 4)),
        ];
        check(&gemm, &inputs, SUMS);
    }
}

fn size() -> impl Strategy<Value = usize> {
    prop_oneof![Just(0), Just(1), 2usize..20, Just(31), Just(40)]
}

/// Each axis is kept, repeated or left out: two shapes that broadcast to one.
fn batches() -> impl Strategy<Value = (Vec<usize>, Vec<usize>)> {
    (proptest::collection::vec((1usize..4, 0..3), 0..4), 0usize..3, any::<bool>()).prop_map(|(axes, cut, left)| {
        let mut a: Vec<_> = axes.iter().map(|&(d, how)| if how == 1 { 1 } else { d }).collect();
        let mut b: Vec<_> = axes.iter().map(|&(d, how)| if how == 2 { 1 } else { d }).collect();
        let shorter = if left { &mut a } else { &mut b };
        shorter.drain(..cut.min(shorter.len()));
        (a, b)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 18, ..ProptestConfig::default() })]

    #[test]
    fn matmul_agrees((a_batch, b_batch) in batches(), m in size(), k in size(), n in size(), vectors in 0..4, constant: bool) {
        let a = if vectors == 1 { vec![k] } else { [a_batch, vec![m, k]].concat() };
        let b = if vectors == 2 { vec![k] } else { [b_batch, vec![k, n]].concat() };
        // An empty sum runs on the host.
        if k > 0 {
            let b = tensor(&b, 2);
            let b = if constant { Input::Constant(b) } else { Input::Run(b) };
            try_check(&*matmul(), &[Input::Run(tensor(&a, 1)), b], SUMS).map_err(TestCaseError::fail)?;
        } else {
            let y = evaluate(&*matmul(), &[tensor(&a, 1), tensor(&b, 2)]);
            prop_assert!(y.as_slice::<f32>().unwrap().iter().all(|&v| v == 0.0));
        }
    }

    #[test]
    fn gemm_agrees(
        m in size(), k in size(), n in size(), trans_a: bool, trans_b: bool, c in 0usize..7, constant: bool,
        alpha in -2f32..2.0, beta in -2f32..2.0,
    ) {
        let op = operator(
            &Definition::new("Gemm")
                .attribute("alpha", alpha)
                .attribute("beta", beta)
                .attribute("transA", i64::from(trans_a))
                .attribute("transB", i64::from(trans_b)),
        )
        .unwrap();
        let input = |t: Tensor| if constant { Input::Constant(t) } else { Input::Run(t) };
        let a = tensor(&if trans_a { [k, m] } else { [m, k] }, 1);
        let b = tensor(&if trans_b { [n, k] } else { [k, n] }, 2);
        let mut inputs = vec![Input::Run(a.clone()), input(b.clone())];
        let shapes: [Option<Vec<usize>>; 7] =
            [None, Some(vec![]), Some(vec![1]), Some(vec![n]), Some(vec![m, n]), Some(vec![m, 1]), Some(vec![1, n])];
        let c = shapes[c].as_ref().map(|c| tensor(c, 3));
        if let Some(c) = &c {
            inputs.push(input(c.clone()));
        }
        if k > 0 {
            try_check(&*op, &inputs, SUMS).map_err(TestCaseError::fail)?;
        } else {
            let y = evaluate(&*op, &[Some(a), Some(b), c].into_iter().flatten().collect::<Vec<_>>());
            prop_assert_eq!(y.shape(), [m, n]);
        }
    }
}
