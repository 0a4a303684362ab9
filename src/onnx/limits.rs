//! How much a model file may ask for.

/// Bounds on what a model file may hold, checked before memory is taken for it. The defaults let every model pass that
/// one meets, and stop files that were made to exhaust a machine.
///
/// ```
/// # use rimlight::Limits;
/// let mut limits = Limits::default();
/// limits.file_bytes = 10 << 20; // an application that ships small models only
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
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
    /// Elements of one constant; 2³¹ - 1.
    pub elements: u64,
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
        }
    }
}
