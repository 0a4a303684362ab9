// Walking the lanes of a tensor. Where it consists of whole units: rows along the innermost dimension (a unit holds four
// neighbours of a row), or COLUMNS along another one (a unit holds neighbours of four columns). Where lanes share units:
// columns of SINGLE elements, each of them taken as four that are equal.
//
// A group is one row, four columns or one SINGLE one. Its steps, units or elements, lie `stride` apart.

#param groups: u32
#param steps: u32
#param stride: u32
#param length: u32      // elements of a lane; a row's last unit may have more

// The first step of a group.
fn group_base(group: u32) -> u32 {
    return (group / params.stride) * (params.steps * params.stride) + group % params.stride;
}

// What a group's step holds.
fn lane_value(base: u32, step: u32) -> x_unit {
#if SINGLE
    return x_unit(get_x(base + step * params.stride));
#else
    return load_x(base + step * params.stride);
#endif
}

// Which elements of it belong to the group.
fn inside(step: u32) -> vec4<bool> {
#if COLUMNS
    return vec4<bool>(true);
#else
    return vec4<u32>(0u, 1u, 2u, 3u) + step * 4u < vec4<u32>(params.length);
#endif
}

// What holds for the whole lane: for columns each of the four by itself.
fn lane_sum(v: vec4<f32>) -> vec4<f32> {
#if COLUMNS
    return v;
#else
    return vec4<f32>(v.x + v.y + v.z + v.w);
#endif
}

fn lane_max(v: vec4<f32>) -> vec4<f32> {
#if COLUMNS
    return v;
#else
    return vec4<f32>(max(max(v.x, v.y), max(v.z, v.w)));
#endif
}
