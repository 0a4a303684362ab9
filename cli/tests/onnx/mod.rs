//! ONNX files, written by hand: a few messages of Protocol Buffers.

/// A number of Protocol Buffers: seven bits a byte, the lowest first.
fn varint(mut n: u64) -> Vec<u8> {
    let mut out = vec![];
    while n > 127 {
        out.push(n.to_le_bytes()[0] | 128);
        n >>= 7;
    }
    out.push(n.to_le_bytes()[0]);
    out
}

/// A message: fields of bytes (wire type 2) and of numbers (0).
pub fn message(fields: &[(u64, &[u8])], numbers: &[(u64, u64)]) -> Vec<u8> {
    let mut out = vec![];
    for (number, value) in numbers {
        out.extend(varint(number << 3));
        out.extend(varint(*value));
    }
    for (number, bytes) in fields {
        out.extend(varint(number << 3 | 2));
        out.extend(varint(bytes.len() as u64));
        out.extend(*bytes);
    }
    out
}

/// A `ValueInfoProto` of f32.
pub fn port(name: &str, shape: &[u64]) -> Vec<u8> {
    let dims: Vec<Vec<u8>> = shape.iter().map(|&d| message(&[], &[(1, d)])).collect();
    let dims: Vec<(u64, &[u8])> = dims.iter().map(|d| (1, d.as_slice())).collect();
    let kind = message(&[(1, &message(&[(2, &message(&dims, &[]))], &[(1, 1)]))], &[]);
    message(&[(1, name.as_bytes()), (2, &kind)], &[])
}

/// A `NodeProto` with one output.
pub fn node(operator: &str, inputs: &[&str], output: &str) -> Vec<u8> {
    let mut fields: Vec<(u64, &[u8])> = inputs.iter().map(|name| (1, name.as_bytes())).collect();
    fields.extend([(2, output.as_bytes()), (4, operator.as_bytes())]);
    message(&fields, &[])
}

/// A `TensorProto`: a vector of i64.
#[allow(dead_code, reason = "not every suite needs one")]
pub fn integers(name: &str, values: &[i64]) -> Vec<u8> {
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    message(&[(8, name.as_bytes()), (9, &bytes)], &[(1, values.len() as u64), (2, 7)])
}

/// A `ModelProto` of operator set 17.
pub fn model(nodes: &[Vec<u8>], initializers: &[Vec<u8>], inputs: &[Vec<u8>], outputs: &[Vec<u8>]) -> Vec<u8> {
    let mut fields: Vec<(u64, &[u8])> = vec![];
    for (number, messages) in [(1, nodes), (5, initializers), (11, inputs), (12, outputs)] {
        fields.extend(messages.iter().map(|m| (number, m.as_slice())));
    }
    fields.push((2, b"g"));
    let graph = message(&fields, &[]);
    message(&[(7, &graph), (8, &message(&[], &[(2, 17)]))], &[(1, 8)])
}
