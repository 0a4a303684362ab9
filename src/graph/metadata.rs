//! What a model file says about itself.

/// What a model file says about itself. Empty for a graph that was made in code.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Metadata {
    /// The program that wrote the file, with its version.
    pub producer: String,
    /// The version of the file format.
    pub ir_version: i64,
    /// The operator sets that it uses: domain (empty for the standard's own) and version.
    pub opsets: Vec<(String, i64)>,
    /// What the author says of it.
    pub doc: String,
    /// Names and values of the author's own.
    pub properties: Vec<(String, String)>,
}
