// y[n, o, py, px] = activate(Σ_{ky, kx} w[o, ky, kx] · x[n, o, py·s − p + ky·d, px·s − p + kx·d] + bias[o] + residual):
// each channel for itself.
//
// Layout  x, residual, y: channels in groups of four. w: for each group of four channels and each tap, a unit of the four
//         weights; then the biases.
// Work    one invocation computes two neighbouring pixels of four channels. With KERNEL written out (the kernel's width;
//         not dilated, a stride of STRIDE) it reads each of the SPAN pixels that they see in a row once.

#import common/index
#read x
#read w exact
#import conv/output
#param planes: u32     // N · groups of four channels
#param groups: u32     // of four channels
#param biases: u32     // where they begin in w, in units
#import conv/window

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) local: u32,
) {
    let index = linear_index(workgroup, workgroups, local, WORKGROUP);
    let pairs = (params.output_x + 1u) / 2u;
    let plane = index / (pairs * params.output_y);
    if plane >= params.planes {
        return;
    }
    let oy = index / pairs % params.output_y;
    let ox = index % pairs * 2u;
    let first = plane * params.input_y * params.input_x;
    // Where the window of the first pixel begins; before the plane it wraps around and so lies beyond it.
    let top = oy * params.stride_y - params.before_y;
    let left = ox * params.stride_x - params.before_x;
    let group = plane % params.groups;
    var weight = group * params.kernel_y * params.kernel_x;
    var sum0 = exact4_w(params.biases, group);
    var sum1 = sum0;
    for (var ky = 0u; ky < params.kernel_y; ky++) {
        let row = top + ky * params.dilation_y;
        let in_row = row < params.input_y;
        let start = first + select(0u, row, in_row) * params.input_x;
#if KERNEL
        var seen: array<vec4<f32>, SPAN>;
#for j in SPAN
        {
            let inside = in_row && left + {j}u < params.input_x;
            seen[{j}] = select(vec4<f32>(0.0), load_x(start + select(0u, left + {j}u, inside)), inside);
        }
#endfor
#for kx in KERNEL
        {
            let w = load_w(weight + {kx}u);
            sum0 += w * seen[{kx}];
            sum1 += w * seen[{kx} + STRIDE];
        }
#endfor
#else
        for (var kx = 0u; kx < params.kernel_x; kx++) {
            let w = load_w(weight + kx);
            let x0 = left + kx * params.dilation_x;
            let x1 = x0 + params.stride_x;
            let in0 = in_row && x0 < params.input_x;
            let in1 = in_row && x1 < params.input_x;
            sum0 += select(vec4<f32>(0.0), w * load_x(start + select(0u, x0, in0)), in0);
            sum1 += select(vec4<f32>(0.0), w * load_x(start + select(0u, x1, in1)), in1);
        }
#endif
        weight += params.kernel_x;
    }
    let at = (plane * params.output_y + oy) * params.output_x + ox;
#for j in 2
    if ox + {j}u < params.output_x {
        finish(at + {j}u, sum{j});
    }
#endfor
}
