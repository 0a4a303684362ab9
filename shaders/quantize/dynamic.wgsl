// y = saturate(round(x / scale) + zero), to 8 bits without a sign, with a scale and a zero point that are computed at run time.
//
// Layout  x and y alike; r: a unit (scale, zero, …).
// Work    one invocation takes one unit of y.

#import common/index
#import common/quantize
#param units: u32
#read x
#read r
#write y

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let u = linear_index(workgroup, workgroups, local, WORKGROUP);
    if u >= params.units {
        return;
    }
    let own = load_r(0u);
    store_y(u, quantized4(quotient4(load_x(u), vec4<f32>(own.x)), vec4<f32>(own.y), 0.0, 255.0));
}
