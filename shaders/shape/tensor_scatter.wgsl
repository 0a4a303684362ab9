// y = x with part of it along one axis replaced: y[o, s, i] = update[o, s - start, i] where that exists, x[o, s, i] elsewhere.
// start is that of the batch (the first dimension), 0 where there are none (STARTS); CIRCULAR: places are taken modulo `size`.
//
// Layout  all dense; x and y are [outer, size, inner], update [outer, length, inner]; `batch` elements of y are one batch.
// Work    one invocation takes one unit of y.

#import common/index
#param units: u32
#param elements: u32
#param size: u32
#param length: u32
#param inner: u32
#param batch: u32
#read x elements
#read update elements
#if STARTS
#read start elements
#endif
#write y

fn element(e: u32) -> x_element {
    let place = i32((e / params.inner) % params.size);
    let size = i32(params.size);
#if STARTS
    var begin = get_start(e / params.batch);
#else
    var begin = 0;
#endif
#if CIRCULAR
    begin = (begin % size + size) % size;
    let offset = (place - begin + size) % size;
#else
    // Kept within reach, so that nothing overflows.
    let offset = place - clamp(begin, -size, size);
#endif
    if offset >= 0 && offset < i32(params.length) {
        let outer = e / (params.inner * params.size);
        return get_update((outer * params.length + u32(offset)) * params.inner + e % params.inner);
    }
    return get_x(e);
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
    var out = x_unit();
    for (var k = 0u; k < 4u; k++) {
        out[k] = element(min(u * 4u + k, params.elements - 1u));
    }
    store_y(u, out);
}
