// y = (x − m) · f, with what norm/moments has found of each lane.
//
// Layout  x, y: dense; a lane is told by its index along the dimensions that are kept (sizes and strides innermost first).
//         s: a unit (m, f, 0, 0) for each lane.
// Work    one invocation takes one unit of y, whose elements may belong to four lanes.

#import common/index
#param units: u32
#param elements: u32
#for i in 4
#param kept{i}: u32
#param kept_stride{i}: u32
#endfor
#read x
#read s
#write y

fn lane_of(e: u32) -> u32 {
    var lane = 0u;
    var step = 1u;
#for i in 4
    lane += (e / params.kept_stride{i}) % params.kept{i} * step;
    step *= params.kept{i};
#endfor
    return lane;
}

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
    var m = vec4<f32>(0.0);
    var f = vec4<f32>(0.0);
    for (var j = 0u; j < 4u; j++) {
        let statistics = load_s(lane_of(min(u * 4u + j, params.elements - 1u)));
        m[j] = statistics.x;
        f[j] = statistics.y;
    }
    store_y(u, (load_x(u) - m) * f);
}
