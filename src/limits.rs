//! How much a model may ask for, by its file and by its runs.

/// Bounds on what a model may take, checked before it is taken: those of the file where it is
/// [loaded](crate::Model::open_with), those of runs where they are [planned](crate::Options::limits), and, for what only a run
/// can tell, before a node is computed. The defaults let every model pass that one meets, and stop what was made to exhaust
/// a machine.
///
/// ```
/// use rimlight::{Device, Limits, Model, Options};
/// let mut limits = Limits::default();
/// limits.file_bytes = 10 << 20; // an application that ships small models only
/// limits.memory_bytes = 256 << 20;
/// let model = Model::open_with("models/digits.onnx", &limits)?;
/// let session = model.session_with(&Device::cpu(), &Options::new().limits(limits))?;
/// # Ok::<(), rimlight::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// Bytes of the model file itself; 2 GiB, which is the most that the format allows.
    pub file_bytes: u64,
    /// Nodes, those of subgraphs counted; 65,536.
    pub nodes: u64,
    /// Parts of the file that take memory when they are decoded however short they are (nodes, tensors, attributes,
    /// dimensions, names in lists); 1,048,576, for which decoding takes some 300 MB at the worst.
    pub messages: u64,
    /// Graphs in attributes of graphs; 8. Above 25 it has no effect.
    pub nesting: u64,
    /// Bytes of all constants together, those of external files counted; 8 GiB.
    pub initializer_bytes: u64,
    /// Elements of one tensor, a constant of the file or a value of a run; 2³¹ - 1.
    pub elements: u64,
    /// Bytes that constants and the values which are needed at one time take together, as elements of their types, whatever a
    /// device makes of them; 16 GiB.
    pub memory_bytes: u64,
    /// Operations of one run, about, as far as shapes are known when it is planned; 10¹⁴, a minute and a half of a processor that does
    /// 10¹² in a second.
    pub work: u64,
    /// Work of the bodies of If, Loop and Scan in each node of the model's graph: 1 for each node that is computed in them, and 1 more
    /// for every 4 KiB that it gives; 2²⁴.
    pub body_work: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            file_bytes: 1 << 31,
            nodes: 1 << 16,
            messages: 1 << 20,
            nesting: 8,
            initializer_bytes: 8 << 30,
            elements: (1 << 31) - 1,
            memory_bytes: 16 << 30,
            work: 100_000_000_000_000,
            body_work: 1 << 24,
        }
    }
}

impl Limits {
    /// The limit of this name, to be changed, such as a program is told it on its command line.
    pub fn by_name(&mut self, name: &str) -> Option<&mut u64> {
        Some(match name {
            "file_bytes" => &mut self.file_bytes,
            "nodes" => &mut self.nodes,
            "messages" => &mut self.messages,
            "nesting" => &mut self.nesting,
            "initializer_bytes" => &mut self.initializer_bytes,
            "elements" => &mut self.elements,
            "memory_bytes" => &mut self.memory_bytes,
            "work" => &mut self.work,
            "body_work" => &mut self.body_work,
            _ => return None,
        })
    }

    /// The names that [`Limits::by_name`] knows.
    pub const NAMES: [&'static str; 9] = [
        "file_bytes",
        "nodes",
        "messages",
        "nesting",
        "initializer_bytes",
        "elements",
        "memory_bytes",
        "work",
        "body_work",
    ];
}

/// A limit of [`Limits`] was passed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{what} is {found}, above the limit of {limit}; raise `Limits::{field}` (`--limit {field}=N`) if you trust the model"
)]
#[non_exhaustive]
pub struct LimitError {
    /// What was counted.
    pub what: String,
    /// How much it is, or at least.
    pub found: u64,
    /// How much is allowed.
    pub limit: u64,
    /// The field of [`Limits`] to raise.
    pub field: &'static str,
}

/// Whether a count is within a limit.
pub(crate) fn within(what: impl Into<String>, found: u64, limit: u64, field: &'static str) -> Result<(), LimitError> {
    if found > limit { Err(LimitError { what: what.into(), found, limit, field }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_has_its_name() {
        let mut limits = Limits::default();
        for (i, name) in (0u64..).zip(Limits::NAMES) {
            *limits.by_name(name).unwrap() = i;
        }
        let Limits { file_bytes, nodes, messages, nesting, initializer_bytes, elements, memory_bytes, work, body_work } =
            limits;
        let all = [file_bytes, nodes, messages, nesting, initializer_bytes, elements, memory_bytes, work, body_work];
        assert_eq!(all, [0, 1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(limits.by_name("patience"), None);
    }
}
