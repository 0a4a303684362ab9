//! The shaders' texts: built into the library, and perhaps replaced by the caller's own.

use std::collections::BTreeMap;
#[cfg(not(target_arch = "wasm32"))]
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::nearest::suggestion;

/// Pairs every file below `shaders/` with its text. One line a shader.
macro_rules! shaders {
    ($($path:literal),* $(,)?) => {
        &[$(($path, include_str!(concat!("../../shaders/", $path)))),*]
    };
}

/// Every shader: its path below `shaders/` and its text.
pub const SHADERS: &[(&str, &str)] = shaders! {
    "attention/append.wgsl",
    "attention/mask.wgsl",
    "attention/merge.wgsl",
    "attention/operands.wgsl",
    "attention/rows.wgsl",
    "attention/running.wgsl",
    "attention/subgroup.wgsl",
    "attention/subgroup_decode.wgsl",
    "attention/weights.wgsl",
    "common/activation.wgsl",
    "common/double.wgsl",
    "common/half.wgsl",
    "common/index.wgsl",
    "common/lanes.wgsl",
    "common/math.wgsl",
    "common/quantize.wgsl",
    "common/saturated.wgsl",
    "common/turn.wgsl",
    "common/upper_halves.wgsl",
    "common/wide.wgsl",
    "common/workgroup.wgsl",
    "conv/blocks.wgsl",
    "conv/columns.wgsl",
    "conv/deform.wgsl",
    "conv/depthwise_channels4.wgsl",
    "conv/depthwise_rows.wgsl",
    "conv/direct.wgsl",
    "conv/elements.wgsl",
    "conv/join.wgsl",
    "conv/output.wgsl",
    "conv/part.wgsl",
    "conv/register.wgsl",
    "conv/subgroup.wgsl",
    "conv/transpose.wgsl",
    "conv/window.wgsl",
    "conv/winograd_input.wgsl",
    "conv/winograd_output.wgsl",
    "conv/workgroup.wgsl",
    "convert/blocks.wgsl",
    "convert/gather.wgsl",
    "elementwise/arithmetic.wgsl",
    "elementwise/broadcast.wgsl",
    "elementwise/lookup.wgsl",
    "elementwise/operands.wgsl",
    "elementwise/unary.wgsl",
    "index/gather_elements.wgsl",
    "index/gather_nd.wgsl",
    "index/one_hot.wgsl",
    "index/places.wgsl",
    "index/ranks.wgsl",
    "index/reduction.wgsl",
    "index/scatter_elements.wgsl",
    "index/scatter_nd.wgsl",
    "index/top_k.wgsl",
    "loss/negative_log_likelihood.wgsl",
    "grid/affine.wgsl",
    "grid/sample.wgsl",
    "matmul/batch.wgsl",
    "matmul/contract.wgsl",
    "matmul/cooperative.wgsl",
    "matmul/determinant.wgsl",
    "matmul/finish.wgsl",
    "matmul/generic.wgsl",
    "matmul/join.wgsl",
    "matmul/operands.wgsl",
    "matmul/panels.wgsl",
    "matmul/part.wgsl",
    "matmul/register.wgsl",
    "matmul/subgroup.wgsl",
    "matmul/vector.wgsl",
    "matmul/weights.wgsl",
    "matmul/workgroup.wgsl",
    "norm/apply.wgsl",
    "norm/hardmax.wgsl",
    "norm/moments.wgsl",
    "norm/normalize.wgsl",
    "norm/response.wgsl",
    "norm/softmax.wgsl",
    "norm/standard.wgsl",
    "norm/statistics.wgsl",
    "picture/across.wgsl",
    "picture/down.wgsl",
    "picture/show.wgsl",
    "pool/channels4.wgsl",
    "pool/direct.wgsl",
    "pool/global.wgsl",
    "pool/indices.wgsl",
    "pool/join.wgsl",
    "pool/norm.wgsl",
    "pool/rows.wgsl",
    "pool/window.wgsl",
    "quantize/blocks.wgsl",
    "quantize/blocks_product.wgsl",
    "quantize/combine.wgsl",
    "quantize/dynamic.wgsl",
    "quantize/extent.wgsl",
    "quantize/finish.wgsl",
    "quantize/lookup.wgsl",
    "quantize/mean.wgsl",
    "quantize/packed_depthwise.wgsl",
    "quantize/packed_ends.wgsl",
    "quantize/packed_register.wgsl",
    "quantize/packed_subgroup.wgsl",
    "quantize/packed_sums.wgsl",
    "quantize/product.wgsl",
    "quantize/table.wgsl",
    "random/draw.wgsl",
    "random/multinomial.wgsl",
    "random/philox.wgsl",
    "recurrent/functions.wgsl",
    "recurrent/gates.wgsl",
    "recurrent/layer.wgsl",
    "recurrent/part.wgsl",
    "reduce/arg.wgsl",
    "reduce/general.wgsl",
    "reduce/lanes.wgsl",
    "reduce/running.wgsl",
    "resize/nearest.wgsl",
    "resize/taps.wgsl",
    "roi/bins.wgsl",
    "self_test/core.wgsl",
    "self_test/storage.wgsl",
    "self_test/subgroups.wgsl",
    "shape/concat.wgsl",
    "shape/fill.wgsl",
    "shape/gather.wgsl",
    "shape/gather_part.wgsl",
    "shape/generate.wgsl",
    "shape/owned.wgsl",
    "shape/owners.wgsl",
    "shape/place.wgsl",
    "shape/remap.wgsl",
    "shape/rotate.wgsl",
    "shape/rotate_half.wgsl",
    "shape/reverse.wgsl",
    "shape/strided.wgsl",
    "shape/tensor_scatter.wgsl",
    "shape/transpose.wgsl",
    "shape/triangle.wgsl",
    "signal/dft.wgsl",
};

/// The text of a shader.
pub fn text(path: &str) -> Option<&'static str> {
    SHADERS.iter().find(|(p, _)| *p == path).map(|(_, text)| *text)
}

/// The shaders that kernels are made of: those built in, some perhaps replaced.
///
/// For who writes kernels: a shader is changed on the device where it is tried, a phone say, without building the library.
///
/// ```no_run
/// # fn main() -> Result<(), rimlight::Error> {
/// use rimlight::{Options, kernel::Shaders};
/// // my-shaders/conv/direct.wgsl, and nothing else, takes the place of Rimlight's own.
/// let options = Options::new().shaders(Shaders::from_folder("my-shaders")?);
/// # Ok(()) }
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Shaders {
    /// By path. Shared, and compared and hashed by content: it is a part of the keys of compiled pipelines.
    replaced: Arc<BTreeMap<String, String>>,
}

/// A shader of the caller's own cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("shader '{shader}': {message}")]
pub struct ShaderError {
    /// The shader's path, or the folder's.
    pub shader: String,
    /// What is wrong with it.
    pub message: String,
}

impl Shaders {
    /// Those that are built in.
    pub fn new() -> Self {
        Self::default()
    }

    /// Puts a text in the place of a shader, such as `conv/direct.wgsl` or `common/math.wgsl`.
    ///
    /// # Errors
    /// If there is no shader of this path. The text is checked when a plan uses it.
    pub fn replace(mut self, path: impl Into<String>, text: impl Into<String>) -> Result<Self, ShaderError> {
        let path = path.into();
        if self::text(&path).is_none() {
            let near = suggestion(&path, SHADERS.iter().map(|(path, _)| *path));
            return Err(ShaderError { shader: path, message: format!("there is none of this name{near}") });
        }
        Arc::make_mut(&mut self.replaced).insert(path, text.into());
        Ok(self)
    }

    /// Replaces those that lie in a folder, under the paths that they have in Rimlight's own `shaders/`. Files whose name
    /// begins with a dot are passed over.
    ///
    /// # Errors
    /// If the folder cannot be read, holds no shader, or a file that is in the place of none.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn from_folder(folder: impl AsRef<Path>) -> Result<Self, ShaderError> {
        let folder = folder.as_ref();
        let mut shaders = Self::new();
        for (path, file) in files(folder, "")? {
            let read = std::fs::read_to_string(&file);
            let text = read.map_err(|e| ShaderError { shader: path.clone(), message: e.to_string() })?;
            shaders = shaders.replace(path, text)?;
        }
        match shaders.replaced.is_empty() {
            true => Err(ShaderError {
                shader: folder.display().to_string(),
                message: "the folder holds no shader; give each the path that it replaces, such as conv/direct.wgsl"
                    .to_owned(),
            }),
            false => Ok(shaders),
        }
    }

    /// The text of a shader.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.replaced.get(path).map(String::as_str).or_else(|| text(path))
    }

    /// Whether a shader was replaced.
    pub fn is_replaced(&self, path: &str) -> bool {
        self.replaced.contains_key(path)
    }

    /// Whether none was replaced.
    pub fn are_built_in(&self) -> bool {
        self.replaced.is_empty()
    }
}

/// The files of a folder and of the folders in it, with their paths below it. Shaders lie one folder deep.
#[cfg(not(target_arch = "wasm32"))]
fn files(folder: &Path, below: &str) -> Result<Vec<(String, PathBuf)>, ShaderError> {
    let fail = |e: std::io::Error| ShaderError { shader: folder.display().to_string(), message: e.to_string() };
    let mut found = vec![];
    for entry in std::fs::read_dir(folder).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let (name, path) = (entry.file_name().to_string_lossy().into_owned(), entry.path());
        if name.starts_with('.') {
            continue;
        }
        if below.is_empty() && path.is_dir() {
            found.extend(files(&path, &format!("{name}/"))?);
        } else {
            found.push((format!("{below}{name}"), path));
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_there_can_be_replaced() {
        let error = Shaders::new().replace("conv/dirct.wgsl", "").unwrap_err();
        assert_eq!(
            error.to_string(),
            "shader 'conv/dirct.wgsl': there is none of this name; did you mean 'conv/direct.wgsl'?"
        );
        let one = Shaders::new().replace("conv/direct.wgsl", "// mine").unwrap();
        assert_eq!(one.text("conv/direct.wgsl"), Some("// mine"));
        assert_eq!(one.text("conv/register.wgsl"), text("conv/register.wgsl"));
        assert_ne!(one, Shaders::new());
        assert_eq!(one, Shaders::new().replace("conv/direct.wgsl", "// mine").unwrap());
    }
}
