// y[n, o, p] = activate((Aᵀ m[t] A)[p] + bias[o] + residual): the 4×4 pixels p of each tile t out of the products m at the
// 36 points of Winograd's F(4×4, 3×3), see winograd_input.
//
// Layout  m: for each point a matrix with a row for each tile (of all samples), its channels padded to whole units.
//         residual, y: rows padded to whole units, or, with CHANNELS4, channels in groups of four. w: biases at its end.
// Work    one invocation makes four channels of a tile. Neighbours take neighbouring channels.

#import common/index
#read m
#read w exact
#import conv/output
#param invocations: u32 // tiles · quads
#param outputs: u32     // channels of y
#param tiles_y: u32     // of a sample
#param tiles_x: u32
#param output_y: u32
#param output_x: u32
#param biases: u32      // where they begin in w

// Aᵀ times six points.
fn pixels(m: array<vec4<f32>, 6>) -> array<vec4<f32>, 4> {
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
    let tile = index / quads;
    let n = tile / (params.tiles_y * params.tiles_x);
    let oy = tile / params.tiles_x % params.tiles_y * 4u;
    let tx = tile % params.tiles_x;
    // Each turn brings the pixels along x of one more row of points and moves the others up: loops, because reads and
    // writes are most of what a driver has to compile.
    var along: array<vec4<f32>, 24>;
    for (var r = 0u; r < 6u; r++) {
        let last = pixels(array<vec4<f32>, 6>(
#for c in 6
            load_m((r * 6u + {c}u) * params.invocations + index),
#endfor
        ));
#for i in 20
        along[{i}] = along[{i} + 4];
#endfor
#for c in 4
        along[20 + {c}] = last[{c}];
#endfor
    }
    let bias = vec4<f32>(
        exact_w(params.biases, quad * 4u), exact_w(params.biases, quad * 4u + 1u),
        exact_w(params.biases, quad * 4u + 2u), exact_w(params.biases, quad * 4u + 3u),
    );
    var tile_pixels: array<vec4<f32>, 16>;
#for c in 4
    {
        let column = pixels(array<vec4<f32>, 6>(
            along[{c}], along[4 + {c}], along[8 + {c}], along[12 + {c}], along[16 + {c}], along[20 + {c}],
        ));
#for r in 4
        tile_pixels[{r} * 4 + {c}] = column[{r}] + bias;
#endfor
    }
#endfor
    let rows = min(4u, params.output_y - oy);
    for (var r = 0u; r < rows; r++) {
#if CHANNELS4
        let at = ((n * quads + quad) * params.output_y + oy + r) * params.output_x + tx * 4u;
#for c in 4
        if tx * 4u + {c}u < params.output_x {
            finish(at + {c}u, tile_pixels[{c}]);
        }
#endfor
#else
        let pitch = (params.output_x + 3u) / 4u;
#for q in 4
        if quad * 4u + {q}u < params.outputs {
            let plane = n * params.outputs + quad * 4u + {q}u;
            let unit = vec4<f32>(tile_pixels[0][{q}], tile_pixels[1][{q}], tile_pixels[2][{q}], tile_pixels[3][{q}]);
            finish((plane * params.output_y + oy + r) * pitch + tx, unit);
        }
#endfor
#endif
#for i in 12
        tile_pixels[{i}] = tile_pixels[{i} + 4];
#endfor
    }
}
