// places[j] = Σ_k index[j, k] · step_k: the slice of x that each tuple of TAKEN indices names, or -1 where an index is out
// of range.
//
// Layout  dense. The padding of `places` is -1 too.
// Work    one invocation takes one unit of `places`. Negative indices count from the back.

#import common/index
#param units: u32
#param tuples: u32
#for k in TAKEN
#param length{k}: u32
#param step{k}: u32
#endfor
#read index elements
#write places

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
    var out = vec4<i32>(-1);
    for (var j = 0u; j < 4u; j++) {
        let tuple = min((u << 2u) + j, params.tuples - 1u);
        var inside = (u << 2u) + j < params.tuples;
        var at = 0;
#for k in TAKEN
        let given{k} = get_index(tuple * u32(TAKEN) + {k}u);
        let i{k} = select(given{k}, given{k} + i32(params.length{k}), given{k} < 0);
        inside = inside && i{k} >= 0 && i{k} < i32(params.length{k});
        at += select(0, i{k}, inside) * i32(params.step{k});
#endfor
        out[j] = select(-1, at, inside);
    }
    store_places(u, out);
}
