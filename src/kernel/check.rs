//! Checking kernels that are made of shaders of the caller's own.

use super::ShaderError;
use super::assemble::Assembled;

/// Checks WGSL that is made of shaders of the caller's own: that it is valid, and that it takes the parameters that a
/// dispatch gives it. (That of the library's own shaders is checked by its tests.)
///
/// # Errors
/// With the compiler's message and the line.
pub fn check(assembled: &Assembled, params: &[&str]) -> Result<(), ShaderError> {
    use naga::valid::{Capabilities, ShaderStages, SubgroupOperationSet, ValidationFlags, Validator};
    let fail = |message: String| ShaderError { shader: assembled.replaced.join("', '"), message };
    let wgsl = assembled.wgsl.as_str();
    let module = naga::front::wgsl::parse_str(wgsl).map_err(|e| fail(e.emit_to_string(wgsl)))?;
    Validator::new(ValidationFlags::all(), Capabilities::all())
        .subgroup_stages(ShaderStages::COMPUTE)
        .subgroup_operations(SubgroupOperationSet::all())
        .validate(&module)
        .map_err(|e| fail(e.emit_to_string(wgsl)))?;
    let bases = assembled.buffers.iter().filter(|b| b.binding.is_some()).count();
    let own = assembled.params.get(bases..).unwrap_or_default();
    match own == params {
        true => Ok(()),
        false => Err(fail(format!("it takes the parameters {own:?}, but is given {params:?}"))),
    }
}
