// y = saturate(round((Σ x − plane · a_zero) · a_factor) + zero): the mean of each plane of 8-bit integers, the number of its
// elements part of the factor. The bounds are those without the zero point.
//
// Layout  x and y: words of four neighbouring channels. A plane has at most 2¹⁵ elements, so that a float holds its sum.
// Work    one invocation takes four planes.

#import common/index
#read x
#write y
#param units: u32
#param plane: u32
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
    var sum = vec4<i32>();
    for (var i = 0u; i < params.plane; i++) {
        sum += load_x(u * params.plane + i);
    }
    let v = (vec4<f32>(sum) - f32(params.plane) * params.a_zero) * params.a_factor;
    store_y(u, vec4<i32>(round(clamp(v, vec4<f32>(params.low), vec4<f32>(params.high))) + params.zero));
}
