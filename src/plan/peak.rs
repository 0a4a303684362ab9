//! How near the memory of values comes to the lower bound, on networks of the shapes that are run most.

use crate::builder::GraphBuilder;
use crate::graph::{Definition, Graph, ValueId};
use crate::kernel::{DeviceClass, DeviceFacts};
use crate::optimize::{Rewrites, optimize};
use crate::plan::{PlanOptions, Summary, plan};
use crate::tensor::{ElementType, Tensor};

/// A network as it is made: every convolution with a bias, and an activation where one is named.
struct Net {
    graph: GraphBuilder,
    constants: usize,
}

impl Net {
    fn new() -> (Self, ValueId) {
        let mut graph = Graph::builder();
        let x = graph.input("x", ElementType::F32, [1, 3, 224, 224]);
        (Self { graph, constants: 0 }, x)
    }

    fn node(&mut self, operator: &str, inputs: &[ValueId]) -> ValueId {
        self.graph.node(&Definition::new(operator), inputs).unwrap()
    }

    /// A convolution from `from` to `to` channels; depthwise where `groups` is their number.
    fn conv(&mut self, x: ValueId, (from, to, groups): (usize, usize, usize), kernel: i64, stride: i64) -> ValueId {
        let side = usize::try_from(kernel).unwrap();
        let shape = [to, from / groups, side, side];
        self.constants += 1;
        let weights = Tensor::new(shape, vec![0.5f32; shape.iter().product()]).unwrap();
        let w = self.graph.constant(&format!("w{}", self.constants), weights);
        let b = self.graph.constant(&format!("b{}", self.constants), Tensor::vector(vec![0.5f32; to]));
        let definition = Definition::new("Conv")
            .attribute("strides", vec![stride; 2])
            .attribute("pads", vec![kernel / 2; 4])
            .attribute("group", groups as i64);
        self.graph.node(&definition, &[x, w, b]).unwrap()
    }

    /// An inverted residual; with a gate where `swish`.
    fn inverted(
        &mut self,
        x: ValueId,
        (from, to): (usize, usize),
        expand: usize,
        kernel: i64,
        stride: i64,
        swish: bool,
    ) -> ValueId {
        let wide = from * expand;
        let mut y = if expand == 1 { x } else { self.conv(x, (from, wide, 1), 1, 1) };
        let activate = |net: &mut Self, y| match swish {
            true => {
                let sigmoid = net.node("Sigmoid", &[y]);
                net.node("Mul", &[y, sigmoid])
            }
            false => net.node("Relu", &[y]),
        };
        if expand > 1 {
            y = activate(self, y);
        }
        y = self.conv(y, (wide, wide, wide), kernel, stride);
        y = activate(self, y);
        if swish {
            let mean = self.node("GlobalAveragePool", &[y]);
            let squeezed = self.conv(mean, (wide, from.div_ceil(4), 1), 1, 1);
            let squeezed = activate(self, squeezed);
            let gate = self.conv(squeezed, (from.div_ceil(4), wide, 1), 1, 1);
            let gate = self.node("Sigmoid", &[gate]);
            y = self.node("Mul", &[y, gate]);
        }
        y = self.conv(y, (wide, to, 1), 1, 1);
        if stride == 1 && from == to { self.node("Add", &[x, y]) } else { y }
    }

    fn summary(mut self, output: ValueId, class: DeviceClass) -> Summary {
        self.graph.output("y", output);
        let graph = optimize(self.graph.build().unwrap(), &Rewrites::without([]).unwrap()).unwrap();
        let facts = match class {
            DeviceClass::Software => DeviceFacts::lavapipe(),
            class => DeviceFacts::floor(class),
        };
        plan(graph, &facts, &PlanOptions::default()).unwrap().summary
    }
}

/// The stem and the first stages of mobilenet_v2, where its values are largest.
fn mobilenet(class: DeviceClass) -> Summary {
    let (mut net, x) = Net::new();
    let stem = net.conv(x, (3, 32, 1), 3, 2);
    let mut y = net.node("Relu", &[stem]);
    for (from, to, expand, stride) in
        [(32, 16, 1, 1), (16, 24, 6, 2), (24, 24, 6, 1), (24, 32, 6, 2), (32, 32, 6, 1), (32, 32, 6, 1), (32, 64, 6, 2)]
    {
        y = net.inverted(y, (from, to), expand, 3, stride, false);
    }
    net.summary(y, class)
}

/// Those of efficientnet_b0, with gates.
fn efficientnet(class: DeviceClass) -> Summary {
    let (mut net, x) = Net::new();
    let stem = net.conv(x, (3, 32, 1), 3, 2);
    let sigmoid = net.node("Sigmoid", &[stem]);
    let mut y = net.node("Mul", &[stem, sigmoid]);
    for (from, to, expand, kernel, stride) in [
        (32, 16, 1, 3, 1),
        (16, 24, 6, 3, 2),
        (24, 24, 6, 3, 1),
        (24, 40, 6, 5, 2),
        (40, 40, 6, 5, 1),
        (40, 80, 6, 3, 2),
    ] {
        y = net.inverted(y, (from, to), expand, kernel, stride, true);
    }
    net.summary(y, class)
}

/// Those of resnet18.
fn resnet(class: DeviceClass) -> Summary {
    let (mut net, x) = Net::new();
    let stem = net.conv(x, (3, 64, 1), 7, 2);
    let stem = net.node("Relu", &[stem]);
    let pool = Definition::new("MaxPool")
        .attribute("kernel_shape", vec![3i64, 3])
        .attribute("strides", vec![2i64, 2])
        .attribute("pads", vec![1i64; 4]);
    let mut y = net.graph.node(&pool, &[stem]).unwrap();
    for (from, to, stride) in [(64, 64, 1), (64, 64, 1), (64, 128, 2), (128, 128, 1)] {
        let a = net.conv(y, (from, to, 1), 3, stride);
        let a = net.node("Relu", &[a]);
        let b = net.conv(a, (to, to, 1), 3, 1);
        let beside = if from == to { y } else { net.conv(y, (from, to, 1), 1, stride) };
        let sum = net.node("Add", &[b, beside]);
        y = net.node("Relu", &[sum]);
    }
    net.summary(y, class)
}

#[test]
fn networks_take_little_more_than_the_lower_bound() {
    for class in [DeviceClass::Software, DeviceClass::Mali, DeviceClass::Nvidia] {
        for (name, net) in [("mobilenet", mobilenet as fn(_) -> _), ("efficientnet", efficientnet), ("resnet", resnet)]
        {
            let summary: Summary = net(class);
            let ratio = summary.activation_bytes as f64 / summary.lower_bound_bytes as f64;
            assert!(ratio <= 1.15, "{name} on {class}: {ratio}, {summary:?}");
        }
    }
}
