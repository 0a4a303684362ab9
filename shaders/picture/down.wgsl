// y[c, i, j] = (v · scale − mean(c)) / std(c) with v = Σ_k w(i - top, k) · middle[c, first(i - top) + k, j - left] where the
// picture lies, and v = fill around it: the columns of a picture resized down, and the numbers that a model takes.
//
// Layout  middle: as picture/across.wgsl leaves it. table: from `entries` on, for each line `stride` floats: first, counted
//         from middle's first row, the number of weights, the weights. y: linear, planes or (planar 0) channels side by side.
// Work    one invocation takes one unit of y.
// colours 0: red, green, blue; 1: blue, green, red; 2: luma (BT.601).
// rounded 1: sums are rounded to 8 bits, weights are fixed-point numbers of 22 bits. whole 1: y is of integers.

#import common/index
#param units: u32
#param elements: u32
#param width: u32
#param height: u32
#param channels: u32
#param planar: u32
#param colours: u32
#param left: u32
#param top: u32
#param columns: u32
#param lines: u32
#param pitch: u32      // elements of a row of middle
#param rows: u32
#param entries: u32
#param stride: u32
#param rounded: u32
#param whole: u32
#param low: f32
#param high: f32
#param fill: f32
#param scale: f32
#for i in 3
#param mean{i}: f32
#param std{i}: f32
#endfor
#read middle elements
#read table elements
#write y

// Channel c of the resized picture.
fn resized(c: u32, line: u32, column: u32) -> f32 {
    let entry = params.entries + line * params.stride;
    let first = u32(get_table(entry));
    let count = u32(get_table(entry + 1u));
    let weights = entry + 2u;
    let start = (c * params.rows + first) * params.pitch + column;
    if params.rounded != 0u {
        var sum = 1 << 21u;
        for (var k = 0u; k < count; k++) {
            sum += i32(get_middle(start + k * params.pitch)) * i32(get_table(weights + k));
        }
        return f32(clamp(sum >> 22u, 0, 255));
    }
    var sum = 0.0;
    for (var begin = 0u; begin < count; begin += 32u) {
        var part = 0.0;
        for (var k = begin; k < min(begin + 32u, count); k++) {
            part += get_middle(start + k * params.pitch) * get_table(weights + k);
        }
        sum += part;
    }
    return sum;
}

fn value(c: u32, y: u32, x: u32) -> f32 {
    let line = y - params.top;
    let column = x - params.left;
    // What lies before the picture wraps around to beyond it.
    if line >= params.lines || column >= params.columns {
        return params.fill;
    }
    if params.colours != 2u {
        return resized(select(c, 2u - c, params.colours == 1u), line, column);
    }
    let r = resized(0u, line, column);
    let g = resized(1u, line, column);
    let b = resized(2u, line, column);
    if params.rounded != 0u {
        return f32((u32(r) * 299u + u32(g) * 587u + u32(b) * 114u + 500u) / 1000u);
    }
    return 0.299 * r + 0.587 * g + 0.114 * b;
}

fn element(e: u32) -> f32 {
    var c = e % params.channels;
    var pixel = e / params.channels;
    if params.planar != 0u {
        pixel = e % (params.width * params.height);
        c = e / (params.width * params.height);
    }
    let v = value(c, pixel / params.width, pixel % params.width) * params.scale;
    var mean = params.mean0;
    var deviation = params.std0;
    if c == 1u {
        mean = params.mean1;
        deviation = params.std1;
    }
    if c == 2u {
        mean = params.mean2;
        deviation = params.std2;
    }
    let normal = (v - mean) / deviation;
    if params.whole != 0u {
        // Halves away from zero.
        return clamp(sign(normal) * floor(abs(normal) + 0.5), params.low, params.high);
    }
    return normal;
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
    var out = vec4<f32>();
    for (var k = 0u; k < 4u; k++) {
        out[k] = element(min(u * 4u + k, params.elements - 1u));
    }
    store_y(u, y_unit(out));
}
