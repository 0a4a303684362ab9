// y = x in another layout or another storage, element by element; what y has of padding becomes zero.
//
// Layout  FROM, TO: 0 for rows of `width` elements, `pitch` elements apart (linear and rows),
//         1 for channels in groups of four (a unit holds four channels of one position).
//         The logical shape is [N, channels, height, width]; between rows alone only the last one counts.
// Work    one invocation takes one unit of y and fetches its four elements one by one.

#import common/index
#param units: u32
#param channels: u32
#param height: u32
#param width: u32
#param x_pitch: u32
#param y_pitch: u32
#param elements: u32    // of x, padding included: reads are clamped to it
#param rows: u32        // of the logical shape
#read x elements
#write y

// The element of x at a place of the logical shape, which is `row` of all rows (channel `c` of image `n`, line `h`) and column `w`.
fn place(row: u32, n: u32, c: u32, h: u32, w: u32) -> u32 {
#if FROM
    let groups = (params.channels + 3u) >> 2u;
    return ((((n * groups + (c >> 2u)) * params.height + h) * params.width + w) << 2u) + (c & 3u);
#else
    return row * params.x_pitch + w;
#endif
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
#if TO
    let w = u % params.width;
    let line = u / params.width;
    let h = line % params.height;
    let group = line / params.height;
    let groups = (params.channels + 3u) >> 2u;
    let n = group / groups;
    let first = (group % groups) << 2u;
    for (var k = 0u; k < 4u; k++) {
        let c = first + k;
        let row = (n * params.channels + c) * params.height + h;
        if c < params.channels {
            out[k] = get_x(min(place(row, n, c, h, w), params.elements - 1u));
        }
    }
#else
    for (var k = 0u; k < 4u; k++) {
        let e = (u << 2u) + k;
        let row = e / params.y_pitch;
        let w = e % params.y_pitch;
#if FROM
        let h = row % params.height;
        let plane = row / params.height;
        let c = plane % params.channels;
        let n = plane / params.channels;
#else
        let h = 0u;
        let c = 0u;
        let n = 0u;
#endif
        if w < params.width && row < params.rows {
            out[k] = get_x(min(place(row, n, c, h, w), params.elements - 1u));
        }
    }
#endif
    store_y(u, out);
}
