// The table of packed_sums where the scale and the zero point of x come with the run:
// t = (c_begin − c_sums · zero, c_factor · scale, c_rest (REST), outside).
//
// Layout  c: the numbers that sums begin with, the weights' factors by their bits, (REST) what is added, and the sums of the
//         weights, `room` units each. s, z: the scale and the zero point, the first number of a unit.
// Work    one invocation takes a unit of each list.

#import common/index
#param room: u32
#param offset: i32   // what makes a zero point one of numbers with a sign
#read s
#read z
#read c
#write t

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let u = linear_index(workgroup, workgroups, local, WORKGROUP);
    if u >= params.room {
        return;
    }
    let scale = load_s(0u).x;
    let zero = load_z(0u).x;
#if REST
    let sums = load_c(3u * params.room + u);
    store_t(2u * params.room + u, load_c(2u * params.room + u));
    let last = 3u * params.room;
#else
    let sums = load_c(2u * params.room + u);
    let last = 2u * params.room;
#endif
    store_t(u, load_c(u) - sums * vec4<i32>(zero));
    store_t(params.room + u, bitcast<vec4<i32>>(bitcast<vec4<f32>>(load_c(params.room + u)) * scale));
    if u == 0u {
        let outside = u32(zero + params.offset) & 255u;
        store_t(last, vec4<i32>(bitcast<i32>(outside * 0x01010101u)));
    }
}
