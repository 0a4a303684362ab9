// b as whole numbers of BITS bits with scales: (number - zero) · scale, unpacked in registers.
//
// Layout  a unit of b is a group of 32 / BITS rows of k of one unit of columns: the words of its four rows of bytes, a byte
//         for a column; of four bits, word w has row 2w in the lower halves of its bytes, row 2w + 1 in the upper ones.
//         HALVES: fours of rows in a group. Numbers are signed, or with ZERO unsigned and have zeros of their own. Behind the
//         groups lie scales, four for a unit of columns and block of `b_block` groups, `b_columns` units from block to
//         block; then zeros, in each unit those of four blocks, a byte for a column.

#param b_block: u32
#param b_columns: u32
#param b_scales: u32
#param b_zeros: u32
#if SLICES
#param b_span: u32 // groups that a slice takes one after the other (vector)
#endif

// What a mask leaves of four bytes. By way of i32: many a processor converts no other.
fn bytes_b(word: u32, mask: u32) -> vec4<f32> {
    return vec4<f32>(vec4<i32>((vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(mask)));
}

// Four numbers: bytes, or the lower or upper halves of them.
fn numbers_b(word: u32, upper: bool) -> vec4<f32> {
#if BITS == 8
#if ZERO
    return bytes_b(word, 255u);
#else
    return vec4<f32>((vec4<i32>(bitcast<i32>(word)) << vec4<u32>(24u, 16u, 8u, 0u)) >> vec4<u32>(24u));
#endif
#else
    let low = select(word, word >> 4u, upper);
#if ZERO
    return bytes_b(low, 15u);
#else
    return vec4<f32>((vec4<i32>(bitcast<i32>(low)) << vec4<u32>(28u, 20u, 12u, 4u)) >> vec4<u32>(28u));
#endif
#endif
}

// The scales of a unit of columns.
fn scales_b(block: u32, column: u32) -> vec4<f32> {
    return bitcast<vec4<f32>>(load_b(params.b_scales + block * params.b_columns + column));
}

// And its zeros.
fn zeros_b(block: u32, column: u32) -> vec4<f32> {
#if ZERO
    return bytes_b(load_b(params.b_zeros + block / 4u * params.b_columns + column)[block % 4u], 255u);
#else
    return vec4<f32>();
#endif
}

// Four rows of a group, without their scales.
fn rows_b(group: vec4<u32>, four: u32, zeros: vec4<f32>) -> mat4x4<f32> {
#if BITS == 8
    var rows = mat4x4<f32>(
        numbers_b(group.x, false), numbers_b(group.y, false), numbers_b(group.z, false), numbers_b(group.w, false),
    );
#else
    let words = select(group.xy, group.zw, four != 0u);
    var rows = mat4x4<f32>(
        numbers_b(words.x, false), numbers_b(words.x, true), numbers_b(words.y, false), numbers_b(words.y, true),
    );
#endif
#if ZERO
    rows -= mat4x4<f32>(zeros, zeros, zeros, zeros);
#endif
    return rows;
}

// Row kk of a unit of columns, with its scales: the unit's groups begin at `at` and are `step` apart.
fn row_b(at: u32, step: u32, kk: u32, column: u32) -> vec4<f32> {
    let index = kk / (HALVES * 4u);
    let row = kk % (HALVES * 4u);
    let group = load_b(at + index * step);
#if BITS == 8
    let numbers = numbers_b(group[row], false);
#else
    let numbers = numbers_b(group[row / 2u], row % 2u != 0u);
#endif
    let block = index / params.b_block;
    return (numbers - zeros_b(block, column)) * scales_b(block, column);
}
