// y = x with part of it along one axis replaced: y[o, s, i] = update[o, s - start, i] where that exists, x[o, s, i] elsewhere.
// start is that of the batch, 0 where there are none (STARTS), counted from `begin` on, where x is a part of something longer;
// CIRCULAR: places are taken modulo `size`.
//
// Layout  all dense; x and y are [outer, size, inner], update [outer, length, inner]; `batch` elements of y are one batch, and
//         `batches` of them come again and again.
//         ROWS: y holds x already, and `inner` and `batch` count units, of which every row consists.
// Work    one invocation takes one unit of y, with ROWS one of update.

#import common/index
#param units: u32
#param elements: u32
#param size: u32
#param length: u32
#param inner: u32
#param batch: u32
#param batches: u32
#param begin: i32
#if ROWS
#read update
#else
#read x elements
#read update elements
#endif
#if STARTS
#read start elements
#endif
#write y

// Where the update of the batch begins that an element (with ROWS a unit) of y is of.
fn begin_of(e: u32) -> i32 {
    let size = i32(params.size);
#if STARTS
    let begin = get_start(e / params.batch % params.batches);
#else
    let begin = 0;
#endif
#if CIRCULAR
    // Not begin % size, which GLSL leaves open where begin is negative.
    let rest = begin - begin / size * size;
    return select(rest, rest + size, rest < 0);
#else
    // Kept within reach, so that nothing overflows.
    return clamp(begin, params.begin - i32(params.length), params.begin + size) - params.begin;
#endif
}

#if !ROWS
fn element(e: u32) -> x_element {
    let place = i32((e / params.inner) % params.size);
    let size = i32(params.size);
#if CIRCULAR
    let offset = (place - begin_of(e) + size) % size;
#else
    let offset = place - begin_of(e);
#endif
    if offset >= 0 && offset < i32(params.length) {
        let outer = e / (params.inner * params.size);
        return get_update((outer * params.length + u32(offset)) * params.inner + e % params.inner);
    }
    return get_x(e);
}
#endif

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
#if ROWS
    let outer = u / (params.inner * params.length);
    let first = outer * params.size * params.inner;
    var place = begin_of(first + u % params.inner) + i32(u / params.inner % params.length);
#if CIRCULAR
    place = place % i32(params.size);
#endif
    if place >= 0 && place < i32(params.size) {
        store_y(first + u32(place) * params.inner + u % params.inner, load_update(u));
    }
#else
    var out = x_unit();
    for (var k = 0u; k < 4u; k++) {
        out[k] = element(min(u * 4u + k, params.elements - 1u));
    }
    store_y(u, out);
#endif
}
