//! Single weights.

use super::*;
use crate::tensor::Truth;

/// A model of matrices and convolutions that are not connected, by their names.
fn layers_of(shapes: &[(String, Vec<usize>)]) -> ModelFile {
    let mut net = Net::new(13);
    for (i, (name, shape)) in shapes.iter().enumerate() {
        let (x, y) = (format!("x_{name}"), format!("y_{name}"));
        let tensor = weights(shape, i as u64 + 1);
        // A kernel of one dimension has one of two to go over.
        let (operator, input) = match shape.len() {
            2 => ("MatMul", vec![1, shape[0] as i64]),
            rank => ("Conv", [vec![1, shape[1] as i64], vec![9; rank - 2]].concat()),
        };
        net = net.input(&x, &input).constant(name, tensor).node(operator, &[&x, name], &y).output(&y);
    }
    net.file()
}

fn bits(mask: &Tensor) -> String {
    let kept: Vec<u8> = mask.as_slice::<Truth>().unwrap().iter().map(|&t| bool::from(t).into()).collect();
    let byte = |eight: &[u8]| eight.iter().enumerate().fold(0, |byte, (i, bit)| byte | bit << (7 - i));
    kept.chunks(8).map(|eight| format!("{:02x}", byte(eight))).collect()
}

#[test]
fn masks_are_those_of_torch() {
    let shapes =
        [("conv1", vec![64, 3, 7, 7]), ("conv", vec![16, 3, 3, 3]), ("fc", vec![10, 64]), ("odd", vec![5, 3, 3])];
    let file = layers_of(&shapes.map(|(name, shape)| (name.to_owned(), shape)));
    let cases: Vec<Vec<&str>> =
        include_str!("../../../tests/data/prune_masks.txt").lines().map(|line| line.split(' ').collect()).collect();
    assert_eq!(cases.len(), 15);
    for case in cases {
        let expected: Vec<&[&str]> = case[1..].chunks(2).collect();
        let mut how = Pruning::new(Pattern::L1, case[0].parse().unwrap());
        how.global = expected.len() > 1;
        how.layers = expected.iter().map(|pair| pair[0].to_owned()).collect();
        let mut file = file.clone();
        let pruned = prune(&mut file, &how).unwrap();
        for pair in expected {
            let mask = pruned.masks.get(pair[0]).unwrap();
            assert_eq!(bits(mask), pair[1], "{} at {}", pair[0], how.amount);
            let zeros = file.constant(pair[0]).unwrap().to_f64().iter().filter(|&&w| w == 0.0).count();
            assert_eq!(zeros, mask.as_slice::<Truth>().unwrap().iter().filter(|t| t.0 == 0).count());
        }
    }
}

#[test]
fn of_equal_magnitudes_the_first_go() {
    let w = Tensor::new([2, 4], vec![1f32, -1.0, 2.0, 1.0, -1.0, 1.0, 0.0, f32::NAN]).unwrap();
    let net = Net::new(13).input("x", &[1, 2]).constant("w", w).node("MatMul", &["x", "w"], "y").output("y");
    let mut file = net.file();
    // A half of 8 is 4; 0.3 of them 2.4, and so 2; 0.3125 of them 2.5, and so 2, the even one.
    for (amount, expected) in [(0.5, "2d"), (0.3, "7d"), (0.3125, "7d"), (0.0, "ff"), (1.0, "00")] {
        let pruned = prune(&mut file.clone(), &Pruning::new(Pattern::L1, amount)).unwrap();
        assert_eq!(bits(&pruned.masks.0[0].1), expected, "{amount}");
    }
    let pruned = prune(&mut file, &Pruning::new(Pattern::TwoOfFour, 0.0)).unwrap();
    // Rows of two: no four follow each other.
    assert_eq!((bits(&pruned.masks.0[0].1).as_str(), pruned.zeros()), ("ff", 1));
}

#[test]
fn two_of_every_four_go_along_what_is_summed_up() {
    for shape in [vec![3usize, 11, 2, 1], vec![9, 5], vec![4, 1, 3, 3]] {
        let mut file = layers_of(&[("w".to_owned(), shape.clone())]);
        let before = file.constant("w").unwrap().to_f64();
        prune(&mut file, &Pruning::new(Pattern::TwoOfFour, 0.0)).unwrap();
        let after = file.constant("w").unwrap().to_f64();
        // Convolutions sum along axis 1, a product along axis 0.
        let axis = usize::from(shape.len() > 2);
        let (length, inner) = (shape[axis], shape[axis + 1..].iter().product::<usize>());
        for start in (0..before.len()).filter(|i| (i / inner) % length % 4 == 0) {
            let places: Vec<usize> = (0..4).map(|k| start + k * inner).collect();
            if (start / inner) % length + 4 > length {
                let rest = length - (start / inner) % length;
                assert!(places[..rest].iter().all(|&p| before[p] == after[p]));
                continue;
            }
            let mut four: Vec<f64> = places.iter().map(|&p| before[p].abs()).collect();
            four.sort_by(f64::total_cmp);
            let mut kept: Vec<f64> = places.iter().map(|&p| after[p].abs()).filter(|&v| v > 0.0).collect();
            kept.sort_by(f64::total_cmp);
            assert_eq!(kept, four[2..]);
        }
    }
}

#[test]
fn steps_prune_more_and_more_and_what_is_gone_stays_gone() {
    let mut file = layers_of(&[("a".to_owned(), vec![8, 8]), ("b".to_owned(), vec![6, 5, 3, 3])]);
    let mut how = Pruning::new(Pattern::L1, 0.6);
    how.global = true;
    let mut zeros = vec![];
    let mut masks: Vec<Masks> = vec![];
    let pruned = prune_in_steps(&mut file, &how, 3, |step| {
        assert_eq!((step.step, step.steps), (zeros.len() + 1, 3));
        let mut count = 0;
        for (name, mask) in &step.masks.0 {
            let kept = mask.as_slice::<Truth>()?;
            count += kept.iter().filter(|t| t.0 == 0).count();
            if let Some(before) = masks.last() {
                let before = before.get(name).unwrap().as_slice::<Truth>()?;
                assert!(before.iter().zip(kept).all(|(b, k)| b.0 == 1 || k.0 == 0), "nothing comes back");
            }
            // A trainer that knows nothing of masks.
            let trained: Vec<f32> =
                step.file.constant(name).unwrap().to_f64().iter().map(|&w| w as f32 + 0.5).collect();
            step.file.set_constant(name, &Tensor::new(mask.shape(), trained)?)?;
        }
        zeros.push(count);
        masks.push(step.masks.clone());
        Ok(())
    })
    .unwrap();
    // 0.6 · (1 − (2/3)³), 0.6 · (1 − (1/3)³) and 0.6 of 334 weights.
    assert_eq!(zeros, [141, 193, 200]);
    assert_eq!(pruned.zeros(), 200, "the trainer's changes to what is gone are undone");
    let stop = prune_in_steps(&mut file, &how, 2, |_| Err(CompressError::Step("enough".to_owned())));
    assert_eq!(stop.unwrap_err().to_string(), "enough");
}

#[test]
fn what_cannot_be_is_said_before_anything_is_done() {
    let file = layers_of(&[("conv1".to_owned(), vec![4, 2, 3, 3]), ("fc".to_owned(), vec![4, 3])]);
    let message = |how: &Pruning| {
        let mut copy = file.clone();
        let message = prune(&mut copy, how).unwrap_err().to_string();
        assert_eq!(copy.to_bytes().unwrap(), file.to_bytes().unwrap());
        message
    };
    for amount in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
        let text = message(&Pruning::new(Pattern::L1, amount));
        assert_eq!(text, format!("an amount is a part of the whole, from 0 to 1, not {amount}"));
    }
    let text = message(&Pruning::new(Pattern::Channels, 1.0));
    assert_eq!(text, "an amount is a part of the whole, from 0 to less than 1, not 1");
    let mut how = Pruning::new(Pattern::L1, 0.5);
    how.layers = vec!["y_conv2".to_owned()];
    assert_eq!(
        message(&how),
        "the model has no layer 'y_conv2' with weights; did you mean 'y_conv1'?; it has y_conv1, y_fc"
    );
    how = Pruning::new(Pattern::TwoOfFour, 0.5);
    how.global = true;
    assert_eq!(message(&how), "only single weights are pruned globally");
}
