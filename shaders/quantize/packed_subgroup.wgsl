// y[n, o, py, px] = f(Σ_{i, ky, kx} w[o, i, ky, kx] · x[n, i, py·s − p + ky·d, px·s − p + kx·d]) of 8-bit integers, or the product
// of a matrix x by w, each row a pixel; f stands in packed_sums.
//
// Layout  x, y: words of four neighbouring channels ("quads"). w: for each block of BLOCK outputs, each tap and each quad of
//         inputs a word for each output: three weights that are 128 too large, and the last one with its sign.
// Work    a workgroup is one subgroup. Each invocation owns PIXELS neighbouring pixels × BLOCK outputs (QUADS quads); its lanes
//         read different weights, GROUPS each, and share them by broadcast: reads are what costs on a CPU.
//         A word of weights is not taken apart: as integers that wrap around, w >> 8 is w1 + 256 w2 + …, and what is too
//         much in it is taken away by the next one's factor. With u = w + 128 for the first three:
//         Σ x·u = x0·w + (x1 − 256 x0)·(w >> 8) + (x2 − 256 x1)·(w >> 16) + (x3 − 256 x2)·(w >> 24).
//         So there are three shifts for a word of weights, and 128 (x0 + x1 + x2) is subtracted at the end.

#import quantize/packed_sums
#param out_quads: u32
#param steps: u32         // quads of x
#import conv/window

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let strips = (params.output_x + PIXELS - 1u) / PIXELS;
    let units = strips * params.output_y;
    let own = workgroup.y * LANES + lane;
    // Lanes beyond the plane take part in the broadcasts, with the last strip, and store nothing.
    let u = min(own, units - 1u);
    let oy = u / strips;
    let ox = (u - oy * strips) * PIXELS;
    // Where the window of the first pixel begins; before the plane it wraps around and so lies beyond it.
    let top = oy * params.stride_y - params.before_y;
    let left = ox * params.stride_x - params.before_x;
    let first = workgroup.z * params.x_sample;
    let outside = outside_x();
    let taps = params.kernel_y * params.kernel_x;
    var panel = workgroup.x * taps * params.steps * BLOCK + min(lane, u32(BLOCK - 1));
    var sums: array<vec4<i32>, QUADS * PIXELS>;
#for q in QUADS
    {
        let begin = load_t(workgroup.x * QUADS + {q}u);
#for p in PIXELS
        sums[{q} * PIXELS + {p}] = begin;
#endfor
    }
#endfor
#for p in PIXELS
    var excess{p} = 0;
#endfor
    for (var tap = 0u; tap < taps; tap++) {
        let ky = tap / params.kernel_x;
        let kx = tap - ky * params.kernel_x;
        let row = top + ky * params.dilation_y;
        let in_row = row < params.input_y;
        let start = select(0u, row, in_row) * params.input_x;
#for p in PIXELS
        let at{p} = left + {p}u * params.stride_x + kx * params.dilation_x;
        let in{p} = in_row && at{p} < params.input_x;
        var e{p} = first + (start + select(0u, at{p}, in{p})) * params.x_pixel;
#endfor
        for (var k = 0u; k < params.steps; k++) {
#for p in PIXELS
            let x{p} = unpack4xI8(select(outside, word_x(e{p}) ^ params.flip, in{p}));
            e{p} += params.x_quad;
            excess{p} += x{p}.x + x{p}.y + x{p}.z;
            let m{p} = x{p} - (vec4<i32>(0, x{p}.xyz) << vec4<u32>(8u));
#endfor
            var lanes: array<i32, GROUPS>;
#for g in GROUPS
            lanes[{g}] = bitcast<i32>(word_w(panel + {g}u * LANES));
#endfor
            panel += BLOCK;
#for q in QUADS
            {
                let w0 = vec4<i32>(
                    subgroupBroadcast(lanes[{q} * 4 / LANES], ({q}u * 4u) % LANES),
                    subgroupBroadcast(lanes[({q} * 4 + 1) / LANES], ({q}u * 4u + 1u) % LANES),
                    subgroupBroadcast(lanes[({q} * 4 + 2) / LANES], ({q}u * 4u + 2u) % LANES),
                    subgroupBroadcast(lanes[({q} * 4 + 3) / LANES], ({q}u * 4u + 3u) % LANES),
                );
                let w1 = w0 >> vec4<u32>(8u);
                let w2 = w0 >> vec4<u32>(16u);
                let w3 = w0 >> vec4<u32>(24u);
#for p in PIXELS
                sums[{q} * PIXELS + {p}] += m{p}.x * w0 + m{p}.y * w1 + m{p}.z * w2 + m{p}.w * w3;
#endfor
            }
#endfor
        }
    }
    if own >= units {
        return;
    }
    // Each turn takes the first quad and brings the next ones to their place: written out for all of them, the writes would be
    // most of what a software adapter has to compile.
    let pixel = (oy * params.output_x + ox) * params.y_pixel + workgroup.z * params.y_sample;
    let end = min((workgroup.x + 1u) * QUADS, params.out_quads);
    for (var quad = workgroup.x * QUADS; quad < end; quad++) {
        let factor = floats_of(1u, quad);
#if REST
        let rest = floats_of(2u, quad);
#else
        let rest = vec4<f32>();
#endif
        let at = pixel + quad * params.y_quad;
#for p in PIXELS
        if ox + {p}u < params.output_x {
            finish(at + {p}u * params.y_pixel, sums[{p}] - vec4<i32>(excess{p} << 7u), factor, rest);
        }
#endfor
#for i in REST_SUMS
        sums[{i}] = sums[{i} + PIXELS];
#endfor
    }
}
