// y = (x - m) · f along lanes, then · scale + shift (AFFINE), with
//   MODE 0   m the lane's mean, f = 1 / √(mean of (x - m)² + ε)      layer, instance and group normalization
//   MODE 1   m = 0, f = 1 / √(mean of x² + ε)                        root mean square
//   MODE 2   m = 0, f = 1 / Σ|x|, NaN where that is 0                L1
//   MODE 3   m = 0, f = 1 / √Σx², NaN where that is 0                L2
//
// or, where lanes share units (SINGLE), only m and f, for norm/apply.
//
// Layout  x, y: lanes of whole units, see common/lanes; SINGLE: y is a unit (m, f, 0, 0) for each lane.
//         AFFINE 1: scale and shift have an element for each of a row.   2: for each channel, of which there are
//         `channels` rows (or units of four columns) one after another.
// Work    one invocation takes a group (a row, or columns), or one workgroup does (COOPERATIVE). The mean is taken
//         before the squares, so that nothing cancels; sums are made of sums of 64, so that roundings do not add up.

#param epsilon: f32
#if AFFINE == 2
#param channels: u32
#endif
#import common/turn
#import common/math
#import common/lanes
#import common/workgroup
#if SINGLE
#read x elements
#else
#read x
#endif
#if AFFINE
#read scale
#if SHIFT
#read shift
#endif
#endif
#write y

// Σ of what f is made of, by all that work on the lane.
fn summed(base: u32, local: u32, centre: vec4<f32>, spread: bool) -> vec4<f32> {
    var all = vec4<f32>(0.0);
    var begin = first_step(local);
    while begin < params.steps {
        let end = min(begin + 64u * ADVANCE, params.steps);
        var some = vec4<f32>(0.0);
        for (var i = begin; i < end; i += ADVANCE) {
            let v = lane_value(base, i) - centre;
#if MODE == 2
            let term = abs(v);
#else
            let term = select(v, v * v, spread);
#endif
            some += select(vec4<f32>(0.0), term, inside(i));
        }
        all += some;
        begin += 64u * ADVANCE;
    }
    return lane_sum(workgroup_sum(all, local));
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let group = own_lane(workgroup, workgroups, local);
    if group >= params.groups {
        return;
    }
    let base = group_base(group);
    let length = f32(params.length);
    var centre = vec4<f32>(0.0);
#if MODE == 0
    centre = summed(base, local, centre, false) / length;
#endif
    let sum = summed(base, local, centre, true);
#if MODE == 2
    let factor = select(1.0 / sum, nan4(), sum == vec4<f32>(0.0));
#else
#if MODE == 3
    let factor = select(1.0 / sqrt(sum), nan4(), sum == vec4<f32>(0.0));
#else
    let factor = 1.0 / sqrt(sum / length + params.epsilon);
#endif
#endif
#if SINGLE
    if first_step(local) == 0u {
        store_y(group, vec4<f32>(centre.x, factor.x, 0.0, 0.0));
    }
#else
#if AFFINE == 2
#if COLUMNS
    let gain = load_scale(group % params.channels);
    let offset = load_shift(group % params.channels);
#else
    let gain = vec4<f32>(get_scale(group % params.channels));
    let offset = vec4<f32>(get_shift(group % params.channels));
#endif
#endif
    for (var i = first_step(local); i < params.steps; i += ADVANCE) {
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
#endif
}
