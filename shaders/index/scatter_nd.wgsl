// y = x with updates in the slices that `places` names: y[places[j], i] = updates[j, i], or reduced with what is there
// (ScatterND).
//
// Layout  all dense; a slice has `slice` elements (WHOLE: units). The padding of `places` is -1.
// Work    one invocation takes one unit of y and looks through all places, in order: so results do not depend on timing,
//         and of several updates the last one counts.
// REDUCTION  0 the update itself, 1 sum, 2 product, 3 the smaller, 4 the larger

#import common/index
#import index/reduction
#param units: u32
#param elements: u32    // of y
#param slice: u32
#param places: u32      // units of them
#read x
#read place
#if WHOLE
#read updates
#else
#read updates elements
#endif
#write y

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
    var out = load_x(u);
#if WHOLE
    let own = i32(u / params.slice);
    let i = u % params.slice;
    for (var p = 0u; p < params.places; p++) {
        let four = load_place(p);
        for (var j = 0u; j < 4u; j++) {
            if four[j] == own {
                let update = load_updates(((p << 2u) + j) * params.slice + i);
                out = x_unit(
                    reduced(out[0], update[0]), reduced(out[1], update[1]), reduced(out[2], update[2]),
                    reduced(out[3], update[3]),
                );
            }
        }
    }
#else
    for (var k = 0u; k < 4u; k++) {
        let e = min((u << 2u) + k, params.elements - 1u);
        let own = i32(e / params.slice);
        let i = e % params.slice;
        for (var p = 0u; p < params.places; p++) {
            let four = load_place(p);
            for (var j = 0u; j < 4u; j++) {
                if four[j] == own {
                    out[k] = reduced(out[k], get_updates(((p << 2u) + j) * params.slice + i));
                }
            }
        }
    }
#endif
    store_y(u, out);
}
