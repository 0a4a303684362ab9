// The parameters of a pool's windows, and the part of a window that lies in the input.

#param units: u32
#param kind: u32 // 0 maximum, 1 mean of what is inside, 2 mean with the padding
#param elements: u32
#param input_z: u32
#param output_z: u32
#param kernel_z: u32
#param stride_z: u32
#param dilation_z: u32
#param before_z: u32
#param after_z: u32
#param input_y: u32
#param output_y: u32
#param kernel_y: u32
#param stride_y: u32
#param dilation_y: u32
#param before_y: u32
#param after_y: u32
#param input_x: u32
#param output_x: u32
#param kernel_x: u32
#param stride_x: u32
#param dilation_x: u32
#param before_x: u32
#param after_x: u32

// An axis of a window: the first and the last-but-one of its elements inside the input, the position of the first,
// and how many count for the mean.
struct Taps {
    first: u32,
    end: u32,
    position: u32,
    counted: u32,
}

// ⌈(a − b) / d⌉, 0 where b is larger.
fn steps(a: u32, b: u32, d: u32) -> u32 {
    return (max(a, b) - b + d - 1u) / d;
}

fn taps(o: u32, input: u32, kernel: u32, stride: u32, dilation: u32, before: u32, after: u32) -> Taps {
    let start = o * stride;
    let end = min(steps(input + before, start, dilation), kernel);
    let first = min(steps(before, start, dilation), end);
    let padded = min(steps(before + input + after, start, dilation), kernel);
    // Before the first element inside, positions wrap around; they are not used.
    return Taps(first, end, start + first * dilation - before, select(end - first, padded, params.kind == 2u));
}

fn taps_z(o: u32) -> Taps {
    return taps(o, params.input_z, params.kernel_z, params.stride_z, params.dilation_z, params.before_z, params.after_z);
}
fn taps_y(o: u32) -> Taps {
    return taps(o, params.input_y, params.kernel_y, params.stride_y, params.dilation_y, params.before_y, params.after_y);
}
fn taps_x(o: u32) -> Taps {
    return taps(o, params.input_x, params.kernel_x, params.stride_x, params.dilation_x, params.before_x, params.after_x);
}
