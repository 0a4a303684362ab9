// Rectangles over a window: the frame, and what is drawn over it.
//
//   colour = texture at the rectangle's part of it (`frame`)
//   colour = the rectangle's own, as far as the texture covers it (`covered`)
//
// A quad is one instance of four vertices: its sides in clip space, its part of the texture, its colour.

struct Quad {
    // Left, top, right, bottom.
    @location(0) at: vec4<f32>,
    @location(1) cell: vec4<f32>,
    @location(2) colour: vec4<f32>,
}

struct Corner {
    @builtin(position) at: vec4<f32>,
    @location(0) cell: vec2<f32>,
    @location(1) colour: vec4<f32>,
}

@group(0) @binding(0) var texels: texture_2d<f32>;
@group(0) @binding(1) var between: sampler;

@vertex
fn corner(@builtin(vertex_index) index: u32, quad: Quad) -> Corner {
    // A strip of two triangles: upper left, upper right, lower left, lower right.
    let side = vec2<f32>(f32(index & 1u), f32(index >> 1u));
    let at = mix(quad.at.xy, quad.at.zw, side);
    return Corner(vec4<f32>(at, 0.0, 1.0), mix(quad.cell.xy, quad.cell.zw, side), quad.colour);
}

@fragment
fn frame(corner: Corner) -> @location(0) vec4<f32> {
    return vec4<f32>(textureSample(texels, between, corner.cell).rgb, 1.0);
}

@fragment
fn covered(corner: Corner) -> @location(0) vec4<f32> {
    return vec4<f32>(corner.colour.rgb, corner.colour.a * textureSample(texels, between, corner.cell).r);
}
