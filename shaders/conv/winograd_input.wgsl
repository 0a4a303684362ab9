// v[f, t, c] = (Bᵀ d B)[f]: what Winograd's F(SIDE×SIDE, 3×3) makes of the EDGE×EDGE pixels d (EDGE = SIDE + 2) that tile t
// of SIDE×SIDE pixels of y sees in channel c of x, f = EDGE · row + column. The points of SIDE 2 are 0, ±1 and ∞; those of
// SIDE 4 are 0, ±√½, ±√2 and ∞: beside 0, ±1, ±2 and ∞, whose factors are larger, they lose less to rounding.
//
// Layout  x: rows padded to whole units, or, with CHANNELS4, channels in groups of four. v: for each of the EDGE² points a
//         matrix with a row for each tile (of all samples), its channels padded to whole units.
// Work    one invocation makes one unit of each point: four channels of a tile. Neighbours take neighbouring channels.
//         UP = EDGE · (EDGE - 1), LAST = EDGE² - 1.

#import common/index
#if CHANNELS4
#read x
#else
#read x elements
#endif
#write v
#param invocations: u32 // tiles · quads
#param inputs: u32      // channels of x
#param tiles_y: u32     // of a sample
#param tiles_x: u32
#param input_y: u32
#param input_x: u32
#param before_y: u32
#param before_x: u32

// Bᵀ times a row of pixels, or of points.
fn points(d: array<vec4<f32>, EDGE>) -> array<vec4<f32>, EDGE> {
#if SIDE == 2
    return array<vec4<f32>, 4>(d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]);
#else
    let even_a = d[4] - 2.0 * d[2];
    let odd_a = 0.70710678 * d[3] - 1.41421356 * d[1];
    let even_b = d[4] - 0.5 * d[2];
    let odd_b = 1.41421356 * d[3] - 0.70710678 * d[1];
    return array<vec4<f32>, 6>(
        d[0] - 2.5 * d[2] + d[4],
        even_a + odd_a,
        even_a - odd_a,
        even_b + odd_b,
        even_b - odd_b,
        d[1] - 2.5 * d[3] + d[5],
    );
#endif
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = linear_index(workgroup, workgroups, local, WORKGROUP);
    if index >= params.invocations {
        return;
    }
    let quads = (params.inputs + 3u) / 4u;
    let quad = index % quads;
    let tile = index / quads;
    let n = tile / (params.tiles_y * params.tiles_x);
    // Where the tile's window begins; before the plane it wraps around and so lies beyond it.
    let top = tile / params.tiles_x % params.tiles_y * SIDE - params.before_y;
    let left = tile % params.tiles_x * SIDE - params.before_x;
#if CHANNELS4
    let first = (n * quads + quad) * params.input_y;
#else
    // Beyond the last channel nobody reads.
    let row_length = (params.input_x + 3u) / 4u * 4u;
#for q in 4
    let first{q} = (n * params.inputs + min(quad * 4u + {q}u, params.inputs - 1u)) * params.input_y;
#endfor
#endif
#for c in EDGE
    let in{c} = left + {c}u < params.input_x;
    let at{c} = select(0u, left + {c}u, in{c});
#endfor
    // Each turn brings the points along x of one more row and moves the others up: loops, because reads and writes are
    // most of what a driver has to compile.
    var along: array<vec4<f32>, LAST + 1>;
    for (var r = 0u; r < EDGE; r++) {
        let in_row = top + r < params.input_y;
        let row = select(0u, top + r, in_row);
        var pixels: array<vec4<f32>, EDGE>;
#for c in EDGE
        {
#if CHANNELS4
            let pixel = load_x((first + row) * params.input_x + at{c});
#else
            let pixel = vec4<f32>(
                get_x((first0 + row) * row_length + at{c}), get_x((first1 + row) * row_length + at{c}),
                get_x((first2 + row) * row_length + at{c}), get_x((first3 + row) * row_length + at{c}),
            );
#endif
            pixels[{c}] = select(vec4<f32>(0.0), pixel, in_row && in{c});
        }
#endfor
#for i in UP
        along[{i}] = along[{i} + EDGE];
#endfor
        let last = points(pixels);
#for c in EDGE
        along[UP + {c}] = last[{c}];
#endfor
    }
    // The points along y, first those of the first column.
    for (var c = 0u; c < EDGE; c++) {
        let v = points(array<vec4<f32>, EDGE>(
#for r in EDGE
            along[{r} * EDGE],
#endfor
        ));
#for r in EDGE
        store_v(({r}u * EDGE + c) * params.invocations + index, v[{r}]);
#endfor
#for i in LAST
        along[{i}] = along[{i} + 1];
#endfor
    }
}
