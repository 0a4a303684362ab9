// For each lane a unit (m, f, 0, 0): m is the lane's mean, f = 1 / (√(mean of (x − m)²) + 10⁻⁹), for norm/standard.
//
// Layout  x: dense. A lane is told by its index along the dimensions that are kept, its elements by theirs along the others;
//         sizes and strides innermost first.
// Work    one invocation takes a lane, or one workgroup does (COOPERATIVE); the mean is taken before the squares.

#param lanes: u32
#param length: u32
#for i in 4
#param kept{i}: u32
#param kept_stride{i}: u32
#param size{i}: u32
#param stride{i}: u32
#endfor
#import common/turn
#import common/workgroup
#read x elements
#write s

fn base_of(lane: u32) -> u32 {
    var rest = lane;
    var at = 0u;
#for i in 4
    at += rest % params.kept{i} * params.kept_stride{i};
    rest = rest / params.kept{i};
#endfor
    return at;
}

fn place(element: u32) -> u32 {
    var rest = element;
    var at = 0u;
#for i in 4
    at += rest % params.size{i} * params.stride{i};
    rest = rest / params.size{i};
#endfor
    return at;
}

// Σ (x − centre), or of its squares, by all that work on the lane. Sums are made of sums of 64, so that roundings do not add up.
fn summed(base: u32, local: u32, centre: f32, squares: bool) -> f32 {
    var all = 0.0;
    var begin = first_step(local);
    while begin < params.length {
        let end = min(begin + 64u * ADVANCE, params.length);
        var some = 0.0;
        for (var i = begin; i < end; i += ADVANCE) {
            let v = get_x(base + place(i)) - centre;
            some += select(v, v * v, squares);
        }
        all += some;
        begin += 64u * ADVANCE;
    }
    return workgroup_sum(vec4<f32>(all), local).x;
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let lane = own_lane(workgroup, workgroups, local);
    if lane >= params.lanes {
        return;
    }
    let base = base_of(lane);
    let length = f32(params.length);
    let mean = summed(base, local, 0.0, false) / length;
    let variance = summed(base, local, mean, true) / length;
    if first_step(local) == 0u {
        store_s(lane, vec4<f32>(mean, 1.0 / (sqrt(variance) + 1e-9), 0.0, 0.0));
    }
}
