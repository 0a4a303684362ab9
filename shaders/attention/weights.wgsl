// y_i = exp(s_i - max s) / Σ_j exp(s_j - max s) along rows of scores, 0 where a score is minus infinity. Of a row where all
// are, every weight is 0.
//
// Layout  s, y: rows of `keys` scores padded to whole units.
// Work    one invocation takes one row and walks it three times.

#import common/index
#import common/math
#param rows: u32
#param row_units: u32
#param keys: u32
#read s
#write y

fn seen(v: vec4<f32>, i: u32) -> vec4<bool> {
    let there = vec4<u32>(0u, 1u, 2u, 3u) + i * 4u < vec4<u32>(params.keys);
    return there & (bitcast<vec4<u32>>(v) != vec4<u32>(0xff800000u));
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let row = linear_index(workgroup, workgroups, local, WORKGROUP);
    if row >= params.rows {
        return;
    }
    let base = row * params.row_units;
    var top = vec4<f32>(-3.4e38);
    for (var i = 0u; i < params.row_units; i++) {
        let v = load_s(base + i);
        top = max(top, select(vec4<f32>(-3.4e38), v, seen(v, i)));
    }
    let largest = vec4<f32>(max(max(top.x, top.y), max(top.z, top.w)));
    var sums = vec4<f32>(0.0);
    for (var i = 0u; i < params.row_units; i++) {
        let v = load_s(base + i);
        let shown = seen(v, i);
        sums += select(vec4<f32>(0.0), exp4(select(largest, v, shown) - largest), shown);
    }
    let total = sums.x + sums.y + sums.z + sums.w;
    let factor = select(1.0 / total, 0.0, total == 0.0);
    for (var i = 0u; i < params.row_units; i++) {
        let v = load_s(base + i);
        let shown = seen(v, i);
        store_y(base + i, select(vec4<f32>(0.0), exp4(select(largest, v, shown) - largest) * factor, shown));
    }
}
