// What norm/normalize takes from each lane and multiplies it by: its mean, and 1 / √(mean of (x - mean)² + ε).
//
// Layout  x: dense, lanes are rows of `length` elements one after another; mean and factor: dense, one element for each.
// Work    one invocation takes four lanes one after another; sums are made of sums of 64, so that roundings do not add up.

#import common/index
#param units: u32
#param lanes: u32
#param length: u32
#param epsilon: f32
#read x elements
#write mean
#write factor

// Σ (x - centre) of a lane, or of its square.
fn summed(lane: u32, centre: f32, squared: bool) -> f32 {
    let base = lane * params.length;
    var all = 0.0;
    var begin = 0u;
    while begin < params.length {
        let end = min(begin + 64u, params.length);
        var some = 0.0;
        for (var i = begin; i < end; i++) {
            let v = get_x(base + i) - centre;
            some += select(v, v * v, squared);
        }
        all += some;
        begin += 64u;
    }
    return all;
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
    var means = vec4<f32>(0.0);
    var factors = vec4<f32>(0.0);
    for (var k = 0u; k < 4u; k++) {
        let lane = min(u * 4u + k, params.lanes - 1u);
        let centre = summed(lane, 0.0, false) / f32(params.length);
        means[k] = centre;
        factors[k] = 1.0 / sqrt(summed(lane, centre, true) / f32(params.length) + params.epsilon);
    }
    store_mean(u, means);
    store_factor(u, factors);
}
