// Random words by counting: Philox4x32-10 (Salmon, Moraes, Dror and Shaw, 2011), as in src/ops/random/philox.rs.

// The high half of a product, by products of 16 bits.
fn high_product(a: u32, b: u32) -> u32 {
    let al = a & 0xffffu;
    let ah = a >> 16u;
    let bl = b & 0xffffu;
    let bh = b >> 16u;
    let low = al * bl;
    let middle = ah * bl + (low >> 16u);
    let other = al * bh + (middle & 0xffffu);
    return ah * bh + (middle >> 16u) + (other >> 16u);
}

// The four words at a place.
fn philox(place: vec4<u32>, seed: vec2<u32>) -> vec4<u32> {
    var c = place;
    var key = seed;
    for (var round = 0u; round < 10u; round++) {
        let a = vec2<u32>(high_product(0xd2511f53u, c.x), 0xd2511f53u * c.x);
        let b = vec2<u32>(high_product(0xcd9e8d57u, c.z), 0xcd9e8d57u * c.z);
        c = vec4<u32>(b.x ^ c.y ^ key.x, b.y, a.x ^ c.w ^ key.y, a.y);
        key += vec2<u32>(0x9e3779b9u, 0xbb67ae85u);
    }
    return c;
}

// Numbers of 24 bits in [0, 1).
fn unit_interval(words: vec4<u32>) -> vec4<f32> {
    return vec4<f32>(words >> vec4<u32>(8u)) * 5.9604644775390625e-8;
}
