// y = saturate(round((a − a_zero) · a_factor + (b − b_zero) · b_factor) + zero) of 8-bit integers, or (PRODUCT)
// saturate(round((a − a_zero) · (b − b_zero) · a_factor) + zero). The bounds are those without the zero point.
//
// Layout  a, b and y alike, or a and y in groups of four channels with b_plane units each, and b one unit for all of these.
// Work    one invocation takes one unit of y.

#import common/index
#read a
#read b
#write y
#param units: u32
#param b_plane: u32   // units of y for one of b
#param a_zero: f32
#param b_zero: f32
#param a_factor: f32
#param b_factor: f32
#param zero: f32
#param low: f32
#param high: f32

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let u = linear_index(workgroup, workgroups, local, 64u);
    if u >= params.units {
        return;
    }
    let a = vec4<f32>(load_a(u)) - params.a_zero;
    let b = vec4<f32>(load_b(u / params.b_plane)) - params.b_zero;
#if PRODUCT
    let v = a * b * params.a_factor;
#else
    let v = a * params.a_factor + b * params.b_factor;
#endif
    store_y(u, vec4<i32>(round(clamp(v, vec4<f32>(params.low), vec4<f32>(params.high))) + params.zero));
}
