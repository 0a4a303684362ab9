// y[t, b, i] = x[lengths[b] − 1 − t, b, i] for t below lengths[b], x[t, b, i] from there on.
//
// Layout  x, y: [time, batch, inner], or with batch_first [batch, time, inner], dense; lengths: [batch].
// Work    one invocation takes one unit of y. A length that is out of range is clamped, as a kernel cannot refuse it.

#import common/index
#param units: u32
#param elements: u32
#param time: u32
#param batch: u32
#param inner: u32
#param batch_first: u32
#read x elements
#read lengths elements
#write y

// Where element e of y lies in x.
fn place(e: u32) -> u32 {
    let row = e / params.inner;
    let first = params.batch_first == 1u;
    let t = select(row / params.batch, row % params.time, first);
    let b = select(row % params.batch, row / params.time, first);
    let length = u32(clamp(get_lengths(b), 0, i32(params.time)));
    let source = select(t, length - 1u - t, t < length);
    return select(source * params.batch + b, b * params.time + source, first) * params.inner + e % params.inner;
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
        out[k] = get_x(place(min((u << 2u) + k, params.elements - 1u)));
    }
    store_y(u, out);
}
