//! What the preprocessor writes.

use super::*;

#[test]
fn loops_are_written_out() {
    let kernel = Kernel::of("none").define("N", 2);
    let assembly = Assembly {
        kernel: &kernel,
        shaders: &Shaders::default(),
        dialect: Dialect::COMMON,
        imported: BTreeSet::new(),
        body: String::new(),
        buffers: vec![],
        params: vec![],
        extensions: vec![],
        replaced: vec![],
    };
    let repeat = |text: &str| {
        let lines = text.lines().map(str::to_owned).enumerate().collect();
        assembly.repeated("none", lines).map(|lines| lines.into_iter().map(|(_, l)| l).collect::<Vec<_>>())
    };
    assert_eq!(
        repeat("a\n#for i in N\n  #for j in 2\nc{i}{j}\n  #endfor\nd{i}\n#endfor\nb").unwrap(),
        ["a", "c00", "c01", "d0", "c10", "c11", "d1", "b"]
    );
    assert!(repeat("#for i in 3\na").is_err());
    assert!(repeat("#endfor").is_err());
}

#[test]
fn units_may_be_words_of_64_bits() {
    let storages = vec![Storage::F32; 2];
    for in_place in [None, Some((0, 1))] {
        let kernel = Kernel { storages: storages.clone(), in_place, ..Kernel::of("elementwise/unary.wgsl") };
        let kernel = kernel.define("WORKGROUP", 64).paste("EXPRESSION", "v");
        let text = assemble_from(&Shaders::default(), &kernel, Dialect { words64: true, halves: true }).unwrap().wgsl;
        assert!(text.contains("array<vec2<u64>>") && !text.contains("array<vec4<f32>>"), "{text}");
        let module = naga::front::wgsl::parse_str(&text).unwrap_or_else(|e| panic!("{}", e.emit_to_string(&text)));
        let capabilities = naga::valid::Capabilities::SHADER_INT64;
        naga::valid::Validator::new(naga::valid::ValidationFlags::all(), capabilities).validate(&module).unwrap();
    }
}

/// Neither storing, nor reading, nor rounding to 16-bit floats takes instructions that a device may lack.
#[test]
fn halves_may_be_taken_apart() {
    let dialect = Dialect { words64: false, halves: false };
    for storages in [[Storage::F16, Storage::F32], [Storage::F32, Storage::F16], [Storage::F16; 2], [Storage::F32; 2]] {
        let kernel = Kernel { storages: storages.to_vec(), ..Kernel::of("elementwise/unary.wgsl") };
        let kernel = kernel.define("WORKGROUP", 64).define("QUANTIZED", 1).paste("EXPRESSION", "to_half4(v)");
        let text = assemble_from(&Shaders::default(), &kernel, dialect).unwrap().wgsl;
        let module = naga::front::wgsl::parse_str(&text).unwrap_or_else(|e| panic!("{}", e.emit_to_string(&text)));
        let capabilities = naga::valid::Capabilities::empty();
        naga::valid::Validator::new(naga::valid::ValidationFlags::all(), capabilities).validate(&module).unwrap();
    }
}

#[test]
fn names_of_its_own_are_not_defined_by_kernels() {
    let kernel = Kernel { storages: vec![Storage::F32; 2], ..Kernel::of("elementwise/unary.wgsl") };
    let kernel = kernel.define("WORKGROUP", 64).paste("EXPRESSION", "v");
    assert!(assemble(&kernel).is_ok());
    for name in ["WIDE", "HALF_INSTRUCTIONS"] {
        assert!(assemble(&kernel.clone().define(name, 1)).unwrap_err().to_string().contains(name));
    }
}
