// How far numbers reach below and above 0: partial results of several workgroups, and (LAST) of those the scale and the zero
// point with which the numbers become 8-bit integers:
// scale = (high - low) / 255, or 1 where there is nothing but 0, zero = round(min(max(0 - low / scale, 0), 255)).
//
// Layout  x: linear, or units of (low, high, …) by as many workgroups as there were (LAST). r: a unit (low, high, 0, 0) for
//         each workgroup, or one of (scale, zero, 0, 0); scale and zero: the outputs of the node.
// Work    a workgroup takes units in steps of all workgroups, then joins what its invocations have found.

#import common/index
#import common/quantize
#param units: u32
#param elements: u32
#read x
#write r
#if LAST
#write scale
#write zero
#endif

var<workgroup> lows: array<f32, WORKGROUP>;
var<workgroup> highs: array<f32, WORKGROUP>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    var low = 0.0;
    var high = 0.0;
    for (var u = workgroup.x * WORKGROUP + local; u < params.units; u += workgroups.x * WORKGROUP) {
        let v = load_x(u);
#if LAST
        low = min(low, v.x);
        high = max(high, v.y);
#else
        // Beyond the last element may stand anything.
        let there = (vec4<u32>(u << 2u) + vec4<u32>(0u, 1u, 2u, 3u)) < vec4<u32>(params.elements);
        let own = select(vec4<f32>(0.0), v, there);
        low = min(low, min(min(own.x, own.y), min(own.z, own.w)));
        high = max(high, max(max(own.x, own.y), max(own.z, own.w)));
#endif
    }
    lows[local] = low;
    highs[local] = high;
    workgroupBarrier();
    for (var half = WORKGROUP / 2u; half > 0u; half >>= 1u) {
        if local < half {
            lows[local] = min(lows[local], lows[local + half]);
            highs[local] = max(highs[local], highs[local + half]);
        }
        workgroupBarrier();
    }
    if local != 0u {
        return;
    }
#if LAST
    let extent = vec4<f32>(highs[0] - lows[0]);
    let one = vec4<f32>(1.0);
    let step = select(factor4(extent, one, vec4<f32>(255.0)), one, extent == vec4<f32>(0.0));
    let place = round(clamp(factor4(vec4<f32>(-lows[0]), one, step), vec4<f32>(0.0), vec4<f32>(255.0)));
    store_r(0u, vec4<f32>(step.x, place.x, 0.0, 0.0));
    store_scale(0u, step);
    store_zero(0u, vec4<i32>(place));
#else
    store_r(workgroup.x, vec4<f32>(lows[0], highs[0], 0.0, 0.0));
#endif
}
