//! Kernels that tell of every index outside of its bounds, also where what is read there is thrown away.
//!
//! A kernel's module is taken apart, and behind every access by a computed index to a buffer, an array or a vector a
//! comparison with its length is put, which writes the number of the source's line to a buffer of its own. So it is the kernel
//! itself that is shown to stay inside, not the checks that naga puts around what does not.

use naga::back::wgsl::WriterFlags;
use naga::valid::{Capabilities, FunctionInfo, ModuleInfo, ValidationFlags, Validator};
use naga::{
    AddressSpace, ArraySize, BinaryOperator, Block, Expression, Function, GlobalVariable, Handle, Literal, Module,
    Range, ResourceBinding, ScalarKind, Span, Statement, StorageAccess, SwitchCase, Type, TypeInner,
};

/// The kernel with traps: its text, or `None` where it computes no index.
///
/// # Errors
/// If it is not valid, or cannot be written back.
pub fn trapped(wgsl: &str) -> Result<Option<String>, String> {
    let mut module = naga::front::wgsl::parse_str(wgsl).map_err(|e| e.emit_to_string(wgsl))?;
    let before = validated(&module)?;
    let word = Type { name: None, inner: TypeInner::Scalar(naga::Scalar::U32) };
    let word = module.types.insert(word, Span::UNDEFINED);
    let trap = GlobalVariable {
        name: Some("trap".to_owned()),
        space: AddressSpace::Storage { access: StorageAccess::LOAD | StorageAccess::STORE },
        binding: Some(ResourceBinding { group: 1, binding: 0 }),
        ty: word,
        init: None,
        memory_decorations: naga::MemoryDecorations::empty(),
    };
    let trap = module.global_variables.append(trap, Span::UNDEFINED);
    let source = module.clone();
    let mut traps = 0;
    let mut set = |function: &mut Function, info: &FunctionInfo| {
        let body = std::mem::take(&mut function.body);
        let mut setter = Setter { module: &source, info, wgsl, trap, function, traps: 0 };
        let body = setter.block(body);
        traps += setter.traps;
        function.body = body;
    };
    for (handle, function) in module.functions.iter_mut() {
        set(function, &before[handle]);
    }
    for (i, entry) in module.entry_points.iter_mut().enumerate() {
        set(&mut entry.function, before.get_entry_point(i));
    }
    if traps == 0 {
        return Ok(None);
    }
    let info = validated(&module)?;
    naga::back::wgsl::write_string(&module, &info, WriterFlags::empty()).map(Some).map_err(|e| e.to_string())
}

fn validated(module: &Module) -> Result<ModuleInfo, String> {
    let mut validator = Validator::new(ValidationFlags::all(), Capabilities::all());
    validator.validate(module).map_err(|e| format!("{e:?}"))
}

struct Setter<'a> {
    module: &'a Module,
    info: &'a FunctionInfo,
    wgsl: &'a str,
    trap: Handle<GlobalVariable>,
    function: &'a mut Function,
    traps: usize,
}

impl Setter<'_> {
    fn block(&mut self, block: Block) -> Block {
        let mut result = Block::new();
        for (statement, span) in block.span_into_iter() {
            let statement = match statement {
                Statement::Block(inner) => Statement::Block(self.block(inner)),
                Statement::If { condition, accept, reject } => {
                    Statement::If { condition, accept: self.block(accept), reject: self.block(reject) }
                }
                Statement::Switch { selector, cases } => Statement::Switch {
                    selector,
                    cases: cases.into_iter().map(|case| SwitchCase { body: self.block(case.body), ..case }).collect(),
                },
                Statement::Loop { body, continuing, break_if } => {
                    Statement::Loop { body: self.block(body), continuing: self.block(continuing), break_if }
                }
                other => other,
            };
            let emitted = if let Statement::Emit(range) = &statement { Some(range.clone()) } else { None };
            result.push(statement, span);
            for expression in emitted.into_iter().flatten() {
                if let Expression::Access { base, index } = self.function.expressions[expression] {
                    let line = self.function.expressions.get_span(expression).location(self.wgsl).line_number;
                    self.set(&mut result, base, index, line);
                }
            }
        }
        result
    }

    /// Puts a trap behind an access.
    fn set(&mut self, block: &mut Block, base: Handle<Expression>, index: Handle<Expression>, line: u32) {
        let types = &self.module.types;
        let resolved = |handle: Handle<Expression>| self.info[handle].ty.inner_with(types);
        let of = |inner: &TypeInner| match inner {
            TypeInner::Array { size: ArraySize::Constant(n), .. } => Some(Some(n.get())),
            TypeInner::Array { size: ArraySize::Dynamic, .. } => Some(None),
            TypeInner::Vector { size, .. } => Some(Some(*size as u32)),
            TypeInner::Matrix { columns, .. } => Some(Some(*columns as u32)),
            _ => None,
        };
        let length = match resolved(base) {
            TypeInner::Pointer { base, .. } => of(&types[*base].inner),
            TypeInner::ValuePointer { size: Some(size), .. } => Some(Some(*size as u32)),
            inner => of(inner),
        };
        let length = length.unwrap_or_else(|| panic!("line {line}: an index into {:?}", resolved(base)));
        let signed = resolved(index).scalar_kind() == Some(ScalarKind::Sint);
        self.traps += 1;
        let expressions = &mut self.function.expressions;
        let mut append = |expression| expressions.append(expression, Span::UNDEFINED);
        let pointer = append(Expression::GlobalVariable(self.trap));
        let code = append(Expression::Literal(Literal::U32(line)));
        let known = length.map(|n| append(Expression::Literal(Literal::U32(n))));
        // From here on what is computed, and has to be emitted.
        let length = known.unwrap_or_else(|| append(Expression::ArrayLength(base)));
        let unsigned = match signed {
            true => append(Expression::As { expr: index, kind: ScalarKind::Uint, convert: None }),
            false => index,
        };
        let outside = Expression::Binary { op: BinaryOperator::GreaterEqual, left: unsigned, right: length };
        let outside = append(outside);
        let first = if known.is_none() {
            length
        } else if signed {
            unsigned
        } else {
            outside
        };
        block.push(Statement::Emit(Range::new_from_bounds(first, outside)), Span::UNDEFINED);
        let mut accept = Block::new();
        accept.push(Statement::Store { pointer, value: code }, Span::UNDEFINED);
        block.push(Statement::If { condition: outside, accept, reject: Block::new() }, Span::UNDEFINED);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_computed_index_has_a_trap() {
        let text = "@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;\n\
             @group(0) @binding(2) var<storage, read_write> y: array<f32>;\n\
             var<workgroup> shared_: array<f32, 64>;\n\
             @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3<u32>) {\n\
             let i = i32(id.x) - 1;\n\
             shared_[i] = 1.0;\n\
             y[id.x] = select(0.0, x[i][id.y], i > 0) + shared_[3];\n\
             }";
        let trapped = trapped(text).unwrap().unwrap();
        // Not the index that is a constant: that is checked when it is compiled.
        assert_eq!(trapped.matches("trap = 6u").count(), 1, "{trapped}");
        assert_eq!(trapped.matches("trap = 7u").count(), 3, "{trapped}");
        assert!(naga::front::wgsl::parse_str(&trapped).is_ok());
        assert_eq!(super::trapped("@compute @workgroup_size(1) fn main() {}"), Ok(None));
    }
}
