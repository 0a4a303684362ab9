// middle[c, r, x] = Σ_k w(x, k) · p(first(x) + k, top + r)[c]: the lines of a picture, resized across.
// p is the view of the texture: turned, mirrored, cut; its channels are red, green and blue, 0 to 255.
//
// Layout  table: for each column `stride` floats: first(x), the number of its weights, the weights.
//         middle: three planes of `rows` rows of `pitch` units; what is beyond `columns` repeats the last one.
// Work    one invocation takes four columns of a row, all three channels.
// source  0  the texture's colours
//         1  the same, which it gives as light (sRGB): encoded again
//         2  its first channel, for all three
//         3  luma, and in a texture of half the size two differences of colour, by the rows r, g, b of a matrix
// INTEGERS 1: the textures are of integers of 16 bits.
// rounded 1: pixels and sums are rounded to 8 bits, weights are fixed-point numbers of 22 bits.

#param pitch: u32
#param rows: u32
#param columns: u32
#param stride: u32
#param top: u32
#param start_u: i32
#param start_v: i32
#param across_u: i32
#param across_v: i32
#param down_u: i32
#param down_v: i32
#param source: u32
#param rounded: u32
#for i in 4
#param r{i}: f32
#endfor
#for i in 4
#param g{i}: f32
#endfor
#for i in 4
#param b{i}: f32
#endfor
#read table elements
#write middle

#if INTEGERS
@group(1) @binding(0) var colours: texture_2d<u32>;
@group(1) @binding(1) var differences: texture_2d<u32>;
#else
@group(1) @binding(0) var colours: texture_2d<f32>;
@group(1) @binding(1) var differences: texture_2d<f32>;
#endif

// What textures give, 0 to 1.
#if INTEGERS
fn shares(texel: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(texel) / 65535.0;
}
#else
fn shares(texel: vec4<f32>) -> vec4<f32> {
    return texel;
}
#endif

// How sRGB has it, of which the texture unit made light: a byte, so the nearest is the one that was there.
fn encoded(light: vec3<f32>) -> vec3<f32> {
    let curve = 1.055 * pow(max(light, vec3<f32>(0.003)), vec3<f32>(1.0 / 2.4)) - 0.055;
    return floor(select(curve, light * 12.92, light <= vec3<f32>(0.0031308)) * 255.0 + 0.5) / 255.0;
}

// The pixel (x, y) of the view.
fn pixel(x: u32, y: u32) -> vec3<f32> {
    let at = vec2<i32>(params.start_u, params.start_v) + i32(x) * vec2<i32>(params.across_u, params.across_v)
        + i32(y) * vec2<i32>(params.down_u, params.down_v);
    let texel = shares(textureLoad(colours, at, 0)).rgb;
    var colour = texel;
    switch params.source {
        case 1u: {
            colour = encoded(texel);
        }
        case 2u: {
            colour = texel.rrr;
        }
        case 3u: {
            let q = vec4<f32>(texel.r, shares(textureLoad(differences, at / 2, 0)).rg, 1.0);
            let r = dot(q, vec4<f32>(params.r0, params.r1, params.r2, params.r3));
            let g = dot(q, vec4<f32>(params.g0, params.g1, params.g2, params.g3));
            let b = dot(q, vec4<f32>(params.b0, params.b1, params.b2, params.b3));
            colour = clamp(vec3<f32>(r, g, b), vec3<f32>(0.0), vec3<f32>(1.0));
        }
        default: {}
    }
    colour = colour * 255.0;
    if params.rounded != 0u {
        colour = floor(clamp(colour, vec3<f32>(0.0), vec3<f32>(255.0)) + 0.5);
    }
    return colour;
}

// The mean of row y under column x. Long sums are taken in parts, since each addition is rounded.
fn mean(x: u32, y: u32) -> vec3<f32> {
    let entry = x * params.stride;
    let first = u32(get_table(entry));
    let count = u32(get_table(entry + 1u));
    let weights = entry + 2u;
    if params.rounded != 0u {
        var sum = vec3<i32>(1 << 21u);
        for (var k = 0u; k < count; k++) {
            sum += vec3<i32>(pixel(first + k, y)) * i32(get_table(weights + k));
        }
        return vec3<f32>(clamp(sum >> vec3<u32>(22u), vec3<i32>(0), vec3<i32>(255)));
    }
    var sum = vec3<f32>();
    for (var begin = 0u; begin < count; begin += 32u) {
        var part = vec3<f32>();
        for (var k = begin; k < min(begin + 32u, count); k++) {
            part += pixel(first + k, y) * get_table(weights + k);
        }
        sum += part;
    }
    return sum;
}

@compute @workgroup_size(16, 8)
fn main(@builtin(global_invocation_id) at: vec3<u32>) {
    if at.x >= params.pitch || at.y >= params.rows {
        return;
    }
    var red = vec4<f32>();
    var green = vec4<f32>();
    var blue = vec4<f32>();
    for (var k = 0u; k < 4u; k++) {
        let colour = mean(min(at.x * 4u + k, params.columns - 1u), params.top + at.y);
        red[k] = colour.r;
        green[k] = colour.g;
        blue[k] = colour.b;
    }
    let plane = params.rows * params.pitch;
    let u = at.y * params.pitch + at.x;
    store_middle(u, red);
    store_middle(plane + u, green);
    store_middle(2u * plane + u, blue);
}
