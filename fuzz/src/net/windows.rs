//! What moves a window over a picture.

use rimlight::graph::Definition;

use super::draw::{Draw, Kind};

/// Lists for the axes of a window.
struct Window {
    kernel: Vec<usize>,
    attributes: Vec<(&'static str, Vec<i64>)>,
    auto: Option<&'static str>,
}

impl Window {
    fn draw(d: &mut Draw<'_, '_>, spatial: &[usize], pool: bool) -> Self {
        let few = d.kind == Kind::FewKernels;
        let kernel: Vec<usize> = match few {
            true => vec![d.pick(&[1, 3]); spatial.len()],
            false => spatial.iter().map(|&n| 1 + d.below(n.clamp(1, 3))).collect(),
        };
        let mut attributes = vec![];
        if few {
            let pad = (kernel[0] / 2) as i64;
            attributes.push(("pads", vec![pad; 2 * spatial.len()]));
            return Self { kernel, attributes, auto: None };
        }
        if d.flip() {
            attributes.push(("strides", spatial.iter().map(|_| d.within(1, 3)).collect()));
        }
        if d.below(4) == 3 {
            attributes.push(("dilations", spatial.iter().map(|_| d.within(1, 2)).collect()));
        }
        let auto = (d.below(6) == 5).then(|| d.pick(&["SAME_UPPER", "SAME_LOWER", "VALID"]));
        if auto.is_none() && d.flip() {
            // A pool's window holds something.
            let most = |k: usize| if pool { k as i64 - 1 } else { 2 };
            let begin: Vec<i64> = kernel.iter().map(|&k| d.within(0, most(k))).collect();
            let end: Vec<i64> = kernel.iter().map(|&k| d.within(0, most(k))).collect();
            attributes.push(("pads", [begin, end].concat()));
        }
        Self { kernel, attributes, auto }
    }

    fn of(self, mut definition: Definition) -> Definition {
        for (name, values) in self.attributes {
            definition = definition.attribute(name, values);
        }
        match self.auto {
            Some(auto) => definition.attribute("auto_pad", auto),
            None => definition,
        }
    }
}

pub fn convolution(d: &mut Draw<'_, '_>) -> Option<()> {
    let x = d.floats(if d.kind == Kind::Any { &[4, 3, 5] } else { &[4] });
    let shape = d.shape_of(x);
    let channels = shape[1];
    let window = Window::draw(d, &shape[2..], false);
    let group = match d.below(4) {
        0 if channels > 0 => channels,
        1 if channels > 0 && channels.is_multiple_of(2) => 2,
        _ => 1,
    };
    let outputs = group
        * (1 + d.below(if d.kind == Kind::Any { 5 } else { 2 })
            * if group == 1 && d.kind != Kind::Any { 7 } else { 1 });
    let w = [vec![outputs, channels / group], window.kernel.clone()].concat();
    let mut inputs = vec![x, d.weights(&w)];
    if d.flip() {
        inputs.push(d.weights(&[outputs]));
    }
    let definition = window.of(Definition::new("Conv")).attribute("group", group as i64);
    let mut y = d.node(definition, &inputs, None)?;
    // As networks have it.
    if d.below(3) == 2 {
        y = d.batch_norm(y)?;
    }
    if d.below(3) == 2 {
        d.node(Definition::new("Relu"), &[y], None)?;
    }
    Some(())
}

pub fn transposed(d: &mut Draw<'_, '_>) -> Option<()> {
    let x = d.floats(&[4, 3]);
    let shape = d.shape_of(x);
    let window = Window::draw(d, &shape[2..], true);
    let outputs = 1 + d.below(4);
    let w = [vec![shape[1], outputs], window.kernel.clone()].concat();
    let mut inputs = vec![x, d.weights(&w)];
    if d.flip() {
        inputs.push(d.weights(&[outputs]));
    }
    d.node(window.of(Definition::new("ConvTranspose")), &inputs, None)?;
    Some(())
}

pub fn pool(d: &mut Draw<'_, '_>) -> Option<()> {
    let x = d.floats(if d.kind == Kind::Any { &[4, 3, 5] } else { &[4] });
    let grid = d.grid(x);
    if d.below(3) == 2 {
        let name = d.pick(&["GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool"]);
        d.node(Definition::new(name), &[x], grid.filter(|_| name == "GlobalMaxPool"))?;
        return Some(());
    }
    let shape = d.shape_of(x);
    let window = Window::draw(d, &shape[2..], true);
    let name = d.pick(&["MaxPool", "AveragePool", "LpPool"]);
    let kernel: Vec<i64> = window.kernel.iter().map(|&k| k as i64).collect();
    let mut definition = window.of(Definition::new(name)).attribute("kernel_shape", kernel);
    if d.kind == Kind::Any && d.below(4) == 3 {
        definition = definition.attribute("ceil_mode", 1i64);
    }
    if name == "AveragePool" && d.flip() {
        definition = definition.attribute("count_include_pad", 1i64);
    }
    d.node(definition, &[x], grid.filter(|_| name == "MaxPool"))?;
    Some(())
}
