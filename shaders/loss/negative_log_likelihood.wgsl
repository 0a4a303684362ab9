// l[p] = -w[t] · x[n, t, d] for position p = (n, d) with label t = label[p], and 0 where t is the label to ignore.
// REDUCED: Σ l, or Σ l / Σ w (MEAN), w being 1 where there are no weights (WEIGHTED) and 0 for what is ignored.
//
// Layout  all dense; x is [n, classes, d], d counts `inner`; label and l are [n, d].
// Work    one invocation takes a unit of l; REDUCED: one workgroup takes all positions, each invocation in steps of the
//         workgroup, with sums of 64 on the way. A label that is no class is taken for the nearest one, as a kernel
//         cannot refuse it.

#import common/index
#import common/math
#import common/workgroup
#param units: u32
#param positions: u32
#param classes: u32
#param inner: u32
#param ignoring: u32
#param ignore: i32
#read x elements
#read label elements
#if WEIGHTED
#read weight elements
#endif
#write y

// The loss of a position, and its weight.
fn loss(p: u32) -> vec2<f32> {
    let label = get_label(p);
    let own_class = u32(clamp(label, 0, i32(params.classes) - 1));
    let ignored = params.ignoring != 0u && label == params.ignore;
#if WEIGHTED
    let own = get_weight(own_class);
#else
    let own = 1.0;
#endif
    let value = get_x(((p / params.inner) * params.classes + own_class) * params.inner + p % params.inner);
    return select(vec2<f32>(-value * own, own), vec2<f32>(0.0), ignored);
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
#if REDUCED
    var all = vec2<f32>(0.0);
    var begin = local;
    while begin < params.positions {
        var some = vec2<f32>(0.0);
        let end = min(begin + 64u * WORKGROUP, params.positions);
        for (var p = begin; p < end; p += WORKGROUP) {
            some += loss(p);
        }
        all += some;
        begin += 64u * WORKGROUP;
    }
    let sum = workgroup_sum(vec4<f32>(all, 0.0, 0.0), local);
#if MEAN
    // The mean of nothing is no number.
    let result = select(vec4<f32>(sum.x / sum.y), nan4(), sum.x == 0.0 && sum.y == 0.0);
#else
    let result = vec4<f32>(sum.x);
#endif
    if local == 0u {
        store_y(0u, result);
    }
#else
    let u = linear_index(workgroup, workgroups, local, WORKGROUP);
    if u >= params.units {
        return;
    }
    var out = vec4<f32>(0.0);
    for (var k = 0u; k < 4u; k++) {
        out[k] = loss(min(u * 4u + k, params.positions - 1u)).x;
    }
    store_y(u, out);
#endif
}
