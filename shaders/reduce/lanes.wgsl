// y = f of each lane of x: the values of a lane are mapped (MAP of `v`), joined two by two (JOIN of `a` and `b`, beginning
// with START) and finished (FINISH of `all` and params.count).
// LOG_SUM_EXP: log Σ exp v, for which the maximum is found and taken out first.
//
// Layout  x: lanes of whole units, see common/lanes.   y: one element a lane, dense.
// Work    one invocation takes one unit of y: four rows one after another, or four columns at once;
//         or one workgroup does (COOPERATIVE). Long sums are made of sums of 64, so that roundings do not add up.

#import common/turn
#import common/math
#import common/lanes
#if LOG_SUM_EXP
#import common/workgroup
#endif
#param count: f32
#read x
#write y

alias Values = vec4<x_element>;

fn combine(a: Values, b: Values) -> Values {
    return #paste JOIN;
}

#if COOPERATIVE
var<workgroup> partial: array<Values, WORKGROUP>;

fn combine_all(v: Values, local: u32) -> Values {
    partial[local] = v;
    workgroupBarrier();
    for (var half = WORKGROUP / 2u; half > 0u; half >>= 1u) {
        if local < half {
            partial[local] = combine(partial[local], partial[local + half]);
        }
        workgroupBarrier();
    }
    let all = partial[0];
    workgroupBarrier();
    return all;
}
#endif

// What a group's units come to, by this invocation.
fn gathered(base: u32, local: u32, top: Values) -> Values {
    let nothing = Values(#paste START);
    var all = nothing;
    var begin = first_step(local);
    while begin < params.steps {
        let end = min(begin + 64u * ADVANCE, params.steps);
        var some = nothing;
        for (var i = begin; i < end; i += ADVANCE) {
            let v = lane_value(base, i);
#if LOG_SUM_EXP
            let mapped = exp4(v - top);
#else
            let mapped = #paste MAP;
#endif
            some = combine(some, select(nothing, mapped, inside(i)));
        }
        all = combine(all, some);
        begin += 64u * ADVANCE;
    }
    return all;
}

// The result of a group: in every place for a row, for each of four columns otherwise.
fn reduced(group: u32, local: u32) -> Values {
    let base = group_base(group);
    var top = Values();
#if LOG_SUM_EXP
    let lowest = Values(-3.40282347e+38);
    top = lowest;
    for (var i = first_step(local); i < params.steps; i += ADVANCE) {
        top = max(top, select(lowest, lane_value(base, i), inside(i)));
    }
    top = lane_max(workgroup_max(top, local));
#endif
    var all = gathered(base, local, top);
#if COOPERATIVE
    all = combine_all(all, local);
#endif
#if !COLUMNS
    let two = combine(all, all.zwxy);
    all = combine(two, two.yxwz);
#endif
    return #paste FINISH;
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let u = own_lane(workgroup, workgroups, local);
#if COLUMNS
    if u >= params.groups {
        return;
    }
    let result = reduced(u, local);
#else
    if u >= (params.groups + 3u) / 4u {
        return;
    }
    var result = Values();
    for (var j = 0u; j < 4u; j++) {
        result[j] = reduced(min(u * 4u + j, params.groups - 1u), local).x;
    }
#endif
    if first_step(local) == 0u {
        store_y(u, result);
    }
}
