//! A plan's memory over time, as a line of text and as a picture.

use std::fmt::Write;

use rimlight::plan::{Bound, Region, Schedule, Step, readable_bytes};

/// Bytes that are live at each step: what is shared is counted once.
pub fn live(schedule: &Schedule) -> Vec<u64> {
    let mut live = vec![0u64; schedule.steps.len()];
    for (step, bytes) in live.iter_mut().enumerate() {
        let mut regions: Vec<(usize, u64, u64)> = schedule
            .slots
            .iter()
            .filter(|slot| (slot.live.0..=slot.live.1).contains(&step))
            .map(|slot| slot.region)
            .chain(scratch(&schedule.steps[step]))
            .map(|region| (region.buffer, region.offset, region.offset + region.size))
            .collect();
        regions.sort_unstable();
        // Views and parts of concatenations lie in each other.
        let mut end = (usize::MAX, 0);
        for (buffer, from, to) in regions {
            let from = if end.0 == buffer { from.max(end.1) } else { from };
            *bytes += to.saturating_sub(from);
            end = if end.0 == buffer { (buffer, end.1.max(to)) } else { (buffer, to) };
        }
    }
    live
}

/// What a step needs for itself alone.
fn scratch(step: &Step) -> impl Iterator<Item = Region> {
    let bindings = match step {
        Step::Dispatch(dispatch) => dispatch.bindings.as_slice(),
        _ => &[],
    };
    bindings.iter().filter_map(|bound| match bound {
        Bound::Scratch(region) => Some(*region),
        _ => None,
    })
}

/// The live bytes in one line of at most `width` characters, each the most of its steps.
pub fn line(schedule: &Schedule, width: usize) -> String {
    let live = live(schedule);
    let most = live.iter().copied().max().unwrap_or(0);
    if most == 0 {
        return String::new();
    }
    let marks = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let group = live.len().div_ceil(width).max(1);
    let mark = |bytes: u64| marks[usize::try_from(bytes * 7 / most).unwrap_or(7).min(7)];
    let line: String = live.chunks(group).map(|steps| mark(steps.iter().copied().max().unwrap_or(0))).collect();
    format!("{line} {}", readable_bytes(most))
}

/// A picture: each value is a bar from the step that writes it to the one that reads it last, at its place in its buffer;
/// steps on the host are red columns.
pub fn svg(schedule: &Schedule, title: &str) -> String {
    const WIDTH: f64 = 1100.0;
    const HEIGHT: f64 = 520.0;
    const LEFT: f64 = 70.0;
    const TOP: f64 = 50.0;
    let steps = schedule.steps.len().max(1) as f64;
    let total = schedule.buffers.iter().sum::<u64>().max(1) as f64;
    let x = |step: usize| LEFT + step as f64 / steps * WIDTH;
    let y = |bytes: u64| TOP + bytes as f64 / total * HEIGHT;
    let mut out = String::new();
    // Writing into a string cannot fail.
    let mut put = |text: String| writeln!(out, "{text}").unwrap_or_default();
    put(format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {} {}" font-family="sans-serif" font-size="11">"#,
        LEFT + WIDTH + 20.0,
        TOP + HEIGHT + 40.0
    ));
    put(r#"<rect width="100%" height="100%" fill="white"/>"#.to_owned());
    put(format!(
        r#"<text x="{LEFT}" y="20" font-size="14">{}: {} in {} buffers, lower bound {}</text>"#,
        escape(title),
        readable_bytes(schedule.summary.activation_bytes),
        schedule.buffers.len(),
        readable_bytes(schedule.summary.lower_bound_bytes)
    ));
    let mut start = 0;
    let mut starts = vec![];
    for (i, size) in schedule.buffers.iter().enumerate() {
        starts.push(start);
        let shade = if i % 2 == 0 { "#f4f4f4" } else { "#e9e9e9" };
        put(format!(
            r#"<rect x="{LEFT}" y="{:.1}" width="{WIDTH}" height="{:.1}" fill="{shade}"><title>buffer {i}, {}</title></rect>"#,
            y(start),
            y(start + size) - y(start),
            readable_bytes(*size)
        ));
        put(format!(r#"<text x="4" y="{:.1}">{}</text>"#, y(start) + 11.0, readable_bytes(*size)));
        start += size;
    }
    for (i, step) in schedule.steps.iter().enumerate() {
        if let Step::Host(host) = step {
            let node = schedule.graph.node(host.node);
            put(format!(
                r##"<rect x="{:.1}" y="{TOP}" width="{:.2}" height="{HEIGHT}" fill="#d22" opacity="0.8"><title>on the host: {} ({})</title></rect>"##,
                x(i),
                (WIDTH / steps).max(1.0),
                escape(&node.name),
                escape(node.operator.name())
            ));
        }
    }
    for (i, slot) in schedule.slots.iter().enumerate() {
        let Some(start) = starts.get(slot.region.buffer) else { continue };
        let top = y(start + slot.region.offset);
        let height = y(start + slot.region.offset + slot.region.size) - top;
        // Neighbours get hues far apart.
        let hue = (i * 137) % 360;
        put(format!(
            r#"<rect x="{:.1}" y="{top:.1}" width="{:.1}" height="{:.1}" fill="hsl({hue},55%,60%)" fill-opacity="0.75" stroke="white" stroke-width="0.4"><title>{} {:?} {}, steps {} to {}, {}</title></rect>"#,
            x(slot.live.0),
            (x(slot.live.1 + 1) - x(slot.live.0)).max(0.5),
            height.max(0.3),
            escape(&schedule.graph.value(slot.value).name),
            slot.shape,
            slot.layout,
            slot.live.0,
            slot.live.1,
            readable_bytes(slot.region.size)
        ));
    }
    put(format!(
        r#"<text x="{LEFT}" y="{}">{} steps, from left to right; point at a bar to see which value it is</text>"#,
        TOP + HEIGHT + 25.0,
        schedule.steps.len()
    ));
    put("</svg>".to_owned());
    out
}

/// Names come from files and can hold anything.
fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // Not allowed in XML at all.
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use rimlight::graph::{Definition, Graph};
    use rimlight::kernel::DeviceFacts;
    use rimlight::plan::{PlanOptions, plan};
    use rimlight::{Element, ElementType};

    use super::*;

    fn chain() -> Schedule {
        let mut graph = Graph::builder();
        let x = graph.input("x<&>", ElementType::F32, [1, 64]);
        let a = graph.node(&Definition::new("Relu"), &[x]).unwrap();
        let b = graph.node(&Definition::new("Sigmoid"), &[a]).unwrap();
        graph.output("a", a);
        graph.output("b", b);
        plan(graph.build().unwrap(), &DeviceFacts::lavapipe(), &PlanOptions::default()).unwrap()
    }

    #[test]
    fn live_bytes_count_shared_memory_once() {
        let schedule = chain();
        let live = live(&schedule);
        assert_eq!(live.iter().copied().max().unwrap(), schedule.summary.lower_bound_bytes);
        assert_eq!(live.len(), schedule.steps.len());
        assert_eq!(f32::TYPE.size() as u64 * 64, live[0]);
        assert!(line(&schedule, 60).ends_with("512 B"));
    }

    #[test]
    fn the_picture_is_well_formed_whatever_names_hold() {
        let svg = svg(&chain(), "a \"title\" & more");
        assert!(svg.contains("x&lt;&amp;&gt;") && svg.contains("a &quot;title&quot; &amp; more"));
        assert_eq!(svg.matches("<rect").count(), svg.matches("</rect>").count() + 1, "the ground alone has no title");
        assert!(svg.trim_end().ends_with("</svg>"));
    }
}
