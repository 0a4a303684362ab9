// y_i = x_0 + … + x_i, or their product (PRODUCT), along an axis: CumSum and CumProd.
//
// EXCLUSIVE  without x_i itself
// REVERSE    from the back
// ROWS       the axis is the innermost dimension: lanes are rows of whole units. Else an invocation takes four lanes that lie
//            side by side, `inner` units from one element of theirs to the next.
// Layout     dense, the innermost dimension padded to whole units.
// Work       one invocation takes one row, or four lanes, from one end to the other. Sums are in f32 or i32.

#import common/index
#if WIDE
#import common/wide
#endif
#param lanes: u32       // rows (else units of lanes)
#param length: u32
#param inner: u32
#read x
#write y

#if WIDE
#if PRODUCT
fn joined(a: x_element, b: x_element) -> x_element { return multiply64(a, b); }
#else
fn joined(a: x_element, b: x_element) -> x_element { return add64(a, b); }
#endif
fn joined4(a: x_unit, b: x_unit) -> x_unit {
    return x_unit(joined(a[0], b[0]), joined(a[1], b[1]), joined(a[2], b[2]), joined(a[3], b[3]));
}
fn start() -> x_element { return vec2<u32>(u32(PRODUCT), 0u); }
#else
#if PRODUCT
fn joined(a: x_element, b: x_element) -> x_element { return a * b; }
fn joined4(a: x_unit, b: x_unit) -> x_unit { return a * b; }
#else
fn joined(a: x_element, b: x_element) -> x_element { return a + b; }
fn joined4(a: x_unit, b: x_unit) -> x_unit { return a + b; }
#endif
fn start() -> x_element { return x_element(PRODUCT); }
#endif

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let lane = linear_index(workgroup, workgroups, local, WORKGROUP);
    if lane >= params.lanes {
        return;
    }
#if ROWS
    let units = (params.length + 3u) / 4u;
    var sum = start();
    for (var i = 0u; i < units; i++) {
#if REVERSE
        let unit = units - 1u - i;
#else
        let unit = i;
#endif
        let v = load_x(lane * units + unit);
        var out = x_unit();
        for (var j = 0u; j < 4u; j++) {
#if REVERSE
            let k = 3u - j;
#else
            let k = j;
#endif
            // The padding of the row stays out of the sum.
            let next = select(sum, joined(sum, v[k]), unit * 4u + k < params.length);
#if EXCLUSIVE
            out[k] = sum;
#else
            out[k] = next;
#endif
            sum = next;
        }
        store_y(lane * units + unit, out);
    }
#else
    let first = (lane / params.inner) * (params.inner * params.length) + lane % params.inner;
    var sum = splat_x(start());
    for (var i = 0u; i < params.length; i++) {
#if REVERSE
        let at = first + (params.length - 1u - i) * params.inner;
#else
        let at = first + i * params.inner;
#endif
        let next = joined4(sum, load_x(at));
#if EXCLUSIVE
        store_y(at, sum);
#else
        store_y(at, next);
#endif
        sum = next;
    }
#endif
}
