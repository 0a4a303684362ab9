// y = (x - m) · f along lanes, then · scale + shift (AFFINE), with
//   MODE 0   m the lane's mean, f = 1 / √(mean of (x - m)² + ε)      layer, instance and group normalization
//   MODE 1   m = 0, f = 1 / √(mean of x² + ε)                        root mean square
//   MODE 2   m = 0, f = 1 / Σ|x|, and 0 where that is 0              L1
//   MODE 3   m = 0, f = 1 / √Σx², and 0 where that is 0              L2
//
// Layout  x, y: lanes of whole units, see common/lanes.
//         AFFINE 1: scale and shift have an element for each of a row.   2: for each channel, of which there are
//         `channels` rows (or units of four columns) one after another.
// Work    one invocation takes a group (a row, or four columns), or one workgroup does (COOPERATIVE). The mean is taken
//         before the squares, so that nothing cancels; sums are made of sums of 64, so that roundings do not add up.

#import common/index
#import common/math
#import common/lanes
#if COOPERATIVE
#import common/workgroup
#endif
#param epsilon: f32
#if AFFINE == 2
#param channels: u32
#endif
#read x
#if AFFINE
#read scale
#if SHIFT
#read shift
#endif
#endif
#write y

// Σ of what f is made of, by this invocation.
fn summed(base: u32, first: u32, advance: u32, centre: vec4<f32>, spread: bool) -> vec4<f32> {
    var all = vec4<f32>(0.0);
    var begin = first;
    while begin < params.steps {
        let end = min(begin + 64u * advance, params.steps);
        var some = vec4<f32>(0.0);
        for (var i = begin; i < end; i += advance) {
            let v = load_x(base + i * params.stride) - centre;
#if MODE == 2
            let term = abs(v);
#else
            let term = select(v, v * v, spread);
#endif
            some += select(vec4<f32>(0.0), term, inside(i));
        }
        all += some;
        begin += 64u * advance;
    }
    return all;
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
#if COOPERATIVE
    let group = workgroup.x + workgroup.y * workgroups.x;
    let first = local;
    let advance = u32(WORKGROUP);
#else
    let group = linear_index(workgroup, workgroups, local, WORKGROUP);
    let first = 0u;
    let advance = 1u;
#endif
    if group >= params.groups {
        return;
    }
    let base = group_base(group);
    let length = f32(params.length);
    var centre = vec4<f32>(0.0);
#if MODE == 0
    centre = summed(base, first, advance, centre, false);
#if COOPERATIVE
    centre = workgroup_sum(centre, local);
#endif
    centre = lane_sum(centre) / length;
#endif
    var sum = summed(base, first, advance, centre, true);
#if COOPERATIVE
    sum = workgroup_sum(sum, local);
#endif
    sum = lane_sum(sum);
#if MODE == 2
    let factor = select(1.0 / sum, vec4<f32>(0.0), sum == vec4<f32>(0.0));
#else
#if MODE == 3
    let factor = select(1.0 / sqrt(sum), vec4<f32>(0.0), sum == vec4<f32>(0.0));
#else
    let factor = 1.0 / sqrt(sum / length + params.epsilon);
#endif
#endif
#if AFFINE == 2
#if COLUMNS
    let gain = load_scale(group % params.channels);
    let offset = load_shift(group % params.channels);
#else
    let gain = vec4<f32>(get_scale(group % params.channels));
    let offset = vec4<f32>(get_shift(group % params.channels));
#endif
#endif
    for (var i = first; i < params.steps; i += advance) {
        let at = base + i * params.stride;
        var v = (load_x(at) - centre) * factor;
#if AFFINE == 1
        v = v * load_scale(i);
#if SHIFT
        v = v + load_shift(i);
#endif
#endif
#if AFFINE == 2
        v = v * gain + offset;
#endif
        store_y(at, v);
    }
}
