// y[n, o, p] = activate((Aᵀ m[t] A)[p] + bias[o] + residual): the SIDE×SIDE pixels p of each tile t out of the products m at
// the EDGE×EDGE points (EDGE = SIDE + 2) of Winograd's F(SIDE×SIDE, 3×3), see winograd_input.
//
// Layout  m: for each point a matrix with a row for each tile (of all samples), its channels padded to whole units.
//         residual, y: rows padded to whole units, or, with CHANNELS4, channels in groups of four. w: biases at its end.
// Work    one invocation makes four channels of ACROSS tiles side by side: WIDTH = ACROSS · SIDE pixels of a row, which are a
//         unit where y lies in rows. Neighbours take neighbouring channels. UP = SIDE · (EDGE - 1), REST = (SIDE - 1) · WIDTH.

#import common/index
#read m
#read w exact
#import conv/output
#param invocations: u32 // groups of tiles · quads
#param point: u32       // units of a point's matrix
#param outputs: u32     // channels of y
#param tiles_y: u32     // of a sample
#param tiles_x: u32
#param output_y: u32
#param output_x: u32
#param biases: u32      // where they begin in w

// Aᵀ times a row of points.
fn pixels(m: array<vec4<f32>, EDGE>) -> array<vec4<f32>, SIDE> {
#if SIDE == 2
    return array<vec4<f32>, 2>(m[0] + m[1] + m[2], m[1] - m[2] - m[3]);
#else
    let sum_a = m[1] + m[2];
    let difference_a = m[1] - m[2];
    let sum_b = m[3] + m[4];
    let difference_b = m[3] - m[4];
    return array<vec4<f32>, 4>(
        m[0] + sum_a + sum_b,
        0.70710678 * difference_a + 1.41421356 * difference_b,
        0.5 * sum_a + 2.0 * sum_b,
        0.35355339 * difference_a + 2.82842712 * difference_b + m[5],
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
    let quads = (params.outputs + 3u) / 4u;
    let quad = index % quads;
    let groups = (params.tiles_x + ACROSS - 1u) / ACROSS;
    let row = index / quads / groups; // of tiles
    let n = row / params.tiles_y;
    let oy = row % params.tiles_y * SIDE;
    let tx = index / quads % groups * ACROSS;
    let ox = tx * SIDE;
    let bias = vec4<f32>(
        exact_w(params.biases, quad * 4u), exact_w(params.biases, quad * 4u + 1u),
        exact_w(params.biases, quad * 4u + 2u), exact_w(params.biases, quad * 4u + 3u),
    );
    var tile_pixels: array<vec4<f32>, SIDE * WIDTH>;
#for a in ACROSS
    {
        // Each turn brings the pixels along x of one more row of points and moves the others up: loops, because reads and
        // writes are most of what a driver has to compile. A tile beyond the last is that one again.
        let tile = (row * params.tiles_x + min(tx + {a}u, params.tiles_x - 1u)) * quads + quad;
        var along: array<vec4<f32>, EDGE * SIDE>;
        for (var r = 0u; r < EDGE; r++) {
            let last = pixels(array<vec4<f32>, EDGE>(
#for c in EDGE
                load_m((r * EDGE + {c}u) * params.point + tile),
#endfor
            ));
#for i in UP
            along[{i}] = along[{i} + SIDE];
#endfor
#for c in SIDE
            along[UP + {c}] = last[{c}];
#endfor
        }
#for c in SIDE
        {
            let column = pixels(array<vec4<f32>, EDGE>(
#for r in EDGE
                along[{r} * SIDE + {c}],
#endfor
            ));
#for r in SIDE
            tile_pixels[{r} * WIDTH + {a} * SIDE + {c}] = column[{r}] + bias;
#endfor
        }
#endfor
    }
#endfor
    let rows = min(u32(SIDE), params.output_y - oy);
    for (var r = 0u; r < rows; r++) {
#if CHANNELS4
        let at = ((n * quads + quad) * params.output_y + oy + r) * params.output_x + ox;
#for c in WIDTH
        if ox + {c}u < params.output_x {
            finish(at + {c}u, tile_pixels[{c}]);
        }
#endfor
#else
        let pitch = (params.output_x + 3u) / 4u;
#for q in 4
        if quad * 4u + {q}u < params.outputs {
            let plane = n * params.outputs + quad * 4u + {q}u;
            let unit = vec4<f32>(tile_pixels[0][{q}], tile_pixels[1][{q}], tile_pixels[2][{q}], tile_pixels[3][{q}]);
            finish((plane * params.output_y + oy + r) * pitch + ox / 4u, unit);
        }
#endfor
#endif
#for i in REST
        tile_pixels[{i}] = tile_pixels[{i} + WIDTH];
#endfor
    }
}
