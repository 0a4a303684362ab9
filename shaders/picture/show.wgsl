// shown[x, y] = ((v(c, y, x) · std(c) + mean(c)) / scale) / 255: a tensor as a picture, the way back from a model's numbers.
//
// Layout  x: from element `start` on, planes or (planar 0) channels side by side.
// Work    one invocation writes one texel.
// colours 0: red, green, blue; 1: blue, green, red; 2: one channel for all three.
// BYTES   1: the texture holds 8 bits a channel, to which values are rounded, halves up.

#param width: u32
#param height: u32
#param channels: u32
#param planar: u32
#param colours: u32
#param start: u32
#param scale: f32
#for i in 3
#param mean{i}: f32
#param std{i}: f32
#endfor
#read x elements

@group(1) @binding(0) var shown: texture_storage_2d<#paste FORMAT, write>;

fn value(c: u32, at: vec2<u32>) -> f32 {
    let pixel = at.y * params.width + at.x;
    let e = select(pixel * params.channels + c, c * params.width * params.height + pixel, params.planar != 0u);
    return f32(get_x(params.start + e));
}

@compute @workgroup_size(16, 8)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x >= params.width || id.y >= params.height {
        return;
    }
    let at = id.xy;
    var v = vec3<f32>(value(0u, at));
    if params.colours != 2u {
        v = vec3<f32>(v.x, value(1u, at), value(2u, at));
    }
    v = (v * vec3<f32>(params.std0, params.std1, params.std2) + vec3<f32>(params.mean0, params.mean1, params.mean2)) / params.scale;
    if params.colours == 1u {
        v = v.zyx;
    }
#if BYTES
    v = floor(clamp(v, vec3<f32>(0.0), vec3<f32>(255.0)) + 0.5);
#endif
    textureStore(shown, at, vec4<f32>(v / 255.0, 1.0));
}
