//! A schedule as text, for people and for snapshot tests.

use std::fmt;

use super::schedule::{Bound, Region, Schedule, Step};
use crate::kernel::Storage;

/// Bytes as people read them.
pub fn bytes(n: u64) -> String {
    match n {
        0..1_000 => format!("{n} B"),
        1_000..1_000_000 => format!("{:.1} kB", n as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.2} MB", n as f64 / 1e6),
        _ => format!("{:.2} GB", n as f64 / 1e9),
    }
}

fn place(f: &mut fmt::Formatter<'_>, region: Region) -> fmt::Result {
    write!(f, "{}@{}", region.buffer, region.offset)
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let s = &self.summary;
        writeln!(
            f,
            "{} dispatches ({} conversions of layout), {} pipelines, {} nodes on the host",
            s.dispatches, s.conversions, s.pipelines, s.host_nodes
        )?;
        let buffers: Vec<_> = self.buffers.iter().map(|&n| bytes(n)).collect();
        writeln!(
            f,
            "activations {} in buffers of {} (lower bound {}), constants {}",
            bytes(s.activation_bytes),
            buffers.join(", "),
            bytes(s.lower_bound_bytes),
            bytes(s.constant_bytes)
        )?;
        for (i, step) in self.steps.iter().enumerate() {
            write!(f, "{i:4}  ")?;
            match step {
                Step::Upload(id) | Step::Download(id) => {
                    let slot = &self.slots[id.0];
                    let verb = if matches!(step, Step::Upload(_)) { "upload  " } else { "download" };
                    write!(f, "{verb} '{}' {:?} ", self.graph.value(slot.value).name, slot.shape)?;
                    place(f, slot.region)?;
                }
                Step::Host(host) => {
                    let node = self.graph.node(host.node);
                    write!(f, "host     '{}' ({})", node.name, node.operator.name())?;
                }
                Step::Dispatch(d) => {
                    let kernel = &self.kernels[d.kernel];
                    write!(f, "dispatch '{}' {}", d.label, kernel.shader)?;
                    for (name, value) in &kernel.defines {
                        write!(f, " {name}={value}")?;
                    }
                    let [x, y, z] = d.workgroups;
                    write!(f, " ×{x}·{y}·{z}:")?;
                    for bound in &d.bindings {
                        f.write_str(" ")?;
                        match bound {
                            Bound::Slot(id) => {
                                let slot = &self.slots[id.0];
                                write!(f, "{}", slot.layout)?;
                                // In a plan of 16 bits, what is not.
                                if self.half && slot.storage == Storage::F32 {
                                    f.write_str("/f32")?;
                                }
                                f.write_str(":")?;
                                place(f, slot.region)?;
                            }
                            Bound::Scratch(region) => {
                                f.write_str("scratch:")?;
                                place(f, *region)?;
                            }
                            Bound::Constant(i) => write!(f, "constant:{i}")?,
                        }
                    }
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use crate::graph::{Definition, Graph};
    use crate::kernel::DeviceFacts;
    use crate::plan::{PlanOptions, plan};
    use crate::tensor::{ElementType, Tensor};

    #[test]
    fn a_chain_runs_in_place_and_a_value_that_is_needed_is_kept() {
        let mut graph = Graph::builder();
        let x = graph.input("x", ElementType::F32, [1, 64]);
        let a = graph.node(&Definition::new("Relu"), &[x]).unwrap();
        let b = graph.node(&Definition::new("Relu"), &[a]).unwrap();
        graph.output("a", a);
        graph.output("b", b);
        let schedule = plan(graph.build().unwrap(), &DeviceFacts::lavapipe(), &PlanOptions::default()).unwrap();
        assert_eq!(schedule.slots[0].region, schedule.slots[1].region, "x is not needed after a");
        assert_ne!(schedule.slots[1].region.buffer, schedule.slots[2].region.buffer, "a is an output");
        assert_eq!(schedule.summary.activation_bytes, 512);
        assert_eq!(schedule.summary.lower_bound_bytes, 512);
        assert_eq!(schedule.summary.dispatches, 2);
        // The first in place, the second not: two pipelines of one shader.
        assert_eq!(schedule.summary.pipelines, 2);
    }

    #[test]
    fn parts_of_a_concatenation_are_written_where_they_belong() {
        let mut graph = Graph::builder();
        let x = graph.input("x", ElementType::F32, [1, 4, 8]);
        let a = graph.node(&Definition::new("Relu"), &[x]).unwrap();
        let b = graph.node(&Definition::new("Neg"), &[x]).unwrap();
        let y = graph.node(&Definition::new("Concat").attribute("axis", 1i64), &[a, b, x]).unwrap();
        graph.output("y", y);
        let schedule = plan(graph.build().unwrap(), &DeviceFacts::lavapipe(), &PlanOptions::default()).unwrap();
        // Relu, Neg, and a copy of x, which is needed until then and was uploaded elsewhere.
        assert_eq!(schedule.summary.dispatches, 3, "{schedule}");
        let slot =
            |name: &str| schedule.slots.iter().find(|s| schedule.graph.value(s.value).name == name).unwrap().region;
        let (a, b, y) = (slot("Relu_0"), slot("Neg_1"), slot("y"));
        assert_eq!((a.buffer, a.offset, b.buffer, b.offset), (y.buffer, y.offset, y.buffer, y.offset + 128));
    }

    #[test]
    fn what_comes_behind_a_constant_is_written_where_it_belongs() {
        for length in [4usize, 3] {
            let mut graph = Graph::builder();
            let x = graph.input("x", ElementType::F32, [1, 8]);
            let c = graph.constant("c", Tensor::new([1, length], vec![1f32; length]).unwrap());
            let a = graph.node(&Definition::new("Relu"), &[x]).unwrap();
            let y = graph.node(&Definition::new("Concat").attribute("axis", 1i64), &[c, a]).unwrap();
            // The input is needed afterwards, so that nothing is written over it.
            let z = graph.node(&Definition::new("Neg"), &[x]).unwrap();
            graph.output("y", y);
            graph.output("z", z);
            let schedule = plan(graph.build().unwrap(), &DeviceFacts::lavapipe(), &PlanOptions::default()).unwrap();
            // Relu, Neg, and a copy of the constant; where that ends within a unit, of both parts by elements.
            assert_eq!(schedule.summary.dispatches, 3, "{schedule}");
            assert_eq!(schedule.to_string().contains("shape/place"), length == 4, "{schedule}");
        }
    }
}
