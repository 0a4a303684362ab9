// y = the rows of `past`, then those of x, for each batch and head: keys or values so far. Without PAST a copy, whose rows
// begin where other kernels want them.
//
// Layout  y: dense [batch, heads, before + rows, pitch] from unit y_first on, 0 behind the `size` elements of a row; past:
//         dense [batch, heads, before, size]; x: steps of batches, heads and rows are parameters, a row's elements are
//         neighbours. Sizes, places and steps count elements, or with WHOLE units, where every row consists of such.
// Work    one invocation takes one unit of y.

#import common/index
#param units: u32
#param elements: u32    // of y
#param heads: u32
#param before: u32      // rows of `past`
#param rows: u32
#param size: u32
#param pitch: u32
#param x_first: u32
#param x_batch: u32
#param x_head: u32
#param x_row: u32
#param y_first: u32     // units
#if WHOLE
#read x
#if PAST
#read past
#endif
#else
#read x elements
#if PAST
#read past elements
#endif
#endif
#write y

// Where the row of x begins that stands in a line of y, of which the first `before` of each head are those of `past`.
fn begin(line: u32) -> u32 {
    let length = params.before + params.rows;
    let head = line / length;
    let row = line % length - params.before;
    return params.x_first + head / params.heads * params.x_batch + head % params.heads * params.x_head + row * params.x_row;
}

#if PAST
fn is_past(line: u32) -> bool {
    return line % (params.before + params.rows) < params.before;
}

fn begin_past(line: u32) -> u32 {
    let length = params.before + params.rows;
    return (line / length * params.before + line % length) * params.size;
}
#endif

#if WHOLE
fn unit(u: u32) -> y_unit {
    let line = u / params.pitch;
    let i = u % params.pitch;
#if PAST
    if is_past(line) {
        return y_unit(load_past(begin_past(line) + i));
    }
#endif
    return y_unit(load_x(begin(line) + i));
}
#else
fn element(e: u32) -> x_element {
    let line = e / params.pitch;
    let i = e % params.pitch;
    if i >= params.size {
        return x_element();
    }
#if PAST
    if is_past(line) {
        return x_element(get_past(begin_past(line) + i));
    }
#endif
    return get_x(begin(line) + i);
}

fn unit(u: u32) -> y_unit {
    var out = x_unit();
    for (var k = 0u; k < 4u; k++) {
        out[k] = element(min(u * 4u + k, params.elements - 1u));
    }
    return y_unit(out);
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
    store_y(params.y_first + u, unit(u));
}
